/**
 * What runs in each thread, as text: a file beside this one would have another name in sources, builds and bundles. It
 * answers each job with the decoded items, or with what went wrong and at which item. Jobs are done one after the other, so
 * that a function may reuse its memory.
 */
export const WORKER_SCRIPT = `
const { parentPort, workerData } = require("node:worker_threads");
const own = (value) => {
  if (ArrayBuffer.isView(value)) return value instanceof DataView ? value : value.slice();
  if (Array.isArray(value)) return value.map(own);
  if (typeof value !== "object" || value === null) return value;
  return Object.fromEntries(Object.entries(value).map(([key, one]) => [key, own(one)]));
};
const say = (error) => ({ message: String((error && error.message) || error), stack: String((error && error.stack) || "") });
const ready = import(workerData.module).then((module) => {
  const decode = module[workerData.name];
  if (typeof decode === "function") return decode;
  throw new Error("the module has no function " + workerData.name + "; it exports " + (Object.keys(module).join(", ") || "nothing"));
});
ready.catch(() => {});
let before = Promise.resolve();
parentPort.on("message", (message) => {
  before = before.then(() => work(message));
});
async function work({ job, items }) {
  let at = -1;
  try {
    const decode = await ready;
    const results = [];
    for (const { item, index, epoch } of items) {
      at = index;
      results.push(own(await decode(item, index, epoch)));
    }
    parentPort.postMessage({ job, results });
  } catch (error) {
    parentPort.postMessage({ job, at, ...say(error) });
  }
}
`;

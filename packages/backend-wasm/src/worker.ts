/** What a worker is told when it starts. */
export interface WorkerStart {
  readonly module: object;
  readonly memory: object;
  /** Upper end of its stack. */
  readonly stack: number;
  readonly thread: number;
  /** Names of the functions of `Math` that kernels call by number. */
  readonly math: readonly string[];
}

/**
 * The worker's code, as text: Node and browsers both start a worker from text, wherever the package was put by a
 * bundler, and nothing has to be resolved inside the worker. It enters the pool and stays there, asleep in WASM while
 * there is no work, until the pool quits. A trap is reported through memory, where the main thread looks while it waits.
 */
export const WORKER_SOURCE = `
"use strict";
const inNode = typeof require === "function";
const port = inNode ? require("node:worker_threads").parentPort : self;
const refuse = () => { throw new Error("only the main thread may call this"); };
async function start({ module, memory, stack, thread, math }) {
  const functions = math.map((name) => Math[name]);
  functions.push((a, b) => a % b);
  const env = {
    memory,
    now: () => performance.now(),
    math: (index, a, b) => functions[index](a, b),
    scratch_block: refuse,
    scratch_return: refuse,
    worker_lost: refuse,
    load_program(index, address, bytes) {
      try {
        const code = new Uint8Array(memory.buffer).slice(address >>> 0, (address >>> 0) + bytes);
        const program = new WebAssembly.Instance(new WebAssembly.Module(code), { env: { memory } });
        const table = exports.__indirect_function_table;
        if (table.length <= index) table.grow(index + 1 - table.length);
        table.set(index, program.exports.run);
        return 1;
      } catch {
        return 0;
      }
    },
  };
  const { exports } = await WebAssembly.instantiate(module, { env });
  exports.__stack_pointer.value = stack;
  port.postMessage("ready");
  try {
    exports.pool_worker(thread);
  } catch (error) {
    exports.pool_lost();
    throw error;
  }
  if (!inNode) self.close();
}
// A rejection would stay inside a browser's worker; an error outside of promises reaches whoever started it.
const begin = (message) => start(message).catch((error) => setTimeout(() => { throw error; }));
if (inNode) port.once("message", begin);
else self.onmessage = ({ data }) => begin(data);
`;

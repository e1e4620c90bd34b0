// The WebGPU backend against its peers on the same Dawn and the same adapter, in one table: work, ours, peer, ratio.
// `node webgpu.mjs --help` says what can be chosen.
import { contests } from "./lib/contests.mjs";
import { installed } from "./lib/installed.mjs";
import { options, pattern, wholeNumber } from "./lib/options.mjs";

const here = new URL(".", import.meta.url).pathname;
const node = (...args) => ({ command: process.execPath, args, cwd: here });

const PEERS = {
  "jax-js": installed("@jax-js/jax", node("peers/jax.mjs", "webgpu")),
  "tfjs-webgpu": installed("@tensorflow/tfjs-backend-webgpu", node("peers/tfjs.mjs", "webgpu")),
};
const peers = Object.keys(PEERS);
const threads = [1];
const WORK = [
  { kind: "matmul", name: "matmul 1024", rows: 1024, depth: 1024, columns: 1024, threads, peers },
  { kind: "mlp", name: "MLP 784-128-10 step, batch 64, SGD", threads, peers },
  { kind: "lenet", name: "LeNet-5 step, batch 64, Adam", threads, peers },
];
const chosen = options({
  help: `
node webgpu.mjs [--only pattern] [--rounds n] [--json]

The WebGPU backend in Node against jax-js and TensorFlow.js, on the adapter that Dawn finds: that of the system, or a
software one named by VK_DRIVER_FILES. A step's loss is read every step.

--only pattern  a regular expression: lines "work, peer" that it fits
--rounds n      turns that each party has, at least 5 (9)
--json          figures as JSON

Work: ${WORK.map(({ name }) => name).join("; ")}. Peers: ${peers.join(", ")}.`,
  values: ["only", "rounds"],
  flags: ["json"],
});
await contests({
  work: WORK,
  peers: PEERS,
  ours: node("lib/ours.mjs", "webgpu"),
  rounds: wholeNumber("rounds", chosen.rounds ?? "9", 5),
  only: pattern("only", chosen.only ?? ""),
  json: chosen.json,
});

// The WASM backend against its peers, in one table: work, ours, peer, ratio.
// `node wasm.mjs --help` says what can be chosen; NF_PYTHON names a Python that has PyTorch.
import { contests, nameOf } from "./lib/contests.mjs";
import { NANOGPT } from "./lib/data.mjs";
import { installed } from "./lib/installed.mjs";
import { options, pattern, wholeNumber } from "./lib/options.mjs";

const python = process.env.NF_PYTHON;

const here = new URL(".", import.meta.url).pathname;
const node = (...args) => ({ command: process.execPath, args, cwd: here });

const ours = node("lib/ours.mjs", "wasm");
const tfjs = (...args) => installed("@tensorflow/tfjs-core", node("peers/tfjs.mjs", ...args));
const PEERS = {
  "tfjs-wasm": tfjs("wasm"),
  "tfjs-cpu": tfjs("cpu"),
  "onnxruntime-web": installed("onnxruntime-web", node("peers/onnxruntime.mjs")),
  "jax-js": installed("@jax-js/jax", node("peers/jax.mjs", "wasm")),
  PyTorch:
    python === undefined
      ? { cannot: "not at hand: NF_PYTHON names no Python that has it" }
      : { command: python, args: ["lib/torch_peer.py"], cwd: here },
};

const product = (name, rows, depth, columns) => ({ kind: "matmul", name, rows, depth, columns });
const IN_BROWSER = ["tfjs-wasm", "onnxruntime-web"];
const WORK = [
  { ...product("matmul 1024", 1024, 1024, 1024), threads: [1, 2], peers: IN_BROWSER },
  { ...product("matmul 64x784x128", 64, 784, 128), threads: [1, 2], peers: IN_BROWSER },
  {
    kind: "mlp",
    name: "MLP 784-128-10 step, batch 64, SGD",
    threads: [1, 2],
    peers: ["jax-js", "tfjs-wasm", "onnxruntime-web"],
  },
  {
    kind: "lenet",
    name: "LeNet-5 step, batch 64, Adam",
    threads: [1, 2],
    peers: ["PyTorch", "tfjs-cpu", "tfjs-wasm", "onnxruntime-web"],
  },
  {
    kind: "nanogpt",
    tokens: NANOGPT.batch * NANOGPT.tokens,
    name: "nanoGPT step, batch 32 x 128, AdamW",
    threads: [2],
    peers: ["PyTorch"],
  },
];

const lines = WORK.flatMap((work) =>
  work.threads.map((threads) => `  ${nameOf(work, threads)}: ${work.peers.join(", ")}`),
);
const chosen = options({
  help: `
node wasm.mjs [--only pattern] [--rounds n] [--json]

The WASM backend against its peers. A Python that has PyTorch is named by NF_PYTHON.

--only pattern  a regular expression: lines "work, threads, peer" that it fits
--rounds n      turns that each party has, at least 5 (9)
--json          figures as JSON

Work and peers:
${lines.join("\n")}`,
  values: ["only", "rounds"],
  flags: ["json"],
});
await contests({
  work: WORK,
  peers: PEERS,
  ours,
  rounds: wholeNumber("rounds", chosen.rounds ?? "9", 5),
  only: pattern("only", chosen.only ?? ""),
  // Has one thread by nature, and takes seconds: once is enough.
  single: ["tfjs-cpu"],
  json: chosen.json,
});

// The native backend against its peers, in one table: work, ours, peer, ratio. `node native.mjs --help` says how.
import { contests } from "./lib/contests.mjs";
import { NANOGPT } from "./lib/data.mjs";
import { options, pattern, wholeNumber } from "./lib/options.mjs";

const chosen = options({
  help: `
node native.mjs [--only pattern] [--rounds n] [--json]

The native backend against PyTorch, JAX and onnxruntime on the CPU, each in a process of its own, in turns. A Python that
has them is named by NF_PYTHON: python -m venv .venv && .venv/bin/pip install -r requirements.txt

--only pattern  a regular expression: lines "work, threads, peer" that it fits, as "LeNet.*2 threads, PyTorch"
--rounds n      turns of a quarter of a second that each has, at least 5 (9)
--json          figures as JSON`,
  values: ["only", "rounds"],
  flags: ["json"],
});

const here = new URL(".", import.meta.url).pathname;
const python = process.env.NF_PYTHON;
const inPython = (file) =>
  python === undefined
    ? { cannot: "not at hand: NF_PYTHON names no Python that has it" }
    : { command: python, args: [file], cwd: here };

const ALL = ["PyTorch", "JAX", "onnxruntime"];
/** Factors rounded to bf16: ours with an option, PyTorch with autocast, which also gives results of 16 bits. */
const short = { precision: "bf16", tolerance: 0.1, threads: [1, 2], peers: ["PyTorch"] };
const product = (rows, depth, columns) => ({
  kind: "matmul",
  rows,
  depth,
  columns,
  threads: [1, 2],
  peers: ALL,
});

await contests({
  ours: { command: process.execPath, args: ["lib/ours.mjs", "native"], cwd: here },
  peers: {
    PyTorch: inPython("lib/torch_peer.py"),
    JAX: inPython("lib/jax_peer.py"),
    onnxruntime: inPython("lib/onnx_peer.py"),
  },
  work: [
    { name: "matmul 1024", ...product(1024, 1024, 1024) },
    { name: "matmul 8192x128x512", ...product(8192, 128, 512) },
    { name: "matmul 64x256x120", ...product(64, 256, 120) },
    { kind: "lenet", name: "LeNet-5 step, batch 64, Adam", threads: [1, 2], peers: ALL },
    {
      kind: "nanogpt",
      tokens: NANOGPT.batch * NANOGPT.tokens,
      name: "nanoGPT step, batch 32 x 128, AdamW",
      threads: [1, 2],
      peers: ALL,
    },
    { ...product(1024, 1024, 1024), name: "matmul 1024, bf16", ...short },
    {
      kind: "nanogpt",
      tokens: NANOGPT.batch * NANOGPT.tokens,
      name: "nanoGPT step, batch 32 x 128, AdamW, bf16",
      ...short,
    },
  ],
  rounds: wholeNumber("rounds", chosen.rounds ?? "9", 5),
  only: pattern("only", chosen.only ?? ""),
  json: chosen.json,
});

// The WASM backend against its peers, in one table: work, ours, peer, ratio.
// `node wasm.mjs [--json] [--only pattern] [--rounds 9]`; NF_PYTHON names a Python that has PyTorch.
import { readFileSync } from "node:fs";
import { contest } from "./lib/contest.mjs";
import { machine } from "./lib/measure.mjs";

const option = (name, otherwise) => {
  const at = process.argv.indexOf(name);
  return at < 0 ? otherwise : process.argv[at + 1];
};
const only = new RegExp(option("--only", ""));
const rounds = Number(option("--rounds", "9"));
if (!(Number.isInteger(rounds) && rounds >= 5))
  throw new Error("--rounds must be a whole number of at least 5.");
const python = process.env.NF_PYTHON;

const here = new URL(".", import.meta.url).pathname;
const node = (...args) => ({ command: process.execPath, args, cwd: here });
const version = (name) =>
  JSON.parse(readFileSync(new URL(`node_modules/${name}/package.json`, import.meta.url), "utf8")).version;

const ours = node("wasm/ours.mjs");
const tfjsVersion = version("@tensorflow/tfjs-core");
const PEERS = {
  "tfjs-wasm": { ...node("wasm/tfjs.mjs", "wasm"), version: tfjsVersion },
  "tfjs-cpu": { ...node("wasm/tfjs.mjs", "cpu"), version: tfjsVersion },
  "onnxruntime-web": { ...node("wasm/onnxruntime.mjs"), version: version("onnxruntime-web") },
  "jax-js": { ...node("wasm/jax.mjs"), version: version("@jax-js/jax") },
  PyTorch:
    python === undefined
      ? { cannot: "not at hand: NF_PYTHON names no Python that has it" }
      : { command: python, args: ["wasm/torch_peer.py"], cwd: here },
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
  { kind: "nanogpt", name: "nanoGPT step, batch 32 x 128, AdamW", threads: [2], peers: ["PyTorch"] },
];

/** Have one thread by nature, and take seconds: once is enough. */
const SINGLE = ["tfjs-cpu"];

const rows = [];
for (const { threads: counts, peers, ...work } of WORK) {
  for (const threads of counts) {
    for (const peer of peers) {
      const name = `${work.name}, ${threads} thread${threads === 1 ? "" : "s"}`;
      if (!only.test(`${name}, ${peer}`) || (threads > 1 && SINGLE.includes(peer))) continue;
      const party = PEERS[peer];
      process.stderr.write(`${name}: ${peer} … `);
      const result = party.cannot ? party : await contest({ work, threads, ours, peer: party, rounds });
      process.stderr.write(`${result.cannot ?? result.failed ?? result.ratio.toFixed(2)}\n`);
      rows.push({ work: name, peer, version: party.version, ...result });
    }
  }
}

if (process.argv.includes("--json")) {
  console.log(JSON.stringify({ machine, unit: "ms", rounds, rows }));
} else {
  const digits = (value) => (value >= 100 ? value.toFixed(0) : value.toPrecision(3));
  const show = (time) => (time === undefined ? "" : range(time));
  const range = ({ median, min, max }) => `${digits(median)} (${digits(min)} to ${digits(max)})`;
  console.log(`${machine}. Milliseconds, median of ${rounds} (least to greatest); ratio is peer / ours.`);
  console.table(
    rows.map(({ work, peer, version: v, ours: own, theirs, ratio, note, cannot, failed }) => ({
      work,
      ours: failed === undefined ? show(own) : `failed: ${failed}`,
      peer: [peer, v].filter(Boolean).join(" "),
      "peer's": cannot === undefined ? show(theirs) : `cannot: ${cannot}`,
      ratio: ratio === undefined ? "" : ratio.toFixed(2),
      note: note ?? "",
    })),
  );
}
if (rows.some(({ failed }) => failed !== undefined)) process.exitCode = 1;

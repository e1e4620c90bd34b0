// What an eager operation costs in core, without any kernel: an `add` of two small tensors on a backend that does
// nothing, split into its parts. `node eager.mjs [--json]`. The parts are core's own functions, taken from its build.
import { cpus } from "node:os";
import { add, matmul, mul, Scope, scope, sum, tensor, use, zeroGrad } from "@nf/core";
import { makeView } from "../packages/core/dist/backend/view.js";
import { allocate, runMap } from "../packages/core/dist/ops/run.js";
import { deviceOf } from "../packages/core/dist/runtime/device.js";
import * as scalar from "../packages/core/dist/scalar/expr.js";
import { program } from "../packages/core/dist/scalar/program.js";
import { options } from "./lib/options.mjs";

const { json } = options({
  help: `
node eager.mjs [--json]

What an eager operation costs in core, without any kernel, split into its parts.

--json  figures as JSON`,
  flags: ["json"],
});

const ALL = ["f32", "f64", "i32", "u32", "bool"];
const KERNELS = ["map", "reduce", "argReduce", "matmul", "gather", "scatter", "scan", "sort"];

/** A backend that accepts every call and does nothing. */
const idle = {
  name: "idle",
  capabilities: {
    dtypes: Object.fromEntries(KERNELS.map((kernel) => [kernel, ALL])),
    readSync: false,
    threads: 1,
    maxBufferBytes: Number.POSITIVE_INFINITY,
    maxBuffersPerCall: Number.POSITIVE_INFINITY,
  },
  allocate: (byteLength) => ({ byteLength }),
  free() {},
  write() {},
  read: async (_buffer, _offset, length) => new Uint8Array(length),
  execute() {},
  supports: () => "yes",
  synchronize: async () => {},
  dispose: async () => {},
};

const ROUNDS = 15;
const PER_ROUND = 200;
const INNER = 500;

/** Nanoseconds of one operation: median, least and greatest of the rounds. */
function measure(body) {
  const run = (rounds) => {
    const start = process.hrtime.bigint();
    for (let i = 0; i < rounds; i++) body();
    return Number(process.hrtime.bigint() - start) / (rounds * INNER);
  };
  run(PER_ROUND);
  const samples = Array.from({ length: ROUNDS }, () => run(PER_ROUND)).sort((a, b) => a - b);
  return { median: samples[ROUNDS >> 1], min: samples[0], max: samples[ROUNDS - 1] };
}

await use(idle);
const device = deviceOf(idle);
const values = [1, 2, 3, 4, 5, 6, 7, 8];
const a = tensor(values);
const b = tensor(values);
const matrix = tensor([
  [1, 2],
  [3, 4],
]);
const weight = tensor(values, { requiresGrad: true });
const addition = program("add", ["f32", "f32"], [], ([x, y]) => scalar.add(x, y));
const shape = [8];
const output = makeView(a.view.buffer, "f32", shape, [1], 0);

const parts = {
  "pool and tensor": measure(() => {
    for (let i = 0; i < INNER; i++) allocate(device, "f32", shape, "add").end("");
  }),
  call: measure(() => {
    for (let i = 0; i < INNER; i++) runMap(device, addition, [a.view, b.view], [output], []);
  }),
  "whole, without tape": measure(() => {
    scope(() => {
      for (let i = 0; i < INNER; i++) add(a, b);
    });
  }),
  "whole, disposed at once": measure(() => {
    const owner = new Scope();
    owner.run(() => {
      for (let i = 0; i < INNER; i++) add(a, b).dispose();
    });
    owner.dispose();
  }),
  "whole, with tape": measure(() => {
    scope(() => {
      let h = weight;
      for (let i = 0; i < INNER; i++) h = add(h, b);
    });
  }),
  "multiply by a number": measure(() => {
    scope(() => {
      for (let i = 0; i < INNER; i++) mul(a, 0.5);
    });
  }),
  "sum to a scalar": measure(() => {
    scope(() => {
      for (let i = 0; i < INNER; i++) sum(a);
    });
  }),
  "matrix product, 2 x 2": measure(() => {
    scope(() => {
      for (let i = 0; i < INNER; i++) matmul(matrix, matrix);
    });
  }),
  "forward and backward, per operation": measure(() => {
    let h = weight;
    for (let i = 0; i < INNER; i++) h = add(h, b);
    h.backward(a);
    zeroGrad([weight]);
  }),
};
const whole = parts["whole, without tape"].median;
const tape = parts["whole, with tape"].median - whole;
const infer = whole - parts["pool and tensor"].median - parts.call.median;

if (json) {
  console.log(
    JSON.stringify({ node: process.version, machine: cpus()[0]?.model, nanoseconds: parts, infer, tape }),
  );
} else {
  console.log(`Eager operation in core, nanoseconds (Node ${process.version}, ${cpus()[0]?.model})`);
  for (const [name, { median, min, max }] of Object.entries(parts)) {
    console.log(
      `${name.padEnd(36)} ${median.toFixed(0).padStart(6)}   (${min.toFixed(0)} to ${max.toFixed(0)})`,
    );
  }
  console.log(`${"infer and check (the rest)".padEnd(36)} ${infer.toFixed(0).padStart(6)}`);
  console.log(`${"tape (difference)".padEnd(36)} ${tape.toFixed(0).padStart(6)}`);
}

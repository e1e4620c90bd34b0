// GFLOP/s of the WASM backend's matrix products, convolutions and poolings, by kernel and shape, called without core:
// `node wasm-kernels.mjs --help` says what can be chosen. Median, least and greatest of the rounds.
import { wasm } from "@nf/backend-wasm";
import { contiguousView, makeView } from "@nf/core";
import { machine } from "./lib/measure.mjs";
import { options } from "./lib/options.mjs";

const { words, json } = options({
  help: `
node wasm-kernels.mjs [threads] [pattern] [--json]

GFLOP/s of the WASM backend's products, convolutions and poolings, called without core.

threads  how many the backend has (1)
pattern  a regular expression: work whose name it fits, as "matmul mlp", "conv lenet 1", "pool"; all without it
--json   figures as JSON`,
  flags: ["json"],
  words: 2,
});
const threads = Number(words[0] ?? 1);
const pattern = new RegExp(words[1] ?? "");
const ROUNDS = 31;
const ROUND_MS = 4;
const LIMIT_MS = 2000;

const backend = await wasm({ threads });
const sizeOf = (shape) => shape.reduce((a, b) => a * b, 1);

/** A tensor of waves; `transposed` swaps how its last two dimensions lie in memory. */
function tensor(shape, transposed = false) {
  const values = Float32Array.from({ length: sizeOf(shape) }, (_, i) => Math.sin(i * 1.3));
  const buffer = backend.allocate(values.byteLength);
  backend.write(buffer, 0, new Uint8Array(values.buffer));
  const plain = contiguousView(buffer, "f32", shape);
  if (!transposed) return plain;
  const strides = [...plain.strides];
  [strides[shape.length - 2], strides[shape.length - 1]] = [1, shape.at(-2)];
  return makeView(buffer, "f32", shape, strides, 0);
}

/** Rows of work: a name, what it costs (floating point operations, or null where bytes say more), and a call. */
const work = [];
const add = (name, flops, parts) => work.push({ name, flops, parts });

function matmul(name, rows, depth, columns, { batch, left = false, right = false } = {}) {
  const stack = batch === undefined ? [] : [batch];
  add(`matmul ${name}`, 2 * (batch ?? 1) * rows * depth * columns, () => ({
    kernel: "matmul",
    inputs: [tensor([...stack, rows, depth], left), tensor([...stack, depth, columns], right)],
    outputs: [tensor([...stack, rows, columns])],
  }));
}
const T = { right: true };
matmul("512", 512, 512, 512);
matmul("1024", 1024, 1024, 1024);
matmul("64x784x128", 64, 784, 128);
matmul("64x256x120, weight transposed", 64, 256, 120, T);
matmul("mlp 64x784x128, weight transposed", 64, 784, 128, T);
matmul("mlp gradient 128x64x784", 128, 64, 784, { left: true });
matmul("mlp 64x128x10, weight transposed", 64, 128, 10, T);
matmul("lenet 64x256x120, weight transposed", 64, 256, 120, T);
matmul("lenet 64x120x84, weight transposed", 64, 120, 84, T);
matmul("lenet 64x84x10, weight transposed", 64, 84, 10, T);
matmul("nanogpt 4096x128x512, weight transposed", 4096, 128, 512, T);
matmul("nanogpt 4096x512x128", 4096, 512, 128);
matmul("nanogpt gradient 512x4096x128", 512, 4096, 128, { left: true });
matmul("128 times 128x32x128, transposed", 128, 32, 128, { batch: 128, right: true });
matmul("128 times 128x128x32", 128, 128, 32, { batch: 128 });
matmul("1x2048x5632", 1, 2048, 5632);
matmul("1x2048x5632, weight transposed", 1, 2048, 5632, T);

const pair = (value) => [value, value];
function conv(name, { batch, inside, outside, kernel, size, stride = 1, padding = 0, groups = 1 }) {
  const out = Math.floor((size + 2 * padding - kernel) / stride) + 1;
  const x = [batch, inside, size, size];
  const weight = [outside, inside / groups, kernel, kernel];
  const y = [batch, outside, out, out];
  const shapes = { forward: [x, weight, y], inputGrad: [y, weight, x], weightGrad: [y, x, weight] };
  for (const [pass, [first, second, result]] of Object.entries(shapes)) {
    add(`conv ${name} ${pass}`, 2 * sizeOf(y) * sizeOf(weight.slice(1)), () => ({
      kernel: "conv",
      attributes: {
        pass,
        groups,
        stride: pair(stride),
        dilation: pair(1),
        padding: pair(pair(padding)),
      },
      inputs: [tensor(first), tensor(second)],
      outputs: [tensor(result)],
    }));
  }
}
conv("lenet 1", { batch: 64, inside: 1, outside: 6, kernel: 5, size: 28 });
conv("lenet 2", { batch: 64, inside: 6, outside: 16, kernel: 5, size: 12 });
conv("3x3 of 64", { batch: 4, inside: 64, outside: 64, kernel: 3, size: 56, padding: 1 });
conv("3x3 of 64, stride 2", {
  batch: 4,
  inside: 64,
  outside: 128,
  kernel: 3,
  size: 56,
  padding: 1,
  stride: 2,
});
conv("1x1 of 256", { batch: 4, inside: 256, outside: 64, kernel: 1, size: 28 });
conv("depthwise 3x3 of 64", {
  batch: 4,
  inside: 64,
  outside: 64,
  kernel: 3,
  size: 56,
  padding: 1,
  groups: 64,
});

function pool(name, kind, shape) {
  const [batch, channels, height, width] = shape;
  const out = [batch, channels, height / 2, width / 2];
  for (const pass of ["forward", "backward"]) {
    add(`pool ${name} ${kind} ${pass}`, null, () => ({
      kernel: "pool",
      attributes: {
        pass,
        kind,
        kernelSize: [2, 2],
        stride: [2, 2],
        dilation: [1, 1],
        padding: pair([0, 0]),
        countedPadding: pair([0, 0]),
        countIncludePad: true,
      },
      inputs: pass === "forward" ? [tensor(shape)] : [tensor(out), tensor(shape)],
      outputs: [tensor(pass === "forward" ? out : shape)],
    }));
  }
}
pool("lenet 1", "max", [64, 6, 24, 24]);
pool("lenet 2", "max", [64, 16, 8, 8]);
pool("lenet 1", "mean", [64, 6, 24, 24]);

/** Microseconds of one call. */
function measure(call) {
  const time = (repeats) => {
    const start = performance.now();
    for (let i = 0; i < repeats; i++) backend.execute(call);
    return ((performance.now() - start) * 1000) / repeats;
  };
  for (const end = performance.now() + 100; performance.now() < end; ) time(1);
  const repeats = Math.max(1, Math.round((ROUND_MS * 1000) / time(3)));
  const samples = [];
  for (const end = performance.now() + LIMIT_MS; samples.length < ROUNDS; ) {
    samples.push(time(repeats));
    if (samples.length >= 7 && performance.now() > end) break;
  }
  samples.sort((a, b) => a - b);
  return { median: samples[samples.length >> 1], min: samples[0], max: samples.at(-1) };
}

const rows = work
  .filter(({ name }) => pattern.test(name))
  .map(({ name, flops, parts }) => {
    const call = parts();
    const buffers = [...call.inputs, ...call.outputs].map((view) => view.buffer);
    const microseconds = measure({ ...call, buffers, params: [] });
    for (const buffer of buffers) backend.free(buffer);
    return { work: name, flops, microseconds };
  });
await backend.dispose();

if (json) {
  console.log(JSON.stringify({ machine, threads, rows }));
} else {
  console.log(`${machine}; ${threads} thread(s)`);
  console.table(
    rows.map(({ work: name, flops, microseconds: { median, min, max } }) => {
      const rate = (time) => (flops / time / 1000).toFixed(1);
      return {
        work: name,
        µs: `${median.toFixed(1)} (${min.toFixed(1)} to ${max.toFixed(1)})`,
        "GFLOP/s": flops === null ? "" : `${rate(median)} (${rate(max)} to ${rate(min)})`,
      };
    }),
  );
}

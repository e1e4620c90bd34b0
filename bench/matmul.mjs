// Square matrix products in plain JavaScript: @nf/backend-cpu against TensorFlow.js's cpu backend, same data, both
// read back. `node matmul.mjs [--json]`.
import { demand } from "./lib/installed.mjs";
import { measure, report } from "./lib/measure.mjs";
import { options } from "./lib/options.mjs";

const { json } = options({
  help: `
node matmul.mjs [--json]

Matrix products of 64, 128, 256 and 512 in plain JavaScript, against TensorFlow.js's cpu backend.

--json  figures as JSON`,
  flags: ["json"],
});

for (const name of ["@tensorflow/tfjs-core", "@tensorflow/tfjs-backend-cpu", "@nf/core"]) demand(name);
const { cpu } = await import("@nf/backend-cpu");
const { fromData, matmul, scope, use } = await import("@nf/core");
const tf = await import("@tensorflow/tfjs-core");
await import("@tensorflow/tfjs-backend-cpu");
await use(cpu());
await tf.setBackend("cpu");

const rows = [];
for (const size of [64, 128, 256, 512]) {
  const [left, right] = [0, 1].map((seed) =>
    Float32Array.from({ length: size * size }, (_, i) => Math.sin(i + seed)),
  );
  const [a, b] = [left, right].map((values) => fromData(values, [size, size]));
  const [p, q] = [left, right].map((values) => tf.tensor2d(values, [size, size]));
  const flops = 2 * size ** 3;
  const repeats = Math.max(1, Math.round(2e7 / flops));
  const rate = ({ median, min, max }) => {
    const gigaflops = (milliseconds) => (flops * repeats) / milliseconds / 1e6;
    return { median: gigaflops(median), min: gigaflops(max), max: gigaflops(min) };
  };
  const ours = await measure(() => {
    for (let i = 0; i < repeats; i++) scope(() => matmul(a, b).dataSync());
  });
  const peer = await measure(() => {
    // Not inside of tidy, which would search the numbers for tensors.
    for (let i = 0; i < repeats; i++) {
      const product = tf.matMul(p, q);
      product.dataSync();
      product.dispose();
    }
  });
  rows.push({
    work: `matmul ${size}`,
    unit: "GFLOP/s",
    ours: rate(ours),
    peer: rate(peer),
    peerName: "tfjs-cpu",
  });
}
report(rows, json);

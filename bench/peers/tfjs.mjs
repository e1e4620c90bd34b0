// TensorFlow.js on the backend named on the command line: "wasm", "cpu" or "webgpu".
import * as tf from "@tensorflow/tfjs";
import { setThreadsCount } from "@tensorflow/tfjs-backend-wasm";
import { BATCH, checks, classes, LENET, MLP, values, weight } from "../lib/data.mjs";
import { serve } from "../lib/peer.mjs";

const name = process.argv[2];
// It looks for the browser's WebGPU when it is imported.
if (name === "webgpu") {
  await import("./navigator.mjs");
  await import("@tensorflow/tfjs-backend-webgpu");
}

/** A GPU's numbers come later. */
const read = (tensor) => (name === "webgpu" ? tensor.data() : tensor.dataSync());

/** A weight stored as `[out, in]`, as a variable `[in, out]`. */
function linear(outputs, inputs, index) {
  const w = tf.variable(tf.transpose(tf.tensor2d(weight([outputs, inputs], index), [outputs, inputs])));
  const b = tf.variable(tf.zeros([outputs]));
  return (x) => tf.add(tf.matMul(x, w), b);
}

/** A filter stored as `[out, in, height, width]`, as a variable `[height, width, in, out]`. */
function conv(outputs, inputs, size, index) {
  const shape = [outputs, inputs, size, size];
  const w = tf.variable(tf.transpose(tf.tensor4d(weight(shape, index), shape), [2, 3, 1, 0]));
  const b = tf.variable(tf.zeros([outputs]));
  return (x) => tf.maxPool(tf.relu(tf.add(tf.conv2d(x, w, 1, "valid"), b)), 2, 2, "valid");
}

async function training(forward, optimizer, labels, outputs) {
  const y = tf.cast(tf.oneHot(tf.tensor1d(labels, "int32"), outputs), "float32");
  const loss = () => tf.mul(tf.sum(tf.mul(tf.logSoftmax(forward()), y)), -1 / BATCH);
  const step = async () => {
    const cost = optimizer.minimize(loss, true);
    const [result] = await read(cost);
    cost.dispose();
    return result;
  };
  return { run: step, check: await checks(step) };
}

const kinds = {
  async matmul({ rows, depth, columns }) {
    const a = tf.tensor2d(values(rows * depth, 1), [rows, depth]);
    const b = tf.tensor2d(values(depth * columns, 2), [depth, columns]);
    // Not inside of tidy, which would search the numbers for tensors.
    const run = async () => {
      const product = tf.matMul(a, b);
      const numbers = await read(product);
      product.dispose();
      return numbers;
    };
    const result = await run();
    return { run, check: [result[0], result[result.length - 1]] };
  },
  mlp() {
    const [inputs, hidden, outputs] = MLP.sizes;
    const [first, second] = [linear(hidden, inputs, 0), linear(outputs, hidden, 1)];
    const x = tf.tensor2d(values(BATCH * inputs, 1), [BATCH, inputs]);
    const forward = () => second(tf.relu(first(x)));
    return training(forward, tf.train.sgd(MLP.lr), classes(BATCH, 2, outputs), outputs);
  },
  lenet() {
    const [conv1, conv2] = [conv(6, 1, 5, 0), conv(16, 6, 5, 1)];
    const [linear1, linear2, linear3] = [linear(120, 256, 2), linear(84, 120, 3), linear(10, 84, 4)];
    const x = tf.tensor4d(values(BATCH * 784, 1), [BATCH, 28, 28, 1]);
    const forward = () => {
      // Channels before positions, which is how the weights that all start from count the features.
      const features = tf.reshape(tf.transpose(conv2(conv1(x)), [0, 3, 1, 2]), [BATCH, 256]);
      return linear3(tf.relu(linear2(tf.relu(linear1(features)))));
    };
    const { lr, betas, eps } = LENET;
    return training(forward, tf.train.adam(lr, ...betas, eps), classes(BATCH, 2, 10), 10);
  },
  otherwise: "not written for it",
};

const on = (make) => async (work, threads) => {
  if (name === "wasm") setThreadsCount(threads);
  await tf.setBackend(name);
  const alone = name !== "webgpu" && threads > 1;
  const note = alone ? "1 thread: has no more in Node" : undefined;
  return { ...(await make(work)), note };
};
await serve(
  Object.fromEntries(
    Object.entries(kinds).map(([kind, make]) => [kind, typeof make === "string" ? make : on(make)]),
  ),
);

// jax-js on the device named on the command line, "wasm" or "webgpu": forward, backward and update in one compiled function.
import { BATCH, checks, classes, LENET, MLP, values, weight } from "../lib/data.mjs";
import { serve } from "../lib/peer.mjs";

const device = process.argv[2];
// It looks for the browser's WebGPU when it is imported.
if (device === "webgpu") await import("./navigator.mjs");
const { defaultDevice, init, jit, lax, nn, numpy: np, tree, valueAndGrad } = await import("@jax-js/jax");

/** A weight stored as `[out, in]`, as `[in, out]`. */
const linear = (outputs, inputs, index) => ({
  w: np
    .array(weight([outputs, inputs], index))
    .reshape([outputs, inputs])
    .transpose(),
  b: np.zeros([outputs]),
});

const labels = (seed, outputs) => nn.oneHot(np.array(classes(BATCH, seed, outputs)), outputs);
const meanLoss = (logits, y) => nn.logSoftmax(logits).mul(y).sum().div(-BATCH);
// Each use of an array consumes it, hence the `.ref`.
const through = ({ w, b }, x) => np.matmul(x, w).add(b);

async function product({ rows, depth, columns }) {
  const a = np.array(values(rows * depth, 1)).reshape([rows, depth]);
  const b = np.array(values(depth * columns, 2)).reshape([depth, columns]);
  const run = async () => np.matmul(a.ref, b.ref).data();
  const result = await run();
  return { run, check: [result[0], result[result.length - 1]] };
}

async function mlp() {
  const [inputs, hidden, outputs] = MLP.sizes;
  const x = np.array(values(BATCH * inputs, 1)).reshape([BATCH, inputs]);
  const y = labels(2, outputs);
  const loss = ({ first, second }, x, y) => meanLoss(through(second, nn.relu(through(first, x))), y);
  const update = jit((params, x, y) => {
    const [value, gradients] = valueAndGrad(loss)(tree.ref(params), x, y);
    return [value, tree.map((p, g) => p.sub(g.mul(MLP.lr)), params, gradients)];
  });
  let params = { first: linear(hidden, inputs, 0), second: linear(outputs, hidden, 1) };
  const step = async () => {
    const [value, next] = update(params, x.ref, y.ref);
    params = next;
    return (await value.data())[0];
  };
  return { run: step, check: await checks(step) };
}

/** A filter as it is stored. */
const filter = (outputs, inputs, index) => ({
  w: np.array(weight([outputs, inputs, 5, 5], index)).reshape([outputs, inputs, 5, 5]),
  b: np.zeros([1, outputs, 1, 1]),
});

/** The greatest of each window of 2 x 2. */
function halved(x) {
  const [batch, channels, height, width] = x.shape;
  return np.max(x.reshape([batch, channels, height / 2, 2, width / 2, 2]), [3, 5]);
}

async function lenet() {
  const x = np.array(values(BATCH * 784, 1)).reshape([BATCH, 1, 28, 28]);
  const y = labels(2, 10);
  const block = ({ w, b }, x) => halved(nn.relu(lax.conv(x, w, [1, 1], "VALID").add(b)));
  const loss = (p, x, y) => {
    const features = block(p.conv2, block(p.conv1, x)).reshape([BATCH, 256]);
    const hidden = nn.relu(through(p.linear2, nn.relu(through(p.linear1, features))));
    return meanLoss(through(p.linear3, hidden), y);
  };
  const { lr, betas, eps } = LENET;
  const [beta1, beta2] = betas;
  // Adam as PyTorch has it; the corrections come in as numbers of the step.
  const update = jit((params, first, second, corrections, x, y) => {
    const [value, gradients] = valueAndGrad(loss)(tree.ref(params), x, y);
    const m = tree.map((m, g) => m.mul(beta1).add(g.mul(1 - beta1)), first, tree.ref(gradients));
    const v = tree.map((v, g) => v.mul(beta2).add(np.square(g).mul(1 - beta2)), second, gradients);
    const [c1, c2] = np.split(corrections, 2);
    const next = tree.map(
      (p, m, v) =>
        p.sub(
          m
            .div(c1.ref)
            .mul(lr)
            .div(np.sqrt(v.div(c2.ref)).add(eps)),
        ),
      params,
      tree.ref(m),
      tree.ref(v),
    );
    return [value, next, m, v];
  });
  let params = {
    conv1: filter(6, 1, 0),
    conv2: filter(16, 6, 1),
    linear1: linear(120, 256, 2),
    linear2: linear(84, 120, 3),
    linear3: linear(10, 84, 4),
  };
  let first = tree.map((p) => np.zerosLike(p), tree.ref(params));
  let second = tree.map((p) => np.zerosLike(p), tree.ref(params));
  let count = 0;
  const step = async () => {
    count++;
    const corrections = np.array([1 - beta1 ** count, 1 - beta2 ** count]);
    const [value, ...next] = update(params, first, second, corrections, x.ref, y.ref);
    [params, first, second] = next;
    return (await value.data())[0];
  };
  return { run: step, check: await checks(step) };
}

await init(device);
defaultDevice(device);
const alone = (make) => async (work, threads) => {
  // It starts its threads through the browser's Worker, which Node 20 has not.
  const single = device === "wasm" && threads > 1 && typeof Worker === "undefined";
  return { ...(await make(work)), note: single ? "1 thread: has no more in Node" : undefined };
};
await serve({
  matmul: alone(product),
  mlp: alone(mlp),
  lenet: alone(lenet),
  otherwise: "not written for it",
});

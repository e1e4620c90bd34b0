// jax-js on its WASM backend: forward, backward and update in one compiled function.
import { defaultDevice, init, jit, nn, numpy as np, tree, valueAndGrad } from "@jax-js/jax";
import { BATCH, checks, classes, MLP, values, weight } from "../lib/data.mjs";
import { serve } from "../lib/peer.mjs";

/** A weight stored as `[out, in]`, as `[in, out]`. */
const linear = (outputs, inputs, index) => ({
  w: np
    .array(weight([outputs, inputs], index))
    .reshape([outputs, inputs])
    .transpose(),
  b: np.zeros([outputs]),
});

async function mlp() {
  const [inputs, hidden, outputs] = MLP.sizes;
  const x = np.array(values(BATCH * inputs, 1)).reshape([BATCH, inputs]);
  const y = nn.oneHot(np.array(classes(BATCH, 2, outputs)), outputs);
  // Each use of an array consumes it, hence the `.ref`.
  const loss = ({ first, second }, x, y) => {
    const h = nn.relu(np.matmul(x, first.w).add(first.b));
    const logits = np.matmul(h, second.w).add(second.b);
    return nn.logSoftmax(logits).mul(y).sum().div(-BATCH);
  };
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

await init("wasm");
defaultDevice("wasm");
await serve({
  async mlp(_work, threads) {
    // It starts its threads through the browser's Worker, which Node 20 has not.
    const note = threads > 1 && typeof Worker === "undefined" ? "1 thread: has no more in Node" : undefined;
    return { ...(await mlp()), note };
  },
  otherwise: "not written for it",
});

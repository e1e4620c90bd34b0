// The same numbers for all who take part; lib/peer.py computes them in the same way.

/** The `i`-th of a row of numbers in [0, 1) that look random. */
const noise = (i, seed) => {
  const wave = Math.sin((i + 1) * 12.9898 + seed * 78.233) * 43758.5453;
  return wave - Math.floor(wave);
};

/** `count` numbers in [-scale, scale). */
export const values = (count, seed, scale = 1) =>
  Float32Array.from({ length: count }, (_, i) => (2 * noise(i, seed) - 1) * scale);

/** `count` whole numbers in [0, classes). */
export const classes = (count, seed, classes) =>
  Int32Array.from({ length: count }, (_, i) => Math.floor(noise(i, seed) * classes));

export const sizeOf = (shape) => shape.reduce((a, b) => a * b, 1);

/** Initial values of the `index`-th weight of a model, stored as `[out, …in]`; biases start at zero. */
export const weight = (shape, index) =>
  values(sizeOf(shape), 100 + index, 1 / Math.sqrt(sizeOf(shape.slice(1))));

export const BATCH = 64;
export const MLP = { sizes: [784, 128, 10], lr: 0.01 };
export const LENET = { lr: 1e-5, betas: [0.9, 0.999], eps: 1e-8 };
export const NANOGPT = { vocab: 65, tokens: 128, width: 128, heads: 4, blocks: 3, batch: 32, lr: 1e-5 };

/** Checks of a training step: the loss at first, and by how much it is less after three steps. */
export async function checks(step) {
  const first = await step();
  await step();
  await step();
  return [first, first - (await step())];
}

import * as core from "../../src/index.ts";
import { tensorOf } from "./helper.ts";

/*
 * Points for gradcheck of what layers are made of: norms, attention, cells, windows, order, products by equation.
 */

type T = core.Tensor;

/** A function and the points it is differentiated at; `order` 2 for the gradients' gradients too. */
export interface Check {
  readonly fn: (...inputs: T[]) => T;
  readonly at: () => readonly T[];
  readonly order?: 1 | 2;
}

/**
 * Points of a shape in random order between two bounds, evenly spaced: no two are closer than what a difference
 * needs, and none lies on a joint (0, the bounds, whole numbers) by accident of symmetry.
 */
export function points(shape: readonly number[], low = -1.9, high = 1.8, seed = 1): T {
  const count = shape.reduce((product, size) => product * size, 1);
  const order = core.permutation(count, new core.Generator(seed));
  const step = (high - low) / count;
  return tensorOf(
    Array.from(order, (place) => low + (place + 0.37) * step),
    shape,
    "f64",
  );
}

const index = (values: readonly number[]): T => tensorOf(values, [values.length], "i32");
const matrix = (): T[] => [points([2, 3])];
const image = (): T[] => [points([1, 2, 4, 5])];
const normed = (): T[] => [points([2, 4, 3]), points([4], -1, 1, 2), points([4], -1, 1, 3)];
const heads = (): T[] => [
  points([1, 2, 3, 4]),
  points([1, 1, 3, 4], -1, 1, 2),
  points([1, 1, 3, 4], -1, 1, 3),
];
const cell = (gates: number): T[] => [
  points([2, 3]),
  points([2, 2], -1, 1, 2),
  points([2 * gates, 3], -1, 1, 3),
  points([2 * gates, 2], -1, 1, 4),
  points([2 * gates], -1, 1, 5),
];
const weights = (w: T, h: T, b: T): core.CellWeights => ({
  weightInput: w,
  weightHidden: h,
  biasInput: b,
  biasHidden: b,
});
const sum = (...parts: readonly T[]): T =>
  parts.map((part) => core.sum(part)).reduce((a, b) => core.add(a, b));

/** One check an operation. */
export const LAYER_CHECKS: Readonly<Record<string, Check>> = {
  adaptiveAvgPool1d: {
    fn: (x) => core.adaptiveAvgPool1d(x, { outputSize: 3 }),
    at: () => [points([1, 2, 5])],
  },
  adaptiveAvgPool2d: { fn: (x) => core.adaptiveAvgPool2d(x, { outputSize: [3, 2] }), at: image },
  adaptiveMaxPool1d: {
    fn: (x) => core.adaptiveMaxPool1d(x, { outputSize: 3 }),
    at: () => [points([1, 2, 5])],
  },
  adaptiveMaxPool2d: { fn: (x) => core.adaptiveMaxPool2d(x, { outputSize: [3, 2] }), at: image },
  globalAvgPool: { fn: (x) => core.globalAvgPool(x), at: image },
  globalMaxPool: { fn: (x) => core.globalMaxPool(x), at: image },
  asStrided: {
    fn: (x) => core.exp(core.asStrided(core.transpose(x), [3, 3], [1, 1], 1)),
    at: matrix,
    order: 2,
  },
  at: { fn: (x) => core.at(x, { step: -1 }, index([2, 0, 2])), at: matrix },
  scaledDotProductAttention: {
    fn: (q, k, v) => core.scaledDotProductAttention(q, k, v, { causal: true }),
    at: heads,
    order: 2,
  },
  batchNorm: {
    fn: (x, weight, bias) => core.batchNorm(x, { weight, bias, training: true }),
    at: normed,
    order: 2,
  },
  batchNormPure: {
    fn: (x, weight, bias) => {
      const [runningMean, runningVariance] = [points([4]), points([4], 1, 2)];
      return core.batchNormPure(x, { weight, bias, runningMean, runningVariance }).output;
    },
    at: normed,
  },
  groupNorm: {
    fn: (x, weight, bias) => core.groupNorm(x, { groups: 2, weight, bias }),
    at: normed,
    order: 2,
  },
  instanceNorm: { fn: (x, weight, bias) => core.instanceNorm(x, { weight, bias }), at: normed },
  layerNorm: {
    fn: (x, weight, bias) => core.layerNorm(x, { weight, bias }),
    at: () => [points([3, 4]), points([4], -1, 1, 2), points([4], -1, 1, 3)],
    order: 2,
  },
  rmsNorm: {
    fn: (x, weight) => core.rmsNorm(x, { weight }),
    at: () => [points([3, 4]), points([4], -1, 1, 2)],
    order: 2,
  },
  rnnCell: { fn: (x, h, w, u, b) => core.rnnCell(x, h, weights(w, u, b)), at: () => cell(1), order: 2 },
  lstmCell: {
    fn: (x, h, w, u, b) => sum(...core.lstmCell(x, [h, core.tanh(h)], weights(w, u, b))),
    at: () => cell(4),
    order: 2,
  },
  gruCell: { fn: (x, h, w, u, b) => core.gruCell(x, h, weights(w, u, b)), at: () => cell(3), order: 2 },
  convTranspose1d: {
    fn: (x, w, b) => core.convTranspose1d(x, w, b, { stride: 2, padding: 1, outputPadding: 1 }),
    at: () => [points([1, 2, 4]), points([2, 3, 3], -1, 1, 2), points([3], -1, 1, 3)],
    order: 2,
  },
  convTranspose2d: {
    fn: (x, w, b) => core.convTranspose2d(x, w, b, { stride: [2, 1], dilation: [1, 2], groups: 2 }),
    at: () => [points([1, 2, 3, 3]), points([2, 1, 2, 2], -1, 1, 2), points([2], -1, 1, 3)],
  },
  convTranspose3d: {
    fn: (x, w, b) => core.convTranspose3d(x, w, b, { stride: [1, 2, 1], padding: [1, 0, 0] }),
    at: () => [points([1, 1, 2, 2, 2]), points([1, 2, 2, 2, 2], -1, 1, 2), points([2], -1, 1, 3)],
  },
  diagonal: {
    fn: (x) => core.diagonal(x, { offset: -1, axis1: 2, axis2: 0 }),
    at: () => [points([3, 2, 3])],
  },
  diag: { fn: (x) => core.exp(core.diag(x, { offset: 1 })), at: () => [points([3])], order: 2 },
  trace: { fn: (x) => core.trace(core.matmul(x, x)), at: () => [points([3, 3])], order: 2 },
  einsum: {
    fn: (a, b) => core.einsum("bij,bkj->ik", a, b),
    at: () => [points([2, 2, 3]), points([2, 4, 3], -1, 1, 2)],
    order: 2,
  },
  glu: { fn: (x) => core.glu(x), at: () => [points([2, 4])], order: 2 },
  norm: { fn: (x) => core.norm(x, { p: 3, axis: 1 }), at: matrix, order: 2 },
  l2Normalize: { fn: (x) => core.l2Normalize(x), at: matrix, order: 2 },
  pad: {
    fn: (x) =>
      core.pad(
        x,
        [
          [1, 0],
          [2, 1],
        ],
        { mode: "reflect" },
      ),
    at: () => [points([3, 4])],
  },
  tile: { fn: (x) => core.tile(x, [2, 1, 3]), at: matrix },
  repeatInterleave: { fn: (x) => core.repeatInterleave(x, [2, 0, 1], { axis: 1 }), at: matrix },
  roll: { fn: (x) => core.mul(core.roll(x, { shifts: 2, axis: 1 }), x), at: matrix, order: 2 },
  rope: { fn: (x) => core.rope(x, { offset: 3, interleaved: true }), at: () => [points([2, 3, 4])] },
  gumbelSoftmax: {
    fn: (x) => core.gumbelSoftmax(x, { tau: 0.7, generator: new core.Generator(5) }),
    at: matrix,
  },
  cumsum: { fn: (x) => core.exp(core.cumsum(x, { axis: 1, reverse: true })), at: matrix, order: 2 },
  cumprod: {
    fn: (x) => core.cumprod(x, { axis: 1 }),
    at: () => [tensorOf([1.5, 0, -2, 0.5], [1, 4], "f64")],
    order: 2,
  },
  cummax: { fn: (x) => core.cummax(x, { axis: 1 }), at: matrix },
  cosineSimilarity: {
    fn: (a, b) => core.cosineSimilarity(a, b),
    at: () => [points([2, 3]), points([2, 3], -1, 1, 2)],
    order: 2,
  },
  cosineEmbeddingLoss: {
    fn: (a, b) => core.cosineEmbeddingLoss(a, b, tensorOf([1, -1], [2]), { margin: -0.9 }),
    at: () => [points([2, 3]), points([2, 3], -1, 1, 2)],
  },
  tripletMarginLoss: {
    fn: (a, p, n) => core.tripletMarginLoss(a, p, n, { margin: 3 }),
    at: () => [points([2, 3]), points([2, 3], -1, 1, 2), points([2, 3], -1, 1, 3)],
  },
  sort: {
    fn: (x) => core.mul(core.sort(x, { axis: 0, descending: true }).values, points([2, 3])),
    at: matrix,
  },
  topk: { fn: (x) => core.square(core.topk(x, { k: 2 }).values), at: matrix, order: 2 },
  unfold: { fn: (x) => core.unfold(x, { kernelSize: 2, padding: 1, stride: 2 }), at: image },
  fold: { fn: (x) => core.fold(x, { outputSize: 3, kernelSize: 2 }), at: () => [points([1, 8, 4])] },
  upsample: { fn: (x) => core.upsample(x, { scaleFactor: 1.5, mode: "bilinear" }), at: image },
  quantizedMatmul: {
    fn: (x) => {
      const weight = Float64Array.from({ length: 64 }, (_, i) => ((i * 7) % 13) - 6);
      return core.quantizedMatmul(x, core.quantize(weight, [2, 32], "q8_0"));
    },
    at: () => [points([2, 32])],
  },
  dropout1d: {
    fn: (x) => core.dropout1d(x, { p: 0.4, generator: new core.Generator(3) }),
    at: () => [points([3, 4, 2])],
  },
  dropout2d: {
    fn: (x) => core.dropout2d(x, { p: 0.4, generator: new core.Generator(3) }),
    at: () => [points([2, 3, 2, 2])],
  },
};

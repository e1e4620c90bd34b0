import * as core from "../../src/index.ts";
import { numbers, tensorOf } from "./helper.ts";

/*
 * One ordinary call of every operation that core exports: what the tests of misuse spoil one argument at a time.
 */

/** Arguments of an ordinary call. */
type Sample = () => readonly unknown[];

const x = (shape: readonly number[] = [2, 3], dtype: core.DType = "f32"): core.Tensor =>
  tensorOf(
    numbers(
      shape.reduce((product, size) => product * size, 1),
      1,
    ).map((value) => (core.isFloat(dtype) ? value : Math.abs(Math.round(value)) % 2)),
    shape,
    dtype,
  );
const index = (shape: readonly number[] = [2, 3]): core.Tensor => x(shape, "i32");

const channelNorm = (): object => ({ weight: x([3]), bias: x([3]), eps: 1e-5 });
const cellWeights = (gates: number): core.CellWeights => ({
  weightInput: x([4 * gates, 3]),
  weightHidden: x([4 * gates, 4]),
  biasInput: x([4 * gates]),
  biasHidden: x([4 * gates]),
});

function each(names: readonly string[], sample: Sample): Readonly<Record<string, Sample>> {
  return Object.fromEntries(names.map((name) => [name, sample]));
}

const UNARY = [
  ...[
    "abs",
    "acos",
    "acosh",
    "asin",
    "asinh",
    "atan",
    "atanh",
    "ceil",
    "cos",
    "cosh",
    "erf",
    "erfc",
    "exp",
    "expm1",
  ],
  ...[
    "floor",
    "isFinite",
    "isInf",
    "isNaN",
    "log",
    "log1p",
    "log2",
    "logicalNot",
    "neg",
    "reciprocal",
    "round",
  ],
  ...["rsqrt", "sign", "sin", "sinh", "sqrt", "square", "tan", "tanh", "trunc"],
  ...[
    "hardSigmoid",
    "hardSwish",
    "logSigmoid",
    "mish",
    "relu",
    "relu6",
    "selu",
    "sigmoid",
    "silu",
    "softsign",
  ],
  ...["clone", "detach", "transpose"],
];
const BINARY = [
  ...[
    "add",
    "atan2",
    "div",
    "equal",
    "floorDivide",
    "greater",
    "greaterEqual",
    "less",
    "lessEqual",
    "logicalAnd",
  ],
  ...[
    "logicalOr",
    "logicalXor",
    "maximum",
    "minimum",
    "mul",
    "notEqual",
    "pow",
    "remainder",
    "squaredDifference",
  ],
  ...["sub", "matmul"],
];
const INTEGER = ["bitwiseAnd", "bitwiseOr", "bitwiseXor", "leftShift", "rightShift"];
const REDUCTIONS = [
  "all",
  "any",
  "argmax",
  "argmin",
  "countNonzero",
  "logSumExp",
  "max",
  "mean",
  "min",
  "prod",
  "sum",
];
const LOSSES = ["bce", "l1Loss", "mseLoss"];
const poolSample =
  (rank: number, extra: object): Sample =>
  () => [
    x([1, 2, 4, 4, 4].slice(0, rank + 2)),
    { kernelSize: 2, stride: 1, padding: 1, ceilMode: true, ...extra },
  ];
const convSample =
  (rank: number): Sample =>
  () => [
    x([1, 2, 4, 4, 4].slice(0, rank + 2)),
    x([2, 2, 2, 2, 2].slice(0, rank + 2)),
    x([2]),
    { stride: 1, padding: 1, dilation: 1, groups: 1 },
  ];
const creation = { dtype: "f32", requiresGrad: false };

/** An ordinary call of every exported operation. */
export const SAMPLES: Readonly<Record<string, Sample>> = {
  ...each(UNARY, () => [x()]),
  ...each(BINARY, () => [x([3, 3]), x([3, 3])]),
  ...each(INTEGER, () => [index(), index()]),
  bitwiseNot: () => [index()],
  ...each(REDUCTIONS, () => [x(), { axis: [0, 1], keepDims: true }]),
  ...each(["var", "std"], () => [x(), { axis: 1, keepDims: false, ddof: 1 }]),
  ...each(["softmax", "logSoftmax"], () => [x(), { axis: 1 }]),
  elu: () => [x(), { alpha: 1 }],
  gelu: () => [x(), { approximate: "tanh" }],
  leakyRelu: () => [x(), { negativeSlope: 0.1 }],
  softplus: () => [x(), { beta: 2 }],
  clip: () => [x(), { min: 0, max: 1 }],
  cast: () => [x(), "f64"],
  where: () => [x([2, 3], "bool"), x(), x()],
  maskedFill: () => [x(), x([2, 3], "bool"), 0],
  dot: () => [x([3]), x([3])],
  outer: () => [x([3]), x([2])],
  linear: () => [x(), x([4, 3]), x([4])],
  conv1d: convSample(1),
  conv2d: convSample(2),
  conv3d: convSample(3),
  ...each(["maxPool1d"], poolSample(1, { dilation: 1 })),
  ...each(["maxPool2d"], poolSample(2, { dilation: 1 })),
  ...each(["maxPool3d"], poolSample(3, { dilation: 1 })),
  ...each(["avgPool1d"], poolSample(1, { countIncludePad: true })),
  ...each(["avgPool2d"], poolSample(2, { countIncludePad: true })),
  ...each(["avgPool3d"], poolSample(3, { countIncludePad: true })),
  ...each(LOSSES, () => [x(), x(), { reduction: "sum" }]),
  bceWithLogits: () => [x(), x(), { reduction: "sum", posWeight: x([3]) }],
  huberLoss: () => [x(), x(), { reduction: "sum", delta: 1 }],
  smoothL1Loss: () => [x(), x(), { reduction: "sum", beta: 1 }],
  klDiv: () => [x(), x(), { reduction: "batchmean", logTarget: true }],
  nllLoss: () => [x(), index([2]), { reduction: "mean", weight: x([3]), ignoreIndex: -1 }],
  crossEntropy: () => [
    x(),
    index([2]),
    { reduction: "mean", weight: x([3]), ignoreIndex: -1, labelSmoothing: 0.1 },
  ],
  dropout: () => [x(), { p: 0.5, training: true, generator: new core.Generator(1) }],
  gather: () => [x(), 1, index([2, 2])],
  scatter: () => [x(), 1, index([2, 2]), x([2, 2])],
  scatterAdd: () => [x(), 1, index([2, 2]), x([2, 2])],
  indexAdd: () => [x(), 1, index([2]), x([2, 2])],
  indexSelect: () => [x(), 1, index([2])],
  take: () => [x(), index([2])],
  embedding: () => [x(), index([2])],
  oneHot: () => [index([2]), 3, { dtype: "f32" }],
  concat: () => [[x(), x()], 1],
  stack: () => [[x(), x()], 1],
  reshape: () => [x(), [3, -1]],
  flatten: () => [x(), 0, 1],
  permute: () => [x(), [1, 0]],
  swapAxes: () => [x(), 0, 1],
  squeeze: () => [x([1, 3]), 0],
  unsqueeze: () => [x(), 0],
  expand: () => [x([2, 1]), [2, 3]],
  slice: () => [x(), [0, 1], { start: 2, end: 0, step: -1 }],
  flip: () => [x(), [0]],
  split: () => [x(), [1, 2], 1],
  chunk: () => [x(), 2, 1],
  tensor: () => [[[1, 2]], creation],
  fromBytes: () => [new Uint8Array(8), [2, 1], creation],
  fromData: () => [Float32Array.of(1, 2), [2, 1], creation],
  zeros: () => [[2, 3], creation],
  ones: () => [[2, 3], creation],
  full: () => [[2, 3], 1, creation],
  zerosLike: () => [x(), creation],
  onesLike: () => [x(), creation],
  fullLike: () => [x(), 1, creation],
  arange: () => [0, 6, 2, creation],
  linspace: () => [0, 1, 5, creation],
  eye: () => [2, 3, creation],
  trilMask: () => [2, 3, 0, { dtype: "bool" }],
  triuMask: () => [2, 3, 0, { dtype: "bool" }],
  parameter: () => [x()],
  ...each(["rand", "randn"], () => [[2, 3], { ...creation, generator: new core.Generator(1) }]),
  randint: () => [0, 5, [2, 3], { generator: new core.Generator(1) }],
  randperm: () => [5, { generator: new core.Generator(1) }],
  bernoulli: () => [[2, 3], 0.5, { generator: new core.Generator(1) }],
  permutation: () => [5, new core.Generator(1)],
  manualSeed: () => [0],
  withGenerator: () => [new core.Generator(1), () => 1],
  withFusion: () => ["off", () => 1],
  assign: () => [x(), x()],
  follow: () => [x(), x()],
  to: () => [x(), core.currentBackend()],
  moveTo: () => [x(), core.currentBackend()],
  ...each(["adaptiveAvgPool1d", "adaptiveMaxPool1d"], () => [x([1, 2, 5]), { outputSize: 3 }]),
  ...each(["adaptiveAvgPool2d", "adaptiveMaxPool2d"], () => [x([1, 2, 5, 4]), { outputSize: [3, 2] }]),
  ...each(["globalAvgPool", "globalMaxPool"], () => [x([1, 2, 3]), { keepDims: true }]),
  alibi: () => [4, 2, 3, creation],
  alibiSlopes: () => [4],
  asStrided: () => [x(), [2, 2], [1, 1], 1],
  at: () => [x(), index([4]), { start: 0, end: 2 }],
  scaledDotProductAttention: () => {
    const [q, kv] = [x([1, 2, 3, 4]), x([1, 2, 5, 4])];
    return [
      q,
      kv,
      kv,
      { mask: x([3, 5], "bool"), causal: false, scale: 0.5, dropout: 0.1, generator: new core.Generator(1) },
    ];
  },
  batchNorm: () => [
    x([2, 3, 4]),
    { ...channelNorm(), runningMean: x([3]), runningVariance: x([3]), momentum: 0.1, training: true },
  ],
  batchNormPure: () => [
    x([2, 3, 4]),
    { ...channelNorm(), runningMean: x([3]), runningVariance: x([3]), momentum: 0.1 },
  ],
  groupNorm: () => [x([2, 3, 4]), { ...channelNorm(), groups: 3 }],
  instanceNorm: () => [x([2, 3, 4]), channelNorm()],
  rnnCell: () => [x([2, 3]), x([2, 4]), cellWeights(1), { nonlinearity: "relu" }],
  lstmCell: () => [x([2, 3]), [x([2, 4]), x([2, 4])], cellWeights(4)],
  gruCell: () => [x([2, 3]), x([2, 4]), cellWeights(3)],
  convTranspose1d: () => [
    x([1, 2, 5]),
    x([2, 1, 3]),
    x([2]),
    { stride: 2, padding: 1, outputPadding: 1, dilation: 1, groups: 2 },
  ],
  convTranspose2d: () => [
    x([1, 2, 5, 5]),
    x([2, 1, 3, 3]),
    x([2]),
    { stride: 2, padding: 1, outputPadding: 1, dilation: 1, groups: 2 },
  ],
  convTranspose3d: () => [
    x([1, 2, 3, 2, 2]),
    x([2, 1, 2, 2, 2]),
    x([2]),
    { stride: 2, padding: 1, outputPadding: 1, dilation: 1, groups: 2 },
  ],
  diagonal: () => [x([2, 3, 4]), { offset: 1, axis1: 0, axis2: 2 }],
  diag: () => [x([3]), { offset: 1 }],
  trace: () => [x([3, 3])],
  einsum: () => ["ij,jk->ik", x([2, 3]), x([3, 4])],
  glu: () => [x([2, 4]), { axis: 1 }],
  layerNorm: () => [x(), { normalizedShape: [3], weight: x([3]), bias: x([3]), eps: 1e-5 }],
  rmsNorm: () => [x(), { normalizedShape: [3], weight: x([3]), eps: 1e-5 }],
  nonzero: () => [x()],
  maskedSelect: () => [x(), x([2, 3], "bool")],
  norm: () => [x(), { p: 3, axis: 1, keepDims: true }],
  l2Normalize: () => [x(), { axis: 1, eps: 1e-6 }],
  pad: () => [x([3]), [[1, 2]], { mode: "constant", value: 1 }],
  quantize: () => [new Float32Array(64), [2, 32], "q8_0", {}],
  quantizedFromBytes: () => [new Uint8Array(68), [2, 32], "q8_0", {}],
  dequantize: () => [core.quantize(new Float32Array(64), [2, 32], "q8_0"), { dtype: "f32" }],
  quantizedMatmul: () => [x([1, 32]), core.quantize(new Float32Array(64), [2, 32], "q4_0")],
  tile: () => [x(), [2, 1]],
  repeatInterleave: () => [x(), [1, 2], { axis: 0 }],
  roll: () => [x(), { shifts: [1, -1], axis: [0, 1] }],
  ropeFrequencies: () => [8, { base: 10000, scaling: { type: "linear", factor: 2 } }],
  ropeTables: () => [4, 8, { base: 10000, scaling: { type: "linear", factor: 2 }, offset: 1, dtype: "f32" }],
  rope: () => [
    x([1, 3, 8]),
    { base: 10000, scaling: { type: "linear", factor: 2 }, offset: 1, interleaved: true },
  ],
  multinomial: () => [core.abs(x()).add(0.1), 2, { replacement: true, generator: new core.Generator(1) }],
  gumbelSoftmax: () => [x(), { tau: 1, hard: true, axis: -1, generator: new core.Generator(1) }],
  ...each(["cumsum", "cumprod", "cummax"], () => [x(), { axis: 1, reverse: true }]),
  cosineSimilarity: () => [x(), x(), { axis: 1, eps: 1e-8 }],
  cosineEmbeddingLoss: () => [x(), x(), tensorOf([1, -1], [2]), { margin: 0.1, reduction: "sum" }],
  tripletMarginLoss: () => [x(), x(), x(), { margin: 1, p: 2, eps: 1e-6, swap: true, reduction: "sum" }],
  ...each(["sort", "argsort"], () => [x(), { axis: 1, descending: true }]),
  topk: () => [x(), { k: 2, axis: 1, largest: false }],
  unfold: () => [x([1, 2, 4, 4]), { kernelSize: 2, stride: 1, padding: 1, dilation: 1 }],
  fold: () => [x([1, 8, 9]), { outputSize: 4, kernelSize: 2, stride: 1, padding: 0, dilation: 1 }],
  upsample: () => [x([1, 2, 3, 3]), { size: [6, 6], mode: "bilinear", alignCorners: true }],
  ...each(["dropout1d"], () => [x([2, 3, 4]), { p: 0.5, training: true, generator: new core.Generator(1) }]),
  ...each(["dropout2d"], () => [
    x([2, 3, 4, 4]),
    { p: 0.5, training: true, generator: new core.Generator(1) },
  ]),
};

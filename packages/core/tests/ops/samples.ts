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
};

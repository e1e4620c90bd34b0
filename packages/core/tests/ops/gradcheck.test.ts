import { beforeAll, describe, expect, it } from "vitest";
import * as core from "../../src/index.ts";
import { type Check, LAYER_CHECKS, points } from "./gradcheck-layers.ts";
import { exportedOps, scoped, setUp, tensorOf, valuesOf } from "./helper.ts";

/*
 * Gradients against central differences in float64 (step 1e-6, atol 1e-5, rtol 1e-3): every differentiable op that
 * core exports to first order, the more intricate ones and composites of them to second order.
 */

type T = core.Tensor;

const matrix = (seed = 1): T => points([2, 3], -1.9, 1.8, seed);
const indices = (values: readonly number[], shape: readonly number[]): T => tensorOf(values, shape, "i32");
const mask = (values: readonly number[], shape: readonly number[]): T => tensorOf(values, shape, "bool");

/** Functions of one matrix, at ordinary points or between bounds. */
function unary(
  names: Readonly<Record<string, (x: T) => T>>,
  low?: number,
  high?: number,
  order?: 1 | 2,
): Checks {
  const at = (): T[] => [points([2, 3], low, high)];
  return Object.fromEntries(
    Object.entries(names).map(([name, fn]) => [name, { fn, at, ...(order && { order }) }]),
  );
}

/** Functions of two operands, one of them broadcast. */
function binary(
  names: Readonly<Record<string, (a: T, b: T) => T>>,
  low?: number,
  high?: number,
  order?: 1 | 2,
): Checks {
  const at = (): T[] => [points([2, 3], low, high, 1), points([3], low, high, 7)];
  return Object.fromEntries(
    Object.entries(names).map(([name, fn]) => [
      name,
      { fn: (a: T, b: T) => fn(a, b), at, ...(order && { order }) },
    ]),
  );
}

type Checks = Readonly<Record<string, Check>>;

const { abs, acos, acosh, asin, asinh, atan, atanh, ceil, cos, cosh, erf, erfc, exp, expm1, floor } = core;
const { log, log1p, log2, neg, reciprocal, round, rsqrt, sign, sin, sinh, sqrt, square, tan, tanh, trunc } =
  core;
const { elu, gelu, hardSigmoid, hardSwish, leakyRelu, logSigmoid, mish, relu, relu6, selu } = core;
const { sigmoid, silu, softplus, softsign } = core;
const { add, atan2, div, floorDivide, maximum, minimum, mul, pow, remainder, squaredDifference, sub } = core;

const ELEMENTWISE: Checks = {
  ...unary({ abs, ceil, floor, neg, round, sign, trunc, leakyRelu, relu, relu6, hardSigmoid, hardSwish }),
  ...unary({ asinh, atan, cos, cosh, erf, erfc, expm1, sinh, sin, square, elu, selu, softsign }),
  ...unary({ exp, tanh, gelu, silu, mish, softplus, sigmoid, logSigmoid }, undefined, undefined, 2),
  ...unary({ log, log2, sqrt, rsqrt, reciprocal }, 0.3, 3, 2),
  ...unary({ log1p, asin, acos, atanh, tan }, -0.8, 0.9),
  ...unary({ acosh }, 1.2, 3),
  "gelu tanh": { fn: (x) => gelu(x, { approximate: "tanh" }), at: () => [matrix()], order: 2 },
  "softplus beta": { fn: (x) => softplus(x, { beta: 2.5 }), at: () => [matrix()] },
  "elu alpha": { fn: (x) => elu(x, { alpha: 0.7 }), at: () => [matrix()], order: 2 },
  ...binary({ add, sub, maximum, minimum, remainder, floorDivide, squaredDifference }),
  ...binary({ mul }, undefined, undefined, 2),
  ...binary({ div, pow, atan2 }, 0.4, 2.6, 2),
  "pow by a number": { fn: (x) => pow(x, 3), at: () => [matrix()], order: 2 },
  "pow of a number": { fn: (x) => pow(2, x), at: () => [matrix()], order: 2 },
  clip: { fn: (x) => core.clip(x, { min: -1, max: 1.2 }), at: () => [matrix()] },
  "clip min": { fn: (x) => core.clip(x, { min: -0.5 }), at: () => [matrix()] },
  where: {
    fn: (a, b) => core.where(mask([1, 0, 1], [3]), mul(a, a), exp(b)),
    at: () => [matrix(), points([2, 1], -1, 1, 5)],
    order: 2,
  },
  maskedFill: { fn: (x) => core.maskedFill(x, mask([1, 0, 0], [3]), 5), at: () => [matrix()] },
  dropout: {
    fn: (x) => core.dropout(x, { p: 0.4, generator: new core.Generator(3) }),
    at: () => [points([4, 4])],
  },
  clone: { fn: (x) => core.clone(x), at: () => [matrix()] },
};

const rank3 = (): T[] => [points([2, 3, 2])];
const positive = (): T[] => [points([2, 3, 2], 0.3, 2.5)];

const REDUCTIONS: Checks = {
  sum: { fn: (x) => core.sum(mul(x, x), { axis: [0, 2] }), at: rank3, order: 2 },
  mean: { fn: (x) => core.mean(x, { axis: 1 }), at: rank3 },
  max: { fn: (x) => core.max(x, { axis: 1 }), at: rank3 },
  min: { fn: (x) => core.min(x, { axis: [0, 2], keepDims: true }), at: rank3 },
  prod: { fn: (x) => core.prod(x, { axis: 1 }), at: positive, order: 2 },
  "prod with zeros": {
    fn: (x) => core.prod(x, { axis: 1 }),
    // No, one, two and three zeros in a row.
    at: () => [tensorOf([0.5, 2, -1, 0, 2, 1.5, 0, 0, 3, 0, 0, 0], [4, 3], "f64")],
    order: 2,
  },
  logSumExp: { fn: (x) => core.logSumExp(x, { axis: 1 }), at: rank3, order: 2 },
  var: { fn: (x) => core.var(x, { axis: [1, 2] }), at: rank3, order: 2 },
  std: { fn: (x) => core.std(x, { axis: 2, ddof: 0, keepDims: true }), at: rank3, order: 2 },
};

const LINEAR: Checks = {
  matmul: { fn: (a, b) => core.matmul(a, b), at: () => [points([2, 1, 2, 3]), points([2, 3, 2])], order: 2 },
  "matmul of vectors": { fn: (a, b) => core.matmul(a, b), at: () => [points([3]), points([3, 2], -1, 1, 3)] },
  dot: { fn: (a, b) => core.dot(a, b), at: () => [points([4]), points([4], -1, 1, 3)], order: 2 },
  outer: { fn: (a, b) => core.outer(a, b), at: () => [points([3]), points([2])] },
  linear: {
    fn: (x, weight, bias) => core.linear(x, weight, bias),
    at: () => [points([2, 2, 3]), points([4, 3]), points([4])],
  },
};

const image = (): T => points([2, 2, 5, 4]);

const WINDOWS: Checks = {
  conv1d: {
    fn: (x, w, b) => core.conv1d(x, w, b, { stride: 2, padding: 1, groups: 2 }),
    at: () => [points([2, 4, 5]), points([2, 2, 3]), points([2])],
    order: 2,
  },
  conv2d: {
    fn: (x, w, b) => core.conv2d(x, w, b, { stride: [2, 1], padding: [1, 0], dilation: [1, 2] }),
    at: () => [points([1, 2, 4, 5]), points([2, 2, 2, 2]), points([2])],
    order: 2,
  },
  conv3d: {
    fn: (x, w) => core.conv3d(x, w, undefined, { padding: "same" }),
    at: () => [points([1, 1, 2, 3, 2]), points([1, 1, 2, 2, 1])],
  },
  maxPool1d: {
    fn: (x) => core.maxPool1d(x, { kernelSize: 2, ceilMode: true }),
    at: () => [points([1, 2, 5])],
  },
  maxPool2d: {
    fn: (x) => core.maxPool2d(mul(x, x), { kernelSize: 3, stride: 1, padding: 1 }),
    at: () => [points([1, 1, 4, 4], 0.2, 3)],
    order: 2,
  },
  maxPool3d: { fn: (x) => core.maxPool3d(x, { kernelSize: [1, 2, 2] }), at: () => [points([1, 1, 2, 3, 4])] },
  avgPool1d: { fn: (x) => core.avgPool1d(x, { kernelSize: 3, padding: 1 }), at: () => [points([1, 2, 5])] },
  avgPool2d: {
    fn: (x) =>
      core.avgPool2d(exp(x), {
        kernelSize: 2,
        stride: [1, 2],
        padding: 1,
        ceilMode: true,
        countIncludePad: false,
      }),
    at: () => [points([1, 2, 3, 4])],
    order: 2,
  },
  avgPool3d: { fn: (x) => core.avgPool3d(x, { kernelSize: 2 }), at: () => [points([1, 1, 2, 3, 4])] },
};

const classes = (): T => indices([2, 0, 1], [3]);
const logits = (): T[] => [points([3, 4])];
const pair = (): T[] => [points([2, 3], -1.9, 1.8, 1), points([2, 3], -1.1, 1.3, 9)];
const shares = (): T[] => [points([2, 3], 0.1, 0.9, 1), points([2, 3], 0.1, 0.9, 9)];

const LOSSES: Checks = {
  softmax: { fn: (x) => core.softmax(x, { axis: 1 }), at: rank3, order: 2 },
  logSoftmax: { fn: (x) => core.logSoftmax(x, { axis: 0 }), at: rank3, order: 2 },
  crossEntropy: { fn: (x) => core.crossEntropy(x, classes(), { labelSmoothing: 0.1 }), at: logits, order: 2 },
  "crossEntropy weighted": {
    fn: (x) => core.crossEntropy(x, classes(), { weight: points([4], 0.5, 2), ignoreIndex: 1 }),
    at: logits,
    order: 2,
  },
  "crossEntropy with probabilities": {
    fn: (x, target) => core.crossEntropy(x, target),
    at: () => [points([3, 4]), points([3, 4], 0.1, 0.9)],
    order: 2,
  },
  nllLoss: { fn: (x) => core.nllLoss(x, classes(), { reduction: "sum" }), at: logits },
  mseLoss: { fn: (x, y) => core.mseLoss(x, y), at: pair, order: 2 },
  l1Loss: { fn: (x, y) => core.l1Loss(x, y, { reduction: "none" }), at: pair },
  huberLoss: { fn: (x, y) => core.huberLoss(x, y, { delta: 0.8 }), at: pair, order: 2 },
  smoothL1Loss: { fn: (x, y) => core.smoothL1Loss(x, y, { beta: 0.6 }), at: pair },
  bce: { fn: (x, y) => core.bce(x, y), at: shares, order: 2 },
  bceWithLogits: { fn: (x, y) => core.bceWithLogits(x, y, { posWeight: 2 }), at: pair, order: 2 },
  klDiv: { fn: (x, y) => core.klDiv(log(x), y), at: shares, order: 2 },
};

const MOVEMENT: Checks = {
  gather: {
    fn: (x) => core.gather(mul(x, x), 1, indices([0, 0, 2, 1], [2, 2])),
    at: () => [matrix()],
    order: 2,
  },
  scatterAdd: {
    fn: (x, y) => exp(core.scatterAdd(x, 1, indices([0, 0, 2, 1], [2, 2]), y)),
    at: () => [matrix(), points([2, 2], -1, 1, 4)],
    order: 2,
  },
  scatter: {
    fn: (x, y) => core.scatter(x, 1, indices([0, 1, 2, 1], [2, 2]), y),
    at: () => [matrix(), points([2, 2], -1, 1, 4)],
  },
  indexAdd: {
    fn: (x, y) => core.indexAdd(x, 1, indices([2, 2], [2]), y),
    at: () => [matrix(), points([2, 2], -1, 1, 4)],
  },
  indexSelect: { fn: (x) => core.indexSelect(x, 1, indices([2, 0, 2], [3])), at: () => [matrix()] },
  take: { fn: (x) => core.take(x, indices([5, 0, 5, 2], [2, 2])), at: () => [matrix()] },
  embedding: { fn: (x) => core.embedding(x, indices([1, 0, 1], [3, 1])), at: () => [matrix()] },
  concat: {
    fn: (a, b) => core.concat([mul(a, a), b, a], 1),
    at: () => [matrix(), points([2, 1], -1, 1, 4)],
    order: 2,
  },
  stack: { fn: (a, b) => core.stack([a, b], -1), at: pair },
  reshape: { fn: (x) => core.reshape(core.permute(x, [2, 0, 1]), [3, -1]), at: rank3 },
  flatten: { fn: (x) => core.flatten(x, 1), at: rank3 },
  permute: { fn: (x) => core.permute(x, [2, 0, 1]), at: rank3 },
  transpose: { fn: (x) => core.transpose(x), at: rank3 },
  swapAxes: { fn: (x) => core.swapAxes(x, 0, 2), at: rank3 },
  squeeze: { fn: (x) => core.squeeze(x), at: () => [points([1, 3, 1])] },
  unsqueeze: { fn: (x) => core.unsqueeze(x, [0, -1]), at: () => [matrix()] },
  expand: { fn: (x) => core.expand(x, [2, 3, 4]), at: () => [points([3, 1])] },
  slice: { fn: (x) => core.slice(x, { step: -1 }, [1, 3], 0), at: rank3 },
  flip: { fn: (x) => core.flip(x, [0, 2]), at: rank3 },
  split: { fn: (x) => mul(core.split(x, [1, 2], 1)[1]!, 2), at: () => [matrix()] },
  chunk: { fn: (x) => mul(core.chunk(x, 2, 1)[0]!, 2), at: () => [matrix()] },
};

function layerNorm(x: T, weight: T, bias: T): T {
  const centred = sub(x, core.mean(x, { axis: -1, keepDims: true }));
  const variance = core.var(x, { axis: -1, keepDims: true, ddof: 0 });
  return add(mul(mul(centred, rsqrt(add(variance, 1e-5))), weight), bias);
}

/** Causal attention, `[batch, positions, width]` each. */
function attention(q: T, k: T, v: T): T {
  const scores = mul(core.matmul(q, core.transpose(k)), 1 / Math.sqrt(q.shape.at(-1)!));
  const hidden = core.triuMask(q.shape[1]!, k.shape[1], 1);
  return core.matmul(core.softmax(core.maskedFill(scores, hidden, -Infinity)), v);
}

const COMPOSITES: Checks = {
  "layer norm": { fn: layerNorm, at: () => [points([2, 4]), points([4], 0.5, 2), points([4])], order: 2 },
  attention: {
    fn: attention,
    at: () => [points([1, 3, 2]), points([1, 3, 2], -1, 1, 3), points([1, 3, 2], -2, 2, 5)],
    order: 2,
  },
  "gated cell": {
    fn: (x, h, w) => {
      const [gate, candidate] = core.chunk(core.matmul(core.concat([x, h], 1), w), 2, 1) as [T, T];
      const open = sigmoid(gate);
      return add(mul(open, h), mul(sub(1, open), tanh(candidate)));
    },
    at: () => [points([2, 2]), points([2, 2], -1, 1, 3), points([4, 4])],
    order: 2,
  },
  "small convolutional network": {
    fn: (x, w, v) => {
      const features = core.maxPool2d(tanh(core.conv2d(x, w)), { kernelSize: 2, stride: 1 });
      return core.crossEntropy(core.matmul(core.flatten(features, 1), v), indices([1, 0], [2]));
    },
    at: () => [image(), points([1, 2, 2, 2]), points([6, 2])],
    order: 2,
  },
};

const CHECKS: Checks = {
  ...LAYER_CHECKS,
  ...ELEMENTWISE,
  ...REDUCTIONS,
  ...LINEAR,
  ...WINDOWS,
  ...LOSSES,
  ...MOVEMENT,
};

/** Operations without a gradient to check here. */
const OTHERS: readonly string[] = [
  // Results without a gradient: truth, positions, counts, integers.
  ...[
    "isNaN",
    "isInf",
    "isFinite",
    "logicalNot",
    "logicalAnd",
    "logicalOr",
    "logicalXor",
    "equal",
    "notEqual",
  ],
  ...["less", "lessEqual", "greater", "greaterEqual", "bitwiseNot", "bitwiseAnd", "bitwiseOr", "bitwiseXor"],
  ...["leftShift", "rightShift", "any", "all", "argmax", "argmin", "countNonzero", "oneHot"],
  // Conversion needs two dtypes, gradcheck takes f64 alone; detach has none by design. Both are tested below.
  ...["cast", "detach"],
  // Made of numbers, of positions, or read to the host.
  ...[
    "alibi",
    "alibiSlopes",
    "ropeFrequencies",
    "ropeTables",
    "multinomial",
    "argsort",
    "nonzero",
    "maskedSelect",
  ],
  // Quantised weights are constants.
  ...["quantize", "quantizedFromBytes", "dequantize"],
];

/** Files of operations that make tensors, or write, move and configure them. */
const UNDIFFERENTIATED: readonly string[] = [
  "apply",
  "create",
  "from-bytes",
  "options",
  "random",
  "transfer",
  "update",
];

beforeAll(setUp);

describe("gradcheck", () => {
  it("covers every differentiable op that core exports", () => {
    const covered = new Set(Object.keys(CHECKS).map((name) => name.split(" ")[0]));
    const exported = exportedOps(UNDIFFERENTIATED);
    const missing = exported.filter((name) => !covered.has(name) && !OTHERS.includes(name));
    expect(
      missing,
      "add each to CHECKS in packages/core/tests/ops/gradcheck.test.ts (layers: gradcheck-layers.ts), or to OTHERS if it has no derivative",
    ).toEqual([]);
    const unknown = [...covered, ...OTHERS].filter((name) => !exported.includes(name as string));
    expect(
      unknown,
      "core exports none of these: take them out of gradcheck.test.ts or gradcheck-layers.ts",
    ).toEqual([]);
  });

  it("covers at least 20 functions to second order", () => {
    const second = Object.values({ ...CHECKS, ...COMPOSITES }).filter(({ order }) => order === 2);
    expect(second.length).toBeGreaterThanOrEqual(40);
  });

  it.each(Object.entries({ ...CHECKS, ...COMPOSITES }))("%s", async (_name, { fn, at, order = 1 }) => {
    const inputs = at();
    await core.gradcheck(fn, inputs);
    if (order === 2) await core.gradcheck(fn, inputs, { order: 2 });
    for (const input of inputs) input.dispose();
  });

  it("fails for a wrong gradient, naming the input and the element", async () => {
    const scale = points([2, 2]);
    const wrong = (x: T, y: T): T => mul(mul(x, core.stopGradient(x)), y);
    await expect(core.gradcheck(wrong, [scale, scale])).rejects.toThrow(
      /gradcheck: input 0 of shape \[2, 2\], element 0: gradient .*, central difference/,
    );
    const wrongSecond = (x: T): T => mul(core.stopGradient(square(x)), x);
    await expect(core.gradcheck(wrongSecond, [scale], { order: 2 })).rejects.toThrow(core.GradientError);
    scale.dispose();
  });
});

describe("gradients that gradcheck cannot see", () => {
  it.each([
    ["f32", "f64"],
    ["f64", "f32"],
    ["f32", "f16"],
    ["f16", "f32"],
    ["bf16", "f64"],
  ] as const)("cast %s to %s hands the gradient back in the input's dtype", (from, to) => {
    scoped(() => {
      const x = tensorOf([1, -2, 3], [3], from, true);
      const y = x.cast(to);
      expect(y.dtype).toBe(to);
      y.mul(2).sum().backward();
      expect(x.grad?.dtype).toBe(from);
      expect(valuesOf(x.grad!)).toEqual([2, 2, 2]);
    })();
  });

  it(
    "no gradient passes through integers, detach, stopGradient and comparisons",
    scoped(() => {
      const x = tensorOf([1.5, -2, 3], [3], "f32", true);
      const cut = [
        x.cast("i32"),
        core.detach(x),
        core.stopGradient(x),
        core.greater(x, 0),
        core.argmax(x),
        core.any(x),
      ];
      for (const result of cut) expect(result.requiresGrad).toBe(false);
    }),
  );
});

import type { Expr } from "../scalar/expr.ts";
import * as s from "../scalar/expr.ts";
import type { Tensor } from "../tensor/tensor.ts";
import { callElementwise, type Elementwise, elementwise, type UnaryFunction, unary } from "./elementwise.ts";
import { checkChoice, checkNumber, checkOptions } from "./options.ts";

const SQRT_HALF = Math.SQRT1_2;
const SQRT_TWO_OVER_PI = Math.sqrt(2 / Math.PI);
const INVERSE_SQRT_TWO_PI = 1 / Math.sqrt(2 * Math.PI);

/** 1 / (1 + e^-x), without overflow on either side. Its derivative is y (1 - y). */
export function sigmoidExpr(x: Expr): Expr {
  const small = s.exp(s.neg(s.abs(x)));
  const upper = s.div(s.constant(1, x.dtype), s.add(small, 1));
  const y = s.select(s.lt(x, 0), s.mul(small, upper), upper);
  return s.stated(y, [x], [s.mul(y, s.sub(1, y))]);
}

/** log(1 + e^x), without overflow. Its derivative is sigmoid(x). */
export function softplusExpr(x: Expr): Expr {
  const y = s.add(s.max(x, 0), s.log1p(s.exp(s.neg(s.abs(x)))));
  return s.stated(y, [x], [sigmoidExpr(x)]);
}

/** max(x, 0) with derivative 0 at 0. NaN stays. */
export function reluExpr(x: Expr): Expr {
  const y = s.max(x, 0);
  return s.stated(y, [x], [step(y)]);
}

/** 0 where y is 0 or less, else 1 (also for NaN). */
function step(y: Expr): Expr {
  return s.select(s.le(y, 0), s.constant(0, y.dtype), s.constant(1, y.dtype));
}

/** x, limited to [low, high], with derivative 0 on the limits and outside. */
function limited(x: Expr, low: number, high: number): Expr {
  const inside = s.and(s.gt(x, low), s.lt(x, high));
  const one = s.constant(1, x.dtype);
  return s.stated(s.min(s.max(x, low), high), [x], [s.select(inside, one, 0)]);
}

/** 1 / (1 + e^-x). */
export const sigmoid: UnaryFunction = /* @__PURE__ */ unary("sigmoid", sigmoidExpr);
/** max(x, 0); gradient 0 at 0; NaN stays. */
export const relu: UnaryFunction = /* @__PURE__ */ unary("relu", reluExpr, "same", ["float", "int"]);
/** min(max(x, 0), 6). */
export const relu6: UnaryFunction = /* @__PURE__ */ unary("relu6", (x) => limited(x, 0, 6), "same", [
  "float",
  "int",
]);
/** x · sigmoid(x). Elfwing et al. 2017. */
export const silu: UnaryFunction = /* @__PURE__ */ unary("silu", (x) => s.mul(x, sigmoidExpr(x)));
/** x · tanh(softplus(x)). Misra 2019. */
export const mish: UnaryFunction = /* @__PURE__ */ unary("mish", (x) => s.mul(x, s.tanh(softplusExpr(x))));
/** log(sigmoid(x)) = -softplus(-x). */
export const logSigmoid: UnaryFunction = /* @__PURE__ */ unary("logSigmoid", (x) =>
  s.neg(softplusExpr(s.neg(x))),
);
/** x / (1 + |x|). */
export const softsign: UnaryFunction = /* @__PURE__ */ unary("softsign", (x) => s.div(x, s.add(s.abs(x), 1)));
/** min(max(x + 3, 0), 6) / 6. */
export const hardSigmoid: UnaryFunction = /* @__PURE__ */ unary("hardSigmoid", (x) =>
  s.div(limited(s.add(x, 3), 0, 6), 6),
);
/** x · min(max(x + 3, 0), 6) / 6. */
export const hardSwish: UnaryFunction = /* @__PURE__ */ unary("hardSwish", (x) => {
  const value = s.mul(x, s.div(limited(s.add(x, 3), 0, 6), 6));
  const inside = s.add(s.div(x, 3), 0.5);
  return s.stated(value, [x], [s.select(s.le(x, -3), 0, s.select(s.lt(x, 3), inside, 1))]);
});

/** x above 0, alpha (e^x - 1) below. At 0 the derivative is that of the exponential, the second one 0, as in PyTorch. */
function eluExpr(x: Expr, alpha: Expr): Expr {
  const low = s.min(x, 0);
  const zero = s.constant(0, x.dtype);
  const slope = s.mul(s.exp(low), alpha);
  const second = s.select(s.lt(x, 0), slope, zero);
  const first = s.stated(s.select(s.gt(x, 0), s.constant(1, x.dtype), slope), [x], [second]);
  return s.stated(s.select(s.gt(x, 0), x, s.mul(s.expm1(low), alpha)), [x], [first]);
}

const SELU_ALPHA = 1.6732632423543772;
const SELU_SCALE = 1.0507009873554805;

/** Scaled exponential linear unit with its fixed constants. Klambauer et al. 2017. */
export const selu: UnaryFunction = /* @__PURE__ */ unary("selu", (x) =>
  s.mul(eluExpr(x, s.constant(SELU_ALPHA, x.dtype)), SELU_SCALE),
);

const GELU_EXACT: Elementwise = /* @__PURE__ */ elementwise({
  name: "gelu",
  result: "float",
  body: ([x]) => {
    const input = x as Expr;
    const distribution = s.mul(s.erfc(s.mul(input, -SQRT_HALF)), 0.5);
    const density = s.mul(s.exp(s.mul(s.mul(input, input), -0.5)), INVERSE_SQRT_TWO_PI);
    return s.stated(s.mul(input, distribution), [input], [s.add(distribution, s.mul(input, density))]);
  },
});

const GELU_TANH: Elementwise = /* @__PURE__ */ elementwise({
  name: "gelu",
  result: "float",
  body: ([x]) => {
    const input = x as Expr;
    const cube = s.mul(input, s.mul(input, input));
    const inner = s.mul(s.add(input, s.mul(cube, 0.044715)), SQRT_TWO_OVER_PI);
    return s.mul(s.mul(input, 0.5), s.add(s.tanh(inner), 1));
  },
});

/**
 * x · Φ(x), Φ the normal distribution function; `approximate: "tanh"` is GPT-2's formula. Hendrycks and Gimpel 2016.
 */
export function gelu<K>(x: Tensor<K>, options: { readonly approximate?: "none" | "tanh" } = {}): Tensor<K> {
  checkOptions("gelu", options, ["approximate"]);
  const form = checkChoice("gelu", "approximate", options.approximate ?? "none", ["none", "tanh"]);
  return callElementwise(form === "tanh" ? GELU_TANH : GELU_EXACT, [x]);
}

const LEAKY: Elementwise = /* @__PURE__ */ elementwise({
  name: "leakyRelu",
  result: "float",
  body: ([x, slope]) => s.select(s.gt(x as Expr, 0), x as Expr, s.mul(x as Expr, slope as Expr)),
});

/** x above 0, `negativeSlope` (default 0.01) times x below. */
export function leakyRelu<K>(x: Tensor<K>, options: { readonly negativeSlope?: number } = {}): Tensor<K> {
  checkOptions("leakyRelu", options, ["negativeSlope"]);
  return callElementwise(LEAKY, [
    x,
    checkNumber("leakyRelu", "negativeSlope", options.negativeSlope ?? 0.01),
  ]);
}

const ELU: Elementwise = /* @__PURE__ */ elementwise({
  name: "elu",
  result: "float",
  body: ([x, alpha]) => eluExpr(x as Expr, alpha as Expr),
});

/** x above 0, `alpha` (default 1) times (e^x - 1) below. Clevert et al. 2015. */
export function elu<K>(x: Tensor<K>, options: { readonly alpha?: number } = {}): Tensor<K> {
  checkOptions("elu", options, ["alpha"]);
  return callElementwise(ELU, [x, checkNumber("elu", "alpha", options.alpha ?? 1)]);
}

const SOFTPLUS: Elementwise = /* @__PURE__ */ elementwise({
  name: "softplus",
  result: "float",
  body: ([x, beta]) => s.div(softplusExpr(s.mul(x as Expr, beta as Expr)), beta as Expr),
});

/** log(1 + e^(beta x)) / beta, `beta` default 1. Stable at every size of x. */
export function softplus<K>(x: Tensor<K>, options: { readonly beta?: number } = {}): Tensor<K> {
  checkOptions("softplus", options, ["beta"]);
  return callElementwise(SOFTPLUS, [x, checkNumber("softplus", "beta", options.beta ?? 1)]);
}

import * as s from "../scalar/expr.ts";
import { isFloatExpr, type UnaryFunction, unary } from "./elementwise.ts";

/** Absolute value; gradient 0 at 0. */
export const abs: UnaryFunction = /* @__PURE__ */ unary("abs", s.abs, "same", ["float", "int"]);
/** Sign change. */
export const neg: UnaryFunction = /* @__PURE__ */ unary("neg", s.neg, "same", ["float", "int"]);
/** -1, 0 or 1; 0 for NaN, as in PyTorch. Its gradient is 0. */
export const sign: UnaryFunction = /* @__PURE__ */ unary(
  "sign",
  (x) => (isFloatExpr(x) ? s.select(s.isNaN(x), 0, s.sign(x)) : s.sign(x)),
  "same",
  ["float", "int"],
);
/** x². */
export const square: UnaryFunction = /* @__PURE__ */ unary("square", (x) => s.mul(x, x), "same", [
  "float",
  "int",
]);
/** e to the x. */
export const exp: UnaryFunction = /* @__PURE__ */ unary("exp", s.exp);
/** e to the x, minus 1, exact near 0. */
export const expm1: UnaryFunction = /* @__PURE__ */ unary("expm1", s.expm1);
/** Natural logarithm. */
export const log: UnaryFunction = /* @__PURE__ */ unary("log", s.log);
/** log(1 + x), exact near 0. */
export const log1p: UnaryFunction = /* @__PURE__ */ unary("log1p", s.log1p);
/** Logarithm to base 2. */
export const log2: UnaryFunction = /* @__PURE__ */ unary("log2", s.log2);
/** Square root. */
export const sqrt: UnaryFunction = /* @__PURE__ */ unary("sqrt", s.sqrt);
/** 1 / √x. Its derivative is -y³ / 2. */
export const rsqrt: UnaryFunction = /* @__PURE__ */ unary("rsqrt", (x) => {
  const y = s.div(s.constant(1, x.dtype), s.sqrt(x));
  return s.stated(y, [x], [s.mul(s.mul(y, s.mul(y, y)), -0.5)]);
});
/** 1 / x. Its derivative is -y². */
export const reciprocal: UnaryFunction = /* @__PURE__ */ unary("reciprocal", (x) => {
  const y = s.div(s.constant(1, x.dtype), x);
  return s.stated(y, [x], [s.neg(s.mul(y, y))]);
});
/** Sine of radians. */
export const sin: UnaryFunction = /* @__PURE__ */ unary("sin", s.sin);
/** Cosine of radians. */
export const cos: UnaryFunction = /* @__PURE__ */ unary("cos", s.cos);
/** Tangent of radians. */
export const tan: UnaryFunction = /* @__PURE__ */ unary("tan", s.tan);
/** Inverse sine. */
export const asin: UnaryFunction = /* @__PURE__ */ unary("asin", s.asin);
/** Inverse cosine. */
export const acos: UnaryFunction = /* @__PURE__ */ unary("acos", s.acos);
/** Inverse tangent. */
export const atan: UnaryFunction = /* @__PURE__ */ unary("atan", s.atan);
/** Hyperbolic sine. */
export const sinh: UnaryFunction = /* @__PURE__ */ unary("sinh", s.sinh);
/** Hyperbolic cosine. */
export const cosh: UnaryFunction = /* @__PURE__ */ unary("cosh", s.cosh);
/** Hyperbolic tangent. */
export const tanh: UnaryFunction = /* @__PURE__ */ unary("tanh", s.tanh);
/** Inverse hyperbolic sine. */
export const asinh: UnaryFunction = /* @__PURE__ */ unary("asinh", s.asinh);
/** Inverse hyperbolic cosine. */
export const acosh: UnaryFunction = /* @__PURE__ */ unary("acosh", s.acosh);
/** Inverse hyperbolic tangent. */
export const atanh: UnaryFunction = /* @__PURE__ */ unary("atanh", s.atanh);
/** Error function, 2/√π ∫₀ˣ exp(-t²) dt. */
export const erf: UnaryFunction = /* @__PURE__ */ unary("erf", s.erf);
/** 1 - erf(x), exact in the tail. */
export const erfc: UnaryFunction = /* @__PURE__ */ unary("erfc", s.erfc);
/** Greatest whole number not above. Its gradient is 0. */
export const floor: UnaryFunction = /* @__PURE__ */ unary("floor", s.floor, "same", ["float"]);
/** Least whole number not below. Its gradient is 0. */
export const ceil: UnaryFunction = /* @__PURE__ */ unary("ceil", s.ceil, "same", ["float"]);
/** Nearest whole number, half to even. Its gradient is 0. */
export const round: UnaryFunction = /* @__PURE__ */ unary("round", s.round, "same", ["float"]);
/** Whole part, towards zero. Its gradient is 0. */
export const trunc: UnaryFunction = /* @__PURE__ */ unary("trunc", s.trunc, "same", ["float"]);
/** Whether x is NaN. */
export const isNaN: UnaryFunction = /* @__PURE__ */ unary("isNaN", s.isNaN, "bool", ["float"]);
/** Whether x is plus or minus infinity. */
export const isInf: UnaryFunction = /* @__PURE__ */ unary("isInf", s.isInf, "bool", ["float"]);
/** Whether x is neither NaN nor infinite. */
export const isFinite: UnaryFunction = /* @__PURE__ */ unary(
  "isFinite",
  (x) => s.not(s.or(s.isNaN(x), s.isInf(x))),
  "bool",
  ["float"],
);
/** Whether x is 0 (or false). */
export const logicalNot: UnaryFunction = /* @__PURE__ */ unary(
  "logicalNot",
  (x) => s.not(s.cast(x, "bool")),
  "bool",
);
/** Bitwise complement of integers; logical for bool. */
export const bitwiseNot: UnaryFunction = /* @__PURE__ */ unary("bitwiseNot", s.not, "same", ["int", "bool"]);

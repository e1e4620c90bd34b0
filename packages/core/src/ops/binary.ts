import type { Expr } from "../scalar/expr.ts";
import * as s from "../scalar/expr.ts";
import { type BinaryFunction, binary, isFloatExpr } from "./elementwise.ts";

/** A divisor that fails the call when it is an integer 0. */
const nonZero = (x: Expr): Expr => s.check(x, s.ne(x, 0), "integer division by zero");

/** a + b. */
export const add: BinaryFunction = /* @__PURE__ */ binary("add", s.add, "same", ["float", "int"]);
/** a - b. */
export const sub: BinaryFunction = /* @__PURE__ */ binary("sub", s.sub, "same", ["float", "int"]);
/** a · b, elementwise. */
export const mul: BinaryFunction = /* @__PURE__ */ binary("mul", s.mul, "same", ["float", "int"]);
/** a / b, always a float. */
export const div: BinaryFunction = /* @__PURE__ */ binary("div", s.div, "float");
/** a to the power b, for integers an f32. Gradient of a is 0 where b is 0, that of b is 0 where a is 0. */
export const pow: BinaryFunction = /* @__PURE__ */ binary("pow", s.pow, "float");
/** Greater of a and b; NaN if either is. Equal operands share the gradient. */
export const maximum: BinaryFunction = /* @__PURE__ */ binary("maximum", s.max, "same", ["float", "int"]);
/** Lesser of a and b; NaN if either is. Equal operands share the gradient. */
export const minimum: BinaryFunction = /* @__PURE__ */ binary("minimum", s.min, "same", ["float", "int"]);
/** Angle of the point (b, a) in radians. */
export const atan2: BinaryFunction = /* @__PURE__ */ binary("atan2", s.atan2, "float");
/** Remainder with the sign of b. An integer b of 0 throws. */
export const remainder: BinaryFunction = /* @__PURE__ */ binary(
  "remainder",
  (a, b) => (isFloatExpr(a) ? s.mod(a, b) : s.mod(a, nonZero(b))),
  "same",
  ["float", "int"],
);
/**
 * The quotient that goes with {@link remainder}, so that 1 by 0.1 is 9, where the rounded quotient is 10. PyTorch's at
 * the ends: an infinite a gives NaN, an infinite b gives 0 or -1.
 */
function floorQuotient(a: Expr, b: Expr): Expr {
  const rest = s.mod(a, b);
  const byInfinity = s.select(s.isInf(rest), -1, s.mul(rest, 0));
  const whole = s.select(s.isInf(b), byInfinity, s.round(s.div(s.sub(a, rest), b)));
  return s.floor(s.select(s.eq(b, 0), s.div(a, b), whole));
}

/** a / b rounded towards minus infinity. An integer b of 0 throws. Its gradient is 0. */
export const floorDivide: BinaryFunction = /* @__PURE__ */ binary(
  "floorDivide",
  (a, b) => (isFloatExpr(a) ? floorQuotient(a, b) : s.floorDiv(a, nonZero(b))),
  "same",
  ["float", "int"],
);
/** (a - b)². */
export const squaredDifference: BinaryFunction = /* @__PURE__ */ binary(
  "squaredDifference",
  (a, b) => {
    const difference = s.sub(a, b);
    return s.mul(difference, difference);
  },
  "same",
  ["float", "int"],
);

/** a == b. NaN equals nothing. */
export const equal: BinaryFunction = /* @__PURE__ */ binary("equal", s.eq, "bool");
/** a != b. */
export const notEqual: BinaryFunction = /* @__PURE__ */ binary("notEqual", s.ne, "bool");
/** a < b. */
export const less: BinaryFunction = /* @__PURE__ */ binary("less", s.lt, "bool");
/** a <= b. */
export const lessEqual: BinaryFunction = /* @__PURE__ */ binary("lessEqual", s.le, "bool");
/** a > b. */
export const greater: BinaryFunction = /* @__PURE__ */ binary("greater", s.gt, "bool");
/** a >= b. */
export const greaterEqual: BinaryFunction = /* @__PURE__ */ binary("greaterEqual", s.ge, "bool");

const truth = (x: Expr): Expr => s.cast(x, "bool");
/** Whether both are true (not 0). */
export const logicalAnd: BinaryFunction = /* @__PURE__ */ binary(
  "logicalAnd",
  (a, b) => s.and(truth(a), truth(b)),
  "bool",
);
/** Whether at least one is true (not 0). */
export const logicalOr: BinaryFunction = /* @__PURE__ */ binary(
  "logicalOr",
  (a, b) => s.or(truth(a), truth(b)),
  "bool",
);
/** Whether exactly one is true (not 0). */
export const logicalXor: BinaryFunction = /* @__PURE__ */ binary(
  "logicalXor",
  (a, b) => s.xor(truth(a), truth(b)),
  "bool",
);
/** Bitwise and of integers; logical for bool. */
export const bitwiseAnd: BinaryFunction = /* @__PURE__ */ binary("bitwiseAnd", s.and, "same", [
  "int",
  "bool",
]);
/** Bitwise or of integers; logical for bool. */
export const bitwiseOr: BinaryFunction = /* @__PURE__ */ binary("bitwiseOr", s.or, "same", ["int", "bool"]);
/** Bitwise exclusive or of integers; logical for bool. */
export const bitwiseXor: BinaryFunction = /* @__PURE__ */ binary("bitwiseXor", s.xor, "same", [
  "int",
  "bool",
]);
/** Bits of a moved up by b. */
export const leftShift: BinaryFunction = /* @__PURE__ */ binary("leftShift", s.shl, "same", ["int"]);
/** Bits of a moved down by b; arithmetic for signed integers. */
export const rightShift: BinaryFunction = /* @__PURE__ */ binary("rightShift", s.shr, "same", ["int"]);

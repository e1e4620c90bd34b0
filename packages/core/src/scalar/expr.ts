import type { ComputeDType } from "../dtype.ts";
import { DTypeError } from "../errors.ts";
import type { ScalarOp } from "./ops.ts";
import { SCALAR_OPS } from "./ops.ts";

/**
 * A node of a scalar program: one value at one point of an iteration space. Nodes are immutable and shared; what a
 * leaf stands for is in `value` (the constant, the number of the input or parameter, the axis, the check's code).
 */
export interface Expr {
  readonly op: ScalarOp;
  readonly dtype: ComputeDType;
  readonly args: readonly Expr[];
  readonly value: number;
}

/** An expression, or a number that takes the dtype of its neighbour. */
export type Operand = Expr | number;

const NO_ARGS: readonly Expr[] = [];

/** Builds a node without looking at it. The named builders below infer the dtype. */
export function node(op: ScalarOp, dtype: ComputeDType, args: readonly Expr[] = NO_ARGS, value = 0): Expr {
  return { op, dtype, args, value };
}

/** A constant. For integers it must fit, for bool it is 0 or 1. NaN and infinities are allowed for floats. */
export function constant(value: number, dtype: ComputeDType): Expr {
  return node("const", dtype, NO_ARGS, value);
}

/** Input number `index` of the program. */
export function input(index: number, dtype: ComputeDType): Expr {
  return node("input", dtype, NO_ARGS, index);
}

/** Runtime parameter number `index`: a number that travels with the call instead of being baked in. */
export function param(index: number, dtype: ComputeDType): Expr {
  return node("param", dtype, NO_ARGS, index);
}

/** Position along an axis, as `i32`. Axes count from the end (-1 is the innermost), so a program serves every rank. */
export function coordinate(axis: number): Expr {
  return node("coordinate", "i32", NO_ARGS, axis);
}

function isExpr(operand: Operand): operand is Expr {
  return typeof operand !== "number";
}

function operands(op: ScalarOp, values: readonly Operand[]): readonly Expr[] {
  const typed = values.find(isExpr);
  if (typed === undefined)
    throw new DTypeError(`scalar ${op}: at least one operand must be an expression, not a number.`);
  const exprs = values.map((value) => (isExpr(value) ? value : constant(value, typed.dtype)));
  for (const expr of exprs) {
    if (expr.dtype !== typed.dtype) {
      throw new DTypeError(`scalar ${op}: operands are ${typed.dtype} and ${expr.dtype}. Insert cast(…).`);
    }
  }
  return exprs;
}

/** Applies an operation of the table to operands of one dtype. */
function build(op: ScalarOp, ...values: readonly Operand[]): Expr {
  const args = operands(op, values);
  const dtype = (args[0] as Expr).dtype;
  const entry = SCALAR_OPS[op];
  if (!entry.takes.includes(dtype)) {
    throw new DTypeError(`scalar ${op}: takes ${entry.takes.join(", ")}, got ${dtype}.`);
  }
  return node(op, entry.gives ?? dtype, args);
}

type Unary = (x: Expr) => Expr;
type Binary = (a: Operand, b: Operand) => Expr;
const unary =
  (op: ScalarOp): Unary =>
  (x) =>
    build(op, x);
const binary =
  (op: ScalarOp): Binary =>
  (a, b) =>
    build(op, a, b);

/** Sum. Integers wrap around. */
export const add: Binary = /* @__PURE__ */ binary("add");
/** Difference. Integers wrap around. */
export const sub: Binary = /* @__PURE__ */ binary("sub");
/** Product. Integers wrap around. */
export const mul: Binary = /* @__PURE__ */ binary("mul");
/** Quotient of floats. */
export const div: Binary = /* @__PURE__ */ binary("div");
/** Integer quotient rounded towards minus infinity. The divisor must not be 0: guard it with {@link check}. */
export const floorDiv: Binary = /* @__PURE__ */ binary("floorDiv");
/** Remainder with the sign of the divisor. For integers the divisor must not be 0. */
export const mod: Binary = /* @__PURE__ */ binary("mod");
/** Power of floats. */
export const pow: Binary = /* @__PURE__ */ binary("pow");
/** Greater of two; NaN if either is NaN. */
export const max: Binary = /* @__PURE__ */ binary("max");
/** Lesser of two; NaN if either is NaN. */
export const min: Binary = /* @__PURE__ */ binary("min");
/** Angle of the point (x = second, y = first operand). */
export const atan2: Binary = /* @__PURE__ */ binary("atan2");
/** Bitwise and; logical for bool. */
export const and: Binary = /* @__PURE__ */ binary("and");
/** Bitwise or; logical for bool. */
export const or: Binary = /* @__PURE__ */ binary("or");
/** Bitwise exclusive or; logical for bool. */
export const xor: Binary = /* @__PURE__ */ binary("xor");
/** Shift left; the count is taken modulo 32. */
export const shl: Binary = /* @__PURE__ */ binary("shl");
/** Shift right, arithmetic for `i32`, logical for `u32`; the count is taken modulo 32. */
export const shr: Binary = /* @__PURE__ */ binary("shr");
/** a == b as bool; NaN equals nothing. */
export const eq: Binary = /* @__PURE__ */ binary("eq");
/** a != b as bool. */
export const ne: Binary = /* @__PURE__ */ binary("ne");
/** a < b as bool. */
export const lt: Binary = /* @__PURE__ */ binary("lt");
/** a <= b as bool. */
export const le: Binary = /* @__PURE__ */ binary("le");
/** a > b as bool. */
export const gt: Binary = (a, b) => build("lt", ...swap("gt", a, b));
/** a >= b as bool. */
export const ge: Binary = (a, b) => build("le", ...swap("ge", a, b));

function swap(op: ScalarOp | "gt" | "ge", a: Operand, b: Operand): [Operand, Operand] {
  if (!isExpr(a) && !isExpr(b))
    throw new DTypeError(`scalar ${op}: at least one operand must be an expression.`);
  return [b, a];
}

/** Sign change. */
export const neg: Unary = /* @__PURE__ */ unary("neg");
/** Absolute value; its derivative at 0 is 0. */
export const abs: Unary = /* @__PURE__ */ unary("abs");
/** -1, 0 or 1; NaN stays. */
export const sign: Unary = /* @__PURE__ */ unary("sign");
/** Greatest whole number not above. */
export const floor: Unary = /* @__PURE__ */ unary("floor");
/** Least whole number not below. */
export const ceil: Unary = /* @__PURE__ */ unary("ceil");
/** Nearest whole number, half to even. */
export const round: Unary = /* @__PURE__ */ unary("round");
/** Whole part, towards zero. */
export const trunc: Unary = /* @__PURE__ */ unary("trunc");
/** Square root. */
export const sqrt: Unary = /* @__PURE__ */ unary("sqrt");
/** e to the x. */
export const exp: Unary = /* @__PURE__ */ unary("exp");
/** e to the x, minus 1, exact near 0. */
export const expm1: Unary = /* @__PURE__ */ unary("expm1");
/** Natural logarithm. */
export const log: Unary = /* @__PURE__ */ unary("log");
/** log(1 + x), exact near 0. */
export const log1p: Unary = /* @__PURE__ */ unary("log1p");
/** Logarithm to base 2. */
export const log2: Unary = /* @__PURE__ */ unary("log2");
/** Sine of radians. */
export const sin: Unary = /* @__PURE__ */ unary("sin");
/** Cosine of radians. */
export const cos: Unary = /* @__PURE__ */ unary("cos");
/** Tangent of radians. */
export const tan: Unary = /* @__PURE__ */ unary("tan");
/** Inverse sine. */
export const asin: Unary = /* @__PURE__ */ unary("asin");
/** Inverse cosine. */
export const acos: Unary = /* @__PURE__ */ unary("acos");
/** Inverse tangent. */
export const atan: Unary = /* @__PURE__ */ unary("atan");
/** Hyperbolic sine. */
export const sinh: Unary = /* @__PURE__ */ unary("sinh");
/** Hyperbolic cosine. */
export const cosh: Unary = /* @__PURE__ */ unary("cosh");
/** Hyperbolic tangent. */
export const tanh: Unary = /* @__PURE__ */ unary("tanh");
/** Inverse hyperbolic sine. */
export const asinh: Unary = /* @__PURE__ */ unary("asinh");
/** Inverse hyperbolic cosine. */
export const acosh: Unary = /* @__PURE__ */ unary("acosh");
/** Inverse hyperbolic tangent. */
export const atanh: Unary = /* @__PURE__ */ unary("atanh");
/** Error function. */
export const erf: Unary = /* @__PURE__ */ unary("erf");
/** Complementary error function, exact in the tail. */
export const erfc: Unary = /* @__PURE__ */ unary("erfc");
/** Bitwise complement; logical for bool. */
export const not: Unary = /* @__PURE__ */ unary("not");
/** Whether x is NaN. A node of its own: GPU compilers assume `x != x` away. */
const testNaN: Unary = /* @__PURE__ */ unary("isNaN");

export { testNaN as isNaN };
/** Whether x is plus or minus infinity. */
export const isInf: Unary = /* @__PURE__ */ unary("isInf");

/** `condition ? a : b`; the branch not taken has no effect, not even through a NaN. */
export function select(condition: Expr, a: Operand, b: Operand): Expr {
  if (condition.dtype !== "bool")
    throw new DTypeError(`scalar select: the condition must be bool, got ${condition.dtype}.`);
  const [whenTrue, whenFalse] = operands("select", [a, b]) as [Expr, Expr];
  return node("select", whenTrue.dtype, [condition, whenTrue, whenFalse]);
}

/**
 * Converts the value. Float to integer truncates towards zero and saturates, NaN gives 0; anything to bool is
 * `x != 0`; integers wrap between `i32` and `u32`.
 */
export function cast(x: Expr, dtype: ComputeDType): Expr {
  return x.dtype === dtype ? x : node("cast", dtype, [x]);
}

/** The same 32 bits read as another 32-bit type (`f32`, `i32`, `u32`). */
export function bitcast(x: Expr, dtype: "f32" | "i32" | "u32"): Expr {
  if (x.dtype === "f64" || x.dtype === "bool")
    throw new DTypeError(`scalar bitcast: takes f32, i32, u32, got ${x.dtype}.`);
  return x.dtype === dtype ? x : node("bitcast", dtype, [x]);
}

/** Passes `x` on where `condition` holds; elsewhere the whole call fails with the message of `code`. */
export function check(x: Expr, condition: Expr, code: CheckCode): Expr {
  return node("check", x.dtype, [x, condition], CHECK_CODES.indexOf(code));
}

/** What a failed {@link check} reports. */
export type CheckCode =
  | "integer division by zero"
  | "index out of range"
  | "probability negative or not finite"
  | "more drawn than there are possible classes";

/** The messages of {@link check}, by the number stored in the node. */
export const CHECK_CODES: readonly CheckCode[] = [
  "integer division by zero",
  "index out of range",
  "probability negative or not finite",
  "more drawn than there are possible classes",
];

/**
 * One of the two words that Threefry2x32 with 20 rounds makes of a counter `(c0, c1)` under a key `(k0, k1)`, all
 * `u32`. Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC 2011.
 */
export function threefry(word: 0 | 1, k0: Expr, k1: Expr, c0: Expr, c1: Expr): Expr {
  const args = operands("threefry", [k0, k1, c0, c1]);
  return node("threefry", "u32", args, word);
}

/**
 * `value`, with a stated derivative: `partials[i]` is d value / d `of[i]`, given as an expression. State it where the
 * plain derivative is unstable or a convention is wanted. Evaluation and printing see `value` alone.
 */
export function stated(value: Expr, of: readonly Expr[], partials: readonly Operand[]): Expr {
  const terms = partials.map((partial) => (isExpr(partial) ? partial : constant(partial, value.dtype)));
  return node("stated", value.dtype, [value, ...of, ...terms], of.length);
}

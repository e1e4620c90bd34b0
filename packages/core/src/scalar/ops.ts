import type { ComputeDType } from "../dtype.ts";
import { erf, erfc, roundHalfEven } from "./special.ts";
import { threefryWord } from "./threefry.ts";

/** Facts about one scalar operation. Its derivative is in `differentiate.ts`. */
export interface ScalarOpInfo {
  /** Dtypes the operands may have. */
  readonly takes: readonly ComputeDType[];
  /** Result dtype where it is not the operands'. */
  readonly gives?: ComputeDType;
  /** Its value for numbers already in `dtype`, before rounding to the result's dtype. */
  readonly evaluate: (
    dtype: ComputeDType,
    a: number,
    b: number,
    c: number,
    d: number,
    value: number,
  ) => number;
}

const FLOAT: readonly ComputeDType[] = ["f32", "f64"];
const INT: readonly ComputeDType[] = ["i32", "u32"];
const NUMBER: readonly ComputeDType[] = [...FLOAT, ...INT];
const BITS: readonly ComputeDType[] = [...INT, "bool"];
const ALL: readonly ComputeDType[] = [...NUMBER, "bool"];

function info(
  takes: readonly ComputeDType[],
  evaluate: ScalarOpInfo["evaluate"],
  gives?: ComputeDType,
): ScalarOpInfo {
  return gives === undefined ? { takes, evaluate } : { takes, evaluate, gives };
}

const float1 = (f: (x: number) => number): ScalarOpInfo => info(FLOAT, (_dtype, a) => f(a));
const compare = (f: (a: number, b: number) => boolean): ScalarOpInfo =>
  info(ALL, (_dtype, a, b) => (f(a, b) ? 1 : 0), "bool");
const integers = (dtype: ComputeDType): boolean => dtype === "i32" || dtype === "u32";

function leaf(): never {
  throw new Error(
    "a leaf, select, check or stated node has no evaluate of its own; the interpreter handles it",
  );
}

const bits = new DataView(new ArrayBuffer(4));

/** Reads the 32 bits of a number of one type as another. */
export function reinterpret(value: number, from: ComputeDType, to: ComputeDType): number {
  if (from === "f32") bits.setFloat32(0, value);
  else bits.setUint32(0, value >>> 0);
  return to === "f32" ? bits.getFloat32(0) : to === "i32" ? bits.getInt32(0) : bits.getUint32(0);
}

/** Converts a number to what `dtype` holds: rounds floats, wraps integers. Floats reach integers through {@link saturate}. */
export function roundTo(dtype: ComputeDType, value: number): number {
  switch (dtype) {
    case "f32":
      return Math.fround(value);
    case "i32":
      return value | 0;
    case "u32":
      return value >>> 0;
    case "bool":
      return value !== 0 ? 1 : 0;
    default:
      return value;
  }
}

/** The conversion of `cast`: truncates and saturates floats on their way to integers, NaN gives 0. */
export function castValue(value: number, from: ComputeDType, to: ComputeDType): number {
  if ((from === "f32" || from === "f64") && integers(to))
    return saturate(value, to === "u32" ? "u32" : "i32");
  return roundTo(to, value);
}

function saturate(value: number, dtype: "i32" | "u32"): number {
  if (Number.isNaN(value)) return 0;
  const [low, high] = dtype === "i32" ? [-2147483648, 2147483647] : [0, 4294967295];
  return Math.trunc(Math.min(Math.max(value, low), high));
}

/** `a mod b` with the divisor's sign, exact for floats (IEEE remainder then one correction). */
export function floorMod(a: number, b: number): number {
  const rest = a % b;
  return rest !== 0 && rest < 0 !== b < 0 ? rest + b : rest;
}

/** Names of the scalar operations. */
export type ScalarOp =
  | "const"
  | "input"
  | "param"
  | "coordinate"
  | "select"
  | "check"
  | "stated"
  | "cast"
  | "bitcast"
  | "threefry"
  | "add"
  | "sub"
  | "mul"
  | "div"
  | "floorDiv"
  | "mod"
  | "pow"
  | "max"
  | "min"
  | "atan2"
  | "and"
  | "or"
  | "xor"
  | "shl"
  | "shr"
  | "eq"
  | "ne"
  | "lt"
  | "le"
  | "neg"
  | "abs"
  | "sign"
  | "not"
  | "isNaN"
  | "isInf"
  | "floor"
  | "ceil"
  | "round"
  | "trunc"
  | "sqrt"
  | "exp"
  | "expm1"
  | "log"
  | "log1p"
  | "log2"
  | "sin"
  | "cos"
  | "tan"
  | "asin"
  | "acos"
  | "atan"
  | "sinh"
  | "cosh"
  | "tanh"
  | "asinh"
  | "acosh"
  | "atanh"
  | "erf"
  | "erfc";

/** The table of scalar operations: every fact but the derivative, one row each. */
export const SCALAR_OPS: Readonly<Record<ScalarOp, ScalarOpInfo>> = {
  const: info(ALL, leaf),
  input: info(ALL, leaf),
  param: info(ALL, leaf),
  coordinate: info(ALL, leaf, "i32"),
  select: info(ALL, leaf),
  check: info(ALL, leaf),
  stated: info(ALL, leaf),
  cast: info(ALL, leaf),
  bitcast: info(NUMBER, leaf),
  threefry: info(["u32"], (_dtype, k0, k1, c0, c1, word) => threefryWord(word, k0, k1, c0, c1)),

  add: info(NUMBER, (_dtype, a, b) => a + b),
  sub: info(NUMBER, (_dtype, a, b) => a - b),
  mul: info(NUMBER, (dtype, a, b) => (integers(dtype) ? Math.imul(a, b) : a * b)),
  div: info(FLOAT, (_dtype, a, b) => a / b),
  floorDiv: info(INT, (_dtype, a, b) => Math.floor(a / b)),
  mod: info(NUMBER, (_dtype, a, b) => floorMod(a, b)),
  pow: info(FLOAT, (_dtype, a, b) => (a === 1 || (a === -1 && Math.abs(b) === Infinity) ? 1 : a ** b)),
  max: info(NUMBER, (_dtype, a, b) => Math.max(a, b)),
  min: info(NUMBER, (_dtype, a, b) => Math.min(a, b)),
  atan2: info(FLOAT, (_dtype, a, b) => Math.atan2(a, b)),
  and: info(BITS, (_dtype, a, b) => a & b),
  or: info(BITS, (_dtype, a, b) => a | b),
  xor: info(BITS, (_dtype, a, b) => a ^ b),
  shl: info(INT, (_dtype, a, b) => a << b),
  shr: info(INT, (dtype, a, b) => (dtype === "i32" ? a >> b : a >>> b)),
  eq: compare((a, b) => a === b),
  ne: compare((a, b) => a !== b),
  lt: compare((a, b) => a < b),
  le: compare((a, b) => a <= b),

  neg: info(NUMBER, (_dtype, a) => -a),
  abs: info(NUMBER, (_dtype, a) => Math.abs(a)),
  sign: info(NUMBER, (_dtype, a) => Math.sign(a)),
  not: info(BITS, (dtype, a) => (dtype === "bool" ? 1 - a : ~a)),
  isNaN: info(FLOAT, (_dtype, a) => (Number.isNaN(a) ? 1 : 0), "bool"),
  isInf: info(FLOAT, (_dtype, a) => (Math.abs(a) === Infinity ? 1 : 0), "bool"),
  floor: float1(Math.floor),
  ceil: float1(Math.ceil),
  round: float1(roundHalfEven),
  trunc: float1(Math.trunc),
  sqrt: float1(Math.sqrt),
  exp: float1(Math.exp),
  expm1: float1(Math.expm1),
  log: float1(Math.log),
  log1p: float1(Math.log1p),
  log2: float1(Math.log2),
  sin: float1(Math.sin),
  cos: float1(Math.cos),
  tan: float1(Math.tan),
  asin: float1(Math.asin),
  acos: float1(Math.acos),
  atan: float1(Math.atan),
  sinh: float1(Math.sinh),
  cosh: float1(Math.cosh),
  tanh: float1(Math.tanh),
  asinh: float1(Math.asinh),
  acosh: float1(Math.acosh),
  atanh: float1(Math.atanh),
  erf: float1(erf),
  erfc: float1(erfc),
};

import type { ComputeDType, ScalarOp } from "@nf/core";

/** Operations in the order of OP_… in c/program.h. */
export const OPCODES = [
  "move",
  "select",
  "check",
  "cast",
  "bitcast",
  "threefry",
  "add",
  "sub",
  "mul",
  "div",
  "floorDiv",
  "mod",
  "pow",
  "max",
  "min",
  "atan2",
  "and",
  "or",
  "xor",
  "shl",
  "shr",
  "eq",
  "ne",
  "lt",
  "le",
  "neg",
  "abs",
  "sign",
  "not",
  "isNaN",
  "isInf",
  "floor",
  "ceil",
  "round",
  "trunc",
  "sqrt",
  "exp",
  "expm1",
  "log",
  "log1p",
  "log2",
  "sin",
  "cos",
  "tan",
  "asin",
  "acos",
  "atan",
  "sinh",
  "cosh",
  "tanh",
  "asinh",
  "acosh",
  "atanh",
  "erf",
  "erfc",
] as const;

/** Numbers of operations. */
export const OPCODE: ReadonlyMap<string, number> = new Map(OPCODES.map((name, index) => [name, index]));
/** Numbers of dtypes that programs compute in: C_… in c/program.h. */
export const COMPUTE_CODE: Readonly<Record<ComputeDType, number>> = {
  f32: 0,
  f64: 1,
  i32: 2,
  u32: 3,
  bool: 4,
};

/** MAX_SLOTS of c/program.h. */
export const MOST_SLOTS = 1000;

/** Guesses of nanoseconds a point, for deciding how to share work; what is not listed costs {@link CHEAP}. */
export const CHEAP = 0.2;
/** Nanoseconds a point of what costs more than {@link CHEAP}. */
export const COST: Readonly<Partial<Record<ScalarOp, number>>> = {
  exp: 1.7,
  log: 2,
  tanh: 1.2,
  erf: 1.2,
  erfc: 2.2,
  sin: 2,
  cos: 2,
  expm1: 2,
  log1p: 3,
  threefry: 5,
  div: 0.4,
  sqrt: 0.5,
};
/** Functions that JavaScript computes. */
export const FOREIGN: ReadonlySet<ScalarOp> = new Set<ScalarOp>([
  "pow",
  "atan2",
  "mod",
  "log2",
  "tan",
  "asin",
  "acos",
  "atan",
  "sinh",
  "cosh",
  "asinh",
  "acosh",
  "atanh",
]);

import type { ComputeDType, ScalarOp } from "@nf/core";

/** Operations in the order of `op` in crates/kernels/src/program.rs. */
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
/** Numbers of dtypes that programs compute in: `Compute` in crates/kernels/src/dtype.rs. */
export const COMPUTE_CODE: Readonly<Record<ComputeDType, number>> = {
  f32: 0,
  f64: 1,
  i32: 2,
  u32: 3,
  bool: 4,
};

/** Most registers of a program: their numbers have 16 bits, and more than this is no program but a mistake. */
export const MOST_SLOTS = 1000;

/** Guesses of nanoseconds a point, for deciding how to share work; what is not listed costs {@link CHEAP}. */
export const CHEAP = 0.06;
/** Nanoseconds a point of what costs more than {@link CHEAP}. */
export const COST: Readonly<Partial<Record<ScalarOp, number>>> = {
  exp: 0.4,
  log: 0.6,
  tanh: 0.4,
  erf: 0.4,
  erfc: 0.7,
  sin: 0.6,
  cos: 0.6,
  expm1: 0.6,
  log1p: 0.8,
  threefry: 1.5,
  div: 0.12,
  sqrt: 0.15,
};
/** Guess for functions that are computed one point after the other. */
export const SLOW = 15;
/** Functions that are computed so in any float type. */
export const SCALAR_FUNCTIONS: ReadonlySet<ScalarOp> = new Set<ScalarOp>([
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

/*
 * Arguments from the whole range of functions: near zeros, where an approximation ends, of many periods, and where results
 * leave a dtype. Every dtype takes what it holds of them.
 */

const both = (...xs: readonly number[]): readonly number[] => xs.flatMap((x) => [x, -x]);

/** Arguments that every function meets. */
const COMMON = [...both(0, 1, 0.5, 1e-4, 1e-7, 1e-30, 1e10, Infinity), NaN];
/** 22 and 355 are nearly multiples of π. */
const PERIODS = both(Math.PI / 2, Math.PI, 3, 22, 100, 355, 1e3, 12345.678, 1e5);
/** Where e^x leaves f32 and f64, or comes close. */
const POWERS = [
  ...[80, 88.7, 88.8, 89, 700, 709.7, 710, 11, -11],
  ...[-16, -17, -80, -87, -88, -103, -104, -110, -700, -745, -746],
];
/** Subnormal numbers of f32, the greatest, and the neighbourhood of 1. */
const SIZES = [
  ...[1e-40, 1.5e-45, 1.2e-38, 3e38, 0.999, 0.9999999, 1.0000001, 1.001],
  ...[2, 10, 1e-300, 1e300],
];
const SYMMETRIC = both(0.01, 0.25, 0.6, 0.75, 0.99, 0.999999, 1.0000001, 1.5, 3);
const SATURATING = both(0.01, 0.3, 0.625, 2, 3, 4, 6, 9, 9.5, 20, 89, 89.5, 710.4);
const LOGISTIC = both(3, 16, 17, 20, 30, 80, 100, 104, 710);
const GATES = both(3, 6, 10, 14, 20, 80);
/** Halves next to which f32 has no more of them, and what 32-bit integers do not hold. */
const WHOLE = both(0.49999997, 1.5, 2.5, 8388607.5, 8388609, 2 ** 31, 3e9, 1e20, 4503599627370495.5);

/** What each function of one number meets beside {@link COMMON}. */
const UNARY: Readonly<Record<string, readonly number[]>> = {
  square: both(1e19, 1.9e19, 1e-20, 1e-23, 255, 257),
  exp: POWERS,
  expm1: POWERS,
  log: SIZES,
  log2: SIZES,
  log1p: [...SIZES, -0.5, -0.999, -0.9999999],
  sqrt: SIZES,
  rsqrt: SIZES,
  reciprocal: SIZES,
  sin: PERIODS,
  cos: PERIODS,
  tan: PERIODS,
  asin: SYMMETRIC,
  acos: SYMMETRIC,
  atan: [...SYMMETRIC, 100, -100],
  sinh: SATURATING,
  cosh: SATURATING,
  tanh: SATURATING,
  asinh: SYMMETRIC,
  acosh: [...SYMMETRIC, 1.001, 100],
  atanh: SYMMETRIC,
  erf: SATURATING,
  erfc: [...SATURATING, 0.9, 1.2, 9.1, 10, 26, 27, 28],
  floor: WHOLE,
  ceil: WHOLE,
  round: WHOLE,
  trunc: WHOLE,
  sigmoid: LOGISTIC,
  softplus: LOGISTIC,
  logSigmoid: LOGISTIC,
  elu: LOGISTIC,
  selu: LOGISTIC,
  gelu: GATES,
  silu: GATES,
  mish: GATES,
  softsign: GATES,
};

/** Arguments of a function of one number, in which NaN and, unless that is left open, infinities are; none if it has no table. */
export function rangeOfUnary(op: string, infinities = true): readonly number[] {
  const own = UNARY[op];
  if (own === undefined) return [];
  return [...COMMON, ...own].filter((x) => infinities || Math.abs(x) !== Infinity);
}

/** Two arguments. */
export type Pair = readonly [a: number, b: number];

const CORNERS = [0, -0, 1, -1, Infinity, -Infinity, NaN, 0.5, -2];
const ALL_CORNERS: readonly Pair[] = CORNERS.flatMap((a) => CORNERS.map((b): Pair => [a, b]));

const BINARY: Readonly<Record<string, readonly Pair[]>> = {
  pow: [
    ...ALL_CORNERS,
    [4, 0.5],
    [3, 0.5],
    [-2, 3],
    [-2, 2],
    [-8, 1 / 3],
    [2, 127],
    [2, 128],
    [2, -126],
    [2, -150],
    [10, 38],
    [10, 39],
    [1.0001, 1e5],
    [0.999, 1e4],
    [1e30, 1.25],
    [1e-30, -1.25],
    [-1.5, 101],
    [-3, 1e7],
    [1e-40, 0.5],
  ],
  atan2: [
    ...ALL_CORNERS,
    [1e-30, -1],
    [-1e-30, -1],
    [1, 1e30],
    [-1, -1e30],
    [3, 4],
    [-3, 4],
    [3, -4],
    [-3, -4],
    [1e-4, 1],
    [1e20, 1],
    [1e-40, 1e-40],
  ],
};

/** Arguments of a function of two numbers: all pairs of corners, quadrants, and where results leave a dtype. */
export function rangeOfBinary(op: string): readonly Pair[] {
  return BINARY[op] ?? [];
}

/** Operations that have a range here. */
export const RANGED: readonly string[] = [...Object.keys(UNARY), ...Object.keys(BINARY)];

/** Functions that C reaches by number, in the order of MATH_… in c/nf.h; the remainder comes after them. */
export const MATH = [
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
  "pow",
  "atan2",
] as const;

/** What C calls: the function of that number. */
export function mathFunction(): (index: number, a: number, b: number) => number {
  const functions: ((a: number, b: number) => number)[] = MATH.map((name) => Math[name]);
  functions.push((a, b) => a % b);
  return (index, a, b) => (functions[index] as (a: number, b: number) => number)(a, b);
}

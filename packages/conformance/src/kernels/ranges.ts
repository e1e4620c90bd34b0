import { type Expr, program, type ScalarOp, scalar as s } from "@nf/core";
import { rangeOfBinary, rangeOfUnary } from "../cases/ranges.ts";
import { nd } from "../reference/nd.ts";
import { erf, erfc, power } from "../reference/special.ts";
import type { Source } from "../source.ts";
import { roundTo } from "../values.ts";
import type { KernelCase } from "./run.ts";

type Function1 = (x: number) => number;
type Function2 = (x: number, y: number) => number;

const UNARY = {
  exp: Math.exp,
  expm1: Math.expm1,
  log: Math.log,
  log2: Math.log2,
  log1p: Math.log1p,
  sqrt: Math.sqrt,
  sin: Math.sin,
  cos: Math.cos,
  tan: Math.tan,
  asin: Math.asin,
  acos: Math.acos,
  atan: Math.atan,
  sinh: Math.sinh,
  cosh: Math.cosh,
  tanh: Math.tanh,
  asinh: Math.asinh,
  acosh: Math.acosh,
  atanh: Math.atanh,
  erf,
  erfc,
} as const satisfies Partial<Record<ScalarOp, Function1>>;

const BINARY = {
  pow: power,
  atan2: Math.atan2,
} as const satisfies Partial<Record<ScalarOp, Function2>>;

/** Numbers of either sign and of sizes from 1e-5 to 300. */
const sweep = (length: number, source: Source): number[] =>
  Array.from({ length }, () => (source.chance(2) ? 1 : -1) * 10 ** (-5 + (7.5 * source.bits()) / 2 ** 32));

/** Every function that scalar programs have, over its whole range and over sizes, each result held against its own size. */
export function rangeCases(dtype: "f32" | "f64", source: Source): KernelCase[] {
  const one = Object.entries(UNARY).map(([op, f]) =>
    rangeCase(dtype, op as keyof typeof UNARY, [[...rangeOfUnary(op), ...sweep(200, source)]], f),
  );
  const two = Object.entries(BINARY).map(([op, f]) =>
    rangeCase(
      dtype,
      op as keyof typeof BINARY,
      [0, 1].map((side) => [...rangeOfBinary(op).map((pair) => pair[side]!), ...sweep(200, source)]),
      f,
    ),
  );
  return [...one, ...two];
}

function rangeCase(
  dtype: "f32" | "f64",
  op: keyof typeof UNARY | keyof typeof BINARY,
  inputs: readonly (readonly number[])[],
  f: Function2,
): KernelCase {
  const builders: Readonly<Record<string, unknown>> = s;
  const build = builders[op] as (...args: readonly Expr[]) => Expr;
  const made = program(
    op,
    inputs.map(() => dtype),
    [],
    (args) => build(...args),
  );
  const shape = [inputs[0]!.length];
  return {
    label: `${op} of ${dtype} over its range`,
    parts: { kernel: "map", program: made },
    inputs: inputs.map((values) => ({
      dtype,
      values: nd(
        shape,
        values.map((value) => roundTo(dtype, value)),
      ),
      distinct: true,
    })),
    outputs: [{ dtype, values: nd(shape, new Array<number>(shape[0]!).fill(9)) }],
    expected: (given) => [given[0]!.data.map((x, i) => f(x, given[1]?.data[i] ?? 0))],
    tolerance: "rounded",
    signedZeros: true,
  };
}

import {
  type ComputeDType,
  DTYPES,
  type DType,
  type Expr,
  evaluate,
  isFloat,
  type Program,
  program,
  SCALAR_OPS,
  type ScalarOp,
  scalar as s,
} from "@nf/core";
import type { Tolerance } from "../model.ts";
import { count, indexAt, type Nd, nd } from "../reference/nd.ts";
import type { Source } from "../source.ts";
import { roundTo } from "../values.ts";
import type { KernelCase, Operand } from "./run.ts";
import { digits } from "./terms.ts";

/** How many operands each operation takes; 0 for those that are not of values alone and have cases of their own. */
const OPERANDS: Readonly<Record<ScalarOp, 0 | 1 | 2>> = {
  const: 0,
  input: 0,
  param: 0,
  coordinate: 0,
  select: 0,
  check: 0,
  stated: 0,
  cast: 0,
  bitcast: 0,
  threefry: 0,
  neg: 1,
  abs: 1,
  sign: 1,
  not: 1,
  isNaN: 1,
  isInf: 1,
  floor: 1,
  ceil: 1,
  round: 1,
  trunc: 1,
  sqrt: 1,
  exp: 1,
  expm1: 1,
  log: 1,
  log1p: 1,
  log2: 1,
  sin: 1,
  cos: 1,
  tan: 1,
  asin: 1,
  acos: 1,
  atan: 1,
  sinh: 1,
  cosh: 1,
  tanh: 1,
  asinh: 1,
  acosh: 1,
  atanh: 1,
  erf: 1,
  erfc: 1,
  add: 2,
  sub: 2,
  mul: 2,
  div: 2,
  mod: 2,
  floorDiv: 2,
  pow: 2,
  max: 2,
  min: 2,
  atan2: 2,
  and: 2,
  or: 2,
  xor: 2,
  shl: 2,
  shr: 2,
  eq: 2,
  ne: 2,
  lt: 2,
  le: 2,
};
/** Operations without any rounding of their own. */
const EXACT: readonly ScalarOp[] = [
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
  "max",
  "min",
  "and",
  "or",
  "xor",
  "shl",
  "shr",
  "eq",
  "ne",
  "lt",
  "le",
  "floorDiv",
];

const FLOATS = [
  0,
  -0,
  1,
  -1,
  0.5,
  -0.5,
  1.5,
  2.5,
  -2.5,
  0.75,
  -0.25,
  3,
  100,
  -100,
  1e4,
  -1e4,
  1e-3,
  Infinity,
  -Infinity,
  NaN,
] as const;
/** Small ones; limits; where f32 has no place for every whole number. Those that a dtype has no place for wrap around. */
const INTEGERS = [
  0,
  1,
  2,
  3,
  7,
  8,
  31,
  100,
  127,
  128,
  255,
  2 ** 24 - 1,
  2 ** 24 + 1,
  2 ** 31 - 1,
  2 ** 31,
  2 ** 32 - 2,
  -1,
  -2,
  -3,
  -7,
  -100,
  -128,
  -(2 ** 24) - 1,
] as const;

/** A value that a dtype holds: ordinary ones, and those that are special. */
export function anyValue(dtype: DType, source: Source): number {
  if (dtype === "bool") return source.below(2);
  if (isFloat(dtype))
    return source.chance(3) ? roundTo(dtype, source.pick(FLOATS)) : digits(dtype, -4, 4, source);
  return roundTo(dtype, source.chance(2) ? source.bits() : source.pick(INTEGERS));
}

/** What becomes neither negative nor too great where a few of them are multiplied and added up, unless it wraps around. */
function plainValue(dtype: DType, source: Source): number {
  return isFloat(dtype) ? digits(dtype, 0, 9, source) : anyValue(dtype, source);
}

const values = (dtype: DType, shape: readonly number[], source: Source): Nd =>
  nd(
    shape,
    Array.from({ length: count(shape) }, () => anyValue(dtype, source)),
  );

/** What a store keeps of a computed value. */
const stored = (dtype: DType, value: number): number => (isFloat(dtype) ? value : roundTo(dtype, value));

/** A case of a program over inputs of one dtype: what core's `evaluate` says, point by point. */
export function programCase(
  label: string,
  made: Program,
  inputTypes: readonly DType[],
  outputTypes: readonly DType[],
  shape: readonly number[],
  source: Source,
  more: {
    readonly params?: readonly number[];
    readonly tolerance?: Tolerance;
    readonly alias?: readonly [number, number];
    readonly value?: (dtype: DType, source: Source) => number;
  } = {},
): KernelCase {
  const { params = [], tolerance = "rounded", value } = more;
  const fill = (dtype: DType): Nd =>
    value === undefined
      ? values(dtype, shape, source)
      : nd(
          shape,
          Array.from({ length: count(shape) }, () => value(dtype, source)),
        );
  return {
    label,
    parts: { kernel: "map", program: made },
    params,
    inputs: inputTypes.map((dtype): Operand => ({ dtype, values: fill(dtype) })),
    outputs: outputTypes.map(
      (dtype): Operand => ({
        dtype,
        values: nd(shape, new Array<number>(count(shape)).fill(dtype === "bool" ? 1 : 9)),
      }),
    ),
    expected: (inputs) => {
      const points = Array.from({ length: count(shape) }, (_, i) =>
        evaluate(
          made,
          inputs.map(({ data }) => data[i]!),
          params,
          indexAt(shape, i),
        ),
      );
      return outputTypes.map((dtype, k) => points.map((results) => stored(dtype, results[k]!)));
    },
    tolerance,
    signedZeros: true,
    ...(more.alias !== undefined && { alias: more.alias }),
  };
}

function operation(op: ScalarOp, compute: ComputeDType, arity: 1 | 2): Program {
  return program(op, new Array<ComputeDType>(arity).fill(compute), [], (inputs) => {
    const builders: Readonly<Record<string, unknown>> = s;
    const build_ = builders[op] as (...args: readonly Expr[]) => Expr;
    // An integer divisor of 0 is a fault of its own.
    const [a, b] = inputs as readonly [Expr, Expr];
    if ((op === "mod" || op === "floorDiv") && compute !== "f32" && compute !== "f64")
      return build_(a, s.select(s.eq(b, 0), s.constant(1, compute), b));
    return build_(...inputs);
  });
}

/** Every scalar operation that a dtype's programs may have. */
export function operationCases(dtype: DType, shape: readonly number[], source: Source): KernelCase[] {
  const compute = DTYPES[dtype].compute;
  const cases: KernelCase[] = [];
  const add = (op: ScalarOp, arity: 0 | 1 | 2): void => {
    const { takes, gives } = SCALAR_OPS[op];
    if (arity === 0 || !takes.includes(compute)) return;
    const exact = EXACT.includes(op) || !isFloat(dtype);
    const out = gives === undefined ? dtype : "bool";
    cases.push(
      programCase(
        `${op} of ${dtype}`,
        operation(op, compute, arity),
        new Array<DType>(arity).fill(dtype),
        [out],
        shape,
        source,
        { tolerance: exact ? "exact" : "rounded" },
      ),
    );
  };
  for (const [op, operands] of Object.entries(OPERANDS) as [ScalarOp, 0 | 1 | 2][]) add(op, operands);
  return cases;
}

const cell =
  (index: number): ((inputs: readonly Expr[]) => Expr) =>
  (inputs) =>
    inputs[index] as Expr;
const first = cell(0);
const second = cell(1);

/** Programs of other forms: parameters, coordinates, several outputs, no inputs, selection, an output over an input. */
export function formCases(dtype: DType, shape: readonly number[], source: Source): KernelCase[] {
  const compute = DTYPES[dtype].compute;
  const exact = { tolerance: "exact" } as const;
  const plain = { tolerance: isFloat(dtype) ? "rounded" : "exact", value: plainValue } as const;
  const cases: KernelCase[] = [
    programCase("copy", program("copy", [compute], [], first), [dtype], [dtype], shape, source, exact),
    programCase(
      "fill",
      program("fill", [], [compute], (_inputs, params) => params[0] as Expr),
      [],
      [dtype],
      shape,
      source,
      { ...exact, params: [dtype === "bool" ? 1 : 3] },
    ),
    programCase(
      "select",
      program("select", ["bool", compute, compute], [], ([c, a, b]) =>
        s.select(c as Expr, a as Expr, b as Expr),
      ),
      ["bool", dtype, dtype],
      [dtype],
      shape,
      source,
      exact,
    ),
    programCase(
      "two outputs",
      program("swap", [compute, compute], [], ([a, b]) => [b as Expr, a as Expr]),
      [dtype, dtype],
      [dtype, dtype],
      shape,
      source,
      exact,
    ),
    programCase(
      "over its own input",
      program("pick", [compute, compute], [], second),
      [dtype, dtype],
      [dtype],
      shape,
      source,
      { ...exact, alias: [0, 0] },
    ),
  ];
  if (compute === "bool") return cases;
  cases.push(
    programCase(
      "coordinates",
      program("coordinates", [], [], () =>
        s.cast(s.add(s.mul(s.coordinate(-2), 10), s.coordinate(-1)), compute),
      ),
      [],
      [dtype],
      shape,
      source,
      exact,
    ),
    programCase(
      "outer coordinate",
      program("outer", [compute], [], ([x]) => s.add(s.cast(s.coordinate(-3), compute), x as Expr)),
      [dtype],
      [dtype],
      shape,
      source,
      plain,
    ),
    programCase(
      "parameters",
      program("affine", [compute], [compute, compute], ([x], [a, b]) =>
        s.add(s.mul(x as Expr, a as Expr), b as Expr),
      ),
      [dtype],
      [dtype],
      shape,
      source,
      { ...plain, params: isFloat(dtype) ? [2.3, 0.7] : [5, 2 ** 24 + 1] },
    ),
    programCase(
      "other parameters",
      program("affine", [compute], [compute, compute], ([x], [a, b]) =>
        s.add(s.mul(x as Expr, a as Expr), b as Expr),
      ),
      [dtype],
      [dtype],
      shape,
      source,
      { ...plain, params: isFloat(dtype) ? [0.3, 1.9] : [2 ** 16 + 1, 7] },
    ),
    programCase(
      "five inputs",
      program("sum5", new Array<ComputeDType>(5).fill(compute), [], (inputs) =>
        inputs.reduce((a, b) => s.add(a, b)),
      ),
      new Array<DType>(5).fill(dtype),
      [dtype],
      shape,
      source,
      plain,
    ),
  );
  return cases;
}

/** One program, called again with other parameters: nothing of the first call may stay. */
export function parameterCases(dtype: DType, shape: readonly number[], source: Source): KernelCase[] {
  const compute = DTYPES[dtype].compute;
  if (compute === "bool") return [];
  const made = program("scale", [compute], [compute], ([x], [a]) => s.mul(x as Expr, a as Expr));
  return (isFloat(dtype) ? [1.7, 5.1, 1 / 3] : [2, 5, 2 ** 24 + 1]).map((factor) =>
    programCase(`times ${factor}`, made, [dtype], [dtype], shape, source, {
      params: [factor],
      tolerance: isFloat(dtype) ? "rounded" : "exact",
      value: plainValue,
    }),
  );
}

import * as nf from "@nf/core";
import { type DType, isFloat, isInteger, type Tensor } from "@nf/core";
import type { Domain, Edge, Instance, Row } from "../model.ts";
import { asReal, multiplyIn } from "../reference/integers.ts";
import * as reference from "../reference/nd.ts";
import * as special from "../reference/special.ts";
import { CORNERS } from "../values.ts";
import {
  ALL,
  always,
  cornersOf,
  data,
  each,
  edge,
  FLOATS,
  NUMBERS,
  type RowSpec,
  row,
  SHAPES,
  same,
  shapes,
  shapesText,
  toFloat,
} from "./define.ts";
import { rangeOfUnary } from "./ranges.ts";

const FAMILY = "unary";
const EXTREMES = [0, -0, 1, -1, 1e4, -1e4, Infinity, -Infinity, NaN] as const;

/** What an elementwise operation of one tensor says of itself. */
export interface UnarySpec {
  readonly domain?: Domain;
  readonly dtypes?: readonly DType[];
  readonly result?: Row["result"];
  readonly order?: Row["order"];
  readonly tolerance?: Row["tolerance"];
  readonly chain?: number;
  readonly roundings?: number;
  /** Points with convention: input, output, and gradient where it is looked at. */
  readonly points?: readonly (readonly [x: number, y: number, gradient?: number])[];
  readonly edges?: readonly Edge[];
  /** Whether 0, ±1, ±1e4, infinities and NaN give what the reference says; default true. */
  readonly extremes?: boolean;
}

/** A row for an elementwise operation of one tensor. */
export function unaryRow(
  family: string,
  op: string,
  call: (x: Tensor) => Tensor,
  f: (x: number, dtype: DType) => number,
  spec: UnarySpec = {},
  variant?: string,
): Row {
  const { points = [], extremes = true, domain: _domain, chain, roundings, edges = [], ...rest } = spec;
  const run = ([x]: readonly Tensor[]): Tensor => call(x!);
  const result = spec.result ?? (spec.dtypes === undefined ? toFloat : same);
  const instance = (shape: readonly number[], domain = spec.domain): Instance => ({
    label: shapesText(shape),
    operands: [data(shape, domain)],
    ...(chain !== undefined && { chain }),
    ...(roundings !== undefined && { roundings }),
    run,
    reference: ([x], dtype) => {
      const taken = isFloat(result(dtype, 0)) ? asReal : (_dtype: DType, value: number) => value;
      return reference.map((value) => f(taken(dtype, value), dtype), x!);
    },
  });
  const made: Edge[] = [...edges];
  const range = rangeOfUnary(op, extremes);
  const overRange: Instance = {
    ...instance([range.length]),
    label: "over its range",
    operands: [{ shape: [range.length], values: () => range }],
  };
  if (extremes)
    made.push(
      edge(
        "0, ±1, ±1e4, infinities, NaN",
        run,
        [EXTREMES],
        EXTREMES.map((value) => f(value, "f64")),
        { only: ["f32", "f64"] },
      ),
    );
  const only = ["f32", "f64"] as const;
  const values = (label: string, some: typeof points, grads?: readonly number[]): void => {
    if (some.length === 0) return;
    const [inputs, outputs] = [some.map(([x]) => x), some.map(([, y]) => y)];
    made.push(edge(label, run, [inputs], outputs, { only, ...(grads !== undefined && { grads: [grads] }) }));
  };
  // Points without a gradient are looked at apart: their derivative is no convention, and may be anything.
  const differentiated = points.filter(([, , gradient]) => gradient !== undefined);
  values(
    "joints",
    differentiated,
    differentiated.map(([, , gradient]) => gradient!),
  );
  values(
    "joints, values alone",
    points.filter(([, , gradient]) => gradient === undefined),
  );
  const full: RowSpec = {
    op,
    // A function of real numbers takes integers and bool as f32; rows that say their dtypes say what comes out.
    ...(spec.dtypes === undefined && { dtypes: ALL }),
    result,
    ...(variant !== undefined && { variant }),
    instances: [
      ...each(SHAPES, (shape) => instance(shape)),
      ...((spec.dtypes ?? ALL).some(isInteger) ? [instance([CORNERS], cornersOf(spec.domain))] : []),
      ...(range.length > 0 ? [overRange] : []),
    ],
    arbitrary: shapes().map((shape) => instance(shape)),
    edges: made,
    ...rest,
  };
  return row(family, full);
}

const exact = (dtypes: readonly DType[], more: UnarySpec = {}): UnarySpec => ({
  dtypes,
  tolerance: "exact",
  ...more,
});
const steps: UnarySpec = {
  dtypes: FLOATS,
  tolerance: "exact",
  order: 1,
  domain: { joints: [-2, -1.5, -1, -0.5, 0, 0.5, 1, 1.5, 2] },
};
const test = exact(FLOATS, { result: always("bool"), order: 0 });
const truth = (condition: boolean): number => (condition ? 1 : 0);

/** Elementwise operations of one tensor. */
export function unaryRows(): readonly Row[] {
  const unary = (
    op: string,
    call: (x: Tensor) => Tensor,
    f: (x: number, dtype: DType) => number,
    spec: UnarySpec = {},
  ): Row => unaryRow(FAMILY, op, call, f, spec);
  return [
    unary(
      "abs",
      nf.abs,
      Math.abs,
      exact(NUMBERS, {
        domain: { joints: [0] },
        points: [
          [0, 0, 0],
          [-2, 2, -1],
        ],
      }),
    ),
    unary("neg", nf.neg, (x) => -x, exact(NUMBERS)),
    unary("sign", nf.sign, (x) => (Number.isNaN(x) ? 0 : Math.sign(x)), {
      ...steps,
      dtypes: NUMBERS,
      points: [
        [0, 0, 0],
        [NaN, 0],
        [3, 1, 0],
      ],
    }),
    unary("square", nf.square, (x, dtype) => multiplyIn(dtype)(x, x), { dtypes: NUMBERS }),
    unary("exp", nf.exp, Math.exp, { dtypes: ALL, result: toFloat }),
    unary("expm1", nf.expm1, Math.expm1, { points: [[1e-7, Math.expm1(1e-7)]] }),
    unary("log", nf.log, Math.log, { domain: { low: 0.25, high: 4 } }),
    unary("log1p", nf.log1p, Math.log1p, {
      domain: { low: -0.75, high: 4 },
      points: [[1e-7, Math.log1p(1e-7)]],
    }),
    unary("log2", nf.log2, Math.log2, { domain: { low: 0.25, high: 4 } }),
    unary("sqrt", nf.sqrt, Math.sqrt, {
      dtypes: NUMBERS,
      result: toFloat,
      domain: { low: 0.25, high: 4 },
    }),
    unary("rsqrt", nf.rsqrt, (x) => 1 / Math.sqrt(x), { domain: { low: 0.25, high: 4 } }),
    unary("reciprocal", nf.reciprocal, (x) => 1 / x, {
      domain: { low: -4, high: 4, joints: [0, 0.125, -0.125] },
    }),
    unary("sin", nf.sin, Math.sin),
    unary("cos", nf.cos, Math.cos),
    unary("tan", nf.tan, Math.tan, { domain: { low: -1.25, high: 1.25 } }),
    unary("asin", nf.asin, Math.asin, { domain: { low: -0.75, high: 0.75 } }),
    unary("acos", nf.acos, Math.acos, { domain: { low: -0.75, high: 0.75 } }),
    unary("atan", nf.atan, Math.atan),
    unary("sinh", nf.sinh, Math.sinh),
    unary("cosh", nf.cosh, Math.cosh),
    unary("tanh", nf.tanh, Math.tanh),
    unary("asinh", nf.asinh, Math.asinh),
    unary("acosh", nf.acosh, Math.acosh, { domain: { low: 1.25, high: 4 } }),
    unary("atanh", nf.atanh, Math.atanh, { domain: { low: -0.75, high: 0.75 } }),
    unary("erf", nf.erf, special.erf),
    unary("erfc", nf.erfc, special.erfc, { points: [[5, special.erfc(5)]] }),
    unary("floor", nf.floor, Math.floor, {
      ...steps,
      points: [
        [-0.5, -1, 0],
        [2, 2, 0],
      ],
    }),
    unary("ceil", nf.ceil, Math.ceil, {
      ...steps,
      points: [
        [0.5, 1, 0],
        [-2, -2, 0],
      ],
    }),
    unary("round", nf.round, special.roundEven, {
      ...steps,
      points: [
        [0.5, 0, 0],
        [1.5, 2, 0],
        [2.5, 2, 0],
        [-0.5, -0, 0],
        [-1.5, -2, 0],
      ],
    }),
    unary("trunc", nf.trunc, Math.trunc, {
      ...steps,
      points: [
        [-1.5, -1, 0],
        [1.5, 1, 0],
      ],
    }),
    unary("isNaN", nf.isNaN, (x) => truth(Number.isNaN(x)), test),
    unary("isInf", nf.isInf, (x) => truth(Math.abs(x) === Infinity), test),
    unary("isFinite", nf.isFinite, (x) => truth(Number.isFinite(x)), test),
    unary("logicalNot", nf.logicalNot, (x) => truth(x === 0), { ...test, dtypes: ALL }),
    unary("bitwiseNot", nf.bitwiseNot, (x) => ~x, exact(["i32", "i8"], { order: 0, extremes: false })),
    unaryRow(
      FAMILY,
      "bitwiseNot",
      nf.bitwiseNot,
      (x) => (x === 0 ? 1 : 0),
      exact(["bool"], { order: 0, extremes: false }),
      "of bool",
    ),
    unaryRow(
      FAMILY,
      "bitwiseNot",
      nf.bitwiseNot,
      (x) => ~x >>> 0,
      exact(["u32"], { order: 0, extremes: false }),
      "of u32",
    ),
    unaryRow(
      FAMILY,
      "bitwiseNot",
      nf.bitwiseNot,
      (x) => ~x & 255,
      exact(["u8"], { order: 0, extremes: false }),
      "of u8",
    ),
    unaryRow(FAMILY, "clone", nf.clone, (x) => x, exact(ALL)),
  ];
}

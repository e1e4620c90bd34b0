import type { DType, ReduceOptions, Tensor } from "@nf/core";
import * as nf from "@nf/core";
import fc from "fast-check";
import type { Domain, Edge, Instance, Row } from "../model.ts";
import { asReal, multiplyIn } from "../reference/integers.ts";
import * as reference from "../reference/nd.ts";
import { maximum, minimum } from "../reference/special.ts";
import {
  ALL,
  always,
  data,
  edge,
  FLOATS,
  INTEGERS,
  NUMBERS,
  optionsText,
  row,
  shapes,
  shapesText,
  toFloat,
} from "./define.ts";

const FAMILY = "reduce";

type Options = ReduceOptions & { readonly ddof?: number; readonly p?: number };

interface ReduceSpec {
  readonly dtypes?: readonly DType[];
  readonly kernels?: Row["kernels"];
  readonly result?: Row["result"];
  readonly order?: Row["order"];
  readonly tolerance?: Row["tolerance"];
  readonly domain?: Domain;
  /** Whether nothing may be reduced; default true. */
  readonly empty?: boolean;
  readonly variant?: string;
  readonly more?: Options;
  readonly roundings?: number;
  readonly edges?: readonly Edge[];
}

const FIXED: readonly (readonly [readonly number[], ReduceOptions])[] = [
  [[], {}],
  [[7], {}],
  [[3, 4], {}],
  [[3, 4], { axis: 0 }],
  [[3, 4], { axis: -1, keepDims: true }],
  [[2, 3, 4], { axis: [0, 2] }],
  [[2, 3, 4], { axis: 1 }],
  [[2, 1, 3, 1, 2], { axis: [1, -1], keepDims: true }],
  [[1], { axis: 0 }],
  [[3, 0], { axis: 0 }],
];
/** Lines longer than any block, along either axis, and all at once. */
const LARGE: typeof FIXED = [
  [[1025], {}],
  [[3, 257], { axis: 1 }],
  [[131, 37], { axis: 0 }],
  [[9, 33, 17], { axis: [0, 2] }],
];
const EMPTY: typeof FIXED = [
  [[0], {}],
  [[3, 0], { axis: 1 }],
  [[0, 2], { axis: 0, keepDims: true }],
];

/** Shapes of at least one element along the reduced axes, and reductions of them. */
export function reductions(empty: boolean, minRank = 0): fc.Arbitrary<readonly [number[], ReduceOptions]> {
  return shapes(minRank, 4, 5, empty ? 0 : 1).chain((shape) =>
    fc
      .record({
        all: fc.nat(3),
        axes: fc.subarray([...shape.keys()], { minLength: Math.min(1, shape.length) }),
        negative: fc.boolean(),
        keepDims: fc.boolean(),
      })
      .map(({ all, axes, negative, keepDims }) => {
        const named = axes.map((axis) => (negative ? axis - shape.length : axis));
        const axis = named.length === 1 ? named[0]! : named;
        return [
          shape,
          { ...(all > 0 && shape.length > 0 && { axis }), ...(keepDims && { keepDims }) },
        ] as const;
      }),
  );
}

function reduceRow(
  op: string,
  call: (x: Tensor, options: Options) => Tensor,
  f: (values: readonly number[], dtype: DType) => number,
  spec: ReduceSpec = {},
): Row {
  const { more = {}, empty = true, domain, roundings, edges = [], kernels = ["reduce"], ...rest } = spec;
  const instance = ([shape, options]: readonly [readonly number[], ReduceOptions]): Instance => ({
    label: shapesText(shape) + optionsText({ ...options, ...more }),
    operands: [data(shape, domain)],
    ...(roundings !== undefined && { roundings }),
    run: ([x]) => call(x!, { ...options, ...more }),
    reference: ([x], dtype) =>
      reference.reduce(x!, options.axis, options.keepDims, (values) => f(values, dtype)),
  });
  return row(FAMILY, {
    op,
    kernels,
    tolerance: "summed",
    instances: [...FIXED, ...(empty ? EMPTY : [])].map(instance),
    large: LARGE.map(instance),
    arbitrary: reductions(empty).map(instance),
    edges,
    ...rest,
  });
}

const total = (values: readonly number[]): number => reference.sum(values);
const mean = (values: readonly number[]): number => total(values) / values.length;
const product = (values: readonly number[], dtype: DType): number => values.reduce(multiplyIn(dtype), 1);
const greatest = (values: readonly number[]): number => values.reduce(maximum);
const least = (values: readonly number[]): number => values.reduce(minimum);
const deviation = (values: readonly number[], ddof: number): number => {
  const center = mean(values);
  return total(values.map((value) => (value - center) ** 2)) / Math.max(0, values.length - ddof);
};
const logSumExp = (values: readonly number[]): number => {
  const top = values.reduce(maximum, -Infinity);
  return Number.isFinite(top) ? top + Math.log(total(values.map((value) => Math.exp(value - top)))) : top;
};
/** First of the best; a NaN is better than everything. */
const first =
  (better: (a: number, b: number) => boolean) =>
  (values: readonly number[]): number => {
    let best = 0;
    values.forEach((value, i) => {
      const leader = values[best]!;
      if (!Number.isNaN(leader) && (Number.isNaN(value) || better(value, leader))) best = i;
    });
    return best;
  };

const sumType = (dtype: DType): DType =>
  nf.isFloat(dtype) || dtype === "u32" ? dtype : dtype === "u8" ? "u32" : "i32";
const ties: Domain = { low: -0.03125, high: 0.03125, integers: "close" };
const apart: Domain = { distinct: true };
const NAN_AT_1 = [1, NaN, 2] as const;

/** A sum of many terms: 65,536 of about one size, whose naive f32 sum is off by far more than is allowed. */
function longSum(): Row {
  const values = (count: number): number[] =>
    Array.from({ length: count }, (_, i) => 1 + (i % 7) / 8 + (i % 13) / 1024);
  const instance = (lines: number, count: number, axis: number): Instance => {
    const shape = axis === 0 ? [count, lines] : [lines, count];
    return {
      label: `${shapesText(shape)} axis ${axis}`,
      operands: [{ shape, values: () => values(lines * count), dense: true, gradient: false }],
      run: ([x]) => [nf.sum(x!, { axis }), nf.mean(x!, { axis }), nf.var(x!, { axis })],
      reference: ([x]) => [
        reference.reduce(x!, axis, false, total),
        reference.reduce(x!, axis, false, mean),
        reference.reduce(x!, axis, false, (list) => deviation(list, 1)),
      ],
    };
  };
  return row(FAMILY, {
    op: "sum",
    variant: "of 65,536 terms",
    kernels: ["reduce"],
    dtypes: ["f32", "f64"],
    order: 0,
    instances: [instance(1, 65536, 1), instance(2, 65536, 0)],
    arbitrary: fc.constantFrom(instance(2, 1023, 1), instance(1, 2049, 0), instance(3, 4097, 1)),
  });
}

/** Reductions over one axis, several, all and none. */
export function reduceRows(): readonly Row[] {
  return [
    reduceRow("sum", nf.sum, total, {
      dtypes: ALL,
      result: sumType,
      edges: [
        edge("NaN and infinities", ([x]) => nf.sum(x!), [[1, Infinity, -Infinity]], [NaN]),
        edge("NaN", ([x]) => nf.sum(x!), [NAN_AT_1], [NaN]),
      ],
    }),
    longSum(),
    reduceRow("mean", nf.mean, (values, dtype) => mean(values.map((value) => asReal(dtype, value))), {
      dtypes: ALL,
      result: toFloat,
    }),
    reduceRow("prod", nf.prod, product, {
      dtypes: ALL,
      result: sumType,
      domain: { low: -1.5, high: 1.5, odd: true },
      edges: [
        edge("one zero", ([x]) => nf.prod(x!), [[2, 0, 3]], [0], { grads: [[0, 6, 0]] }),
        edge("two zeros", ([x]) => nf.prod(x!), [[0, 0, 3]], [0], { grads: [[0, 0, 0]] }),
      ],
    }),
    reduceRow("max", nf.max, greatest, {
      dtypes: NUMBERS,
      tolerance: "exact",
      empty: false,
      domain: apart,
      edges: [
        edge("ties share the gradient", ([x]) => nf.max(x!), [[1, 3, 3, 2]], [3], {
          grads: [[0, 0.5, 0.5, 0]],
        }),
        edge("NaN", ([x]) => nf.max(x!), [NAN_AT_1], [NaN]),
        edge("infinities", ([x]) => nf.max(x!), [[-Infinity, -Infinity]], [-Infinity]),
      ],
    }),
    reduceRow("min", nf.min, least, {
      dtypes: NUMBERS,
      tolerance: "exact",
      empty: false,
      domain: apart,
      edges: [
        edge("ties share the gradient", ([x]) => nf.min(x!), [[1, 3, 1, 2]], [1], {
          grads: [[0.5, 0, 0.5, 0]],
        }),
        edge("NaN", ([x]) => nf.min(x!), [NAN_AT_1], [NaN]),
      ],
    }),
    reduceRow("any", nf.any, (values) => (values.some((value) => value !== 0) ? 1 : 0), {
      dtypes: ALL,
      result: always("bool"),
      order: 0,
      tolerance: "exact",
      domain: ties,
      edges: [edge("NaN counts", ([x]) => nf.any(x!), [[0, NaN]], [1])],
    }),
    reduceRow("all", nf.all, (values) => (values.every((value) => value !== 0) ? 1 : 0), {
      dtypes: ALL,
      result: always("bool"),
      order: 0,
      tolerance: "exact",
      domain: ties,
    }),
    reduceRow("countNonzero", nf.countNonzero, (values) => values.filter((value) => value !== 0).length, {
      dtypes: ALL,
      result: always("i32"),
      order: 0,
      tolerance: "exact",
      domain: ties,
    }),
    reduceRow("logSumExp", nf.logSumExp, logSumExp, {
      tolerance: "composed",
      // The sum of powers is a number from 1 up, whose logarithm may cancel what it is added to.
      roundings: 1,
      edges: [
        edge("±1e4", ([x]) => nf.logSumExp(x!), [[1e4, -1e4]], [1e4], {
          grads: [[1, 0]],
          only: ["f32", "f64"],
        }),
        edge("all -Infinity", ([x]) => nf.logSumExp(x!), [[-Infinity, -Infinity]], [-Infinity]),
        edge("Infinity", ([x]) => nf.logSumExp(x!), [[Infinity, 0]], [Infinity]),
        edge("NaN", ([x]) => nf.logSumExp(x!), [[NaN, 0]], [NaN]),
      ],
    }),
    reduceRow("var", nf.var, (values) => deviation(values, 1), {
      tolerance: "composed",
      edges: [
        edge("one value has none", ([x]) => nf.var(x!), [[5]], [NaN]),
        edge("far from 0", ([x]) => nf.var(x!), [[4096, 4097, 4098]], [1], { only: ["f32", "f64"] }),
      ],
    }),
    reduceRow("var", nf.var, (values) => deviation(values, 0), {
      tolerance: "composed",
      variant: "of a population",
      more: { ddof: 0 },
    }),
    reduceRow("std", nf.std, (values) => Math.sqrt(deviation(values, 1)), {
      tolerance: "composed",
      domain: apart,
      edges: [
        edge("of equal values, with gradient 0", ([x]) => nf.std(x!), [[2, 2, 2]], [0], {
          grads: [[0, 0, 0]],
        }),
      ],
    }),
    reduceRow("norm", nf.norm, (values) => Math.sqrt(total(values.map((value) => value * value))), {
      domain: { joints: [0] },
      edges: [
        edge("of nothing but zeros, with gradient 0", ([x]) => nf.norm(x!), [[0, 0]], [0], {
          grads: [[0, 0]],
        }),
      ],
    }),
    reduceRow("norm", nf.norm, (values) => total(values.map(Math.abs)), {
      variant: "p 1",
      more: { p: 1 },
      domain: { joints: [0] },
    }),
    reduceRow("norm", nf.norm, (values) => Math.cbrt(total(values.map((value) => Math.abs(value) ** 3))), {
      variant: "p 3",
      more: { p: 3 },
      domain: { joints: [0] },
    }),
    reduceRow("norm", nf.norm, (values) => values.map(Math.abs).reduce(maximum), {
      variant: "p Infinity",
      more: { p: Infinity },
      empty: false,
      domain: { low: 0.125, high: 2, distinct: true },
    }),
    reduceRow("norm", nf.norm, (values) => values.filter((value) => value !== 0).length, {
      variant: "p 0",
      more: { p: 0 },
      order: 0,
      domain: ties,
    }),
    reduceRow(
      "argmax",
      nf.argmax,
      first((a, b) => a > b),
      {
        dtypes: ALL,
        kernels: ["argReduce"],
        result: always("i32"),
        order: 0,
        tolerance: "exact",
        empty: false,
        domain: ties,
        edges: [
          edge("the first of equals", ([x]) => nf.argmax(x!), [[1, 3, 3]], [1]),
          edge("the first NaN", ([x]) => nf.argmax(x!), [[1, NaN, 9, NaN]], [1]),
          edge("infinities", ([x]) => nf.argmax(x!), [[-Infinity, -Infinity]], [0]),
        ],
      },
    ),
    reduceRow(
      "argmin",
      nf.argmin,
      first((a, b) => a < b),
      {
        dtypes: ALL,
        kernels: ["argReduce"],
        result: always("i32"),
        order: 0,
        tolerance: "exact",
        empty: false,
        domain: ties,
        edges: [
          edge("the first of equals", ([x]) => nf.argmin(x!), [[3, 1, 1]], [1]),
          edge("the first NaN", ([x]) => nf.argmin(x!), [[1, NaN, -9, NaN]], [1]),
        ],
      },
    ),
    traceRow(),
  ];
}

function traceRow(): Row {
  const instance = ([rows, columns]: readonly number[]): Instance => ({
    label: shapesText([rows!, columns!]),
    operands: [data([rows!, columns!])],
    run: ([x]) => nf.trace(x!),
    reference: ([x]) =>
      reference.scalar(
        total(Array.from({ length: Math.min(rows!, columns!) }, (_, i) => reference.at(x!, [i, i]))),
      ),
  });
  return row(FAMILY, {
    op: "trace",
    kernels: ["reduce"],
    tolerance: "summed",
    dtypes: [...FLOATS, ...INTEGERS],
    result: sumType,
    instances: [
      [3, 3],
      [2, 4],
      [4, 2],
      [0, 2],
      [1, 1],
    ].map(instance),
    arbitrary: shapes(2, 2, 5, 1).map(instance),
  });
}

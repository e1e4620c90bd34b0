import type { DType, Tensor } from "@nf/core";
import * as nf from "@nf/core";
import fc from "fast-check";
import type { Domain, Edge, Instance, Row } from "../model.ts";
import { multiplyIn } from "../reference/integers.ts";
import * as reference from "../reference/nd.ts";
import { maximum } from "../reference/special.ts";
import { ALL, axisFor, data, edge, NUMBERS, optionsText, row, shapes, shapesText } from "./define.ts";

const FAMILY = "scan";
const sumType = (dtype: DType): DType =>
  nf.isFloat(dtype) || dtype === "u32" ? dtype : dtype === "u8" ? "u32" : "i32";

interface ScanOptions {
  readonly axis?: number;
  readonly reverse?: boolean;
}

const FIXED: readonly (readonly [readonly number[], ScanOptions])[] = [
  [[], {}],
  [[6], {}],
  [[3, 4], {}],
  [[3, 4], { axis: 0 }],
  [[3, 4], { axis: -2, reverse: true }],
  [[2, 3, 4], { axis: 1, reverse: true }],
  [[2, 1, 3, 1, 2], { axis: 2 }],
  [[0, 2], { axis: 0 }],
  [[1], { reverse: true }],
];

/** Lines longer than any block, the long axis first and last. */
const LARGE: readonly (readonly [readonly number[], ScanOptions])[] = [
  [[1025], {}],
  [[3, 257], { axis: 1, reverse: true }],
  [[67, 5], { axis: 0 }],
];

const lines: fc.Arbitrary<readonly [number[], { axis?: number }]> = shapes(0, 4, 6).chain((shape) =>
  shape.length === 0
    ? fc.constant([shape, {}] as const)
    : axisFor(shape.length).map((axis) => [shape, { axis }] as const),
);

function along(
  x: reference.Nd,
  axis: number | undefined,
  f: (line: readonly number[]) => readonly number[],
): reference.Nd {
  return x.shape.length === 0 ? { shape: [], data: f(x.data) } : reference.lines(x, axis ?? -1, f);
}

function running(combine: (a: number, b: number) => number, reverse = false) {
  return (line: readonly number[]): readonly number[] => {
    const source = reverse ? [...line].reverse() : line;
    let value = NaN;
    const result = source.map((next, i) => {
      value = i === 0 ? next : combine(value, next);
      return value;
    });
    return reverse ? result.reverse() : result;
  };
}

function scanRow(
  op: string,
  call: (x: Tensor, options: ScanOptions) => Tensor,
  combine: (a: number, b: number, dtype: DType) => number,
  spec: Partial<Row> & { readonly domain?: Domain; readonly edges?: readonly Edge[] },
): Row {
  const { domain, ...rest } = spec;
  const instance = ([shape, options]: readonly [readonly number[], ScanOptions]): Instance => ({
    label: shapesText(shape) + optionsText(options),
    operands: [data(shape, domain)],
    run: ([x]) => call(x!, options),
    reference: ([x], dtype) =>
      along(
        x!,
        options.axis,
        running((a, b) => combine(a, b, dtype), options.reverse),
      ),
  });
  return row(FAMILY, {
    op,
    // Gradients of running maxima gather and scatter.
    kernels: ["scan"],
    tolerance: "summed",
    instances: FIXED.map(instance),
    large: LARGE.map(instance),
    arbitrary: fc
      .tuple(lines, fc.boolean())
      .map(([[shape, axis], reverse]) => instance([shape, reverse ? { ...axis, reverse } : axis])),
    ...rest,
  });
}

/** Order of two values: ascending or descending, NaN last both ways. */
function before(a: number, b: number, descending: boolean): number {
  if (Number.isNaN(a) || Number.isNaN(b)) return Number(Number.isNaN(a)) - Number(Number.isNaN(b));
  return a === b ? 0 : a < b === descending ? 1 : -1;
}

function orderOf(line: readonly number[], descending: boolean): number[] {
  return [...line.keys()].sort((i, j) => before(line[i]!, line[j]!, descending) || i - j);
}

type SortOptions = {
  readonly axis?: number;
  readonly descending?: boolean;
  readonly k?: number;
  readonly largest?: boolean;
};

function sortRow(
  op: string,
  call: (x: Tensor, options: SortOptions) => readonly Tensor[],
  outputs: readonly ("values" | "indices")[],
  variant: string | undefined,
  domain: Domain,
  order: Row["order"],
  dtypes: readonly DType[],
): Row {
  const instance = ([shape, options]: readonly [readonly number[], SortOptions]): Instance => ({
    label: shapesText(shape) + optionsText(options),
    operands: [data(shape, domain)],
    run: ([x]) => call(x!, options),
    reference: ([x]) =>
      outputs.map((output) =>
        along(x!, options.axis, (line) => {
          const descending = op === "topk" ? options.largest !== false : options.descending === true;
          const chosen = orderOf(line, descending).slice(0, options.k ?? line.length);
          return output === "indices" ? chosen : chosen.map((i) => line[i]!);
        }),
      ),
  });
  const withK = ([shape, options]: readonly [readonly number[], SortOptions]): readonly [
    readonly number[],
    SortOptions,
  ] => {
    if (op !== "topk") return [shape, options];
    const { descending, ...rest } = options;
    const length = shape.length === 0 ? 1 : shape.at(options.axis ?? -1)!;
    return [shape, { ...rest, k: Math.ceil(length / 2), ...(descending === true && { largest: false }) }];
  };
  const fixed = FIXED.map(
    ([shape, { axis, reverse }]) =>
      [shape, { ...(axis !== undefined && { axis }), ...(reverse && { descending: true }) }] as const,
  );
  const run = ([x]: readonly Tensor[]): readonly Tensor[] => call(x!, op === "topk" ? { k: 5 } : {});
  const special = [2, NaN, -Infinity, 2, Infinity, -1, NaN, 2, 0, -0];
  const ascending = orderOf(special, op === "topk").slice(0, op === "topk" ? 5 : special.length);
  return row(FAMILY, {
    op,
    ...(variant !== undefined && { variant }),
    kernels: ["sort"],
    dtypes,
    result: (dtype, output) => (outputs[output] === "indices" ? "i32" : dtype),
    order,
    tolerance: "exact",
    instances: fixed.map((one) => instance(withK(one))),
    large: LARGE.map(([shape, { axis, reverse }]) =>
      instance(
        withK([
          shape,
          { ...(axis !== undefined && { axis }), ...(reverse === true && { descending: true }) },
        ]),
      ),
    ),
    arbitrary: fc
      .tuple(lines, fc.boolean())
      .map(([[shape, axis], descending]) =>
        instance(withK([shape, { ...axis, ...(descending && { descending }) }])),
      ),
    edges: [
      edge(
        "stable, NaN last",
        run,
        [special],
        outputs.map((output) => ascending.map((i) => (output === "indices" ? i : special[i]!))),
      ),
    ],
  });
}

/** Running sums, products and maxima; sorting. */
export function scanRows(): readonly Row[] {
  const apart: Domain = { distinct: true };
  const ties: Domain = { low: -0.03125, high: 0.03125, integers: "close" };
  const unsigned = NUMBERS.filter((dtype) => dtype !== "bool");
  const factors: Domain = { low: -1.5, high: 1.5, odd: true };
  const sorted = (x: Tensor, options: SortOptions): readonly Tensor[] => {
    const { values, indices } = nf.sort(x, options);
    return [values, indices];
  };
  const top = (x: Tensor, { k = 0, ...options }: SortOptions): readonly Tensor[] => {
    const { values, indices } = nf.topk(x, { k, ...options });
    return [values, indices];
  };
  return [
    scanRow("cumsum", nf.cumsum, (a, b) => a + b, {
      dtypes: unsigned,
      result: sumType,
      edges: [edge("NaN from then on", ([x]) => nf.cumsum(x!), [[1, NaN, 2]], [1, NaN, NaN])],
    }),
    scanRow("cumprod", nf.cumprod, (a, b, dtype) => multiplyIn(dtype)(a, b), {
      dtypes: unsigned,
      result: sumType,
      domain: factors,
      edges: [edge("a zero", ([x]) => nf.cumprod(x!), [[2, 0, 3]], [2, 0, 0], { grads: [[1, 8, 0]] })],
    }),
    scanRow("cummax", nf.cummax, maximum, {
      dtypes: unsigned,
      tolerance: "exact",
      domain: apart,
      edges: [
        edge("NaN from then on", ([x]) => nf.cummax(x!), [[1, NaN, 2]], [1, NaN, NaN]),
        edge("the gradient of equals goes to the last", ([x]) => nf.cummax(x!), [[1, 1, 0]], [1, 1, 1], {
          grads: [[1, 2, 0]],
        }),
      ],
    }),
    sortRow("sort", sorted, ["values", "indices"], undefined, apart, 2, ALL),
    sortRow("sort", sorted, ["values", "indices"], "with ties", ties, 0, ALL),
    sortRow("argsort", (x, options) => [nf.argsort(x, options)], ["indices"], undefined, ties, 0, ALL),
    sortRow("topk", top, ["values", "indices"], undefined, apart, 2, ALL),
    sortRow("topk", top, ["values", "indices"], "with ties", ties, 0, ALL),
  ];
}

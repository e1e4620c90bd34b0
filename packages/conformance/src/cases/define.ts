import { DTYPE_NAMES, type DType, isFloat, type Tensor } from "@nf/core";
import fc from "fast-check";
import type { Domain, Edge, Instance, Operand, Row } from "../model.ts";
import { type Nd, nd } from "../reference/nd.ts";

/** The float dtypes. */
export const FLOATS: readonly DType[] = DTYPE_NAMES.filter(isFloat);
/** All dtypes but bool. */
export const NUMBERS: readonly DType[] = DTYPE_NAMES.filter((dtype) => dtype !== "bool");
/** The integer dtypes. */
export const INTEGERS: readonly DType[] = NUMBERS.filter((dtype) => !isFloat(dtype));
/** All dtypes. */
export const ALL: readonly DType[] = DTYPE_NAMES;

/** The tested dtype stays. */
export const same = (dtype: DType): DType => dtype;
/** Integers and bool become f32. */
export const toFloat = (dtype: DType): DType => (isFloat(dtype) ? dtype : "f32");
/** Always one dtype. */
export const always =
  (dtype: DType): ((tested: DType) => DType) =>
  () =>
    dtype;

/** What a row says that is not its defaults. */
export type RowSpec = Pick<Row, "op" | "instances" | "arbitrary"> & Partial<Omit<Row, "family">>;

/** Completes a row: float dtypes, the tested dtype as result, rounded, twice differentiable. */
export function row(family: string, spec: RowSpec): Row {
  return {
    family,
    kernels: [],
    dtypes: FLOATS,
    result: same,
    order: 2,
    tolerance: "rounded",
    edges: [],
    ...spec,
  };
}

/** An operand of the tested dtype. */
export function data(shape: readonly number[], domain?: Domain): Operand {
  return domain === undefined ? { shape } : { shape, domain };
}

/** The corners of every integer dtype, where a domain has no bounds for integers. */
export function cornersOf(domain: Domain = {}): Domain {
  return Array.isArray(domain.integers) ? domain : { ...domain, integers: "corners" };
}

/** Indices from 0 to before `size`, repeated or not. */
export function indices(shape: readonly number[], size: number): Operand {
  return {
    shape,
    dtype: "i32",
    values: (source) => Array.from({ length: shape.reduce((a, b) => a * b, 1) }, () => source.below(size)),
  };
}

/** A bool operand. */
export function mask(shape: readonly number[]): Operand {
  return { shape, dtype: "bool" };
}

/** Shapes for messages: `[2, 3] [3]`. */
export function shapesText(...shapes: readonly (readonly number[])[]): string {
  return shapes.map((shape) => `[${shape.join(", ")}]`).join(" ");
}

/** Options for messages, empty where there are none. */
export function optionsText(options: object): string {
  const shown = JSON.stringify(options);
  return shown === "{}" ? "" : ` ${shown}`;
}

/** Shapes every elementwise operation meets: 0-d, empty, size 1, plain, rank 5. */
export const SHAPES: readonly (readonly number[])[] = [[], [0], [1], [7], [2, 3], [3, 0, 2], [2, 1, 3, 1, 2]];

/** Pairs of shapes that broadcast, a zero-sized one among them. */
export const SHAPE_PAIRS: readonly (readonly [readonly number[], readonly number[]])[] = [
  [[], []],
  [
    [3, 4],
    [3, 4],
  ],
  [[3, 4], [4]],
  [
    [3, 1],
    [1, 4],
  ],
  [
    [2, 1, 3, 1, 2],
    [4, 1, 3, 1],
  ],
  [[0], [1]],
  [[2, 0, 3], [3]],
  [[], [5]],
];

/** A small shape. */
export function shapes(minRank = 0, maxRank = 4, maxSize = 4, minSize = 0): fc.Arbitrary<number[]> {
  const size = fc.oneof(
    { weight: 8, arbitrary: between(Math.max(1, minSize), maxSize) },
    { weight: 1, arbitrary: fc.constant(Math.max(minSize, 0)) },
  );
  return fc.array(size, { minLength: minRank, maxLength: maxRank });
}

/** A whole number, both ends included. */
export function between(min: number, max: number): fc.Arbitrary<number> {
  return fc.integer({ min, max });
}

/** Shapes that broadcast together. */
export function broadcastable(operands: number): fc.Arbitrary<number[][]> {
  const drop = fc.array(between(0, 7), { minLength: operands, maxLength: operands });
  return fc
    .tuple(shapes(0, 4), fc.array(fc.nat(31), { minLength: operands, maxLength: operands }), drop)
    .map(([shape, ones, drops]) =>
      ones.map((bits, i) => {
        const kept = shape.map((size, axis) =>
          ((bits >> axis) & 1) === 1 && ((bits >> 4) & 1) === 0 ? 1 : size,
        );
        return kept.slice(drops[i]! > 5 ? Math.min(drops[i]! - 5, kept.length) : 0);
      }),
    );
}

/** An axis of a rank, counted from either end. */
export function axisFor(rank: number): fc.Arbitrary<number> {
  return between(-rank, rank - 1);
}

/** One instance for each of some shapes. */
export function each<T>(list: readonly T[], make: (one: T) => Instance): readonly Instance[] {
  return list.map(make);
}

/** A point with values and results. */
export function edge(
  label: string,
  run: (inputs: readonly Tensor[]) => Tensor | readonly Tensor[],
  inputs: readonly (readonly number[] | Nd)[],
  output: readonly number[] | readonly (readonly number[])[],
  more: Pick<Edge, "grads" | "only" | "dtypes"> = {},
): Edge {
  const first = output[0];
  const lists = Array.isArray(first)
    ? (output as readonly (readonly number[])[])
    : [output as readonly number[]];
  return {
    label,
    run,
    inputs: inputs.map((values) => ("shape" in values ? values : nd([values.length], values))),
    output: lists,
    ...more,
  };
}

/** A call that is one function of tensors. */
export type Call = (...inputs: Tensor[]) => Tensor;

import type { DType, Tensor } from "@nf/core";
import * as nf from "@nf/core";
import fc from "fast-check";
import type { Instance, Row } from "../model.ts";
import * as reference from "../reference/nd.ts";
import { ALL, between, data, FLOATS, INTEGERS, NUMBERS, row, SHAPES, shapes, shapesText } from "./define.ts";

const FAMILY = "create";
type Make = (dtype: DType) => Tensor;

function made(
  label: string,
  make: Make,
  expected: reference.Nd | ((dtype: DType) => reference.Nd),
): Instance {
  return {
    label,
    operands: [],
    run: (_inputs, dtype) => make(dtype),
    reference: (_inputs, dtype) => (typeof expected === "function" ? expected(dtype) : expected),
  };
}

function createRow(
  op: string,
  instances: readonly Instance[],
  arbitrary: fc.Arbitrary<Instance>,
  more: Partial<Row> = {},
): Row {
  return row(FAMILY, { op, dtypes: ALL, order: 0, tolerance: "exact", instances, arbitrary, ...more });
}

const filled = (shape: readonly number[], value: number): reference.Nd => reference.build(shape, () => value);

const FILLED = { zeros: nf.zeros, ones: nf.ones, zerosLike: nf.zerosLike, onesLike: nf.onesLike } as const;

function fillRow(op: "zeros" | "ones", value: number): Row {
  const instance = (shape: readonly number[]): Instance =>
    made(shapesText(shape), (dtype) => FILLED[op](shape, { dtype }), filled(shape, value));
  return createRow(op, SHAPES.map(instance), shapes().map(instance));
}

function likeRow(op: "zerosLike" | "onesLike", value: number): Row {
  const instance = (shape: readonly number[]): Instance => ({
    label: shapesText(shape),
    operands: [data(shape)],
    run: ([x]) => FILLED[op](x!),
    reference: ([x]) => filled(x!.shape, value),
  });
  return createRow(op, SHAPES.map(instance), shapes().map(instance));
}

function fullRows(): readonly Row[] {
  const full = (shape: readonly number[], value: number): Instance =>
    made(`${shapesText(shape)} ${value}`, (dtype) => nf.full(shape, value, { dtype }), filled(shape, value));
  const like = (shape: readonly number[], value: number): Instance => ({
    label: `${shapesText(shape)} ${value}`,
    operands: [data(shape)],
    run: ([x]) => nf.fullLike(x!, value),
    reference: ([x]) => filled(x!.shape, value),
  });
  const any = fc.tuple(shapes(), between(0, 100));
  const limits = (["least", "greatest"] as const).map((which, i): Instance => {
    const limit = (dtype: DType): number => nf.DTYPES[dtype].range![i]!;
    return made(
      `the ${which}`,
      (dtype) => nf.full([3], limit(dtype), { dtype }),
      (dtype) => filled([3], limit(dtype)),
    );
  });
  const special = [NaN, Infinity, -Infinity, 0.1].map((value) =>
    made(String(value), (dtype) => nf.full([3], value, { dtype }), filled([3], value)),
  );
  return [
    createRow(
      "full",
      SHAPES.map((shape) => full(shape, 7)),
      any.map(([shape, value]) => full(shape, value)),
      { dtypes: NUMBERS },
    ),
    createRow("full", special, fc.constantFrom(...special), { dtypes: FLOATS, variant: "of any float" }),
    createRow("full", limits, fc.constantFrom(...limits), { dtypes: INTEGERS, variant: "of limits" }),
    createRow(
      "fullLike",
      SHAPES.map((shape) => like(shape, 3)),
      any.map(([shape, value]) => like(shape, value)),
      { dtypes: NUMBERS },
    ),
  ];
}

function rangeRows(): readonly Row[] {
  const arange = (start: number, end: number, step: number): Instance =>
    made(
      `${start} to ${end} by ${step}`,
      (dtype) => nf.arange(start, end, step, { dtype }),
      () => {
        const length = Math.max(0, Math.ceil((end - start) / step));
        return reference.nd(
          [length],
          Array.from({ length }, (_, i) => start + i * step),
        );
      },
    );
  // Where f32 rounds, and up to the greatest i32.
  const far = [arange(16777213, 16777220, 1), arange(2147483632, 2147483648, 3)];
  const linspace = (start: number, end: number, count: number): Instance =>
    made(
      `${start} to ${end} in ${count}`,
      (dtype) => nf.linspace(start, end, count, { dtype }),
      reference.nd(
        [count],
        Array.from({ length: count }, (_, i) =>
          i === 0 ? start : i === count - 1 ? end : start + ((end - start) * i) / (count - 1),
        ),
      ),
    );
  return [
    createRow(
      "arange",
      [arange(0, 5, 1), arange(2, 11, 3), arange(5, 5, 1), arange(10, 0, -3), arange(0, 100, 1)],
      fc
        .tuple(between(0, 9), between(0, 30), between(1, 4))
        .map(([start, end, step]) => arange(start, end, step)),
      { dtypes: ["f64", "f32", "f16", "i32", "i8", "u32", "u8"] },
    ),
    createRow("arange", far, fc.constantFrom(...far), {
      dtypes: ["i32", "u32", "f64"],
      variant: "far from 0",
    }),
    createRow(
      "linspace",
      [linspace(0, 1, 5), linspace(-2, 2, 2), linspace(2, 5, 1), linspace(0, 1, 0), linspace(1, -1, 7)],
      fc
        .tuple(between(-4, 4), between(-4, 4), between(0, 9))
        .map(([start, end, count]) => linspace(start, end, count)),
      { dtypes: FLOATS },
    ),
  ];
}

const BANDS = { trilMask: nf.trilMask, triuMask: nf.triuMask } as const;

function bandRow(op: "eye" | "trilMask" | "triuMask"): Row {
  const instance = (rows: number, columns: number, diagonal: number): Instance =>
    made(
      `${rows} x ${columns}${op === "eye" ? "" : ` diagonal ${diagonal}`}`,
      (dtype) =>
        op === "eye" ? nf.eye(rows, columns, { dtype }) : BANDS[op](rows, columns, diagonal, { dtype }),
      reference.build([rows, columns], ([i, j]) => {
        const distance = j! - i! - (op === "eye" ? 0 : diagonal);
        return (op === "eye" ? distance === 0 : op === "trilMask" ? distance <= 0 : distance >= 0) ? 1 : 0;
      }),
    );
  return createRow(
    op,
    [instance(3, 3, 0), instance(2, 4, 1), instance(4, 2, -1), instance(0, 3, 0), instance(1, 1, 0)],
    fc.tuple(between(0, 5), between(0, 5), between(-3, 3)).map(([r, c, d]) => instance(r, c, d)),
  );
}

/** Some numbers as their bytes, by dtype. */
const STORED = [0, 1, -2, 3, Infinity, 5];
const BYTES: Partial<Record<DType, ArrayBufferView>> = {
  f64: Float64Array.from(STORED),
  f32: Float32Array.from(STORED),
  f16: Uint16Array.of(0, 0x3c00, 0xc000, 0x4200, 0x7c00, 0x4500),
  bf16: Uint16Array.of(0, 0x3f80, 0xc000, 0x4040, 0x7f80, 0x40a0),
};

function bytesRow(): Row {
  const instance = (shape: readonly number[]): Instance =>
    made(
      shapesText(shape),
      (dtype) => nf.fromBytes(new Uint8Array(BYTES[dtype]!.buffer), shape, { dtype }),
      reference.nd(shape, STORED),
    );
  const instances = [[6], [2, 3], [3, 1, 2]].map(instance);
  return createRow("fromBytes", instances, fc.constantFrom(...instances), { dtypes: FLOATS });
}

function dataRows(): readonly Row[] {
  const values = [0, 1, 2, 3, 4, 5];
  const nested = made(
    "nested",
    (dtype) =>
      nf.tensor(
        [
          [0, 1, 2],
          [3, 4, 5],
        ],
        { dtype },
      ),
    (dtype) => reference.nd([2, 3], dtype === "bool" ? values.map((value) => (value === 0 ? 0 : 1)) : values),
  );
  const single = made("scalar", (dtype) => nf.tensor(1, { dtype }), reference.nd([], [1]));
  const flat = made(
    "typed array",
    (dtype) => nf.fromData(Float64Array.from(values), [3, 2], { dtype }),
    (dtype) => reference.nd([3, 2], dtype === "bool" ? values.map((value) => (value === 0 ? 0 : 1)) : values),
  );
  const detached: Instance = {
    label: "[3]",
    operands: [data([3])],
    run: ([x]) => [nf.detach(x!), nf.stopGradient(x!)],
    reference: ([x]) => [x!, x!],
  };
  return [
    createRow("tensor", [nested, single], fc.constantFrom(nested, single)),
    createRow("fromData", [flat], fc.constant(flat)),
    bytesRow(),
    createRow("detach", [detached], fc.constant(detached), { also: ["stopGradient"] }),
  ];
}

function alibiRow(): Row {
  const slopes = (heads: number): number[] => {
    const power = 2 ** Math.floor(Math.log2(heads));
    const first = Array.from({ length: power }, (_, i) => 2 ** (-(8 / power) * (i + 1)));
    const rest = Array.from({ length: heads - power }, (_, i) => 2 ** (-(4 / power) * (2 * i + 1)));
    return [...first, ...rest];
  };
  const instance = (heads: number, queries: number, keys: number): Instance =>
    made(
      `${heads} heads ${queries} x ${keys}`,
      (dtype) => nf.alibi(heads, queries, keys, { dtype }),
      reference.build(
        [heads, queries, keys],
        ([h, i, j]) => -slopes(heads)[h!]! * Math.abs(j! - i! - (keys - queries)),
      ),
    );
  return createRow(
    "alibi",
    [instance(2, 3, 3), instance(4, 2, 5), instance(3, 2, 2)],
    fc.tuple(between(1, 8), between(1, 4), between(1, 4)).map(([h, q, k]) => instance(h, q, Math.max(q, k))),
    { dtypes: FLOATS, tolerance: "rounded", also: ["alibiSlopes"] },
  );
}

/** Tensors from nothing but numbers. */
export function createRows(): readonly Row[] {
  return [
    fillRow("zeros", 0),
    fillRow("ones", 1),
    likeRow("zerosLike", 0),
    likeRow("onesLike", 1),
    ...fullRows(),
    ...rangeRows(),
    bandRow("eye"),
    bandRow("trilMask"),
    bandRow("triuMask"),
    ...dataRows(),
    alibiRow(),
  ];
}

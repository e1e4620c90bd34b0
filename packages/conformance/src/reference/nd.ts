/*
 * Numbers in a shape, row-major: what references compute with, in float64 and without any cleverness. Nothing here is
 * shared with core, so that a mistake there cannot hide in its own judge.
 */

import { type Multiply, multiply } from "./integers.ts";

/** Numbers in a shape, row-major. */
export interface Nd {
  readonly shape: readonly number[];
  readonly data: readonly number[];
}

/** Number of elements of a shape. */
export function count(shape: readonly number[]): number {
  return shape.reduce((product, size) => product * size, 1);
}

/** Numbers in a shape. */
export function nd(shape: readonly number[], data: readonly number[]): Nd {
  if (count(shape) !== data.length)
    throw new RangeError(`${data.length} numbers do not fill [${shape.join()}]`);
  return { shape, data };
}

/** One number. */
export function scalar(value: number): Nd {
  return { shape: [], data: [value] };
}

/** Position in row-major order of an index. */
export function position(shape: readonly number[], index: readonly number[]): number {
  let at = 0;
  for (let axis = 0; axis < shape.length; axis++) at = at * shape[axis]! + index[axis]!;
  return at;
}

/** The index at a position in row-major order. */
export function indexAt(shape: readonly number[], at: number): number[] {
  const index = new Array<number>(shape.length);
  let rest = at;
  for (let axis = shape.length - 1; axis >= 0; axis--) {
    const size = shape[axis]!;
    index[axis] = rest % size;
    rest = Math.floor(rest / size);
  }
  return index;
}

/** The element at an index. */
export function at(x: Nd, index: readonly number[]): number {
  return x.data[position(x.shape, index)]!;
}

/** Numbers made one by one from their index. */
export function build(
  shape: readonly number[],
  value: (index: readonly number[], position: number) => number,
): Nd {
  const data = new Array<number>(count(shape));
  for (let i = 0; i < data.length; i++) data[i] = value(indexAt(shape, i), i);
  return { shape, data };
}

/** An axis counted from the start. */
export function axisOf(axis: number, rank: number): number {
  return axis < 0 ? axis + rank : axis;
}

/** Axes from the start, ascending; all where none are given. */
export function axesOf(axis: number | readonly number[] | undefined, rank: number): readonly number[] {
  if (axis === undefined) return Array.from({ length: rank }, (_, i) => i);
  return [axis]
    .flat()
    .map((one) => axisOf(one, rank))
    .sort((a, b) => a - b);
}

/** The shape that shapes broadcast to. */
export function broadcastShape(...shapes: readonly (readonly number[])[]): number[] {
  const rank = Math.max(0, ...shapes.map((shape) => shape.length));
  return Array.from({ length: rank }, (_, axis) => {
    const sizes = shapes.map((shape) => shape[axis - rank + shape.length] ?? 1);
    return sizes.find((size) => size !== 1) ?? 1;
  });
}

/** Elements picked by strides from a start, row-major over a shape: what permuting and broadcasting come to. */
function pick(data: readonly number[], shape: readonly number[], strides: readonly number[]): Nd {
  const rank = shape.length;
  const result = new Array<number>(count(shape));
  const index = new Array<number>(rank).fill(0);
  let from = 0;
  for (let i = 0; i < result.length; i++) {
    result[i] = data[from]!;
    for (let axis = rank - 1; axis >= 0; axis--) {
      from += strides[axis]!;
      index[axis] = index[axis]! + 1;
      if (index[axis]! < shape[axis]!) break;
      from -= strides[axis]! * shape[axis]!;
      index[axis] = 0;
    }
  }
  return { shape, data: result };
}

function stridesOf(shape: readonly number[]): number[] {
  return shape.map((_, axis) => count(shape.slice(axis + 1)));
}

/** Repeated to a shape it broadcasts to. */
export function broadcastTo(x: Nd, shape: readonly number[]): Nd {
  if (x.shape.length === shape.length && x.shape.every((size, axis) => size === shape[axis])) return x;
  const lead = shape.length - x.shape.length;
  const own = stridesOf(x.shape);
  return pick(
    x.data,
    shape,
    shape.map((_, axis) => (axis < lead || x.shape[axis - lead] === 1 ? 0 : own[axis - lead]!)),
  );
}

/** A function of numbers, element by element, operands broadcast. */
export function map(f: (...values: number[]) => number, ...operands: readonly Nd[]): Nd {
  const shape = broadcastShape(...operands.map((x) => x.shape));
  const wide = operands.map((x) => broadcastTo(x, shape).data);
  const result = new Array<number>(count(shape));
  for (let i = 0; i < result.length; i++) result[i] = f(...wide.map((data) => data[i]!));
  return { shape, data: result };
}

/** Dimension i of the result is dimension `order[i]` of x. */
export function permute(x: Nd, order: readonly number[]): Nd {
  if (order.every((axis, i) => axis === i)) return x;
  const strides = stridesOf(x.shape);
  return pick(
    x.data,
    order.map((axis) => x.shape[axis]!),
    order.map((axis) => strides[axis]!),
  );
}

/** The same numbers in another shape; one size may be -1. */
export function reshape(x: Nd, shape: readonly number[]): Nd {
  const known = count(shape.filter((size) => size !== -1));
  return nd(
    shape.map((size) => (size === -1 ? x.data.length / known : size)),
    x.data,
  );
}

/** All elements that meet in each result of a reduction over axes, row-major among them. */
export function groups(
  x: Nd,
  axes: readonly number[],
  keepDims = false,
): { shape: number[]; lists: number[][] } {
  const rest = x.shape.flatMap((_, axis) => (axes.includes(axis) ? [] : [axis]));
  const moved = permute(x, [...rest, ...axes]);
  const length = count(axes.map((axis) => x.shape[axis]!));
  const shape = x.shape.flatMap((size, axis) => (axes.includes(axis) ? (keepDims ? [1] : []) : [size]));
  const lists = Array.from({ length: count(shape) }, (_, i) =>
    moved.data.slice(i * length, (i + 1) * length),
  );
  return { shape, lists };
}

/** A function of all elements along axes. */
export function reduce(
  x: Nd,
  axis: number | readonly number[] | undefined,
  keepDims: boolean | undefined,
  f: (values: readonly number[]) => number,
): Nd {
  const { shape, lists } = groups(x, axesOf(axis, x.shape.length), keepDims);
  return { shape, data: lists.map(f) };
}

/** A function of the lines along an axis, which may change their length. */
export function lines(x: Nd, axis: number, f: (line: readonly number[]) => readonly number[]): Nd {
  const rank = x.shape.length;
  const along = axisOf(axis, rank);
  const order = [...x.shape.keys()].filter((one) => one !== along);
  const moved = permute(x, [...order, along]);
  const length = x.shape[along]!;
  const lead = order.map((one) => x.shape[one]!);
  const out = Array.from({ length: count(lead) }, (_, i) =>
    f(moved.data.slice(i * length, (i + 1) * length)),
  );
  const size = out[0]?.length ?? f(new Array<number>(length).fill(0)).length;
  const back = Array.from({ length: rank }, (_, one) =>
    one === along ? rank - 1 : one < along ? one : one - 1,
  );
  return permute(nd([...lead, size], out.flat()), back);
}

/** Joined along an axis. */
export function concat(parts: readonly Nd[], axis: number): Nd {
  const first = parts[0]!;
  const along = axisOf(axis, first.shape.length);
  const total = parts.reduce((sum, part) => sum + part.shape[along]!, 0);
  return build(
    first.shape.map((size, one) => (one === along ? total : size)),
    (index) => {
      let place = index[along]!;
      for (const part of parts) {
        if (place < part.shape[along]!)
          return at(
            part,
            index.map((i, one) => (one === along ? place : i)),
          );
        place -= part.shape[along]!;
      }
      return NaN;
    },
  );
}

/** Positions `[start, end)` of an axis. */
export function cut(x: Nd, axis: number, start: number, end: number): Nd {
  const along = axisOf(axis, x.shape.length);
  return build(
    x.shape.map((size, one) => (one === along ? end - start : size)),
    (index) =>
      at(
        x,
        index.map((i, one) => (one === along ? i + start : i)),
      ),
  );
}

/** Sum with the rounding error carried along (Neumaier), so that references of long sums are exact enough. */
export function sum(values: readonly number[]): number {
  let total = 0;
  let rest = 0;
  for (const value of values) {
    const next = total + value;
    if (Math.abs(total) >= Math.abs(value)) rest += total - next + value;
    else rest += value - next + total;
    total = next;
  }
  // Infinities and NaN leave no meaningful rest.
  return Number.isFinite(total) ? total + rest : total;
}

/** a `[…, M, K]` times b `[…, K, N]`, leading dimensions broadcast. */
export function matmul(a: Nd, b: Nd, times: Multiply = multiply): Nd {
  const [rows, inner] = a.shape.slice(-2) as [number, number];
  const columns = b.shape.at(-1)!;
  const batch = broadcastShape(a.shape.slice(0, -2), b.shape.slice(0, -2));
  const left = broadcastTo(a, [...batch, rows, inner]);
  const right = broadcastTo(b, [...batch, inner, columns]);
  const data: number[] = [];
  for (let group = 0; group < count(batch); group++) {
    for (let i = 0; i < rows; i++) {
      for (let j = 0; j < columns; j++) {
        let total = 0;
        for (let k = 0; k < inner; k++) {
          total += times(
            left.data[(group * rows + i) * inner + k]!,
            right.data[(group * inner + k) * columns + j]!,
          );
        }
        data.push(total);
      }
    }
  }
  return nd([...batch, rows, columns], data);
}

/** A product of matrices with NumPy's rule for vectors: a row on the left, a column on the right. */
export function product(a: Nd, b: Nd, times: Multiply = multiply): Nd {
  const left = a.shape.length === 1 ? reshape(a, [1, a.shape[0]!]) : a;
  const right = b.shape.length === 1 ? reshape(b, [b.shape[0]!, 1]) : b;
  const result = matmul(left, right, times);
  const drop = [...(a.shape.length === 1 ? [-2] : []), ...(b.shape.length === 1 ? [-1] : [])].map(
    (axis) => axis + result.shape.length,
  );
  return reshape(
    result,
    result.shape.filter((_, axis) => !drop.includes(axis)),
  );
}

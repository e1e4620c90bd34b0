import { reshapedStrides, showShape } from "../backend/geometry.ts";
import { type Shape, sizeOf, type View } from "../backend/view.ts";
import { IndexError, OptionError, ShapeError } from "../errors.ts";
import type { Tensor } from "../tensor/tensor.ts";
import { apply } from "./apply.ts";
import type { Op } from "./op.ts";
import { checkAxes, checkAxis, checkInteger, checkList, checkOptions, checkTensor, show } from "./options.ts";
import { place } from "./place.ts";
import { copied, expandTo } from "./programs.ts";
import { identityView, type Layout, ownResult, permuteTo, viewOp, withUnitDims } from "./views.ts";

const RESHAPE: Op<{ readonly shape: Shape; readonly strides: readonly number[] }> = /* @__PURE__ */ viewOp(
  "reshape",
  (view, { shape, strides }) => ({ shape, strides, offset: view.offset }),
  (gradient, inputShape) => reshape(gradient, inputShape),
);

/** The same elements in row-major order under another shape; one size may be -1. Copies only where strides force it. */
export function reshape(x: Tensor, shape: Shape): Tensor {
  checkTensor("reshape", x);
  checkSizes("reshape", shape);
  const target = resolveShape(x, shape);
  const strides = reshapedStrides(x.view, target);
  if (strides !== undefined) return apply(RESHAPE, [x], { shape: target, strides })[0] as Tensor;
  const dense = copied(x);
  const result = reshape(dense, target);
  dense.dispose();
  return result;
}

/** Sizes of a shape to come, -1 standing for one that follows. */
function checkSizes(op: string, shape: Shape): void {
  checkList(op, "the shape", shape);
  for (const size of shape) checkInteger(op, "each size", size, -1);
}

function resolveShape(x: Tensor, shape: Shape): Shape {
  const known = shape.filter((size) => size !== -1);
  const unknown = shape.length - known.length;
  const product = sizeOf(known);
  if (unknown > 1) throw new ShapeError(`reshape: only one size may be -1, got ${showShape(shape)}.`);
  if (unknown === 1 && product > 0 && x.size % product === 0)
    return shape.map((size) => (size === -1 ? x.size / product : size));
  if (unknown === 0 && product === x.size) return shape.slice();
  throw new ShapeError(
    `reshape: ${showShape(x.shape)} has ${x.size} elements, ${showShape(shape)} ${unknown === 1 ? "does not divide them" : `has ${product}`}.`,
  );
}

/** Flattens dimensions `start` … `end` (inclusive, default all from `start`, default 0) into one. */
export function flatten(x: Tensor, start = 0, end = -1): Tensor {
  checkTensor("flatten", x);
  if (x.rank === 0) return reshape(x, [1]);
  const from = checkAxis("flatten", start, x.rank);
  const to = checkAxis("flatten", end, x.rank);
  if (from > to) throw new IndexError(`flatten: start ${start} lies behind end ${end}.`);
  return reshape(x, [
    ...x.shape.slice(0, from),
    sizeOf(x.shape.slice(from, to + 1)),
    ...x.shape.slice(to + 1),
  ]);
}

/** Reorders dimensions: dimension i of the result is dimension `order[i]` of x. No copy. */
export function permute(x: Tensor, order: readonly number[]): Tensor {
  checkTensor("permute", x);
  checkList("permute", "the order", order);
  const axes = order.map((axis) => checkAxis("permute", axis, x.rank));
  if (axes.length !== x.rank || new Set(axes).size !== axes.length) {
    throw new ShapeError(
      `permute: the order must name each of ${x.rank} dimensions once, got ${showShape(order)}.`,
    );
  }
  return ownResult(x, permuteTo(x, axes));
}

/** Swaps two dimensions. No copy. */
export function swapAxes(x: Tensor, a: number, b: number): Tensor {
  checkTensor("swapAxes", x);
  const first = checkAxis("swapAxes", a, x.rank);
  const second = checkAxis("swapAxes", b, x.rank);
  const order = x.shape.map((_, axis) => (axis === first ? second : axis === second ? first : axis));
  return ownResult(x, permuteTo(x, order));
}

/** The matrix transpose: the last two dimensions swapped. No copy. */
export function transpose(x: Tensor): Tensor {
  checkTensor("transpose", x);
  if (x.rank < 2)
    throw new ShapeError(
      `transpose: needs at least 2 dimensions, got ${showShape(x.shape)}. Use permute for an order of your own.`,
    );
  return swapAxes(x, -2, -1);
}

/** Removes dimensions of size 1: those named, or all. */
export function squeeze(x: Tensor, axis?: number | readonly number[]): Tensor {
  checkTensor("squeeze", x);
  const axes =
    axis === undefined
      ? x.shape.flatMap((size, position) => (size === 1 ? [position] : []))
      : checkAxes("squeeze", axis, x.rank);
  for (const one of axes) {
    if (x.shape[one] !== 1)
      throw new ShapeError(
        `squeeze: dimension ${one} of ${showShape(x.shape)} has size ${x.shape[one]}, not 1.`,
      );
  }
  const kept = x.shape.filter((_, position) => !axes.includes(position));
  return ownResult(x, withUnitDims(x, kept));
}

/** Inserts dimensions of size 1 at positions of the result. */
export function unsqueeze(x: Tensor, axis: number | readonly number[]): Tensor {
  checkTensor("unsqueeze", x);
  const count = Array.isArray(axis) ? axis.length : 1;
  const axes = checkAxes("unsqueeze", axis ?? Number.NaN, x.rank + count);
  const shape = x.shape.slice();
  for (const one of axes) shape.splice(one, 0, 1);
  return ownResult(x, withUnitDims(x, shape));
}

/** Repeats dimensions of size 1 (and new leading ones) to a shape, -1 keeping a size. No copy. */
export function expand(x: Tensor, shape: Shape): Tensor {
  checkTensor("expand", x);
  checkSizes("expand", shape);
  const lead = shape.length - x.rank;
  const target = shape.map((size, axis) => (size === -1 ? (x.shape[axis - lead] ?? -1) : size));
  const fits =
    lead >= 0 &&
    target.every(
      (size, axis) =>
        size >= 0 && (axis < lead || x.shape[axis - lead] === size || x.shape[axis - lead] === 1),
    );
  if (!fits) throw new ShapeError(`expand: ${showShape(x.shape)} does not broadcast to ${showShape(shape)}.`);
  return ownResult(x, expandTo(x, target));
}

/** A stretch of one dimension: `start` (default 0) to before `end` (default the end), negative ones count from the end. */
export interface Slice {
  readonly start?: number;
  readonly end?: number;
  /** Default 1; negative runs backwards from `start` (default the last element). */
  readonly step?: number;
}

/** What `slice` takes for a dimension: all (`null`), one position (dropping the dimension), `[start, end]`, or a {@link Slice}. */
export type SliceIndex = null | number | readonly [number, number] | Slice;

interface Cut {
  readonly start: number;
  readonly step: number;
  readonly size: number;
}

interface SliceAttributes {
  readonly cuts: readonly Cut[];
  /** Axes of which one position is taken, and which the result does not have. */
  readonly dropped: readonly number[];
}

const SLICE: Op<SliceAttributes> = /* @__PURE__ */ viewOp<SliceAttributes>(
  "slice",
  (view, { cuts, dropped }) => {
    const layout = cutLayout(view, cuts);
    if (dropped.length === 0) return layout;
    const kept = (_: number, axis: number): boolean => !dropped.includes(axis);
    return { ...layout, shape: layout.shape.filter(kept), strides: layout.strides.filter(kept) };
  },
  (gradient, inputShape, { cuts }) => {
    const sizes = cuts.map(({ size }) => size);
    return place(withUnitDims(gradient, sizes), inputShape, (view) => cutLayout(view, cuts));
  },
);

function cutLayout(view: View, cuts: readonly Cut[]): Layout {
  const shape: number[] = [];
  const strides: number[] = [];
  let { offset } = view;
  for (let axis = 0; axis < cuts.length; axis++) {
    const { start, step, size } = cuts[axis] as Cut;
    const stride = view.strides[axis] as number;
    if (size > 0) offset += start * stride;
    shape.push(size);
    strides.push(stride * step);
  }
  return { shape, strides, offset };
}

/**
 * A part of a tensor, sharing its memory: one index a dimension, in order; dimensions not named stay whole. Bounds
 * beyond the ends are cut, as in NumPy; a position outside throws.
 *
 * @example
 * ```ts no-run
 * import { arange } from "@nf/core";
 * const x = arange(12).reshape([3, 4]);
 * x.slice(1);                       // row 1, shape [4]
 * x.slice([0, 2], { step: 2 });     // rows 0 and 1, every second column, shape [2, 2]
 * x.slice(null, -1);                // last column, shape [3]
 * ```
 */
export function slice(x: Tensor, ...indices: SliceIndex[]): Tensor {
  return sliceFor("slice", x, indices);
}

/** {@link slice} for an operation that names itself in errors. */
export function sliceFor(op: string, x: Tensor, indices: readonly SliceIndex[]): Tensor {
  checkTensor(op, x);
  if (indices.length > x.rank)
    throw new IndexError(`${op}: ${indices.length} indices for a tensor of shape ${showShape(x.shape)}.`);
  const { shape } = x;
  const cuts: Cut[] = [];
  const dropped: number[] = [];
  let whole = true;
  for (let axis = 0; axis < shape.length; axis++) {
    const index = indices[axis] ?? null;
    const cut = resolveCut(op, index, shape[axis] as number, axis);
    if (typeof index === "number") dropped.push(axis);
    whole &&= cut.step === 1 && cut.size === shape[axis];
    cuts.push(cut);
  }
  // So many elements, one by one: it begins with the first.
  if (whole && dropped.length === 0) return identityView(x);
  return apply(SLICE, [x], { cuts, dropped })[0] as Tensor;
}

function resolveCut(op: string, index: SliceIndex, size: number, axis: number): Cut {
  if (index === null) return { start: 0, step: 1, size };
  if (typeof index === "number") {
    const start = index < 0 ? index + size : index;
    if (!Number.isInteger(index) || start < 0 || start >= size) {
      throw new IndexError(`${op}: position ${index} is outside dimension ${axis} of size ${size}.`);
    }
    return { start, step: 1, size: 1 };
  }
  const { start, end, step = 1 } = resolveSlice(op, index, axis);
  if (!Number.isInteger(step) || step === 0)
    throw new OptionError(`${op}: step must be a whole number other than 0, got ${show(step)}.`);
  const low = step > 0 ? 0 : -1;
  const high = size + low;
  const clamp = (position: number): number =>
    Math.min(Math.max(position < 0 ? position + size : position, low), high);
  const from = start === undefined ? (step > 0 ? low : high) : clamp(start);
  const to = end === undefined ? (step > 0 ? high : low) : clamp(end);
  return { start: from, step, size: Math.max(0, Math.ceil((to - from) / step)) };
}

function resolveSlice(op: string, index: Exclude<SliceIndex, null | number>, axis: number): Slice {
  if (typeof index !== "object" || (isPair(index) && index.length !== 2)) {
    throw new OptionError(
      `${op}: dimension ${axis} takes null, a position, [start, end] or { start, end, step }, got ${show(index)}.`,
    );
  }
  if (!isPair(index)) checkOptions(op, index, ["start", "end", "step"]);
  const range: Slice = isPair(index) ? { start: index[0], end: index[1] } : index;
  for (const name of ["start", "end"] as const) {
    const bound = range[name];
    if (bound !== undefined && !Number.isInteger(bound) && bound !== Infinity && bound !== -Infinity)
      throw new OptionError(
        `${op}: ${name} must be a whole number, got ${show(bound)} in dimension ${axis}.`,
      );
  }
  return range;
}

function isPair(index: readonly [number, number] | Slice): index is readonly [number, number] {
  return Array.isArray(index);
}

/** Reverses the order along axes. No copy. */
export function flip(x: Tensor, axis?: number | readonly number[]): Tensor {
  checkTensor("flip", x);
  const axes = checkAxes("flip", axis, x.rank);
  return slice(x, ...x.shape.map((_, position) => (axes.includes(position) ? { step: -1 } : null)));
}

/** Cuts a dimension (default 0) into pieces of the given size (the last may be smaller) or of the given sizes. No copy. */
export function split(x: Tensor, sizes: number | readonly number[], axis = 0): Tensor[] {
  checkTensor("split", x);
  const along = checkAxis("split", axis, x.rank);
  const total = x.shape[along] as number;
  const pieces =
    typeof sizes === "number" ? evenPieces(total, checkInteger("split", "size", sizes, 1)) : sizes;
  checkList("split", "sizes", pieces);
  for (const piece of pieces) checkInteger("split", "each size", piece, 0);
  if (pieces.reduce((sum, size) => sum + size, 0) !== total) {
    throw new ShapeError(
      `split: sizes ${showShape(pieces)} do not add up to ${total}, the size of dimension ${along}.`,
    );
  }
  let start = 0;
  return pieces.map((size) => {
    const end = start + size;
    const piece = slice(x, ...x.shape.map((_, position) => (position === along ? { start, end } : null)));
    start = end;
    return piece;
  });
}

function evenPieces(total: number, size: number): readonly number[] {
  return Array.from({ length: Math.ceil(total / size) }, (_, index) => Math.min(size, total - index * size));
}

/** Cuts a dimension into `count` pieces of nearly equal size, larger ones first. No copy. */
export function chunk(x: Tensor, count: number, axis = 0): Tensor[] {
  checkTensor("chunk", x);
  const total = x.shape[checkAxis("chunk", axis, x.rank)] as number;
  return split(x, Math.max(1, Math.ceil(total / checkInteger("chunk", "count", count, 1))), axis);
}

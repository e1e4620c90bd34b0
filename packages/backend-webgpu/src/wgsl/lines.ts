import { contiguousStrides, mergeDimensions, sizeOf, type View } from "@nf/core";

/**
 * A space whose first `kept` dimensions say which result a point belongs to, while it moves within its line along those
 * after them.
 */
export interface LineSpace {
  readonly shape: readonly number[];
  /** View by view, inputs first. */
  readonly strides: readonly (readonly number[])[];
  /** For each coordinate that the program reads: the dimension it became, or -1. */
  readonly dimensions: readonly number[];
  readonly kept: number;
  /** Number of lines. */
  readonly lines: number;
  /** Points of a line. */
  readonly length: number;
}

const NONE: readonly number[] = [];

/**
 * The space of inputs that are combined along axes, with as few dimensions as the views allow.
 *
 * @param more strides of views that are no tensors, over the shape of the inputs
 */
export function lineSpace(
  inputs: readonly View[],
  outputs: readonly View[],
  axes: readonly number[],
  coordinates: readonly number[] = NONE,
  more: readonly (readonly number[])[] = [],
): LineSpace {
  const shape = (inputs[0] ?? (outputs[0] as View)).shape;
  const rank = shape.length;
  const order: number[] = [];
  for (let axis = 0; axis < rank; axis++) if (!axes.includes(axis)) order.push(axis);
  const held = order.length;
  order.push(...axes);
  const pick = (list: readonly number[]): number[] => order.map((axis) => list[axis]);
  const strides = inputs.map((view) => pick(view.strides));
  for (const view of outputs)
    strides.push(order.map((axis, place) => (place < held ? view.strides[axis] : 0)));
  for (const list of more) strides.push(pick(list));
  // The number of the line, which keeps the dimensions that count lines apart from those along them.
  const picked = pick(shape);
  strides.push([...contiguousStrides(picked.slice(0, held)), ...axes.map(() => 0)]);
  const moved = coordinates.map((axis) => (axis + rank < 0 ? axis : order.indexOf(axis + rank) - rank));
  const merged = mergeDimensions(picked, strides, moved);
  const mark = merged.strides[merged.strides.length - 1];
  let kept = 0;
  while (kept < mark.length && mark[kept] !== 0) kept++;
  return {
    shape: merged.shape,
    strides: merged.strides.slice(0, -1),
    dimensions: merged.dimensions,
    kept,
    lines: sizeOf(merged.shape.slice(0, kept)),
    length: sizeOf(merged.shape.slice(kept)),
  };
}

/** The coordinates `c0`, `c1`, … of a line's number; none where there is but one line. */
export function lineCoordinates(kept: number, line: string): string {
  if (kept === 0) return "";
  const text = [`var rest = ${line};`];
  for (let axis = kept - 1; axis > 0; axis--)
    text.push(`let c${axis} = rest % geometry.n${axis}; rest = rest / geometry.n${axis};`);
  text.push("let c0 = rest;");
  return text.join("\n");
}

/** Where a view's line begins, from the coordinates of the line. */
export function lineStart(kept: number, view: number): string {
  let text = `geometry.o${view}`;
  for (let axis = 0; axis < kept; axis++) text += ` + c${axis} * geometry.s${view}_${axis}`;
  return text;
}

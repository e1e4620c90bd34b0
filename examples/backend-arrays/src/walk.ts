import { forEachBlock, makeView, mergeDimensions, type Shape, type View } from "@nf/core";
import { cellsOf } from "./buffer.ts";
import { CELL_TYPES } from "./cells.ts";

/** What is walked: where it starts and how far it moves along each dimension. Every view is one. */
export type Walked = Pick<View, "strides" | "offset">;

/**
 * Visits all points of a space in row-major order, a block at a time, with the positions of each walked thing. Core's
 * dimension merger first makes few long dimensions out of many, and core's walk does the stepping.
 */
export function walk(
  shape: Shape,
  things: readonly Walked[],
  visit: (count: number, positions: readonly Float64Array[]) => void,
): void {
  const merged = mergeDimensions(
    shape,
    things.map(({ strides }) => strides),
  );
  forEachBlock(
    merged.shape,
    merged.strides,
    things.map(({ offset }) => offset),
    visit,
  );
}

/** All elements of a view in row-major order, in an array of their own. */
export function readAll(view: View): number[] {
  const cells = cellsOf(view);
  if (view.contiguous) return cells.slice(view.offset, view.offset + view.size);
  const values: number[] = [];
  walk(view.shape, [view], (count, [places]) => {
    for (let i = 0; i < count; i++) values.push(cells[places[i]]);
  });
  return values;
}

/** Stores numbers given in row-major order into a view, rounded or wrapped as its dtype does. */
export function writeAll(values: readonly number[], view: View): void {
  const cells = cellsOf(view);
  const { store } = CELL_TYPES[view.dtype];
  let next = 0;
  walk(view.shape, [view], (count, [places]) => {
    for (let i = 0; i < count; i++) cells[places[i]] = store(values[next++]);
  });
}

/** The same elements with some axes moved to the end, so that what lies along them is one run in row-major order. */
export function axesLast(view: View, axes: readonly number[]): View {
  const others = view.shape.map((_size, axis) => axis).filter((axis) => !axes.includes(axis));
  const order = [...others, ...axes];
  const pick = (list: readonly number[]): number[] => order.map((axis) => list[axis]);
  return makeView(view.buffer, view.dtype, pick(view.shape), pick(view.strides), view.offset);
}

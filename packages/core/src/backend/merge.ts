import type { Shape, View } from "./view.ts";

/** An iteration space with as few dimensions as its views allow; at least one. */
export interface MergedSpace {
  readonly shape: Shape;
  /** Strides by view, in the order the views were given. */
  readonly strides: readonly (readonly number[])[];
  /** For each protected axis as asked: the dimension it became, or -1 where its size is 1 and its coordinate always 0. */
  readonly dimensions: readonly number[];
}

const NONE: readonly number[] = [];
const UNIT: readonly number[] = [1];

/**
 * Drops dimensions of size 1 and merges neighbours that every view walks as one, so that kernels loop over few, long
 * dimensions.
 *
 * @param shape sizes of the space, none of them 0
 * @param strides strides of each view, as many as `shape` has sizes
 * @param protectedAxes axes counted from the end (-1 is innermost) that must stay dimensions of their own, because a
 * program reads their coordinates; axes that the space does not have count as size 1
 */
export function mergeDimensions(
  shape: Shape,
  strides: readonly (readonly number[])[],
  protectedAxes: readonly number[] = NONE,
): MergedSpace {
  const rank = shape.length;
  // Built from the innermost dimension outwards, reversed at the end.
  const sizes: number[] = [];
  const steps: number[][] = strides.map(() => []);
  const dimensions = protectedAxes.map(() => -1);
  let innerIsProtected = false;
  for (let axis = rank - 1; axis >= 0; axis--) {
    const size = shape[axis] as number;
    if (size === 1) continue;
    const wanted = protectedAxes.indexOf(axis - rank);
    const last = sizes.length - 1;
    if (
      last >= 0 &&
      wanted < 0 &&
      !innerIsProtected &&
      continues(strides, steps, axis, sizes[last] as number)
    ) {
      sizes[last] = (sizes[last] as number) * size;
      continue;
    }
    if (wanted >= 0) dimensions[wanted] = sizes.length;
    innerIsProtected = wanted >= 0;
    sizes.push(size);
    for (let view = 0; view < strides.length; view++) {
      (steps[view] as number[]).push((strides[view] as readonly number[])[axis] as number);
    }
  }
  if (sizes.length === 0) return { shape: UNIT, strides: strides.map(() => UNIT), dimensions };
  for (let i = 0; i < dimensions.length; i++) {
    const dimension = dimensions[i] as number;
    if (dimension >= 0) dimensions[i] = sizes.length - 1 - dimension;
  }
  sizes.reverse();
  for (const list of steps) list.reverse();
  return { shape: sizes, strides: steps, dimensions };
}

/** Whether, for every view, one step along `axis` equals `size` steps of the dimension inside it. */
function continues(
  strides: readonly (readonly number[])[],
  steps: readonly (readonly number[])[],
  axis: number,
  size: number,
): boolean {
  for (let view = 0; view < strides.length; view++) {
    const inner = steps[view] as readonly number[];
    if ((strides[view] as readonly number[])[axis] !== (inner[inner.length - 1] as number) * size)
      return false;
  }
  return true;
}

/** Whether all views are row-major without gaps. */
export function allContiguous(views: readonly View[]): boolean {
  for (let i = 0; i < views.length; i++) {
    if (!(views[i] as View).contiguous) return false;
  }
  return true;
}

/** {@link mergeDimensions} for the views of a `map` call, inputs first, with a shortcut where all are contiguous. */
export function mergeViews(
  inputs: readonly View[],
  outputs: readonly View[],
  coordinates: readonly number[] = NONE,
): MergedSpace {
  const first = outputs[0] as View;
  if (coordinates.length === 0 && allContiguous(inputs) && allContiguous(outputs)) {
    return {
      shape: [first.size],
      strides: new Array<readonly number[]>(inputs.length + outputs.length).fill(UNIT),
      dimensions: NONE,
    };
  }
  const strides: (readonly number[])[] = [];
  for (const view of inputs) strides.push(view.strides);
  for (const view of outputs) strides.push(view.strides);
  return mergeDimensions(first.shape, strides, coordinates);
}

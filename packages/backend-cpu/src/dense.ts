import { type DType, forEachBlock, loadElements, mergeDimensions, storeElements, type View } from "@nf/core";
import { elementsOf } from "./buffer.ts";
import type { Workspace } from "./workspace.ts";

/** Floats in row-major order, starting at an offset of an array. */
export interface DenseFloats {
  readonly data: Float32Array | Float64Array;
  readonly offset: number;
}

/** Whether elements are stored as numbers that arithmetic can use as they lie. */
export function isPlainFloat(dtype: DType): boolean {
  return dtype === "f32" || dtype === "f64";
}

/** The elements of a view of `f32` or `f64`. */
export function floatsOf(view: View): Float32Array | Float64Array {
  return elementsOf(view) as Float32Array | Float64Array;
}

/** All elements of a view in row-major order, as doubles in scratch memory. */
export function readDoubles(view: View, workspace: Workspace, name: string): Float64Array {
  const values = workspace.float64(name, view.size);
  const source = elementsOf(view);
  if (view.contiguous && view.dtype !== "f16" && view.dtype !== "bf16") {
    const { offset, size } = view;
    for (let i = 0; i < size; i++) values[i] = source[offset + i];
    return values;
  }
  const { shape, strides } = mergeDimensions(view.shape, [view.strides]);
  let done = 0;
  forEachBlock(shape, strides, [view.offset], (count, [positions]) => {
    loadElements(view.dtype, source, positions as Float64Array, count, values.subarray(done, done + count));
    done += count;
  });
  return values;
}

/** Stores doubles in row-major order into a view, rounded or wrapped as its dtype does. */
export function writeDoubles(values: Float64Array, view: View): void {
  const target = elementsOf(view);
  if (view.contiguous && view.dtype !== "f16" && view.dtype !== "bf16" && view.dtype !== "bool") {
    const { offset, size } = view;
    for (let i = 0; i < size; i++) target[offset + i] = values[i];
    return;
  }
  const { shape, strides } = mergeDimensions(view.shape, [view.strides]);
  let done = 0;
  forEachBlock(shape, strides, [view.offset], (count, [positions]) => {
    storeElements(view.dtype, target, positions as Float64Array, count, values.subarray(done, done + count));
    done += count;
  });
}

/** Floats of a view in row-major order: as they lie where that is possible, otherwise copied into scratch memory. */
export function readFloats(view: View, workspace: Workspace, name: string): DenseFloats {
  if (view.contiguous && isPlainFloat(view.dtype)) return { data: floatsOf(view), offset: view.offset };
  return { data: readDoubles(view, workspace, name), offset: 0 };
}

/** Has `fill` write floats in row-major order: straight into the view, or into scratch memory that is then stored. */
export function writeFloats(
  view: View,
  workspace: Workspace,
  name: string,
  fill: (to: DenseFloats) => void,
): void {
  if (view.contiguous && isPlainFloat(view.dtype)) {
    fill({ data: floatsOf(view), offset: view.offset });
    return;
  }
  const data = workspace.float64(name, view.size);
  fill({ data, offset: 0 });
  writeDoubles(data, view);
}

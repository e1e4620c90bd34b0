import type { DType, View } from "@nf/core";
import type { InnerStep } from "./loops.ts";

/** Arguments of every compiled kernel: arrays and offsets by view, sizes, strides (view-major), the call's params. */
export type CompiledKernel = (
  arrays: readonly unknown[],
  offsets: readonly number[],
  sizes: readonly number[],
  strides: readonly number[],
  params: readonly number[],
) => void;

/** What one compiled kernel was made for. */
export interface Layout {
  readonly rank: number;
  /** Dtypes of inputs, then outputs. */
  readonly dtypes: readonly DType[];
  /** How each view moves along the last dimension. */
  readonly steps: readonly InnerStep[];
  /** Dimension of each coordinate that the program reads. */
  readonly coordinates: readonly number[];
}

/** Whether views (inputs, then outputs) have the dtypes of a layout. */
export function sameDTypes(
  dtypes: readonly DType[],
  inputs: readonly View[],
  outputs: readonly View[],
): boolean {
  const count = inputs.length;
  for (let i = 0; i < count; i++) if ((inputs[i] as View).dtype !== dtypes[i]) return false;
  for (let k = 0; k < outputs.length; k++) if ((outputs[k] as View).dtype !== dtypes[count + k]) return false;
  return true;
}

/** Dtypes of inputs, then outputs. */
export function dtypesOf(inputs: readonly View[], outputs: readonly View[]): readonly DType[] {
  return [...inputs, ...outputs].map((view) => view.dtype);
}

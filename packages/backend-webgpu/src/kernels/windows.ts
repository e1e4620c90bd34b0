import {
  type ConvCall,
  type DType,
  type PoolCall,
  type Support,
  sizeOf,
  type WindowAttributes,
} from "@nf/core";

/** Dtypes of windowed kernels; 16-bit ones are computed in f32. */
export const WINDOW_DTYPES: readonly DType[] = ["f32", "f16", "bf16"];

/** Most spatial dimensions of a convolution or pooling here. */
const MOST_SPATIAL = 3;

/** Whether windows of these many dimensions can run. */
export function supportsWindows({ kernel, attributes }: ConvCall | PoolCall): Support {
  const rank = attributes.stride.length;
  return rank <= MOST_SPATIAL
    ? "yes"
    : { reason: `${kernel} over ${rank} spatial dimensions; at most ${MOST_SPATIAL}` };
}

/** 0, 1, …: the axes of a count of dimensions. */
export const axesOf = (rank: number): number[] => Array.from({ length: rank }, (_, axis) => axis);

/**
 * Names of a window's geometry, for each spatial dimension: sizes `in0`, `out0` and `kernel0`, `step0` between windows,
 * `dilation0` within one, and `before0`, the padding at the start.
 */
export function windowNames(rank: number): readonly string[] {
  return axesOf(rank).flatMap((d) => [
    `in${d}`,
    `out${d}`,
    `kernel${d}`,
    `step${d}`,
    `dilation${d}`,
    `before${d}`,
  ]);
}

/** The numbers that go with {@link windowNames}. */
export function windowNumbers(
  { stride, dilation, padding }: WindowAttributes,
  input: readonly number[],
  output: readonly number[],
  kernel: readonly number[],
): number[] {
  return axesOf(stride.length).flatMap((d) => [
    input[d] as number,
    output[d] as number,
    kernel[d] as number,
    stride[d] as number,
    dilation[d] as number,
    (padding[d] as readonly [number, number])[0],
  ]);
}

/** Elements of all dimensions but the innermost. */
export function outerSize(sizes: readonly number[]): number {
  return sizeOf(sizes.slice(0, -1));
}

/** The size of parts of at most `most` that a length falls into with the least waste. */
export function evenSplit(length: number, most: number): number {
  return Math.ceil(length / Math.ceil(length / most));
}

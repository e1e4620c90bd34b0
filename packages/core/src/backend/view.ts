import type { DType } from "../dtype.ts";

/** A block of memory that a backend owns. Core hands it around and never looks inside. */
export interface BackendBuffer {
  /** Size in bytes, as asked of `allocate`. */
  readonly byteLength: number;
  /** Whether the backend found out after `allocate` that there is no room for it. Core then frees it and all blocks at rest. */
  readonly dead?: boolean;
}

/** Sizes of the dimensions, outermost first; `[]` is a scalar. */
export type Shape = readonly number[];

/**
 * A strided look at a buffer: element `(i, j, …)` lies at `offset + i*strides[0] + j*strides[1] + …`, counted in
 * elements of `dtype`. Strides may be 0 (broadcast) or negative (flip). Layout lives here and nowhere else, so
 * transposes, slices, broadcasts, flips and windows cost nothing.
 */
export interface View {
  readonly buffer: BackendBuffer;
  readonly dtype: DType;
  readonly shape: Shape;
  /** Step between neighbours along each dimension, in elements. */
  readonly strides: readonly number[];
  /** First element, counted in elements from the start of the buffer. */
  readonly offset: number;
  /** Number of elements: the product of `shape`. */
  readonly size: number;
  /** Row-major without gaps, so that the elements are `[offset, offset + size)` of the buffer. */
  readonly contiguous: boolean;
}

/** Number of elements of a shape. */
export function sizeOf(shape: Shape): number {
  let size = 1;
  for (let axis = 0; axis < shape.length; axis++) size *= shape[axis] as number;
  return size;
}

/** Row-major strides of a shape, in elements. */
export function contiguousStrides(shape: Shape): readonly number[] {
  const strides = new Array<number>(shape.length);
  let step = 1;
  for (let axis = shape.length - 1; axis >= 0; axis--) {
    strides[axis] = step;
    step *= shape[axis] as number;
  }
  return strides;
}

/** Whether strides are row-major without gaps; strides of dimensions of size 1 do not matter, nor any of an empty view. */
export function isContiguous(shape: Shape, strides: readonly number[]): boolean {
  let step = 1;
  let gapless = true;
  for (let axis = shape.length - 1; axis >= 0; axis--) {
    const size = shape[axis] as number;
    if (size === 0) return true;
    if (size !== 1) {
      if (strides[axis] !== step) gapless = false;
      step *= size;
    }
  }
  return gapless;
}

/** A view with its derived facts filled in. */
export function makeView(
  buffer: BackendBuffer,
  dtype: DType,
  shape: Shape,
  strides: readonly number[],
  offset: number,
): View {
  return {
    buffer,
    dtype,
    shape,
    strides,
    offset,
    size: sizeOf(shape),
    contiguous: isContiguous(shape, strides),
  };
}

/** A row-major view over a whole buffer. */
export function contiguousView(buffer: BackendBuffer, dtype: DType, shape: Shape): View {
  return {
    buffer,
    dtype,
    shape,
    strides: contiguousStrides(shape),
    offset: 0,
    size: sizeOf(shape),
    contiguous: true,
  };
}

import type { View } from "../backend/view.ts";
import type { DType } from "../dtype.ts";
import { fromBfloatBits, fromHalfBits, toBfloatBits, toHalfBits } from "../scalar/half.ts";

/** How values of each dtype reach the host: 16-bit floats widened to `Float32Array`, bool as 0 and 1 in `Uint8Array`. */
export interface HostArrays {
  f32: Float32Array;
  f64: Float64Array;
  f16: Float32Array;
  bf16: Float32Array;
  i32: Int32Array;
  u32: Uint32Array;
  u8: Uint8Array;
  i8: Int8Array;
  bool: Uint8Array;
}

/** Any array that a tensor can be read into or made from. */
export type HostArray = HostArrays[DType];

/** A new zeroed host array for values of a dtype. */
export function hostArray(dtype: DType, length: number): HostArray {
  switch (dtype) {
    case "f32":
    case "f16":
    case "bf16":
      return new Float32Array(length);
    case "f64":
      return new Float64Array(length);
    case "i32":
      return new Int32Array(length);
    case "u32":
      return new Uint32Array(length);
    case "i8":
      return new Int8Array(length);
    case "u8":
    case "bool":
      return new Uint8Array(length);
  }
}

/** The bytes that a buffer holds for host values: 16-bit floats packed, everything else as it lies in memory. */
export function encode(values: HostArray, dtype: DType): Uint8Array {
  if (dtype !== "f16" && dtype !== "bf16")
    return new Uint8Array(values.buffer, values.byteOffset, values.byteLength);
  const bits = new Uint16Array(values.length);
  const convert = dtype === "f16" ? toHalfBits : toBfloatBits;
  for (let i = 0; i < bits.length; i++) bits[i] = convert(values[i] as number);
  return new Uint8Array(bits.buffer);
}

/** The values behind bytes of a buffer. Takes the bytes over where alignment allows. */
export function decode(bytes: Uint8Array, dtype: DType): HostArray {
  const size = dtype === "f64" ? 8 : 4;
  const aligned = bytes.byteOffset % size === 0 ? bytes : bytes.slice();
  const { buffer, byteOffset, byteLength } = aligned;
  switch (dtype) {
    case "f32":
      return new Float32Array(buffer, byteOffset, byteLength / 4);
    case "f64":
      return new Float64Array(buffer, byteOffset, byteLength / 8);
    case "i32":
      return new Int32Array(buffer, byteOffset, byteLength / 4);
    case "u32":
      return new Uint32Array(buffer, byteOffset, byteLength / 4);
    case "i8":
      return new Int8Array(buffer, byteOffset, byteLength);
    case "u8":
    case "bool":
      return aligned;
    case "f16":
    case "bf16": {
      const bits = new Uint16Array(buffer, byteOffset, byteLength / 2);
      const convert = dtype === "f16" ? fromHalfBits : fromBfloatBits;
      return Float32Array.from(bits, convert);
    }
  }
}

/** First element and number of elements of the stretch of buffer that a non-empty view touches. */
export function spanOf(view: View): { readonly first: number; readonly count: number } {
  let low = view.offset;
  let high = view.offset;
  view.strides.forEach((stride, axis) => {
    const reach = stride * ((view.shape[axis] as number) - 1);
    if (reach < 0) low += reach;
    else high += reach;
  });
  return { first: low, count: high - low + 1 };
}

/** Lays the elements of a strided view out row-major, given its stretch of buffer starting at element `first`. */
export function gatherView(stretch: HostArray, view: View, first: number): HostArray {
  const result = hostArray(view.dtype, view.size);
  const rank = view.shape.length;
  const index = new Array<number>(rank).fill(0);
  let position = view.offset - first;
  for (let i = 0; i < view.size; i++) {
    result[i] = stretch[position] as number;
    for (let axis = rank - 1; axis >= 0; axis--) {
      const stride = view.strides[axis] as number;
      const size = view.shape[axis] as number;
      index[axis] = (index[axis] as number) + 1;
      position += stride;
      if ((index[axis] as number) < size) break;
      position -= stride * size;
      index[axis] = 0;
    }
  }
  return result;
}

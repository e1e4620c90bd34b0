import {
  type Backend,
  type BackendBuffer,
  DTYPES,
  type DType,
  fromBfloatBits,
  fromHalfBits,
  makeView,
  toBfloatBits,
  toHalfBits,
  type View,
} from "@nf/core";
import { type Layout, permutation } from "../layout.ts";
import { indexAt, type Nd } from "../reference/nd.ts";

/* Views and their bytes, without core's tensors in between: kernels are called directly. */

type Words = Float32Array | Float64Array | Uint16Array | Int32Array | Uint32Array | Uint8Array | Int8Array;

function wordsOf(dtype: DType, bytes: ArrayBuffer): Words {
  switch (dtype) {
    case "f32":
      return new Float32Array(bytes);
    case "f64":
      return new Float64Array(bytes);
    case "f16":
    case "bf16":
      return new Uint16Array(bytes);
    case "i32":
      return new Int32Array(bytes);
    case "u32":
      return new Uint32Array(bytes);
    case "i8":
      return new Int8Array(bytes);
    default:
      return new Uint8Array(bytes);
  }
}

/** Numbers as the bytes of a dtype. */
export function encode(dtype: DType, values: readonly number[]): Uint8Array {
  const buffer = new ArrayBuffer(values.length * DTYPES[dtype].bytes);
  const words = wordsOf(dtype, buffer);
  const convert =
    dtype === "f16" ? toHalfBits : dtype === "bf16" ? toBfloatBits : (value: number): number => value;
  values.forEach((value, i) => {
    words[i] = convert(value);
  });
  return new Uint8Array(buffer);
}

/** Bytes of a dtype as numbers. */
export function decode(dtype: DType, bytes: Uint8Array): number[] {
  const words = wordsOf(dtype, bytes.slice().buffer);
  const convert =
    dtype === "f16" ? fromHalfBits : dtype === "bf16" ? fromBfloatBits : (value: number): number => value;
  return Array.from(words, convert);
}

const bit = (bits: number, axis: number): boolean => ((bits >> axis) & 1) === 1;

/** A view of a new buffer, and what lies in the whole buffer. */
export interface Laid {
  readonly view: View;
  readonly buffer: BackendBuffer;
  /** All elements of the buffer, as first written. */
  readonly memory: readonly number[];
}

/** Elements that no view of a test covers; a kernel that writes there is found. */
const UNTOUCHED = 77;

/**
 * Values laid out as chosen in a new buffer. Still axes have stride 0; values must be equal along them (see `settle`).
 */
export function layOut(backend: Backend, dtype: DType, x: Nd, layout: Layout): Laid {
  const { shape } = x;
  const rank = shape.length;
  const order = permutation(rank, layout.order);
  const strides = new Array<number>(rank).fill(0);
  let step = 1;
  for (let place = rank - 1; place >= 0; place--) {
    const axis = order[place]!;
    if (bit(layout.still, axis)) continue;
    const gap = bit(layout.gap, axis) ? 2 : 1;
    strides[axis] = step * gap;
    step *= shape[axis]! * gap;
  }
  let offset = layout.lead * 3;
  const length = offset + step + layout.lead;
  for (let axis = 0; axis < rank; axis++) {
    if (!bit(layout.flip, axis) || strides[axis] === 0) continue;
    offset += (shape[axis]! - 1) * strides[axis]!;
    strides[axis] = -strides[axis]!;
  }
  const memory = new Array<number>(length).fill(dtype === "bool" ? 1 : UNTOUCHED);
  for (let i = 0; i < x.data.length; i++) {
    const place = indexAt(shape, i).reduce((sum, index, axis) => sum + index * strides[axis]!, offset);
    memory[place] = x.data[i]!;
  }
  const buffer = backend.allocate(length * DTYPES[dtype].bytes);
  backend.write(buffer, 0, encode(dtype, memory));
  return { view: makeView(buffer, dtype, shape, strides, offset), buffer, memory };
}

/** Elements of a view within the elements of its buffer. */
export function elementsOf(
  { shape, strides, offset, size }: View,
  memory: readonly number[],
): { readonly values: number[]; readonly places: ReadonlySet<number> } {
  const places = Array.from({ length: size }, (_, i) =>
    indexAt(shape, i).reduce((sum, index, axis) => sum + index * strides[axis]!, offset),
  );
  return { values: places.map((place) => memory[place]!), places: new Set(places) };
}

import { ShapeError } from "@nf/core";
import { DataError } from "./errors.ts";

/** The typed arrays that host data can lie in. */
export type TypedArray =
  | Float32Array
  | Float64Array
  | Int8Array
  | Uint8Array
  | Uint8ClampedArray
  | Int16Array
  | Uint16Array
  | Int32Array
  | Uint32Array;

/**
 * Values on the host with a shape, row-major: what datasets give and collate functions stack, before the loader makes
 * tensors of them. Floats become `f32` tensors, integers `i32`.
 */
export class NdArray<Data extends TypedArray = TypedArray> {
  readonly data: Data;
  /** Sizes of the dimensions; `[]` for a scalar. */
  readonly shape: readonly number[];

  /** @throws ShapeError if `data` does not hold exactly the elements of `shape`. */
  constructor(data: Data, shape: readonly number[]) {
    if (!isTypedArray(data)) throw new DataError(`NdArray: data must be a typed array, got ${kindOf(data)}.`);
    const size = shape.includes(0) ? 0 : shape.reduce((product, length) => product * length, 1);
    if (!shape.every((length) => Number.isSafeInteger(length) && length >= 0) || size !== data.length) {
      throw new ShapeError(`NdArray: shape [${shape.join(", ")}] does not fit ${data.length} elements.`);
    }
    this.data = data;
    this.shape = Object.freeze([...shape]);
  }
}

/** An `i32` scalar for a dataset's item (a class label, a count): plain numbers in an item become `f32`. */
export function int32(value: number): NdArray<Int32Array> {
  if ((value | 0) !== value)
    throw new DataError(`int32: expected an integer that fits 32 bits, got ${value}.`);
  return new NdArray(Int32Array.of(value), []);
}

/** Whether a value is one of {@link TypedArray}. */
export function isTypedArray(value: unknown): value is TypedArray {
  return (
    ArrayBuffer.isView(value) &&
    !(value instanceof DataView) &&
    !(value instanceof BigInt64Array) &&
    !(value instanceof BigUint64Array)
  );
}

/** An array seen with its shape: a typed array alone is one-dimensional. */
export function asNdArray(value: NdArray | TypedArray): NdArray {
  return value instanceof NdArray ? value : new NdArray(value, [value.length]);
}

/** Whether tensors of it are `f32` (else `i32`). */
export function isFloating(data: TypedArray): boolean {
  return data instanceof Float32Array || data instanceof Float64Array;
}

/** A zeroed array of the kind that tensors of `like` are made from. */
export function tensorStorage(like: TypedArray, length: number): Float32Array | Int32Array {
  return isFloating(like) ? new Float32Array(length) : new Int32Array(length);
}

/** The values as they go into a tensor; the array itself where nothing has to change. */
export function toTensorValues(data: TypedArray): Float32Array | Int32Array {
  if (data instanceof Float32Array || data instanceof Int32Array) return data;
  if (data instanceof Uint32Array) checkFits(data);
  const values = tensorStorage(data, data.length);
  values.set(data);
  return values;
}

/** @throws DataError if an unsigned value does not fit the `i32` tensors that batches are made of. */
export function checkFits(data: Uint32Array): void {
  const large = data.find((value) => value > 0x7fffffff);
  if (large !== undefined) {
    throw new DataError(
      `The value ${large} does not fit an i32 tensor. Convert the data to Float32Array, or map it to smaller ids.`,
    );
  }
}

/** What a value is, for messages. */
export function kindOf(value: unknown): string {
  if (value === null) return "null";
  if (typeof value !== "object") return typeof value === "number" ? String(value) : typeof value;
  return value.constructor?.name ?? "an object without prototype";
}

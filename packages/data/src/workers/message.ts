import { isRecord } from "../collate.ts";
import { DataError } from "../errors.ts";
import { isTypedArray, kindOf, NdArray } from "../ndarray.ts";

/**
 * Data as it crosses to another thread: {@link NdArray}s as plain objects, and each array in memory of its own, since a
 * view would take the whole memory it looks at along. Nothing of the original is handed over.
 */
export function pack(value: unknown): unknown {
  if (isTypedArray(value)) return value.slice();
  if (value instanceof NdArray) return { data: value.data.slice(), shape: [...value.shape] };
  if (Array.isArray(value)) return value.map(pack);
  if (isRecord(value)) return Object.fromEntries(Object.entries(value).map(([key, one]) => [key, pack(one)]));
  if (typeof value === "function" || typeof value === "symbol") {
    throw new DataError(
      `decodeInWorkers: an item holds ${kindOf(value)}, which cannot go to another thread.`,
    );
  }
  return value;
}

/** What came back: an object with exactly `data` (a typed array) and `shape` is an {@link NdArray}. */
export function unpack(value: unknown): unknown {
  if (isTypedArray(value)) return value;
  if (Array.isArray(value)) return value.map(unpack);
  if (!isRecord(value)) return value;
  const { data, shape } = value;
  const isArray = isTypedArray(data) && Array.isArray(shape) && Object.keys(value).length === 2;
  if (isArray) return new NdArray(data, shape);
  return Object.fromEntries(Object.entries(value).map(([key, one]) => [key, unpack(one)]));
}

import type { ComputeDType } from "@nf/core";

let words = new Uint32Array(256);

function scratch(count: number): Uint32Array {
  if (words.length < count) words = new Uint32Array(2 * count);
  return words.subarray(0, count);
}

/** Whole numbers as a uniform block has them; good until the next call. */
export function wholeNumbers(values: readonly number[]): Uint32Array {
  const out = scratch(Math.max(1, values.length));
  if (values.length === 0) out[0] = 0;
  for (let i = 0; i < values.length; i++) out[i] = values[i];
  return out;
}

const floats = new Float32Array(1);
const bits = new Uint32Array(floats.buffer);

/** Parameters as a uniform block has them, converted to their dtypes; good until the next call. */
export function encodeParams(dtypes: readonly ComputeDType[], values: readonly number[]): Uint32Array {
  const out = scratch(dtypes.length);
  for (let i = 0; i < dtypes.length; i++) {
    const value = values[i];
    const dtype = dtypes[i];
    if (dtype === "f32" || dtype === "f64") {
      floats[0] = value;
      out[i] = bits[0];
    } else out[i] = dtype === "bool" ? Number(value !== 0) : value;
  }
  return out;
}

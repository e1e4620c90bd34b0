import { DTYPES, type DType, type HostArray } from "@nf/core";
import type { StoredType } from "../weight-file.ts";
import { dequantizeBlocks, isReadableBlock } from "./blocks.ts";
import { halfs } from "./halfs.ts";

/** Whether a stored type is one of core's. */
export function isDType(dtype: StoredType): dtype is DType {
  return Object.hasOwn(DTYPES, dtype);
}

/** Values of stored bytes: in core's host arrays, 64-bit integers as float64. Undefined for types that are not read. */
export function decodeStored(bytes: Uint8Array, dtype: StoredType): HostArray | undefined {
  if (isReadableBlock(dtype)) return dequantizeBlocks(bytes, dtype);
  const { buffer, byteOffset } = bytes.byteOffset % 8 === 0 ? bytes : bytes.slice();
  const { byteLength } = bytes;
  switch (dtype) {
    case "f32":
      return new Float32Array(buffer, byteOffset, byteLength / 4);
    case "f64":
      return new Float64Array(buffer, byteOffset, byteLength / 8);
    case "f16":
      return lookUp(new Uint16Array(buffer, byteOffset, byteLength / 2), halfs());
    case "bf16":
      return widenBfloat(new Uint16Array(buffer, byteOffset, byteLength / 2));
    case "f8_e4m3":
      return lookUp(bytes, E4M3);
    case "f8_e5m2":
      // The upper byte of a half.
      return Float32Array.from(bytes, (byte) => halfs()[byte << 8] as number);
    case "i64":
      return Float64Array.from(new BigInt64Array(buffer, byteOffset, byteLength / 8), Number);
    case "u64":
      return Float64Array.from(new BigUint64Array(buffer, byteOffset, byteLength / 8), Number);
    case "i32":
      return new Int32Array(buffer, byteOffset, byteLength / 4);
    case "u32":
      return new Uint32Array(buffer, byteOffset, byteLength / 4);
    case "i16":
      return Int32Array.from(new Int16Array(buffer, byteOffset, byteLength / 2));
    case "u16":
      return Int32Array.from(new Uint16Array(buffer, byteOffset, byteLength / 2));
    case "i8":
      return new Int8Array(buffer, byteOffset, byteLength);
    case "u8":
    case "bool":
      return bytes;
    default:
      return undefined;
  }
}

function lookUp(codes: Uint16Array | Uint8Array, table: Float32Array): Float32Array {
  const values = new Float32Array(codes.length);
  for (let i = 0; i < values.length; i++) values[i] = table[codes[i]!]!;
  return values;
}

function widenBfloat(codes: Uint16Array): Float32Array {
  const bits = new Uint32Array(codes.length);
  for (let i = 0; i < bits.length; i++) bits[i] = codes[i]! << 16;
  return new Float32Array(bits.buffer);
}

/** 8-bit floats with 4 bits of exponent (bias 7), no infinity, one NaN. */
const E4M3 = Float32Array.from({ length: 256 }, (_, bits) => {
  const sign = bits & 128 ? -1 : 1;
  const exponent = (bits >> 3) & 15;
  const fraction = bits & 7;
  if (exponent === 15 && fraction === 7) return NaN;
  return sign * (exponent === 0 ? fraction * 2 ** -9 : (8 + fraction) * 2 ** (exponent - 10));
});

const UNREADABLE: readonly StoredType[] = [
  "c64",
  "f8_e8m0",
  "q4_1",
  "q5_0",
  "q5_1",
  "q8_1",
  "q2_k",
  "q3_k",
  "q5_k",
  "q8_k",
];

/** Whether {@link decodeStored} gives values. */
export function isReadable(dtype: StoredType): boolean {
  return !UNREADABLE.includes(dtype);
}

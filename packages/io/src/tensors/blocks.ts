import { type BlockDType, STORED_SIZES, type StoredType } from "../weight-file.ts";
import { halfs } from "./halfs.ts";

/** Block formats that become tensors. */
export type ReadableBlock = Extract<BlockDType, "q8_0" | "q4_0" | "q4_k" | "q6_k">;

/** Writes the values of the block at `at` to `y` from `to` on. */
type Unpack = (bytes: Uint8Array, at: number, y: Float32Array, to: number, half: Float32Array) => void;

const UNPACK: Readonly<Record<ReadableBlock, Unpack>> = {
  q8_0: unpackQ80,
  q4_0: unpackQ40,
  q4_k: unpackQ4K,
  q6_k: unpackQ6K,
};

/** Whether a stored type is a block format that becomes a tensor. */
export function isReadableBlock(dtype: StoredType): dtype is ReadableBlock {
  return Object.hasOwn(UNPACK, dtype);
}

/**
 * Values of whole blocks, as ggml's `dequantize_row_*` compute them: scale times whole number, less a minimum where the
 * format has one.
 */
export function dequantizeBlocks(bytes: Uint8Array, format: ReadableBlock): Float32Array {
  const size = STORED_SIZES[format];
  const count = bytes.length / size.bytes;
  const y = new Float32Array(count * size.values);
  const unpack = UNPACK[format];
  const half = halfs();
  for (let block = 0; block < count; block++) unpack(bytes, block * size.bytes, y, block * size.values, half);
  return y;
}

function halfAt(bytes: Uint8Array, at: number, half: Float32Array): number {
  return half[bytes[at]! | (bytes[at + 1]! << 8)]!;
}

/** Scale, then 32 signed bytes. */
function unpackQ80(bytes: Uint8Array, at: number, y: Float32Array, to: number, half: Float32Array): void {
  const scale = halfAt(bytes, at, half);
  for (let i = 0; i < 32; i++) y[to + i] = scale * ((bytes[at + 2 + i]! << 24) >> 24);
}

/** Scale, then 16 bytes: the low halves are the first 16 values, the high halves the others, all plus 8. */
function unpackQ40(bytes: Uint8Array, at: number, y: Float32Array, to: number, half: Float32Array): void {
  const scale = halfAt(bytes, at, half);
  for (let i = 0; i < 16; i++) {
    const byte = bytes[at + 2 + i]!;
    y[to + i] = scale * ((byte & 15) - 8);
    y[to + 16 + i] = scale * ((byte >> 4) - 8);
  }
}

/** Scale of scales, scale of minima, 8 pairs of 6-bit scale and minimum in 12 bytes, 256 4-bit values. */
function unpackQ4K(bytes: Uint8Array, at: number, y: Float32Array, to: number, half: Float32Array): void {
  const d = halfAt(bytes, at, half);
  const dMin = halfAt(bytes, at + 2, half);
  const scales = at + 4;
  const values = at + 16;
  for (let group = 0; group < 8; group++) {
    // Groups 0 to 3 have six bits of a byte, 4 to 7 a nibble and the two bits left over in the bytes of 0 to 3.
    const late = group >= 4;
    const low = late ? bytes[scales + group + 4]! : 0;
    const scale = late ? (low & 15) | ((bytes[scales + group - 4]! >> 6) << 4) : bytes[scales + group]! & 63;
    const minimum = late
      ? (low >> 4) | ((bytes[scales + group]! >> 6) << 4)
      : bytes[scales + group + 4]! & 63;
    const step = Math.fround(d * scale);
    const base = Math.fround(dMin * minimum);
    const from = values + (group >> 1) * 32;
    const shift = (group & 1) * 4;
    const target = to + group * 32;
    for (let i = 0; i < 32; i++) y[target + i] = step * ((bytes[from + i]! >> shift) & 15) - base;
  }
}

/** 256 values in 4 bits and 2 more bits, 16 signed scales, scale of scales; all values plus 32. */
function unpackQ6K(bytes: Uint8Array, at: number, y: Float32Array, to: number, half: Float32Array): void {
  const d = halfAt(bytes, at + 208, half);
  for (let part = 0; part < 2; part++) {
    const low = at + part * 64;
    const high = at + 128 + part * 32;
    const scales = at + 192 + part * 8;
    for (let quarter = 0; quarter < 4; quarter++) {
      const from = low + (quarter & 1) * 32;
      const lowShift = (quarter >> 1) * 4;
      const highShift = quarter * 2;
      const target = to + part * 128 + quarter * 32;
      for (let i = 0; i < 32; i++) {
        const scale = (bytes[scales + quarter * 2 + (i >> 4)]! << 24) >> 24;
        const four = (bytes[from + i]! >> lowShift) & 15;
        const two = (bytes[high + i]! >> highShift) & 3;
        y[target + i] = Math.fround(d * scale) * ((four | (two << 4)) - 32);
      }
    }
  }
}

import { toHalfBits } from "../scalar/half.ts";

/** Block formats of GGUF: 32 values with one 16-bit scale, in 8 or 4 bits each. */
export type QuantizedFormat = "q8_0" | "q4_0";

/** Values in a block. */
export const BLOCK_SIZE = 32;

/** Bytes of a block: its scale, then its values. */
export const BLOCK_BYTES: Readonly<Record<QuantizedFormat, number>> = { q8_0: 34, q4_0: 18 };

/** Bytes that a number of values (whole blocks) take. */
export function blockBytes(format: QuantizedFormat, count: number): number {
  return (count / BLOCK_SIZE) * BLOCK_BYTES[format];
}

/**
 * Quantises values block by block, each step rounded to float32 as in ggml's `quantize_row_q8_0_ref` and
 * `quantize_row_q4_0_ref`, so that the bytes are the same.
 */
export function packBlocks(values: ArrayLike<number>, format: QuantizedFormat): Uint8Array {
  const size = BLOCK_BYTES[format];
  const bytes = new Uint8Array(blockBytes(format, values.length));
  const block = new Float32Array(BLOCK_SIZE);
  const pack = format === "q8_0" ? packBytes : packNibbles;
  for (let start = 0, at = 0; start < values.length; start += BLOCK_SIZE, at += size) {
    for (let i = 0; i < BLOCK_SIZE; i++) block[i] = values[start + i] as number;
    const scale = pack(block, bytes.subarray(at + 2, at + size));
    const bits = toHalfBits(scale);
    bytes[at] = bits & 255;
    bytes[at + 1] = bits >>> 8;
  }
  return bytes;
}

/** The reciprocal in float32; 0 for a block of zeros. */
function inverseOf(scale: number): number {
  return scale === 0 ? 0 : Math.fround(1 / scale);
}

/** Whole numbers from -127 to 127, halves away from zero. Returns the scale. */
function packBytes(block: Float32Array, to: Uint8Array): number {
  let greatest = 0;
  for (const value of block) greatest = Math.max(greatest, Math.abs(value));
  const scale = Math.fround(greatest / 127);
  const inverse = inverseOf(scale);
  block.forEach((value, i) => {
    const level = Math.fround(value * inverse);
    to[i] = Math.sign(level) * Math.floor(Math.abs(level) + 0.5);
  });
  return scale;
}

/** Whole numbers from 0 to 15 that stand for -8 to 7, two a byte: value i low, value i + 16 high. Returns the scale. */
function packNibbles(block: Float32Array, to: Uint8Array): number {
  let extreme = 0;
  for (const value of block) if (Math.abs(value) > Math.abs(extreme)) extreme = value;
  const scale = Math.fround(extreme / -8);
  const inverse = inverseOf(scale);
  const level = (value: number): number =>
    Math.min(15, Math.trunc(Math.fround(Math.fround(value * inverse) + 8.5)));
  for (let i = 0; i < BLOCK_SIZE / 2; i++) {
    to[i] = level(block[i] as number) | (level(block[i + 16] as number) << 4);
  }
  return scale;
}

import { type DType, type Elements, fromBfloatBits, fromHalfBits, toBfloatBits, toHalfBits } from "@nf/core";

/** How elements of one dtype live in cells of an array, and how they become bytes and come back. */
export interface CellType {
  /** The number a cell holds once `value` was stored in it: floats are rounded, integers wrap around. */
  readonly store: (value: number) => number;
  readonly toBytes: (cells: readonly number[]) => ArrayBuffer;
  readonly fromBytes: (bytes: ArrayBuffer) => number[];
}

type Convert = (value: number) => number;
type Words = { new (length: number): Elements; new (bytes: ArrayBuffer): Elements };

/**
 * A dtype whose elements lie in a typed array while they are bytes.
 *
 * @param write a cell's number as it goes into the typed array, `read` as it comes out; default as it is
 */
function cellType(Words: Words, store: Convert, write?: Convert, read?: Convert): CellType {
  return {
    store,
    toBytes(cells) {
      const words = new Words(cells.length);
      for (let i = 0; i < cells.length; i++) words[i] = write === undefined ? cells[i] : write(cells[i]);
      return words.buffer as ArrayBuffer;
    },
    fromBytes(bytes) {
      const words = new Words(bytes);
      const cells = new Array<number>(words.length);
      for (let i = 0; i < cells.length; i++) cells[i] = read === undefined ? words[i] : read(words[i]);
      return cells;
    },
  };
}

const half: Convert = (value) => fromHalfBits(toHalfBits(value));
const bfloat: Convert = (value) => fromBfloatBits(toBfloatBits(value));
const truth: Convert = (value) => (value === 0 ? 0 : 1);

/** The table of all dtypes. 16-bit floats are plain numbers in their cells; only their bytes are bits. */
export const CELL_TYPES: Readonly<Record<DType, CellType>> = {
  f32: cellType(Float32Array, Math.fround),
  f64: cellType(Float64Array, (value) => value),
  f16: cellType(Uint16Array, half, toHalfBits, fromHalfBits),
  bf16: cellType(Uint16Array, bfloat, toBfloatBits, fromBfloatBits),
  i32: cellType(Int32Array, (value) => value | 0),
  u32: cellType(Uint32Array, (value) => value >>> 0),
  i8: cellType(Int8Array, (value) => (value << 24) >> 24),
  u8: cellType(Uint8Array, (value) => value & 255),
  bool: cellType(Uint8Array, truth, undefined, truth),
};

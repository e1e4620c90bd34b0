import type { StoredType } from "../weight-file.ts";

/** Tensor types of GGUF by their number. The formats that are missing (IQ, ternary, microscaling) are not read here. */
export const TENSOR_TYPES: ReadonlyMap<number, StoredType> = new Map<number, StoredType>([
  [0, "f32"],
  [1, "f16"],
  [2, "q4_0"],
  [3, "q4_1"],
  [6, "q5_0"],
  [7, "q5_1"],
  [8, "q8_0"],
  [9, "q8_1"],
  [10, "q2_k"],
  [11, "q3_k"],
  [12, "q4_k"],
  [13, "q5_k"],
  [14, "q6_k"],
  [15, "q8_k"],
  [24, "i8"],
  [25, "i16"],
  [26, "i32"],
  [27, "i64"],
  [28, "f64"],
  [30, "bf16"],
]);

/** Number of the metadata type for texts. */
export const STRING = 8;
/** Number of the metadata type for lists. */
export const ARRAY = 9;

/** Metadata types that are numbers. */
export type ScalarTypeName = "u8" | "i8" | "u16" | "i16" | "u32" | "i32" | "f32" | "u64" | "i64" | "f64";

/** A metadata type of fixed size. */
export interface FixedType {
  readonly number: number;
  readonly bytes: number;
  /** Least and greatest value of integers up to 32 bits. */
  readonly range?: readonly [number, number];
  read(view: DataView, at: number): number | bigint | boolean;
  write(view: DataView, at: number, value: number | bigint | boolean): void;
}

/** Metadata types of fixed size by their name. */
export const NAMED_TYPES: ReadonlyMap<ScalarTypeName | "bool", FixedType> = new Map<
  ScalarTypeName | "bool",
  FixedType
>([
  [
    "u8",
    {
      number: 0,
      bytes: 1,
      range: [0, 255],
      read: (view, at) => view.getUint8(at),
      write: (view, at, value) => view.setUint8(at, Number(value)),
    },
  ],
  [
    "i8",
    {
      number: 1,
      bytes: 1,
      range: [-128, 127],
      read: (view, at) => view.getInt8(at),
      write: (view, at, value) => view.setInt8(at, Number(value)),
    },
  ],
  [
    "u16",
    {
      number: 2,
      bytes: 2,
      range: [0, 65535],
      read: (view, at) => view.getUint16(at, true),
      write: (view, at, value) => view.setUint16(at, Number(value), true),
    },
  ],
  [
    "i16",
    {
      number: 3,
      bytes: 2,
      range: [-32768, 32767],
      read: (view, at) => view.getInt16(at, true),
      write: (view, at, value) => view.setInt16(at, Number(value), true),
    },
  ],
  [
    "u32",
    {
      number: 4,
      bytes: 4,
      range: [0, 4294967295],
      read: (view, at) => view.getUint32(at, true),
      write: (view, at, value) => view.setUint32(at, Number(value), true),
    },
  ],
  [
    "i32",
    {
      number: 5,
      bytes: 4,
      range: [-2147483648, 2147483647],
      read: (view, at) => view.getInt32(at, true),
      write: (view, at, value) => view.setInt32(at, Number(value), true),
    },
  ],
  [
    "f32",
    {
      number: 6,
      bytes: 4,
      read: (view, at) => view.getFloat32(at, true),
      write: (view, at, value) => view.setFloat32(at, Number(value), true),
    },
  ],
  [
    "bool",
    {
      number: 7,
      bytes: 1,
      read: (view, at) => view.getUint8(at) !== 0,
      write: (view, at, value) => view.setUint8(at, Number(value)),
    },
  ],
  [
    "u64",
    {
      number: 10,
      bytes: 8,
      read: (view, at) => exact(view.getBigUint64(at, true)),
      write: (view, at, value) => view.setBigUint64(at, BigInt(value), true),
    },
  ],
  [
    "i64",
    {
      number: 11,
      bytes: 8,
      read: (view, at) => exact(view.getBigInt64(at, true)),
      write: (view, at, value) => view.setBigInt64(at, BigInt(value), true),
    },
  ],
  [
    "f64",
    {
      number: 12,
      bytes: 8,
      read: (view, at) => view.getFloat64(at, true),
      write: (view, at, value) => view.setFloat64(at, Number(value), true),
    },
  ],
]);

/** Metadata types of fixed size by their number. */
export const FIXED_TYPES: ReadonlyMap<number, FixedType> = new Map(
  [...NAMED_TYPES.values()].map((type) => [type.number, type]),
);

/** A number where it is the same, else the bigint. */
function exact(value: bigint): number | bigint {
  const number = Number(value);
  return Number.isSafeInteger(number) ? number : value;
}

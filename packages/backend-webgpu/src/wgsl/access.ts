import { type ComputeDType, DTYPES, type DType } from "@nf/core";

/** Dtypes whose elements are whole words. */
export function isWord(dtype: DType): boolean {
  return DTYPES[dtype].bytes === 4;
}

/** The dtype that elements of a storage dtype are computed in. */
export function computeDtype(dtype: DType): ComputeDType {
  return DTYPES[dtype].compute;
}

/** The type of a computed value, one or four at a time, as the prelude calls it. */
export const VALUE_TYPE: Readonly<Record<ComputeDType, string>> = {
  f32: "F",
  f64: "F",
  i32: "I",
  u32: "U",
  bool: "B",
};

/**
 * One element of a buffer of words, as its compute dtype.
 *
 * @param word reads a word: given its index it is an expression of type `u32`
 * @param at the element's index, an expression of type `i32`
 */
export function loadElement(dtype: DType, word: (index: string) => string, at: string): string {
  switch (dtype) {
    case "f32":
      return `bitcast<f32>(${word(at)})`;
    case "i32":
      return `bitcast<i32>(${word(at)})`;
    case "u32":
      return word(at);
    case "f16":
      return `halfToFloat((${word(`(${at}) >> 1u`)} >> ((u32(${at}) & 1u) << 4u)) & 0xffffu)`;
    case "bf16":
      return `bitcast<f32>((${word(`(${at}) >> 1u`)} >> ((u32(${at}) & 1u) << 4u)) << 16u)`;
    case "i8":
      return `(bitcast<i32>(${word(`(${at}) >> 2u`)} << (24u - ((u32(${at}) & 3u) << 3u))) >> 24u)`;
    case "u8":
      return `((${word(`(${at}) >> 2u`)} >> ((u32(${at}) & 3u) << 3u)) & 0xffu)`;
    case "bool":
      return `(((${word(`(${at}) >> 2u`)} >> ((u32(${at}) & 3u) << 3u)) & 0xffu) != 0u)`;
    default:
      throw new Error(`the GPU has no ${dtype}`);
  }
}

/** The bits of a value as an element has them: a word, or the low 8 or 16 bits of one. */
export function elementBits(dtype: DType, value: string): string {
  switch (dtype) {
    case "f32":
    case "i32":
      return `bitcast<u32>(${value})`;
    case "f16":
      return `floatToHalf(${value})`;
    case "bf16":
      return `floatToBfloat(${value})`;
    case "i8":
      return `(bitcast<u32>(${value}) & 0xffu)`;
    case "u8":
      return `(${value} & 0xffu)`;
    case "bool":
      return `select(0u, 1u, ${value})`;
    default:
      return value;
  }
}

/**
 * Statements that store one element to a buffer of words. Elements below a word share theirs with neighbours that other
 * invocations may write at the same time, so their buffers are of `atomic<u32>`.
 *
 * @param at the element's index, the name of an `i32`
 */
export function storeElement(dtype: DType, buffer: string, at: string, value: string): string {
  const bits = elementBits(dtype, value);
  if (isWord(dtype)) return `${buffer}[${at}] = ${bits};`;
  const eight = DTYPES[dtype].bytes === 1;
  const word = `${buffer}[${at} >> ${eight ? 2 : 1}u]`;
  const shift = eight ? `((u32(${at}) & 3u) << 3u)` : `((u32(${at}) & 1u) << 4u)`;
  const mask = eight ? "0xffu" : "0xffffu";
  // The value first: where an output is its own input, it still reads what the store clears.
  return `{ let storedBits = ${bits}; let storedShift = ${shift}; atomicAnd(&${word}, ~(${mask} << storedShift)); atomicOr(&${word}, storedBits << storedShift); }`;
}

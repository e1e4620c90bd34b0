import { DTYPES, type DType } from "@nf/core";
import { WeightFileError } from "./errors.ts";

/** Element types that files have and tensors do not: `toTensor` converts the integers, the others are read as bytes. */
export type FileDType = "i64" | "u64" | "i16" | "u16" | "f8_e4m3" | "f8_e5m2" | "f8_e8m0" | "c64";

/** Block formats of GGUF. `q8_0`, `q4_0`, `q4_k` and `q6_k` become tensors, the others are read as bytes. */
export type BlockDType =
  | "q8_0"
  | "q4_0"
  | "q4_k"
  | "q6_k"
  | "q4_1"
  | "q5_0"
  | "q5_1"
  | "q8_1"
  | "q2_k"
  | "q3_k"
  | "q5_k"
  | "q8_k";

/** How a weight file stores the values of a tensor. */
export type StoredType = DType | FileDType | BlockDType;

/** The size of a stored type: this many bytes hold this many values. */
export interface StoredSize {
  readonly bytes: number;
  readonly values: number;
}

const single = (bytes: number): StoredSize => ({ bytes, values: 1 });

/** Sizes of all stored types. */
export const STORED_SIZES: Readonly<Record<StoredType, StoredSize>> = {
  ...(Object.fromEntries(Object.values(DTYPES).map(({ name, bytes }) => [name, single(bytes)])) as Record<
    DType,
    StoredSize
  >),
  i64: single(8),
  u64: single(8),
  i16: single(2),
  u16: single(2),
  f8_e4m3: single(1),
  f8_e5m2: single(1),
  f8_e8m0: single(1),
  c64: single(8),
  q4_0: { bytes: 18, values: 32 },
  q4_1: { bytes: 20, values: 32 },
  q5_0: { bytes: 22, values: 32 },
  q5_1: { bytes: 24, values: 32 },
  q8_0: { bytes: 34, values: 32 },
  q8_1: { bytes: 36, values: 32 },
  q2_k: { bytes: 84, values: 256 },
  q3_k: { bytes: 110, values: 256 },
  q4_k: { bytes: 144, values: 256 },
  q5_k: { bytes: 176, values: 256 },
  q6_k: { bytes: 210, values: 256 },
  q8_k: { bytes: 292, values: 256 },
};

/** A tensor in a weight file. */
export interface StoredTensor {
  readonly dtype: StoredType;
  /** Outermost dimension first, as PyTorch counts. */
  readonly shape: readonly number[];
  /** Bytes in the file. */
  readonly bytes: number;
}

/** A value of a file's metadata. 64-bit integers are numbers where exact, else bigint. */
export type MetadataValue = string | number | bigint | boolean | readonly MetadataValue[];

/** One or several files with named tensors, whatever their format. Nothing but headers is read before {@link read}. */
export interface WeightFile {
  /** `"safetensors"`, `"gguf"` or `"llama2.c"`. */
  readonly format: WeightFormat;
  /** What messages call it: a path, or what it was opened from. */
  readonly name: string;
  readonly tensors: ReadonlyMap<string, StoredTensor>;
  readonly metadata: ReadonlyMap<string, MetadataValue>;
  /**
   * The model's configuration in the words of Hugging Face's `config.json`: that file where the weights lie in a folder
   * with one, else what a llama2.c header says; undefined where there is neither.
   */
  readonly config: Readonly<Record<string, unknown>> | undefined;
  /** The contents of `generation_config.json` where the weights lie in a folder with one: how texts are best generated. */
  readonly generationConfig?: Readonly<Record<string, unknown>>;
  /**
   * Bytes of a tensor, little-endian, row-major, in memory of their own.
   *
   * @throws WeightFileError if there is no such tensor, or the file was closed or changed.
   */
  read(name: string): Promise<Uint8Array>;
  /** Gives the files back. */
  close(): Promise<void>;
}

/** The containers that are read. */
export type WeightFormat = "safetensors" | "gguf" | "llama2.c";

/** Number of values of a shape; undefined above 2^53. */
export function valuesIn(shape: readonly number[]): number | undefined {
  if (shape.includes(0)) return 0;
  let size = 1;
  for (const one of shape) {
    size *= one;
    if (!Number.isSafeInteger(size)) return undefined;
  }
  return size;
}

/** Bytes that a tensor takes in a file; undefined above 2^53, or if rows are no whole number of blocks. */
export function storedBytes(dtype: StoredType, shape: readonly number[]): number | undefined {
  const { bytes, values } = STORED_SIZES[dtype];
  const size = valuesIn(shape);
  if (size === undefined || (values > 1 && (shape.at(-1) ?? 1) % values !== 0)) return undefined;
  const total = (size / values) * bytes;
  return Number.isSafeInteger(total) ? total : undefined;
}

/** Looks a tensor up. */
export function storedTensor<T extends StoredTensor>(
  file: { readonly name: string; readonly tensors: ReadonlyMap<string, T> },
  name: string,
): T {
  const found = file.tensors.get(name);
  if (found !== undefined) return found;
  const some = [...file.tensors.keys()].slice(0, 5).join(", ");
  throw new WeightFileError(
    `${file.name}: has no tensor ${JSON.stringify(name)}. It has ${file.tensors.size}: ${some}${file.tensors.size > 5 ? ", …" : ""}`,
  );
}

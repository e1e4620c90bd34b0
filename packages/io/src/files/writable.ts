import { DTYPES, type HostArray, type Shape, ShapeError, Tensor, toBfloatBits, toHalfBits } from "@nf/core";
import { reasonOf, WeightFileError } from "../errors.ts";
import { type StoredType, storedBytes } from "../weight-file.ts";
import { fileSystem } from "./file-system.ts";
import { replaceFile } from "./replace.ts";

/** A tensor as its bytes: little-endian, row-major. For types that tensors do not have, or to copy between files. */
export interface StoredValues {
  readonly dtype: StoredType;
  readonly shape: Shape;
  /** The bytes, or what makes them when their turn comes, for files larger than memory. */
  readonly bytes: Uint8Array | (() => Uint8Array | Promise<Uint8Array>);
}

/** Tensors to be written, by name. */
export type WritableTensors =
  | Readonly<Record<string, Tensor | StoredValues>>
  | ReadonlyMap<string, Tensor | StoredValues>;

/**
 * Writes a header and then tensors, one at a time; `align` pads before each. The file appears under its name only whole
 * and synced to disk.
 */
export async function writeParts(
  op: string,
  path: string,
  header: Uint8Array,
  entries: readonly (readonly [string, Tensor | StoredValues])[],
  align = 1,
): Promise<void> {
  const { open } = fileSystem();
  try {
    await replaceFile(path, async (part) => {
      const handle = await open(part, "w");
      try {
        await handle.writeFile(header);
        for (const [name, value] of entries) {
          const bytes = await bytesOf(op, name, value);
          await handle.writeFile(bytes);
          await handle.writeFile(new Uint8Array(padding(bytes.length, align)));
        }
        await handle.sync();
      } finally {
        await handle.close();
      }
    });
  } catch (error) {
    if (!(error instanceof Error && "syscall" in error)) throw error;
    throw new WeightFileError(`${op}: ${path} could not be written: ${reasonOf(error)}.`, { cause: error });
  }
}

/** Bytes from a length to the next multiple. */
export function padding(length: number, align: number): number {
  return (align - (length % align)) % align;
}

/** Refuses bytes that are not of the size of their shape. */
export function checkBytes(
  op: string,
  name: string,
  { dtype, shape }: StoredValues,
  bytes: Uint8Array,
): void {
  const expected = storedBytes(dtype, shape);
  if (bytes.length === expected) return;
  throw new ShapeError(
    `${op}: ${name}, ${dtype} [${shape.join(", ")}], takes ${expected ?? "another number of"} bytes, got ${bytes.length}.`,
  );
}

/** The bytes of a tensor as files hold them. */
export async function bytesOf(op: string, name: string, value: Tensor | StoredValues): Promise<Uint8Array> {
  if (!(value instanceof Tensor)) {
    const bytes = typeof value.bytes === "function" ? await value.bytes() : value.bytes;
    checkBytes(op, name, value, bytes);
    return bytes;
  }
  const values: HostArray = await value.data();
  const { dtype } = value;
  if (dtype !== "f16" && dtype !== "bf16")
    return new Uint8Array(values.buffer, values.byteOffset, values.byteLength);
  const convert = dtype === "f16" ? toHalfBits : toBfloatBits;
  const bits = new Uint16Array(values.length);
  for (let i = 0; i < bits.length; i++) bits[i] = convert(values[i]!);
  return new Uint8Array(bits.buffer, 0, values.length * DTYPES[dtype].bytes);
}

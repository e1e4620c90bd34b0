import { checkOptions, OptionError, Tensor } from "@nf/core";
import {
  bytesOf,
  checkBytes,
  type StoredValues,
  type WritableTensors,
  writeParts,
} from "../files/writable.ts";
import { STORED_SIZES, type StoredType, storedBytes } from "../weight-file.ts";
import { SAFETENSORS_DTYPES } from "./header.ts";

/** Options of {@link writeSafetensors} and {@link encodeSafetensors}. */
export interface WriteSafetensorsOptions {
  /** Texts by name, kept in the header. */
  readonly metadata?: Readonly<Record<string, string>>;
}

/**
 * Writes tensors to a safetensors file, one after the other: one at a time is held on the host. The file appears under
 * its name only whole and synced to disk, in place of an older one.
 *
 * @throws OptionError for a name or metadata the format does not allow, ShapeError for bytes that are not of the size of
 * their shape, WeightFileError if the file cannot be written.
 */
export async function writeSafetensors(
  path: string,
  tensors: WritableTensors,
  options: WriteSafetensorsOptions = {},
): Promise<void> {
  const { header, entries } = planSafetensors("writeSafetensors", tensors, options);
  await writeParts("writeSafetensors", path, header, entries);
}

/** The same as {@link writeSafetensors}, as bytes; for browsers. */
export async function encodeSafetensors(
  tensors: WritableTensors,
  options: WriteSafetensorsOptions = {},
): Promise<Uint8Array> {
  const { header, entries, size } = planSafetensors("encodeSafetensors", tensors, options);
  const file = new Uint8Array(header.length + size);
  file.set(header);
  let at = header.length;
  for (const [name, value] of entries) {
    const bytes = await bytesOf("encodeSafetensors", name, value);
    file.set(bytes, at);
    at += bytes.length;
  }
  return file;
}

/** A file before it is written. */
export interface Plan {
  readonly header: Uint8Array;
  readonly entries: readonly (readonly [string, Tensor | StoredValues])[];
  /** Bytes of all tensors. */
  readonly size: number;
}

const NAMES = new Map<StoredType, string>(
  Object.entries(SAFETENSORS_DTYPES).map(([name, dtype]) => [dtype, name]),
);

/** Checks tensors and metadata, and lays a file out. Metadata comes first in the header, in the order of its keys. */
export function planSafetensors(
  op: string,
  tensors: WritableTensors,
  options: WriteSafetensorsOptions,
): Plan {
  checkOptions(op, options, ["metadata"]);
  const given = tensors instanceof Map ? [...tensors] : Object.entries(tensors);
  // Wide types first, so that every tensor lies on a multiple of its element.
  const entries = (given as [string, Tensor | StoredValues][]).sort(
    ([a, x], [b, y]) => STORED_SIZES[y.dtype].bytes - STORED_SIZES[x.dtype].bytes || (a < b ? -1 : 1),
  );
  const header = new Map<string, unknown>();
  const { metadata } = options;
  if (metadata !== undefined) {
    for (const [key, text] of Object.entries(metadata))
      if (typeof text !== "string")
        throw new OptionError(`${op}: metadata ${JSON.stringify(key)} must be a text.`);
    header.set("__metadata__", metadata);
  }
  let size = 0;
  for (const [name, value] of entries) {
    const dtype = NAMES.get(value.dtype);
    if (name === "__metadata__") throw new OptionError(`${op}: a tensor cannot be called __metadata__.`);
    if (dtype === undefined)
      throw new OptionError(`${op}: ${name} is stored as ${value.dtype}, which safetensors does not have.`);
    const bytes = storedBytes(value.dtype, value.shape) ?? -1;
    if (!(value instanceof Tensor) && value.bytes instanceof Uint8Array)
      checkBytes(op, name, value, value.bytes);
    header.set(name, { dtype, shape: value.shape, data_offsets: [size, size + bytes] });
    size += bytes;
  }
  return { header: encodeHeader(header), entries, size };
}

/** Length, then JSON, with blanks up to a multiple of 8. */
function encodeHeader(header: ReadonlyMap<string, unknown>): Uint8Array {
  const entries = [...header].map(([key, value]) => `${JSON.stringify(key)}:${JSON.stringify(value)}`);
  const json = new TextEncoder().encode(`{${entries.join(",")}}`);
  const length = Math.ceil(json.length / 8) * 8;
  const bytes = new Uint8Array(8 + length).fill(0x20);
  new DataView(bytes.buffer).setBigUint64(0, BigInt(length), true);
  bytes.set(json, 8);
  return bytes;
}

import { checkInteger, checkOptions, OptionError, type Shape, Tensor } from "@nf/core";
import {
  bytesOf,
  checkBytes,
  padding,
  type StoredValues,
  type WritableTensors,
  writeParts,
} from "../files/writable.ts";
import { type StoredType, storedBytes } from "../weight-file.ts";
import { GGUF_MAGIC } from "./header.ts";
import { ARRAY, type FixedType, NAMED_TYPES, type ScalarTypeName, STRING, TENSOR_TYPES } from "./types.ts";

/** A value of GGUF metadata with its type: readers insist on the one they expect. */
export type GgufEntry =
  | { readonly type: ScalarTypeName; readonly value: number | bigint }
  | { readonly type: "bool"; readonly value: boolean }
  | { readonly type: "string"; readonly value: string }
  | { readonly type: "list"; readonly of: ScalarTypeName; readonly value: readonly (number | bigint)[] }
  | { readonly type: "list"; readonly of: "string"; readonly value: readonly string[] };

/** Options of {@link writeGguf}. */
export interface WriteGgufOptions {
  /** Entries by key, in the order in which they are written. */
  readonly metadata: Readonly<Record<string, GgufEntry>> | ReadonlyMap<string, GgufEntry>;
}

const ALIGNMENT = 32;
const VERSION = 3;
const MOST_DIMENSIONS = 4;

/**
 * Writes a GGUF file (version 3): metadata, then tensors, one at a time. Blocks are written as they are: pass
 * `{ dtype: "q8_0", shape, bytes }`. Names and order of rows are up to the caller. The file appears under its name only
 * whole and synced to disk.
 *
 * @throws OptionError for what the format cannot hold, ShapeError for bytes that are not of the size of their shape,
 * WeightFileError if the file cannot be written.
 */
export async function writeGguf(
  path: string,
  tensors: WritableTensors,
  options: WriteGgufOptions,
): Promise<void> {
  const { header, entries } = plan("writeGguf", tensors, options);
  await writeParts("writeGguf", path, header, entries, ALIGNMENT);
}

/** The same as {@link writeGguf}, as bytes; for browsers. */
export async function encodeGguf(tensors: WritableTensors, options: WriteGgufOptions): Promise<Uint8Array> {
  const { header, entries, size } = plan("encodeGguf", tensors, options);
  const file = new Uint8Array(header.length + size);
  file.set(header);
  let at = header.length;
  for (const [name, value] of entries) {
    const bytes = await bytesOf("encodeGguf", name, value);
    file.set(bytes, at);
    at += bytes.length + padding(bytes.length, ALIGNMENT);
  }
  return file;
}

interface Plan {
  readonly header: Uint8Array;
  readonly entries: readonly (readonly [string, Tensor | StoredValues])[];
  /** Bytes of all tensors with what lies between them. */
  readonly size: number;
}

const NUMBERS = new Map<StoredType, number>([...TENSOR_TYPES].map(([number, dtype]) => [dtype, number]));

function plan(op: string, tensors: WritableTensors, options: WriteGgufOptions): Plan {
  checkOptions(op, options, ["metadata"]);
  const entries = (tensors instanceof Map ? [...tensors] : Object.entries(tensors)) as [
    string,
    Tensor | StoredValues,
  ][];
  const metadata = (
    options.metadata instanceof Map ? [...options.metadata] : Object.entries(options.metadata)
  ) as [string, GgufEntry][];
  const writer = new Writer();
  writer.scalar("u32", GGUF_MAGIC);
  writer.scalar("u32", VERSION);
  writer.scalar("u64", entries.length);
  writer.scalar("u64", metadata.length);
  for (const [key, entry] of metadata) {
    writer.text(key);
    writeEntry(op, writer, key, entry);
  }
  let size = 0;
  for (const [name, value] of entries) {
    const { dtype, shape } = value;
    const type = NUMBERS.get(dtype);
    if (type === undefined)
      throw new OptionError(`${op}: ${name} is stored as ${dtype}, which GGUF does not have.`);
    const bytes = storedBytes(dtype, shape);
    if (bytes === undefined || shape.length > MOST_DIMENSIONS)
      throw new OptionError(
        `${op}: ${name}, ${dtype} [${shape.join(", ")}]: GGUF takes up to 4 dimensions, rows in whole blocks.`,
      );
    if (!(value instanceof Tensor) && value.bytes instanceof Uint8Array)
      checkBytes(op, name, value, value.bytes);
    writer.text(name);
    writer.scalar("u32", shape.length);
    for (const one of innermostFirst(shape)) writer.scalar("u64", one);
    writer.scalar("u32", type);
    writer.scalar("u64", size);
    size += bytes + padding(bytes, ALIGNMENT);
  }
  return { header: writer.bytes(ALIGNMENT), entries, size };
}

const innermostFirst = (shape: Shape): Shape => [...shape].reverse();

function writeEntry(op: string, writer: Writer, key: string, entry: GgufEntry): void {
  if (entry.type === "string") {
    writer.scalar("u32", STRING);
    writer.text(checkText(op, key, entry.value));
  } else if (entry.type !== "list") {
    writer.scalar("u32", typeOf(op, key, entry.type).number);
    writer.scalar(entry.type, checkValue(op, key, entry.type, entry.value));
  } else {
    writer.scalar("u32", ARRAY);
    writer.scalar("u32", entry.of === "string" ? STRING : typeOf(op, key, entry.of).number);
    writer.scalar("u64", entry.value.length);
    if (entry.of === "string") for (const text of entry.value) writer.text(checkText(op, key, text));
    else for (const one of entry.value) writer.scalar(entry.of, checkValue(op, key, entry.of, one));
  }
}

function typeOf(op: string, key: string, name: ScalarTypeName | "bool"): FixedType {
  const found = NAMED_TYPES.get(name);
  if (found !== undefined) return found;
  throw new OptionError(
    `${op}: the entry ${key} has the unknown type ${JSON.stringify(name)}. Choose one of ${[...NAMED_TYPES.keys()].join(", ")}, string, list.`,
  );
}

function checkText(op: string, key: string, value: string): string {
  if (typeof value === "string") return value;
  throw new OptionError(`${op}: the entry ${key} must be a text, got ${typeof value}.`);
}

/** Refuses values that would be written as others. */
function checkValue(
  op: string,
  key: string,
  name: ScalarTypeName | "bool",
  value: number | bigint | boolean,
): number | bigint | boolean {
  const { range } = typeOf(op, key, name);
  if (name === "bool" ? typeof value !== "boolean" : typeof value !== "number" && typeof value !== "bigint")
    throw new OptionError(`${op}: the entry ${key} is no ${name}, but ${typeof value}.`);
  if (range !== undefined) checkInteger(op, `the entry ${key}`, Number(value), range[0], range[1]);
  if (name === "u64" || name === "i64") {
    const sound = typeof value === "bigint" || Number.isSafeInteger(value);
    const wrap = name === "u64" ? BigInt.asUintN : BigInt.asIntN;
    if (!sound || wrap(64, BigInt(value)) !== BigInt(value))
      throw new OptionError(`${op}: the entry ${key} is ${value}, which ${name} does not hold.`);
  }
  return value;
}

/** Bytes in a buffer that grows. */
class Writer {
  readonly #text = new TextEncoder();
  #bytes: Uint8Array<ArrayBuffer> = new Uint8Array(4096);
  #length = 0;

  #room(count: number): number {
    const at = this.#length;
    this.#length += count;
    if (this.#length > this.#bytes.length) {
      const grown = new Uint8Array(Math.max(this.#length, 2 * this.#bytes.length));
      grown.set(this.#bytes);
      this.#bytes = grown;
    }
    return at;
  }

  scalar(name: ScalarTypeName | "bool", value: number | bigint | boolean): void {
    const type = NAMED_TYPES.get(name) as FixedType;
    const at = this.#room(type.bytes);
    type.write(new DataView(this.#bytes.buffer), at, value);
  }

  text(text: string): void {
    const encoded = this.#text.encode(text);
    this.scalar("u64", encoded.length);
    const at = this.#room(encoded.length);
    this.#bytes.set(encoded, at);
  }

  /** What was written, with zeros up to a multiple. */
  bytes(align: number): Uint8Array {
    this.#room(padding(this.#length, align));
    return this.#bytes.slice(0, this.#length);
  }
}

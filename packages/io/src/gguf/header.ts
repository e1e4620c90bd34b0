import type { Located } from "../files/located.ts";
import type { ByteSource } from "../files/source.ts";
import { type MetadataValue, storedBytes } from "../weight-file.ts";
import { Cursor } from "./cursor.ts";
import { ARRAY, FIXED_TYPES, STRING, TENSOR_TYPES } from "./types.ts";

/** "GGUF", read as a little-endian u32. */
export const GGUF_MAGIC = 0x46554747;

const MOST_ENTRIES = 100_000;
/** Values in all lists together, some 80 MB; the largest vocabularies have 0.9 million. */
const MOST_VALUES = 1_200_000;
const MOST_DIMENSIONS = 4;
const LONGEST_NAME = 65_535;
const DEEPEST_LIST = 4;
/** Least bytes of a metadata entry and of a tensor entry: what a count of them must fit. */
const LEAST_ENTRY = 13;
const LEAST_TENSOR = 24;

/** What the header of a GGUF file says. */
export interface GgufHeader {
  readonly tensors: ReadonlyMap<string, Located>;
  readonly metadata: ReadonlyMap<string, MetadataValue>;
}

/**
 * Reads and checks the header of a GGUF file, version 2 or 3, little-endian. Counts and lengths are held against the
 * bytes that are left before anything is allocated.
 *
 * @throws WeightFileError
 */
export function readHeader(source: ByteSource): Promise<GgufHeader> {
  return new HeaderReader(new Cursor(source)).read();
}

class HeaderReader {
  readonly #cursor: Cursor;
  #values = 0;

  constructor(cursor: Cursor) {
    this.#cursor = cursor;
  }

  async read(): Promise<GgufHeader> {
    const cursor = this.#cursor;
    if ((await cursor.u32()) !== GGUF_MAGIC) cursor.fail("it does not begin with GGUF");
    const version = await cursor.u32();
    if (version !== 2 && version !== 3)
      cursor.fail(`its version is ${version}; 2 and 3, little-endian, are read`);
    const tensorCount = await this.#count("tensors", LEAST_TENSOR);
    const entryCount = await this.#count("metadata entries", LEAST_ENTRY);
    const metadata = new Map<string, MetadataValue>();
    for (let i = 0; i < entryCount; i++) {
      const key = await cursor.string("a metadata key", LONGEST_NAME);
      if (metadata.has(key)) cursor.fail(`the metadata key ${show(key)} is there twice`);
      metadata.set(key, await this.#value(await cursor.u32(), key, 0));
    }
    return { metadata, tensors: await this.#tensors(tensorCount, this.#alignment(metadata)) };
  }

  async #count(what: string, least: number): Promise<number> {
    const cursor = this.#cursor;
    const count = await cursor.u64(`the number of ${what}`);
    if (count * least > cursor.remaining)
      cursor.fail(`${count} ${what} do not fit the ${cursor.remaining} bytes left`);
    if (count > MOST_ENTRIES) cursor.fail(`${count} ${what} are more than ${MOST_ENTRIES}`);
    return count;
  }

  #alignment(metadata: ReadonlyMap<string, MetadataValue>): number {
    const alignment = metadata.get("general.alignment") ?? 32;
    const sound =
      typeof alignment === "number" &&
      alignment >= 1 &&
      alignment <= 2 ** 20 &&
      Number.isInteger(Math.log2(alignment));
    return sound
      ? alignment
      : this.#cursor.fail(`general.alignment is ${String(alignment)}, no power of two up to 2^20`);
  }

  async #value(type: number, key: string, depth: number): Promise<MetadataValue> {
    const cursor = this.#cursor;
    if (type === STRING) return cursor.string(`the value of ${show(key)}`);
    if (type === ARRAY) return this.#list(key, depth);
    const fixed = FIXED_TYPES.get(type);
    if (fixed === undefined) return cursor.fail(`the value of ${show(key)} has the unknown type ${type}`);
    await cursor.need(fixed.bytes);
    return cursor.take(fixed.bytes, fixed.read);
  }

  async #list(key: string, depth: number): Promise<readonly MetadataValue[]> {
    const cursor = this.#cursor;
    if (depth >= DEEPEST_LIST)
      cursor.fail(`the lists of ${show(key)} are nested deeper than ${DEEPEST_LIST}`);
    const type = await cursor.u32();
    const fixed = FIXED_TYPES.get(type);
    const least = fixed?.bytes ?? (type === ARRAY ? 12 : 8);
    const count = await cursor.u64(`the length of ${show(key)}`);
    if (count * least > cursor.remaining)
      cursor.fail(`${show(key)} has ${count} values, which do not fit the ${cursor.remaining} bytes left`);
    this.#values += count;
    if (this.#values > MOST_VALUES) cursor.fail(`its lists have more than ${MOST_VALUES} values`);
    const list: MetadataValue[] = [];
    if (fixed !== undefined) {
      while (list.length < count) {
        await cursor.need(fixed.bytes);
        const here = Math.min(cursor.held(fixed.bytes), count - list.length);
        for (let i = 0; i < here; i++) list.push(cursor.take(fixed.bytes, fixed.read));
      }
    } else if (type === STRING) {
      for (let i = 0; i < count; i++) {
        const text = cursor.string(`a value of ${show(key)}`);
        list.push(typeof text === "string" ? text : await text);
      }
    } else {
      for (let i = 0; i < count; i++) list.push(await this.#value(type, key, depth + 1));
    }
    return list;
  }

  async #tensors(count: number, alignment: number): Promise<ReadonlyMap<string, Located>> {
    const cursor = this.#cursor;
    const tensors = new Map<string, Located>();
    for (let i = 0; i < count; i++) {
      const name = await cursor.string("a tensor's name", LONGEST_NAME);
      if (tensors.has(name)) cursor.fail(`the tensor ${show(name)} is there twice`);
      tensors.set(name, await this.#tensor(name, alignment));
    }
    const start = Math.ceil(cursor.position / alignment) * alignment;
    const { size } = cursor.source;
    const placed = new Map([...tensors].map(([name, one]) => [name, { ...one, offset: start + one.offset }]));
    let end = start;
    for (const [name, { offset, bytes }] of [...placed].sort(
      ([, a], [, b]) => a.offset - b.offset || a.bytes - b.bytes,
    )) {
      if (offset < end) cursor.fail(`the tensor ${show(name)} overlaps the one before it`);
      end = offset + bytes;
      if (end > size) cursor.fail(`the tensor ${show(name)} ends at ${end}, the file at ${size}`);
    }
    return placed;
  }

  /** A tensor; `offset` counts from the first. */
  async #tensor(name: string, alignment: number): Promise<Located> {
    const cursor = this.#cursor;
    const rank = await cursor.u32();
    if (rank > MOST_DIMENSIONS)
      cursor.fail(`the tensor ${show(name)} has ${rank} dimensions, more than ${MOST_DIMENSIONS}`);
    const shape: number[] = [];
    // GGUF lists the innermost dimension first.
    for (let axis = 0; axis < rank; axis++) shape.unshift(await cursor.u64(`a size of ${show(name)}`));
    const type = await cursor.u32();
    const dtype = TENSOR_TYPES.get(type);
    if (dtype === undefined)
      return cursor.fail(
        `the tensor ${show(name)} has type ${type}, which is not read here (read are ${[...TENSOR_TYPES.values()].join(", ")})`,
      );
    const bytes = storedBytes(dtype, shape);
    if (bytes === undefined || bytes > cursor.source.size)
      return cursor.fail(`the tensor ${show(name)}, ${dtype} [${shape.join(", ")}], does not fit the file`);
    const offset = await cursor.u64(`the offset of ${show(name)}`);
    if (offset % alignment !== 0)
      cursor.fail(`the offset ${offset} of ${show(name)} is not aligned to ${alignment}`);
    return { dtype, shape, bytes, offset };
  }
}

const show = (name: string): string => JSON.stringify(name.slice(0, 100));

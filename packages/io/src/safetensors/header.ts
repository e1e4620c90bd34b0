import { WeightFileError } from "../errors.ts";
import { isJsonObject, type Json, JsonError, type JsonObject, parseJson } from "../files/json.ts";
import type { Located } from "../files/located.ts";
import type { ByteSource } from "../files/source.ts";
import { type StoredType, storedBytes } from "../weight-file.ts";

/** Longest header that the format allows. */
const LONGEST_HEADER = 100_000_000;
const MOST_DIMENSIONS = 32;

/** Names of element types in safetensors. */
export const SAFETENSORS_DTYPES: Readonly<Record<string, StoredType>> = {
  F64: "f64",
  F32: "f32",
  F16: "f16",
  BF16: "bf16",
  F8_E4M3: "f8_e4m3",
  F8_E5M2: "f8_e5m2",
  F8_E8M0: "f8_e8m0",
  C64: "c64",
  I64: "i64",
  U64: "u64",
  I32: "i32",
  U32: "u32",
  I16: "i16",
  U16: "u16",
  I8: "i8",
  U8: "u8",
  BOOL: "bool",
};

/** What the header of a safetensors file says. */
export interface SafetensorsHeader {
  readonly tensors: Map<string, Located>;
  readonly metadata: Map<string, string>;
}

/**
 * Reads and checks a header by the rules of the format: whole inside the file, at most 100 MB, each tensor of the size
 * its shape asks for, the tensors one after the other without holes or overlaps up to the end of the file.
 *
 * @throws WeightFileError
 */
export async function readHeader(source: ByteSource): Promise<SafetensorsHeader> {
  const { name, size } = source;
  const fail = (what: string): never => {
    throw new WeightFileError(`${name}: not a sound safetensors file: ${what}. Fetch or convert it again.`);
  };
  if (size < 8) fail(`it has ${size} bytes, its length alone takes 8`);
  const first = await source.read(0, 8);
  const length = new DataView(first.buffer, first.byteOffset).getBigUint64(0, true);
  if (length > LONGEST_HEADER)
    fail(`its header of ${length} bytes is longer than the ${LONGEST_HEADER} allowed`);
  const start = 8 + Number(length);
  if (start > size) fail(`its header of ${length} bytes reaches past its end at ${size}`);
  const header = parseHeader(await source.read(8, Number(length)), fail);

  const tensors = new Map<string, Located>();
  const metadata = new Map<string, string>();
  for (const [key, value] of header) {
    if (key === "__metadata__") {
      for (const [word, text] of objectOf(value, fail, "its __metadata__"))
        metadata.set(word, typeof text === "string" ? text : fail(`metadata ${show(word)} is no text`));
    } else {
      tensors.set(key, locate(key, objectOf(value, fail, show(key)), start, fail));
    }
  }
  checkLayout(tensors, start, size, fail);
  return { tensors, metadata };
}

type Fail = (what: string) => never;

const show = (name: string): string => JSON.stringify(name.slice(0, 100));

function parseHeader(bytes: Uint8Array, fail: Fail): JsonObject {
  try {
    return objectOf(parseJson(bytes, { depth: 4 }), fail, "its header");
  } catch (error) {
    if (error instanceof JsonError) return fail(`its header is no JSON: ${error.message}`);
    throw error;
  }
}

function objectOf(value: Json, fail: Fail, what: string): JsonObject {
  return isJsonObject(value) ? value : fail(`${what} is no object`);
}

function locate(name: string, entry: JsonObject, start: number, fail: Fail): Located {
  const typeName = entry.get("dtype");
  if (typeof typeName !== "string" || !Object.hasOwn(SAFETENSORS_DTYPES, typeName))
    fail(`tensor ${show(name)} has the dtype ${show(String(typeName))}, which is not read here`);
  const dtype = SAFETENSORS_DTYPES[typeName as string] as StoredType;
  const shape = wholeNumbers(entry.get("shape"));
  if (shape === undefined || shape.length > MOST_DIMENSIONS)
    return fail(`the shape of tensor ${show(name)} is no list of up to ${MOST_DIMENSIONS} sizes`);
  const offsets = wholeNumbers(entry.get("data_offsets"));
  if (offsets?.length !== 2) return fail(`tensor ${show(name)} has no two data_offsets`);
  if (entry.size !== 3) fail(`tensor ${show(name)} has entries besides dtype, shape and data_offsets`);
  const [from, to] = offsets as [number, number];
  const bytes = storedBytes(dtype, shape);
  if (bytes === undefined || to - from !== bytes) {
    fail(
      `tensor ${show(name)}, ${dtype} [${shape.join(", ")}], takes ${bytes ?? "more than 2^53"} bytes, and has ${to - from}`,
    );
  }
  return { dtype, shape, bytes: to - from, offset: start + from };
}

function wholeNumbers(value: Json | undefined): readonly number[] | undefined {
  if (!Array.isArray(value)) return undefined;
  const fits = value.every((one) => typeof one === "number" && Number.isSafeInteger(one) && one >= 0);
  return fits ? (value as readonly number[]) : undefined;
}

function checkLayout(tensors: ReadonlyMap<string, Located>, start: number, size: number, fail: Fail): void {
  const order = [...tensors].sort(([, a], [, b]) => a.offset - b.offset || a.bytes - b.bytes);
  let end = start;
  for (const [name, { offset, bytes }] of order) {
    if (offset !== end) {
      const what = offset > end ? `a hole of ${offset - end} bytes` : "an overlap";
      fail(`there is ${what} before tensor ${show(name)}`);
    }
    end += bytes;
  }
  if (end !== size) fail(`its tensors end at byte ${end}, the file at ${size}`);
}

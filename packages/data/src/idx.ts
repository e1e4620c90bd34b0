import { checkInteger, checkOptions, OptionError } from "@nf/core";
import { DataError } from "./errors.ts";
import { GREATEST_INFLATION, gunzip, isGzip } from "./gunzip.ts";
import { NdArray, type TypedArray } from "./ndarray.ts";

/** Options of {@link readIdx}. */
export interface ReadIdxOptions {
  /** The most bytes of values that are allocated. Default 64 MiB; MNIST's largest file has 47 million. */
  maxBytes?: number;
}

const MAX_BYTES = 64 * 2 ** 20;

interface ElementType {
  readonly bytes: number;
  /** Values over the same memory: big-endian there, native afterwards. */
  readonly decode: (buffer: ArrayBuffer) => TypedArray;
}

/** The element types of the format by their code in the third byte. */
const TYPES: Readonly<Record<number, ElementType>> = {
  8: { bytes: 1, decode: (buffer) => new Uint8Array(buffer) },
  9: { bytes: 1, decode: (buffer) => new Int8Array(buffer) },
  11: { bytes: 2, decode: (buffer) => reorder(new Int16Array(buffer), (view, at) => view.getInt16(at)) },
  12: { bytes: 4, decode: (buffer) => reorder(new Int32Array(buffer), (view, at) => view.getInt32(at)) },
  13: { bytes: 4, decode: (buffer) => reorder(new Float32Array(buffer), (view, at) => view.getFloat32(at)) },
  14: { bytes: 8, decode: (buffer) => reorder(new Float64Array(buffer), (view, at) => view.getFloat64(at)) },
};

/**
 * Reads an IDX file (the format of MNIST), plain or gzipped: u8, i8, i16, i32, f32, f64 of any rank. Works in Node and
 * browsers. Its declared size is checked against `maxBytes` and against the bytes that are there before anything is
 * allocated, and inflating stops one byte past it.
 *
 * Format: http://yann.lecun.com/exdb/mnist/, "The IDX file format".
 *
 * @throws DataError (`NF_DATA`) for anything that is not exactly one IDX file within the limit.
 */
export async function readIdx(
  bytes: Uint8Array | ArrayBuffer,
  options: ReadIdxOptions = {},
): Promise<NdArray> {
  checkOptions("readIdx", options, ["maxBytes"]);
  const { maxBytes = MAX_BYTES } = options;
  checkInteger("readIdx", "maxBytes", maxBytes, 0);
  if (!(bytes instanceof Uint8Array) && !(bytes instanceof ArrayBuffer)) {
    throw new OptionError("readIdx: expected the file's bytes as a Uint8Array or ArrayBuffer.");
  }
  const file = bytes instanceof Uint8Array ? bytes : new Uint8Array(bytes);
  const zipped = isGzip(file);
  const source = new ByteSource(zipped ? gunzip(file) : once(file));
  try {
    const { type, shape } = await readHeader(source);
    const size = shape.includes(0) ? 0 : shape.reduce((product, length) => product * length, type.bytes);
    if (size > maxBytes) {
      throw new DataError(
        `readIdx: the header declares shape [${shape.join(", ")}], ${size} bytes, over the limit of ${maxBytes}. ` +
          "If the file is right, raise maxBytes.",
      );
    }
    if (size > file.length * (zipped ? GREATEST_INFLATION : 1)) throw truncated(size, file.length);
    const values = await source.take(size);
    if (await source.hasMore()) {
      throw new DataError(
        `readIdx: the file goes on after the ${size} bytes of shape [${shape.join(", ")}]. It is no valid IDX file.`,
      );
    }
    return new NdArray(type.decode(values.buffer), shape);
  } finally {
    await source.close();
  }
}

async function readHeader(source: ByteSource): Promise<{ type: ElementType; shape: number[] }> {
  const [zero0, zero1, code = 0, rank = 0] = await source.take(4);
  const type = TYPES[code];
  if (zero0 !== 0 || zero1 !== 0 || type === undefined) {
    const magic = [zero0, zero1, code, rank]
      .map((byte) => (byte ?? 0).toString(16).padStart(2, "0"))
      .join(" ");
    throw new DataError(
      `readIdx: no IDX file: it begins with ${magic}, expected 00 00, an element type (08, 09, 0b, 0c, 0d, 0e) and the rank.`,
    );
  }
  const view = new DataView((await source.take(4 * rank)).buffer);
  return { type, shape: Array.from({ length: rank }, (_, axis) => view.getUint32(4 * axis)) };
}

/** Turns big-endian elements into native ones, each in its own place. */
function reorder<T extends TypedArray>(values: T, read: (view: DataView, at: number) => number): T {
  const view = new DataView(values.buffer);
  for (let i = 0; i < values.length; i++) values[i] = read(view, i * values.BYTES_PER_ELEMENT);
  return values;
}

async function* once(bytes: Uint8Array): AsyncGenerator<Uint8Array, void, undefined> {
  yield bytes;
}

/** Counted reads from pieces of any size. */
class ByteSource {
  readonly #pieces: AsyncGenerator<Uint8Array, void, undefined>;
  #piece: Uint8Array = new Uint8Array(0);

  constructor(pieces: AsyncGenerator<Uint8Array, void, undefined>) {
    this.#pieces = pieces;
  }

  /** Exactly `count` bytes in memory of their own. @throws DataError if there are fewer. */
  async take(count: number): Promise<Uint8Array<ArrayBuffer>> {
    const result = new Uint8Array(count);
    let filled = 0;
    while (filled < count) {
      if (!(await this.hasMore())) throw truncated(count, filled);
      const part = this.#piece.subarray(0, count - filled);
      result.set(part, filled);
      filled += part.length;
      this.#piece = this.#piece.subarray(part.length);
    }
    return result;
  }

  async hasMore(): Promise<boolean> {
    while (this.#piece.length === 0) {
      const next = await this.#pieces.next();
      if (next.done) return false;
      this.#piece = next.value;
    }
    return true;
  }

  async close(): Promise<void> {
    await this.#pieces.return();
  }
}

function truncated(expected: number, got: number): DataError {
  return new DataError(
    `readIdx: the file is truncated: the next part has ${expected} bytes, and ${got} bytes of file cannot hold it. Fetch it again.`,
  );
}

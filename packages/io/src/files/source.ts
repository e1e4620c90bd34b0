import { OptionError, OutOfMemoryError } from "@nf/core";
import { reasonOf, WeightFileError } from "../errors.ts";
import { fileSystem } from "./file-system.ts";

/** A `Blob` or `File` of a browser, or one of Node. */
export interface BlobLike {
  readonly size: number;
  slice(start?: number, end?: number): BlobLike;
  arrayBuffer(): Promise<ArrayBuffer>;
}

/** Where a file is: a path (Node only), its bytes, or a `Blob`. */
export type FileInput = string | Uint8Array | BlobLike;

/** Bytes that are read in ranges, so that a file larger than memory can be looked into. */
export interface ByteSource {
  /** What messages call it. */
  readonly name: string;
  readonly size: number;
  /**
   * Bytes of a range, in memory of their own.
   * @throws WeightFileError if the range is not inside, or the file has become shorter.
   */
  read(start: number, length: number): Promise<Uint8Array>;
  close(): Promise<void>;
}

/** Opens a path, bytes or a `Blob` for reading in ranges. */
export function openSource(input: FileInput): Promise<ByteSource> {
  if (typeof input === "string") return openPath(input);
  if (input instanceof Uint8Array) return Promise.resolve(new BytesSource(input));
  if (isBlob(input)) return Promise.resolve(new BlobSource(input));
  throw new OptionError("open: expected a path, a Uint8Array or a Blob.");
}

/** Whether an input is a `Blob` of any realm. */
export function isBlob(input: unknown): input is BlobLike {
  if (typeof input !== "object" || input === null) return false;
  const { size, slice, arrayBuffer } = input as Partial<BlobLike>;
  return typeof size === "number" && typeof slice === "function" && typeof arrayBuffer === "function";
}

function checkRange({ name, size }: ByteSource, start: number, length: number): void {
  if (!(start >= 0 && length >= 0 && start + length <= size)) {
    throw new WeightFileError(
      `${name}: bytes ${start} to ${start + length} are asked for, the file has ${size}. It is truncated; fetch it again.`,
    );
  }
}

/** Memory for bytes of a file. */
function allocate(name: string, length: number): Uint8Array<ArrayBuffer> {
  try {
    return new Uint8Array(length);
  } catch {
    throw new OutOfMemoryError(
      `${name}: no memory for ${length} bytes in one piece. Free memory, or choose a smaller model.`,
      length,
    );
  }
}

function checkOpen(name: string, closed: boolean): void {
  if (closed)
    throw new WeightFileError(`${name}: was closed. Read what is needed before that, or open it again.`);
}

class BytesSource implements ByteSource {
  readonly name = "the bytes";
  readonly size: number;
  readonly #bytes: Uint8Array;
  #closed = false;

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes;
    this.size = bytes.length;
  }

  async read(start: number, length: number): Promise<Uint8Array> {
    checkOpen(this.name, this.#closed);
    checkRange(this, start, length);
    const copy = allocate(this.name, length);
    copy.set(this.#bytes.subarray(start, start + length));
    return copy;
  }

  async close(): Promise<void> {
    this.#closed = true;
  }
}

class BlobSource implements ByteSource {
  readonly name = "the Blob";
  readonly size: number;
  readonly #blob: BlobLike;
  #closed = false;

  constructor(blob: BlobLike) {
    this.#blob = blob;
    this.size = blob.size;
  }

  async read(start: number, length: number): Promise<Uint8Array> {
    checkOpen(this.name, this.#closed);
    checkRange(this, start, length);
    try {
      return new Uint8Array(await this.#blob.slice(start, start + length).arrayBuffer());
    } catch (error) {
      throw unreadable(this.name, error);
    }
  }

  async close(): Promise<void> {
    this.#closed = true;
  }
}

function unreadable(name: string, error: unknown): WeightFileError {
  return new WeightFileError(`${name}: cannot be read: ${reasonOf(error)}.`, { cause: error });
}

/** Bytes asked of the system at a time: one call takes less than 2^31. */
const READ_AT_ONCE = 2 ** 28;

async function openPath(path: string): Promise<ByteSource> {
  const { open, stat } = fileSystem();
  try {
    const status = await stat(path);
    if (!status.isFile())
      throw new WeightFileError(`${path}: is not a file. For a folder, use openWeights or loadTokenizer.`);
    return new PathSource(path, status.size, await open(path, "r"));
  } catch (error) {
    if (error instanceof WeightFileError) throw error;
    throw new WeightFileError(`${path}: cannot be opened: ${reasonOf(error)}. Check the path.`, {
      cause: error,
    });
  }
}

type FileHandle = Awaited<ReturnType<ReturnType<typeof fileSystem>["open"]>>;

class PathSource implements ByteSource {
  readonly name: string;
  readonly size: number;
  readonly #handle: FileHandle;
  #closed = false;

  constructor(name: string, size: number, handle: FileHandle) {
    this.name = name;
    this.size = size;
    this.#handle = handle;
  }

  async read(start: number, length: number): Promise<Uint8Array> {
    checkOpen(this.name, this.#closed);
    checkRange(this, start, length);
    const bytes = allocate(this.name, length);
    for (let have = 0; have < length; ) {
      const wanted = Math.min(length - have, READ_AT_ONCE);
      const read = await this.#handle.read(bytes, have, wanted, start + have).catch((error: unknown) => {
        throw unreadable(this.name, error);
      });
      if (read.bytesRead === 0) {
        throw new WeightFileError(
          `${this.name}: ended at ${start + have} of ${this.size} bytes: it was changed while it was open.`,
        );
      }
      have += read.bytesRead;
    }
    return bytes;
  }

  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    await this.#handle.close();
  }
}

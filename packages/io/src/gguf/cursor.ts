import { WeightFileError } from "../errors.ts";
import type { ByteSource } from "../files/source.ts";

/** Bytes fetched at a time. */
const PIECE = 2 ** 18;
/** Headers of the largest vocabularies have some 20 MB. */
const LONGEST_HEADER = 64_000_000;
/** The longest texts are chat templates. */
const LONGEST_STRING = 4_000_000;

/** Walks through the header of a file, with a window on it in memory. Nothing is allocated for bytes that are not there. */
export class Cursor {
  readonly source: ByteSource;
  readonly #text = new TextDecoder("utf-8", { ignoreBOM: true });
  #bytes: Uint8Array = new Uint8Array(0);
  #view: DataView = new DataView(this.#bytes.buffer);
  /** Position of the window in the file. */
  #start = 0;
  /** Position in the window. */
  #at = 0;

  constructor(source: ByteSource) {
    this.source = source;
  }

  /** Position in the file. */
  get position(): number {
    return this.#start + this.#at;
  }

  /** Bytes from here to the end of the file. */
  get remaining(): number {
    return this.source.size - this.position;
  }

  fail(what: string): never {
    throw new WeightFileError(
      `${this.source.name}: not a sound GGUF file: ${what}, at byte ${this.position}. Fetch or convert it again.`,
    );
  }

  /** Makes sure that so many bytes are in the window. */
  async need(count: number): Promise<void> {
    if (this.#bytes.length - this.#at >= count) return;
    if (count > this.remaining) this.fail(`${count} bytes are expected, ${this.remaining} are left`);
    if (this.position + count > LONGEST_HEADER)
      this.fail(`its header is longer than ${LONGEST_HEADER} bytes`);
    this.#start = this.position;
    this.#at = 0;
    this.#bytes = await this.source.read(
      this.#start,
      Math.min(Math.max(count, PIECE), this.source.size - this.#start),
    );
    this.#view = new DataView(this.#bytes.buffer, this.#bytes.byteOffset, this.#bytes.byteLength);
  }

  /** Reads a value of a fixed size, which `need` has fetched. */
  take<T>(bytes: number, read: (view: DataView, at: number) => T): T {
    const value = read(this.#view, this.#at);
    this.#at += bytes;
    return value;
  }

  /** How many values of a size are in the window. */
  held(bytes: number): number {
    return Math.floor((this.#bytes.length - this.#at) / bytes);
  }

  async u32(): Promise<number> {
    await this.need(4);
    return this.take(4, (view, at) => view.getUint32(at, true));
  }

  /** A u64; counts, lengths and offsets above 2^53 cannot fit any file. */
  async u64(what: string): Promise<number> {
    await this.need(8);
    return this.#u64(what);
  }

  #u64(what: string): number {
    const low = this.#view.getUint32(this.#at, true);
    const high = this.#view.getUint32(this.#at + 4, true);
    if (high >= 2 ** 21) this.fail(`${what} is ${high * 2 ** 32 + low}`);
    this.#at += 8;
    return high * 2 ** 32 + low;
  }

  /** A text, and no promise where it lies in the window: vocabularies have hundreds of thousands. */
  string(what: string, longest: number = LONGEST_STRING): string | Promise<string> {
    if (this.#bytes.length - this.#at >= 8) {
      const length = this.#u64(`the length of ${what}`);
      this.#checkLength(length, what, longest);
      if (this.#bytes.length - this.#at >= length) return this.#decode(length);
      return this.need(length).then(() => this.#decode(length));
    }
    return this.need(8).then(() => this.string(what, longest));
  }

  #checkLength(length: number, what: string, longest: number): void {
    if (length > this.remaining) this.fail(`${what} has ${length} bytes, ${this.remaining} are left`);
    if (length > longest) this.fail(`${what} has ${length} bytes, more than ${longest}`);
  }

  #decode(length: number): string {
    const text = this.#text.decode(this.#bytes.subarray(this.#at, this.#at + length));
    this.#at += length;
    return text;
  }
}

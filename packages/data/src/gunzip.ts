import { DataError, reasonOf } from "./errors.ts";

/** Compressed bytes handed to the inflater at a time. */
const FEED = 65536;

/** Deflate cannot grow data more than this: a block of 258 repeated bytes needs at least two bits. */
export const GREATEST_INFLATION = 1032;

/** Whether bytes begin as a gzip file. */
export function isGzip(bytes: Uint8Array): boolean {
  return bytes[0] === 0x1f && bytes[1] === 0x8b;
}

/**
 * Inflates a gzip file piece by piece, checksum included; a reader that stops early stops the inflating.
 * @throws DataError for a damaged or truncated file.
 */
export async function* gunzip(bytes: Uint8Array): AsyncGenerator<Uint8Array, void, undefined> {
  const stream = new DecompressionStream("gzip");
  const writer = stream.writable.getWriter();
  const feed = async (): Promise<void> => {
    for (let start = 0; start < bytes.length; start += FEED)
      await writer.write(bytes.slice(start, start + FEED));
    await writer.close();
  };
  // What goes wrong in the writer also ends the reader, which reports it.
  feed().catch(() => {});
  const reader: ReadableStreamDefaultReader<Uint8Array> = stream.readable.getReader();
  try {
    for (let next = await reader.read(); !next.done; next = await reader.read()) yield next.value;
  } catch (error) {
    throw new DataError(`The gzip file is damaged or incomplete: ${reasonOf(error)}. Fetch it again.`, {
      cause: error,
    });
  } finally {
    await reader.cancel().catch(() => {});
  }
}

/**
 * The contents of a file, inflated if it is gzipped. Inflating stops at the limit, whatever the file claims.
 *
 * @param what names the file in messages.
 * @throws DataError for a damaged file, or contents of more than `maxBytes`.
 */
export async function inflate(what: string, bytes: Uint8Array, maxBytes: number): Promise<Uint8Array> {
  if (!isGzip(bytes)) {
    if (bytes.length > maxBytes) throw tooLarge(what, maxBytes);
    return bytes;
  }
  const pieces: Uint8Array[] = [];
  let size = 0;
  for await (const piece of bounded(what, bytes, maxBytes)) {
    pieces.push(piece);
    size += piece.length;
  }
  const contents = new Uint8Array(size);
  let filled = 0;
  for (const piece of pieces) {
    contents.set(piece, filled);
    filled += piece.length;
  }
  return contents;
}

/** Inflated pieces of a gzip file, up to a limit. @throws DataError as {@link inflate}. */
export async function* bounded(
  what: string,
  bytes: Uint8Array,
  maxBytes: number,
): AsyncGenerator<Uint8Array, void, undefined> {
  let size = 0;
  try {
    for await (const piece of gunzip(bytes)) {
      size += piece.length;
      if (size > maxBytes) throw tooLarge(what, maxBytes);
      yield piece;
    }
  } catch (error) {
    if (error instanceof DataError && !error.message.startsWith(what))
      throw new DataError(`${what}: ${error.message}`, { cause: error });
    throw error;
  }
}

function tooLarge(what: string, maxBytes: number): DataError {
  return new DataError(
    `${what}: its contents are more than the ${maxBytes} bytes that are allowed. It is not the file it should be.`,
  );
}

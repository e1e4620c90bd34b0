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

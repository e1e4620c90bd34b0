import { DataError } from "../errors.ts";
import { inflate } from "../gunzip.ts";

/** Most bytes of a text file, inflated: the largest that is published (IMDb's training set) has 33 million. */
export const LARGEST_TEXT: number = 128 * 2 ** 20;

/**
 * The text of a file in UTF-8, plain or gzipped. A byte order mark at its start is left out.
 *
 * @param what names the file in messages.
 * @throws DataError for a damaged file, one that is too large, or no UTF-8.
 */
export async function readText(
  what: string,
  bytes: Uint8Array,
  maxBytes: number = LARGEST_TEXT,
): Promise<string> {
  const contents = await inflate(what, bytes, maxBytes);
  try {
    return new TextDecoder("utf-8", { fatal: true }).decode(contents);
  } catch (error) {
    throw new DataError(`${what}: it is no text in UTF-8. Fetch it again, or convert it.`, { cause: error });
  }
}

/** The lines of a text; an empty one behind the last line break is none. */
export function linesOf(text: string): string[] {
  const lines = text.split(/\r?\n/);
  if (lines.at(-1) === "") lines.pop();
  return lines;
}

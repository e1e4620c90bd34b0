import { type TarHeader, unpackTar } from "modern-tar";
import { DataError, reasonOf } from "../errors.ts";
import { bounded } from "../gunzip.ts";

/** What an archive may hold, so that a small one cannot fill the memory. Sizes in bytes. */
export interface ArchiveLimits {
  /** All that it inflates to, with what is passed over. */
  readonly inflated: number;
  /** A file that is kept. */
  readonly file: number;
  /** All files that are kept. */
  readonly kept: number;
  /** How many files are kept. */
  readonly files: number;
}

/** Longest name of a file that is kept. */
const LONGEST_NAME = 1024;

/**
 * Files of a gzipped tar archive, by name. Sizes are those that headers declare, looked at before a file's body is read.
 *
 * @param what names the archive in messages.
 * @param wanted says by its name whether a file is kept; others are passed over.
 * @throws DataError for a damaged archive, or one that goes beyond a limit.
 */
export async function readArchive(
  what: string,
  bytes: Uint8Array,
  limits: ArchiveLimits,
  wanted: (name: string) => boolean,
): Promise<Map<string, Uint8Array>> {
  const pieces = bounded(what, bytes, limits.inflated);
  const stream = new ReadableStream<Uint8Array>({
    async pull(controller) {
      const next = await pieces.next();
      if (next.done) controller.close();
      else controller.enqueue(next.value);
    },
    async cancel() {
      await pieces.return();
    },
  });
  let files = 0;
  let kept = 0;
  const filter = ({ name, size, type }: TarHeader): boolean => {
    if ((type ?? "file") !== "file" || !wanted(name)) return false;
    if (name.length > LONGEST_NAME)
      throw beyond(what, `the name of a file has ${name.length} characters`, LONGEST_NAME);
    if (size > limits.file) throw beyond(what, `${name} has ${size} bytes`, limits.file);
    kept += size;
    if (kept > limits.kept) throw beyond(what, `its files up to ${name} have ${kept} bytes`, limits.kept);
    files++;
    if (files > limits.files) throw beyond(what, `${name} is file ${files} of those to read`, limits.files);
    return true;
  };
  // Attributes of any length may come along in a header.
  const map = ({ name, size, type }: TarHeader): TarHeader => ({ name, size, ...(type && { type }) });
  try {
    const entries = await unpackTar(stream, { strict: true, filter, map });
    return new Map(entries.map(({ header, data }) => [header.name, data ?? new Uint8Array(0)]));
  } catch (error) {
    if (error instanceof DataError) throw error;
    throw new DataError(`${what}: the archive is damaged: ${reasonOf(error)}. Fetch it again.`, {
      cause: error,
    });
  }
}

function beyond(what: string, found: string, limit: number): DataError {
  return new DataError(
    `${what}: ${found}, more than the ${limit} that are allowed. It is not the file it should be: fetch it again.`,
  );
}

import { WeightFileError } from "../errors.ts";
import { type Json, JsonError, parseJson } from "./json.ts";
import { openSource } from "./source.ts";

/** Largest index or configuration; the largest published ones have 9 MB. */
const LARGEST = 32_000_000;

/**
 * Reads a JSON file whose size and contents are not trusted: at most 32 MB, no repeated keys, bounded nesting. Objects come
 * as maps, so that no key can reach a prototype.
 *
 * @throws WeightFileError
 */
export async function readJson(path: string): Promise<Json> {
  const source = await openSource(path);
  try {
    if (source.size > LARGEST)
      throw new WeightFileError(
        `${path}: ${source.size} bytes are more than the ${LARGEST} such a file may have.`,
      );
    return parseJson(await source.read(0, source.size));
  } catch (error) {
    if (!(error instanceof JsonError)) throw error;
    throw new WeightFileError(`${path}: no sound JSON: ${error.message}.`);
  } finally {
    await source.close();
  }
}

import { createHash } from "node:crypto";
import { readFile } from "node:fs/promises";
import { join, resolve } from "node:path";
import { NanoFluxError } from "@nf/core";
import { defaultCacheFolder, download } from "@nf/data/node";
import { CliError, messageOf, UsageError } from "../../errors.ts";
import { count } from "../../format.ts";
import type { Io } from "../../io.ts";

/** A text as ids of its characters, in two parts. */
export interface TextData {
  /** What it is called in results: `tinyshakespeare`, or the path that was given. */
  readonly name: string;
  /** Where it came from. */
  readonly source: string;
  /** Absolute path of the file that was given; absent for tinyshakespeare. */
  readonly path?: string;
  /** Of the file. */
  readonly sha256: string;
  /** The characters that the text has, by code point; a character's id is its place. */
  readonly characters: readonly string[];
  /** The first nine tenths. */
  readonly train: Int32Array;
  /** The rest, which is never trained on. */
  readonly validation: Int32Array;
}

/** All of Shakespeare's plays that one megabyte holds, as collected for char-rnn. */
const SHAKESPEARE = {
  name: "tinyshakespeare",
  path: join("tinyshakespeare", "input.txt"),
  address: "https://raw.githubusercontent.com/karpathy/char-rnn/master/data/tinyshakespeare/input.txt",
  bytes: 1_115_394,
  sha256: "86c4e6aa9db7c042ec79f339dcb96d42b0075e16b8fc2e86bf0ca57e2dc565ed",
} as const;

const TRAINED = 0.9;

/** What {@link loadText} is asked for. */
export interface TextRequest {
  /** A file; tinyshakespeare when absent. */
  readonly data: string | undefined;
  /** Whether tinyshakespeare may be fetched. */
  readonly download: boolean;
  /** Characters that a window has; each part must have more. */
  readonly window: number;
}

/**
 * Loads a text in UTF-8 and splits it, the first nine tenths to train. A byte order mark at its start is left out.
 *
 * @param note is told of a download
 * @throws CliError for a text that is not on this machine, saying how to get it, or is too short; UsageError for a file that
 * cannot be read or is no UTF-8
 */
export async function loadText(
  { data, download: allowed, window }: TextRequest,
  { cwd, signal }: Pick<Io, "cwd" | "signal">,
  note: (line: string) => void,
): Promise<TextData> {
  const { name, source, path, bytes } =
    data === undefined ? await shakespeare(allowed, signal, note) : await file(cwd, data);
  const text = Array.from(decode(name, bytes));
  const characters = [...new Set(text)].sort((a, b) => (a.codePointAt(0) ?? 0) - (b.codePointAt(0) ?? 0));
  const idOf = new Map(characters.map((character, id) => [character, id]));
  const ids = Int32Array.from(text, (character) => idOf.get(character) ?? 0);
  const border = Math.floor(TRAINED * ids.length);
  const [train, validation] = [ids.subarray(0, border), ids.subarray(border)];
  if (Math.min(train.length, validation.length) <= window) {
    throw new CliError(
      `${name} has ${count(ids.length)} characters, of which the last tenth is for validation. At least ` +
        `${count(10 * (window + 1))} are needed: each part must be longer than the ${window} characters that the model sees.`,
    );
  }
  const sha256 = sha256Of(bytes);
  return { name, source, ...(path !== undefined && { path }), sha256, characters, train, validation };
}

/** @throws UsageError for bytes that are no text */
function decode(name: string, bytes: Uint8Array): string {
  try {
    return new TextDecoder("utf-8", { fatal: true }).decode(bytes);
  } catch (error) {
    throw new UsageError(`${name} is no text in UTF-8. Convert it, or give another file with --data.`, {
      cause: error,
    });
  }
}

const sha256Of = (bytes: Uint8Array): string => createHash("sha256").update(bytes).digest("hex");

interface Found {
  readonly name: string;
  readonly source: string;
  readonly path?: string;
  readonly bytes: Uint8Array;
}

async function file(cwd: string, path: string): Promise<Found> {
  try {
    const absolute = resolve(cwd, path);
    return { name: path, source: path, path: absolute, bytes: await readFile(absolute) };
  } catch (error) {
    throw new UsageError(`--data ${path} cannot be read: ${messageOf(error)}. Give a text file.`, {
      cause: error,
    });
  }
}

async function shakespeare(
  allowed: boolean,
  signal: AbortSignal,
  note: (line: string) => void,
): Promise<Found> {
  const { name, path, address, sha256, bytes } = SHAKESPEARE;
  const root = process.env["NF_DATA_DIR"];
  const given = root ? await readIfThere(join(root, path)) : undefined;
  if (given !== undefined) {
    const place = join(root ?? "", path);
    if (sha256Of(given) === sha256) return { name, source: `${name} from ${place}`, bytes: given };
    throw new CliError(
      `${place} (from NF_DATA_DIR) is not ${name}: its SHA-256 is ${sha256Of(given)}, expected ${sha256}. Fetch it again ` +
        `from ${address}, or train on it as a text of your own with --data ${place}.`,
    );
  }
  const cached = join(defaultCacheFolder(), path);
  if (allowed) {
    try {
      await download([address], { file: cached, sha256, bytes, signal, onProgress: once(note, address) });
    } catch (error) {
      if (!(error instanceof NanoFluxError)) throw error;
      throw new CliError(`${error.message}\nA text of your own does as well: --data FILE.`, { cause: error });
    }
  }
  const kept = await readIfThere(cached);
  if (kept !== undefined && sha256Of(kept) === sha256)
    return { name, source: `${name} from the cache`, bytes: kept };
  throw new CliError(
    `${name} is not on this machine: ${root ? `not in ${root} (from NF_DATA_DIR)` : "NF_DATA_DIR is not set"}, and ` +
      `${cached} has no intact copy. Add --download (1.1 MB), or set NF_DATA_DIR to a folder that holds ${path}, or train ` +
      "on a text of your own with --data FILE.",
  );
}

function once(note: (line: string) => void, address: string): () => void {
  let told = false;
  return () => {
    if (!told) note(`downloading ${address}`);
    told = true;
  };
}

function readIfThere(path: string): Promise<Uint8Array | undefined> {
  return readFile(path).catch(() => undefined);
}

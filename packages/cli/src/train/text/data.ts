import { createHash } from "node:crypto";
import { readFile } from "node:fs/promises";
import { resolve } from "node:path";
import { NanoFluxError } from "@nf/core";
import { TINY_SHAKESPEARE } from "@nf/data";
import { tinyShakespeare } from "@nf/data/node";
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
  const { name, source, path, contents, sha256 } =
    data === undefined ? await shakespeare(allowed, signal, note) : await file(cwd, data);
  const text = Array.from(contents);
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

interface Found {
  readonly name: string;
  readonly source: string;
  readonly path?: string;
  readonly contents: string;
  readonly sha256: string;
}

async function file(cwd: string, path: string): Promise<Found> {
  const absolute = resolve(cwd, path);
  let bytes: Uint8Array;
  try {
    bytes = await readFile(absolute);
  } catch (error) {
    throw new UsageError(`--data ${path} cannot be read: ${messageOf(error)}. Give a text file.`, {
      cause: error,
    });
  }
  const sha256 = createHash("sha256").update(bytes).digest("hex");
  return { name: path, source: path, path: absolute, contents: decode(path, bytes), sha256 };
}

async function shakespeare(
  allowed: boolean,
  signal: AbortSignal,
  note: (line: string) => void,
): Promise<Found> {
  let told = "";
  try {
    const { name, source, text } = await tinyShakespeare({
      download: allowed,
      signal,
      onProgress: ({ url }) => {
        if (url !== told) note(`downloading ${url}`);
        told = url;
      },
    });
    return { name, source, contents: text, sha256: TINY_SHAKESPEARE.files.text.sha256 };
  } catch (error) {
    if (!(error instanceof NanoFluxError)) throw error;
    throw new CliError(
      `${error.message}\nOn the command line: add --download, or train on a text of your own with --data FILE.`,
      { cause: error },
    );
  }
}

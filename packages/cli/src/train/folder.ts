import { appendFile, readFile, rm, stat, writeFile } from "node:fs/promises";
import { join, resolve } from "node:path";
import { makeFolder } from "@nf/data/node";
import { replaceFile } from "@nf/io";
import { CliError, messageOf, UsageError } from "../errors.ts";

/** The folder that a run writes into. */
export interface RunFolder {
  /** As the user named it, or relative to the current folder. */
  readonly path: string;
  /** Names of the files that were written so far, oldest first. */
  readonly files: readonly string[];
  /** Writes a file in place of what was there: the old or the new one is found, whatever happens. */
  write(name: string, content: string | Uint8Array): Promise<void>;
  /** Adds to a file's end, and waits until it is on disk. */
  append(name: string, content: string): Promise<void>;
  /** Has a file written by something that takes its absolute path. */
  save(name: string, write: (path: string) => Promise<void>): Promise<void>;
  /**
   * The text of a file; undefined where there is none.
   *
   * @throws CliError when it cannot be read
   */
  read(name: string): Promise<string | undefined>;
  /** The absolute path of a file. */
  absolute(name: string): string;
}

/** Local date and time as a part of file names: `2026-01-31-094507`. */
function timestamp(date: Date): string {
  const two = (value: number) => String(value).padStart(2, "0");
  const day = [date.getFullYear(), two(date.getMonth() + 1), two(date.getDate())].join("-");
  return `${day}-${two(date.getHours())}${two(date.getMinutes())}${two(date.getSeconds())}`;
}

const exists = (path: string): Promise<boolean> =>
  stat(path).then(
    () => true,
    () => false,
  );

async function freeName(cwd: string, base: string): Promise<string> {
  let name = base;
  for (let count = 2; await exists(resolve(cwd, name)); count++) name = `${base}-${count}`;
  return name;
}

/**
 * Makes a run's folder, or takes the one that is there, and makes sure that it can be written to, before any work is
 * done. What an earlier run in it added to line by line is removed; its other files are written over one by one.
 *
 * @param out what the user asked for; absent: a new folder under `runs/`
 * @param appended files that the run adds to
 * @throws CliError when it cannot be made or written to
 */
export async function createRunFolder(
  cwd: string,
  out: string | undefined,
  model: string,
  appended: readonly string[] = [METRICS],
): Promise<RunFolder> {
  const path = out ?? (await freeName(cwd, join("runs", `${model}-${timestamp(new Date())}`)));
  const folder = resolve(cwd, path);
  const probe = join(folder, ".nf-write-test");
  try {
    await makeFolder(folder);
    await writeFile(probe, "");
    await rm(probe);
    for (const name of appended) await rm(join(folder, name), { force: true });
  } catch (error) {
    const advice = "Choose another with --out.";
    throw new CliError(`The output folder ${path} cannot be written to: ${messageOf(error)}. ${advice}`, {
      cause: error,
    });
  }
  return inFolder(path, folder);
}

/**
 * The folder of an earlier run, to go on in. Nothing in it is touched.
 *
 * @param needed files that must be there
 * @throws UsageError when they are not
 */
export async function openRunFolder(
  cwd: string,
  path: string,
  needed: readonly string[],
): Promise<RunFolder> {
  const folder = resolve(cwd, path);
  for (const name of needed) {
    if (await exists(join(folder, name))) continue;
    throw new UsageError(
      `There is no ${join(path, name)}. Give --resume the output folder of a run that was stopped.`,
    );
  }
  return inFolder(path, folder);
}

/** The files of a run in the user's terms. */
export function pathsIn(folder: RunFolder): string[] {
  return folder.files.map((name) => join(folder.path, name));
}

function inFolder(path: string, folder: string): RunFolder {
  const files = new Set<string>();
  return {
    path,
    get files() {
      return [...files];
    },
    async write(name, content) {
      await replaceFile(join(folder, name), (part) => writeFile(part, content, { flush: true }));
      files.add(name);
    },
    async append(name, content) {
      await appendFile(join(folder, name), content, { flush: true });
      files.add(name);
    },
    async save(name, write) {
      await write(join(folder, name));
      files.add(name);
    },
    async read(name) {
      try {
        return await readFile(join(folder, name), "utf8");
      } catch (error) {
        if (error instanceof Error && "code" in error && error.code === "ENOENT") return undefined;
        throw new CliError(`${join(path, name)} cannot be read: ${messageOf(error)}.`, { cause: error });
      }
    },
    absolute: (name) => join(folder, name),
  };
}

/** Steps and evaluations of a run, one JSON object a line. */
export const METRICS = "metrics.jsonl";

import { appendFile, rm, stat, writeFile } from "node:fs/promises";
import { join, resolve } from "node:path";
import { makeFolder } from "@nf/data/node";
import { CliError, messageOf } from "../errors.ts";

/** The folder that a run writes into. */
export interface RunFolder {
  /** As the user named it, or relative to the current folder. */
  readonly path: string;
  /** Names of the files that were written so far, oldest first. */
  readonly files: readonly string[];
  /** Writes a file over what was there. */
  write(name: string, content: string | Uint8Array): Promise<void>;
  /** Adds to a file's end. */
  append(name: string, content: string): Promise<void>;
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
 * done. Metrics of an earlier run in it are removed; its other files are written over one by one.
 *
 * @param out what the user asked for; absent: a new folder under `runs/`
 * @throws CliError when it cannot be made or written to
 */
export async function createRunFolder(
  cwd: string,
  out: string | undefined,
  model: string,
): Promise<RunFolder> {
  const path = out ?? (await freeName(cwd, join("runs", `${model}-${timestamp(new Date())}`)));
  const folder = resolve(cwd, path);
  const probe = join(folder, ".nf-write-test");
  try {
    await makeFolder(folder);
    await writeFile(probe, "");
    await rm(probe);
    await rm(join(folder, METRICS), { force: true });
  } catch (error) {
    const advice = "Choose another with --out.";
    throw new CliError(`The output folder ${path} cannot be written to: ${messageOf(error)}. ${advice}`, {
      cause: error,
    });
  }
  const files = new Set<string>();
  return {
    path,
    get files() {
      return [...files];
    },
    async write(name, content) {
      await writeFile(join(folder, name), content);
      files.add(name);
    },
    async append(name, content) {
      await appendFile(join(folder, name), content);
      files.add(name);
    },
  };
}

/** Steps and epochs of a run, one JSON object a line. */
export const METRICS = "metrics.jsonl";

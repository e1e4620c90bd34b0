import { createHash } from "node:crypto";
import { createReadStream } from "node:fs";
import { mkdir, open, readdir, rename, rm, stat } from "node:fs/promises";
import { basename, dirname, join } from "node:path";

/** SHA-256 of a file in hexadecimal; undefined if there is none. */
export async function hashFile(path: string): Promise<string | undefined> {
  const hash = createHash("sha256");
  try {
    for await (const piece of createReadStream(path)) hash.update(piece);
  } catch (error) {
    if (isMissing(error)) return undefined;
    throw error;
  }
  return hash.digest("hex");
}

/** Bytes of a file; 0 if there is none. */
export async function fileSize(path: string): Promise<number> {
  try {
    return (await stat(path)).size;
  } catch (error) {
    if (isMissing(error)) return 0;
    throw error;
  }
}

/**
 * Makes a folder and those above it, if they are not there.
 *
 * @throws the file system's error (`ENOENT`, `EACCES`, `EROFS`, …) where that cannot be done. Node's own recursive
 * `mkdir` never ends where a file system answers ENOENT for a folder whose parent is there, as `/proc` does.
 */
export async function makeFolder(path: string): Promise<void> {
  if (await isFolder(path)) return;
  if (dirname(path) !== path) await makeFolder(dirname(path));
  try {
    await mkdir(path);
  } catch (error) {
    // Another process may have been faster.
    if (!(await isFolder(path))) throw error;
  }
}

function isFolder(path: string): Promise<boolean> {
  return stat(path).then(
    (found) => found.isDirectory(),
    () => false,
  );
}

/** Moves a file that was synced into place, so that the new name survives a power cut. */
export async function moveIntoPlace(from: string, to: string): Promise<void> {
  await rename(from, to);
  // Windows cannot open folders; renaming is durable there.
  if (process.platform === "win32") return;
  const folder = await open(dirname(to), "r");
  try {
    await folder.sync();
  } finally {
    await folder.close();
  }
}

/** Partial files that a download of this process is writing. */
const busy = new Set<string>();
let partsMade = 0;

/**
 * A partial file for one download of `file`. Its name carries the process and a number, so that two downloads at a time
 * never write into one file; what a download that ended or died has left behind is taken over.
 */
export async function claimPart(file: string): Promise<string> {
  await makeFolder(dirname(file));
  const part = `${file}.${process.pid}.${partsMade++}.part`;
  busy.add(part);
  const left = await abandonedParts(file);
  const sizes = await Promise.all(left.map(fileSize));
  const largest = left[sizes.indexOf(Math.max(...sizes))];
  if (largest !== undefined) {
    // Another process may have taken it in the meantime: then this download starts from nothing.
    await rename(largest, part).catch(() => {});
  }
  return part;
}

/** Ends a claim; the partial file, if it is still there, can be taken over. */
export function releasePart(part: string): void {
  busy.delete(part);
}

/** Deletes what dead downloads of a file have left. */
export async function removeAbandonedParts(file: string): Promise<void> {
  await Promise.all((await abandonedParts(file)).map((part) => rm(part, { force: true })));
}

async function abandonedParts(file: string): Promise<string[]> {
  const folder = dirname(file);
  const prefix = `${basename(file)}.`;
  const names = (await readdir(folder)).filter((name) => name.startsWith(prefix));
  return names.flatMap((name) => {
    const owner = /^(\d+)\.\d+\.part$/.exec(name.slice(prefix.length))?.[1];
    const path = join(folder, name);
    if (owner === undefined) return [];
    const abandoned = Number(owner) === process.pid ? !busy.has(path) : !isAlive(Number(owner));
    return abandoned ? [path] : [];
  });
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    // EPERM: it lives, and belongs to somebody else.
    return codeOf(error) === "EPERM";
  }
}

/** Whether an error says that a file or folder does not exist. */
export function isMissing(error: unknown): boolean {
  return codeOf(error) === "ENOENT" || codeOf(error) === "ENOTDIR";
}

/** Whether an error comes from the file system. */
export function isFileError(error: unknown): error is Error {
  return error instanceof Error && "syscall" in error;
}

function codeOf(error: unknown): unknown {
  return error instanceof Error && "code" in error ? error.code : undefined;
}

import { createHash } from "node:crypto";
import { createReadStream } from "node:fs";
import { mkdir, readFile, stat, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { isJsonObject, type Json, JsonError, parseJson } from "../files/json.ts";
import { replaceFile } from "../files/replace.ts";
import { HubError } from "./errors.ts";

/** A file of a model. */
export interface HubFile {
  /** Path in the repository, with forward slashes. */
  readonly path: string;
  readonly bytes: number;
  /** SHA-256 of a large file; small ones have git's checksum instead: the SHA-1 of `blob`, the size and the contents. */
  readonly checksum: { readonly kind: "sha256" | "git"; readonly hex: string };
}

/** What a revision of a model consists of. */
export interface Manifest {
  /** The commit that the revision stood for. */
  readonly commit: string;
  readonly files: readonly HubFile[];
}

/** Whether a path from the hub stays inside the folder that it is put in. */
export function isInside(path: string): boolean {
  return (
    path.length < 512 &&
    path.split("/").every((part) => /^[\w+=@ -][\w.+=@ -]*$|^\.[\w+-][\w.+-]*$/.test(part))
  );
}

/** Reads a manifest; undefined if there is none, or it is damaged. */
export async function readManifest(path: string): Promise<Manifest | undefined> {
  const bytes = await readFile(path).catch(() => undefined);
  if (bytes === undefined) return undefined;
  try {
    return manifestOf(parseJson(bytes));
  } catch (error) {
    if (error instanceof JsonError) return undefined;
    throw error;
  }
}

function manifestOf(value: Json): Manifest | undefined {
  if (!isJsonObject(value)) return undefined;
  const commit = value.get("commit");
  const files = value.get("files");
  if (typeof commit !== "string" || !/^[0-9a-f]{40}$/.test(commit) || !Array.isArray(files)) return undefined;
  const read = files.map(fileOf);
  return read.includes(undefined) ? undefined : { commit, files: read as HubFile[] };
}

function fileOf(value: Json): HubFile | undefined {
  if (!isJsonObject(value)) return undefined;
  const [path, bytes, kind, hex] = ["path", "bytes", "kind", "hex"].map((key) => value.get(key));
  if (typeof path !== "string" || !isInside(path) || typeof bytes !== "number" || typeof hex !== "string")
    return undefined;
  return kind === "sha256" || kind === "git" ? { path, bytes, checksum: { kind, hex } } : undefined;
}

/** Puts a manifest in place; it is written last, so where there is one its files were complete. */
export async function writeManifest(path: string, { commit, files }: Manifest): Promise<void> {
  const list = files.map(({ path: file, bytes, checksum }) => ({ path: file, bytes, ...checksum }));
  await writeWhole(path, new TextEncoder().encode(JSON.stringify({ commit, files: list }, undefined, 2)));
}

/** Writes a file so that it appears whole. */
export async function writeWhole(path: string, bytes: Uint8Array): Promise<void> {
  await mkdir(dirname(path), { recursive: true });
  await replaceFile(path, (part) => writeFile(part, bytes, { flush: true }));
}

/** Paths of the files that are missing or damaged; without `verify`, only sizes are looked at. */
export async function damagedFiles(
  folder: string,
  files: readonly HubFile[],
  verify: boolean,
): Promise<readonly string[]> {
  const damaged: string[] = [];
  for (const file of files)
    if (!(await isSound(join(folder, file.path), file, verify))) damaged.push(file.path);
  return damaged;
}

/** Whether a file is there with the right size and, where asked, checksum. */
export async function isSound(path: string, { bytes, checksum }: HubFile, verify: boolean): Promise<boolean> {
  const status = await stat(path).catch(() => undefined);
  if (status === undefined || status.size !== bytes) return false;
  if (!verify) return true;
  const hash = hashFor(checksum.kind, bytes);
  for await (const piece of createReadStream(path)) hash.update(piece as Uint8Array);
  return hash.digest("hex") === checksum.hex;
}

/** Refuses contents with another checksum. */
export function checkContents(bytes: Uint8Array, file: HubFile): void {
  const found = hashFor(file.checksum.kind, bytes.length).update(bytes).digest("hex");
  if (found !== file.checksum.hex) {
    throw new HubError(
      `downloadModel: ${file.path} is not the right file: checksum ${found}, expected ${file.checksum.hex}. Try again.`,
    );
  }
}

function hashFor(kind: "sha256" | "git", bytes: number): ReturnType<typeof createHash> {
  return kind === "sha256" ? createHash("sha256") : createHash("sha1").update(`blob ${bytes}\0`);
}

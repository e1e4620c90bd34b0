import { readdir, readFile, stat } from "node:fs/promises";
import { join } from "node:path";
import { checkOptions, OptionError } from "@nf/core";
import { DataError } from "../errors.ts";
import type { FileCollection, RemoteFile } from "../files/collection.ts";
import { defaultCacheFolder } from "./cache.ts";
import { type DownloadOptions, type DownloadProgress, download, isIntact } from "./download.ts";
import { hashFile, isMissing } from "./files.ts";

/** Options of everything that loads published files. */
export interface LoadOptions {
  /**
   * Folder that holds the collection's own folder with its files. Default `NF_DATA_DIR`; that one is passed over if the
   * files are not there.
   */
  folder?: string;
  /** Where downloads are kept. Default {@link defaultCacheFolder}. */
  cacheFolder?: string;
  /** Fetch what is neither in the folder nor in the cache. Default false: nothing ever uses the network unasked. */
  download?: boolean;
  /** Addresses that the files' names are appended to, in order of preference. Default the well-known ones. */
  mirrors?: readonly string[];
  /** What to fetch with. Default the global `fetch`. */
  fetch?: typeof globalThis.fetch;
  onProgress?: (progress: DownloadProgress) => void;
  /** Stops a download; what has arrived is kept for the next. */
  signal?: AbortSignal;
}

export const LOAD_OPTIONS: readonly string[] = [
  ...["folder", "cacheFolder", "download", "mirrors", "fetch", "onProgress", "signal"],
];

/** A way in which files lie in a folder. */
export interface Layout {
  readonly id: string;
  /** Files and folders that are there if it is this one, from the folder on. */
  readonly paths: readonly string[];
}

/** What {@link findCollection} may do differently. */
export interface FindOptions {
  /** Other layouts that a folder can have, in order of preference after the published files. */
  readonly layouts?: readonly Layout[];
  /** Compare the checksums of a folder's published files too: where nothing else would show that they are others. */
  readonly verify?: boolean;
  /** What else can be done if the files are not there. */
  readonly hint?: string;
}

/** Files that were found. */
export interface Found {
  /** Id of the layout; `published` for the files as they are published. */
  readonly layout: string;
  /** What the datasets' `source` begins with. */
  readonly source: string;
  /** Contents of a file, from the folder on; a published file by its name alone. */
  read(path: string): Promise<Uint8Array>;
  /** Names in a folder. */
  list(path: string): Promise<string[]>;
}

/** No published file has a third of it. */
const LARGEST_FILE = 512 * 2 ** 20;

/**
 * Finds the files of a collection in a folder, else in the cache, else, with `download: true`, at its mirrors, in this
 * order. Cached files are verified each time.
 *
 * @param caller what messages about options name.
 * @throws DataError (`NF_DATA`) saying where it looked and what to do if they are not there.
 * @throws DownloadError (`NF_DOWNLOAD`) if no mirror delivers them.
 */
export async function findCollection(
  caller: string,
  collection: FileCollection,
  options: LoadOptions,
  { layouts = [], verify = false, hint = "" }: FindOptions = {},
): Promise<Found> {
  checkLoad(caller, options);
  const { name, title } = collection;
  const files = Object.values(collection.files);
  const published: Layout = { id: "published", paths: files.map((file) => join(name, file.name)) };
  const root = options.folder ?? process.env["NF_DATA_DIR"];
  if (root) {
    for (const layout of [published, ...layouts]) {
      if ((await missingOf(root, layout)).length > 0) continue;
      const base = layout === published ? join(root, name) : root;
      if (layout === published && verify) await verifyAll(title, base, files);
      return found(layout.id, `${title} from ${join(root, name)}`, base);
    }
  }
  if (options.folder !== undefined) {
    const missing = await missingOf(options.folder, published);
    const others = layouts.map(({ paths }) => paths.join(" with ")).join("; or ");
    throw new DataError(
      `${title}: the folder ${join(options.folder, name)} lacks ${missing.map((path) => path.slice(name.length + 1)).join(", ")}` +
        `${others && ` (and there is no ${others})`}. Put the files there, or leave out the option folder to use the cache ` +
        "and downloads.",
    );
  }
  const cache = join(options.cacheFolder ?? defaultCacheFolder(), name);
  const wanted = options.download === true;
  if (wanted && (options.mirrors ?? collection.mirrors).length === 0) {
    throw new DataError(
      `${title}: nobody publishes ${files.map((file) => file.name).join(", ")} at an address, so there is nothing to ` +
        `download. ${whereToPut(published, layouts)}`,
    );
  }
  for (const file of files) {
    const path = join(cache, file.name);
    if (wanted) await fetchFile(collection, file, path, options);
    else if (!(await isIntact(path, file.sha256))) {
      const environment = root ? `not in ${join(root, name)} (from NF_DATA_DIR)` : "NF_DATA_DIR is not set";
      const megabytes = (files.reduce((sum, { bytes }) => sum + bytes, 0) / 1e6).toPrecision(2);
      const fetching =
        (options.mirrors ?? collection.mirrors).length > 0
          ? `Fetch it once with the option download: true (${Number(megabytes)} MB), or: `
          : "";
      throw new DataError(
        `${title} is not on this machine: ${environment}, and the cache ${cache} has no intact copy. ${fetching}` +
          `${whereToPut(published, layouts)}${hint && ` ${hint}`}`,
      );
    }
  }
  return found("published", title, cache);
}

function found(layout: string, source: string, base: string): Found {
  return {
    layout,
    source,
    read: async (path) => {
      const { size } = await stat(join(base, path));
      if (size > LARGEST_FILE) {
        throw new DataError(
          `${join(base, path)} has ${size} bytes, more than the ${LARGEST_FILE} that are read. It is not the file it should be.`,
        );
      }
      return readFile(join(base, path));
    },
    list: (path) => readdir(join(base, path)),
  };
}

function whereToPut(published: Layout, layouts: readonly Layout[]): string {
  const places = [published, ...layouts].map(({ paths }) => paths.join(", ")).join("; or ");
  return `Set NF_DATA_DIR to a folder that holds ${places}.`;
}

function checkLoad(caller: string, options: LoadOptions): void {
  for (const name of ["folder", "cacheFolder"] as const) {
    const path: unknown = options[name];
    if (path !== undefined && typeof path !== "string")
      throw new OptionError(`${caller}: ${name} must be a path, got ${String(path)}.`);
  }
  const { mirrors } = options;
  if (mirrors !== undefined && !(Array.isArray(mirrors) && mirrors.every((one) => typeof one === "string")))
    throw new OptionError(`${caller}: mirrors must be a list of addresses, got ${String(mirrors)}.`);
}

/** Options of a loader that has no others. */
export function checkLoadOptions(caller: string, options: LoadOptions, more: readonly string[] = []): void {
  checkOptions(caller, options, [...LOAD_OPTIONS, ...more]);
}

async function missingOf(root: string, { paths }: Layout): Promise<string[]> {
  const there = await Promise.all(paths.map((path) => isThere(join(root, path))));
  return paths.filter((_, index) => !there[index]);
}

/** A folder, or a file that is not empty. */
async function isThere(path: string): Promise<boolean> {
  try {
    const entry = await stat(path);
    return entry.isDirectory() || entry.size > 0;
  } catch (error) {
    if (isMissing(error)) return false;
    throw error;
  }
}

async function verifyAll(title: string, folder: string, files: readonly RemoteFile[]): Promise<void> {
  for (const { name, sha256 } of files) {
    const path = join(folder, name);
    const hash = await hashFile(path);
    if (hash === sha256) continue;
    throw new DataError(
      `${path} is not ${title}: its SHA-256 is ${hash}, expected ${sha256}. Fetch it again, or take it out of the folder.`,
    );
  }
}

async function fetchFile(
  collection: FileCollection,
  file: RemoteFile,
  path: string,
  { mirrors = collection.mirrors, fetch, onProgress, signal }: LoadOptions,
): Promise<void> {
  const options: DownloadOptions = { file: path, sha256: file.sha256, bytes: file.bytes };
  if (fetch !== undefined) options.fetch = fetch;
  if (onProgress !== undefined) options.onProgress = onProgress;
  if (signal !== undefined) options.signal = signal;
  await download(
    mirrors.map((mirror) => `${mirror.replace(/\/$/, "")}/${file.name}`),
    options,
  );
}

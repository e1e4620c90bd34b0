import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { checkOptions, OptionError } from "@nf/core";
import { DataError } from "../errors.ts";
import { FASHION_MNIST, type ImageCollection, MNIST, type RemoteFile } from "../images/collections.ts";
import type { Normalization } from "../images/dataset.ts";
import { type ImageSplits, readImages } from "../images/read.ts";
import { defaultCacheFolder } from "./cache.ts";
import { type DownloadOptions, type DownloadProgress, download, isIntact } from "./download.ts";
import { fileSize } from "./files.ts";

/** Options of {@link mnist} and {@link fashionMnist}. */
export interface LoadImagesOptions {
  /**
   * Folder that holds the collection's own folder (`mnist/`, `fashion-mnist/`) with the four files as published.
   * Default `NF_DATA_DIR`; that one is passed over if the files are not there.
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
  /** Normalise pixels; default none, values 0 to 1. MNIST's own: mean 0.1307, std 0.3081. */
  normalize?: Normalization;
}

const OPTIONS = [
  "folder",
  "cacheFolder",
  "download",
  "mirrors",
  "fetch",
  "onProgress",
  "signal",
  "normalize",
];

/**
 * Full MNIST: 60,000 digits to train, 10,000 to test. From `folder` (or `NF_DATA_DIR`), else from the cache, else, with
 * `download: true`, from its mirrors into the cache. Cached files are verified by SHA-256 each time.
 *
 * @throws DataError (`NF_DATA`) saying where it looked and what to do if the files are not there, or are damaged.
 * @throws DownloadError (`NF_DOWNLOAD`) if no mirror delivers them.
 */
export function mnist(options: LoadImagesOptions = {}): Promise<ImageSplits> {
  return load("mnist", MNIST, options);
}

/** Fashion-MNIST: 60,000 pictures of clothes to train, 10,000 to test; options as {@link mnist}. */
export function fashionMnist(options: LoadImagesOptions = {}): Promise<ImageSplits> {
  return load("fashionMnist", FASHION_MNIST, options);
}

/** Loads a collection from a folder, the cache or the network, in this order; see {@link mnist}. */
export function loadImages(
  collection: ImageCollection,
  options: LoadImagesOptions = {},
): Promise<ImageSplits> {
  return load("loadImages", collection, options);
}

/** @param caller what messages about options name. */
async function load(
  caller: string,
  collection: ImageCollection,
  options: LoadImagesOptions,
): Promise<ImageSplits> {
  checkLoad(caller, options);
  const { normalize } = options;
  const read = { ...(normalize && { normalize }) };
  const files = Object.values(collection.files);

  const root = options.folder ?? process.env["NF_DATA_DIR"];
  const folder = root ? join(root, collection.name) : undefined;
  const missing = folder === undefined ? files : await missingFiles(folder, files);
  if (folder !== undefined && missing.length === 0) {
    return readImages(collection, ({ name }) => readFile(join(folder, name)), {
      ...read,
      source: `${collection.title} from ${folder}`,
    });
  }
  if (options.folder !== undefined) {
    throw new DataError(
      `${collection.title}: the folder ${folder} lacks ${missing.map(({ name }) => name).join(", ")}. Put the files there, ` +
        "or leave out the option folder to use the cache and downloads.",
    );
  }

  const cache = join(options.cacheFolder ?? defaultCacheFolder(), collection.name);
  for (const file of files) {
    const path = join(cache, file.name);
    if (options.download === true) await fetchFile(collection, file, path, options);
    else if (!(await isIntact(path, file.sha256))) throw absent(collection, folder, cache);
  }
  return readImages(collection, ({ name }) => readFile(join(cache, name)), {
    ...read,
    source: collection.title,
  });
}

function checkLoad(caller: string, options: LoadImagesOptions): void {
  checkOptions(caller, options, OPTIONS);
  for (const name of ["folder", "cacheFolder"] as const) {
    const path: unknown = options[name];
    if (path !== undefined && typeof path !== "string")
      throw new OptionError(`${caller}: ${name} must be a path, got ${String(path)}.`);
  }
  const { mirrors } = options;
  if (mirrors !== undefined && !(Array.isArray(mirrors) && mirrors.every((one) => typeof one === "string")))
    throw new OptionError(`${caller}: mirrors must be a list of addresses, got ${String(mirrors)}.`);
}

async function missingFiles(folder: string, files: readonly RemoteFile[]): Promise<RemoteFile[]> {
  const sizes = await Promise.all(files.map(({ name }) => fileSize(join(folder, name))));
  return files.filter((_, index) => sizes[index] === 0);
}

async function fetchFile(
  collection: ImageCollection,
  file: RemoteFile,
  path: string,
  { mirrors = collection.mirrors, fetch, onProgress, signal }: LoadImagesOptions,
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

function absent(collection: ImageCollection, folder: string | undefined, cache: string): DataError {
  const files = Object.values(collection.files);
  const megabytes = Math.ceil(files.reduce((sum, { bytes }) => sum + bytes, 0) / 1e6);
  const environment = folder === undefined ? "NF_DATA_DIR is not set" : `not in ${folder} (from NF_DATA_DIR)`;
  return new DataError(
    `${collection.title} is not on this machine: ${environment}, and the cache ${cache} has no intact copy. Either fetch ` +
      `it once with the option download: true (${megabytes} MB), or set NF_DATA_DIR to a folder that holds ` +
      `${files.map(({ name }) => `${collection.name}/${name}`).join(", ")}.` +
      (collection.name === "mnist" ? " embeddedMnist() has 10,000 digits that need neither." : ""),
  );
}

import { rm } from "node:fs/promises";
import { setTimeout as wait } from "node:timers/promises";
import { checkInteger, checkNumber, checkOptions, OptionError } from "@nf/core";
import { DownloadError } from "../errors.ts";
import {
  claimPart,
  fileSize,
  hashFile,
  isFileError,
  moveIntoPlace,
  releasePart,
  removeAbandonedParts,
} from "./files.ts";
import { fetchInto, type Transfer, TransferError } from "./transfer.ts";

/** What a download tells about itself while it runs. */
export interface DownloadProgress {
  /** Where the file will be. */
  readonly file: string;
  readonly url: string;
  /** Bytes there are so far, resumed ones among them. */
  readonly received: number;
  /** Bytes of the whole file, where known. */
  readonly total: number | undefined;
}

/** Options of {@link download}. */
export interface DownloadOptions {
  /** SHA-256 of the file in hexadecimal. */
  sha256: string;
  /** Where the file goes; its folder is made. */
  file: string;
  /** Exact size in bytes, if known: a longer answer is broken off, a shorter one resumed. */
  bytes?: number;
  onProgress?: (progress: DownloadProgress) => void;
  /** Stops the download; what has arrived is kept for the next. */
  signal?: AbortSignal;
  /** Milliseconds without a single byte after which a connection is given up. Default 30,000. */
  timeout?: number;
  /** What to fetch with. Default the global `fetch`. */
  fetch?: typeof globalThis.fetch;
}

const OPTIONS = ["sha256", "file", "bytes", "onProgress", "signal", "timeout", "fetch"];

/** Attempts at one address that brought nothing, before the next is tried. */
const BARREN_ATTEMPTS = 3;
const FIRST_PAUSE = 100;

/**
 * Makes sure that a file with this checksum is at `file`: at once, without network, if it is there already; else from
 * the first address that delivers it. Interrupted transfers are resumed, also those of earlier runs. The file appears
 * under its name only whole, verified and synced to disk. A file with another checksum stays until then, and is replaced.
 *
 * @param urls one address, or several of the same file in order of preference.
 * @returns the path, `options.file`.
 * @throws OptionError for addresses and options that make no sense, before anything is read or fetched.
 * @throws DownloadError (`NF_DOWNLOAD`) with what went wrong at each address.
 */
export async function download(urls: string | readonly string[], options: DownloadOptions): Promise<string> {
  const addresses = checkAddresses(typeof urls === "string" ? [urls] : urls);
  const sha256 = checkDownload(options);
  try {
    if (!(await isIntact(options.file, sha256))) await fetchIntact(addresses, { ...options, sha256 });
  } catch (error) {
    if (!isFileError(error)) throw error;
    throw new DownloadError(
      `download: ${options.file} could not be written: ${error.message}. Choose another folder, or make room.`,
      { cause: error },
    );
  }
  return options.file;
}

async function fetchIntact(addresses: readonly string[], options: DownloadOptions): Promise<void> {
  const { file, bytes, sha256, signal, onProgress } = options;
  const part = await claimPart(file);
  try {
    const failures: string[] = [];
    for (const url of addresses) {
      const transfer: Transfer = {
        url,
        part,
        bytes,
        signal,
        timeout: options.timeout ?? 30_000,
        fetch: options.fetch ?? globalThis.fetch,
        onProgress: (received, total) => onProgress?.({ file, url, received, total }),
      };
      const failure = await tryAddress(transfer, sha256);
      if (failure === undefined) {
        await moveIntoPlace(part, file);
        await removeAbandonedParts(file);
        return;
      }
      failures.push(`${url}: ${failure}`);
    }
    throw new DownloadError(
      `download: ${file} could not be fetched.\n  ${failures.join("\n  ")}\n` +
        "Check the network and try again (what has arrived is kept), or put the file there yourself.",
    );
  } finally {
    releasePart(part);
  }
}

/** Whether the file is there with this checksum. Only looks: one with another may be the user's own. */
export async function isIntact(file: string, sha256: string): Promise<boolean> {
  return (await hashFile(file)) === sha256;
}

/** Fetches the partial file whole and right from one address, or says why not. */
async function tryAddress(transfer: Transfer, sha256: string): Promise<string | undefined> {
  const { part } = transfer;
  let barren = 0;
  let most = await fileSize(part);
  for (;;) {
    const before = await fileSize(part);
    // An earlier run may have ended between the last byte and the renaming.
    if (before > 0 && (await hashFile(part)) === sha256) return undefined;
    try {
      await fetchInto(transfer, before);
    } catch (error) {
      transfer.signal?.throwIfAborted();
      if (!(error instanceof TransferError)) throw error;
      // More than ever, not than before: a file that is too short would be fetched anew for ever.
      const there = await fileSize(part);
      if (there > most) barren = 0;
      most = Math.max(most, there);
      if (error.permanent || ++barren >= BARREN_ATTEMPTS) return error.message;
      await wait(FIRST_PAUSE * 2 ** barren, undefined, transfer.signal ? { signal: transfer.signal } : {});
      continue;
    }
    const found = await hashFile(part);
    if (found === sha256) return undefined;
    await rm(part, { force: true });
    // Bytes of an earlier run may be what is wrong: once more, from the start.
    if (before === 0) return `the file is not the right one: SHA-256 ${found}, expected ${sha256}`;
  }
}

function checkAddresses(urls: readonly string[]): readonly string[] {
  if (!Array.isArray(urls)) {
    throw new OptionError(`download: expected an address or a list of them, got ${show(urls)}.`);
  }
  if (urls.length === 0) throw new OptionError("download: there is no address.");
  for (const url of urls) {
    const protocol = typeof url === "string" && URL.canParse(url) ? new URL(url).protocol : undefined;
    if (protocol !== "http:" && protocol !== "https:") {
      throw new OptionError(`download: expected an http or https address, got ${show(url)}.`);
    }
  }
  return urls;
}

/** Refuses options that make no sense. Returns the checksum in lower case. */
function checkDownload(options: DownloadOptions): string {
  if (options === undefined) {
    throw new OptionError("download: pass where the file goes and its checksum, as in { file, sha256 }.");
  }
  checkOptions("download", options, OPTIONS);
  const { file, sha256, bytes, timeout } = options;
  if (typeof file !== "string" || file === "") {
    throw new OptionError(`download: file must be the path that the file goes to, got ${show(file)}.`);
  }
  if (typeof sha256 !== "string" || !/^[0-9a-fA-F]{64}$/.test(sha256)) {
    throw new OptionError(`download: sha256 must be 64 hexadecimal digits, got ${show(sha256)}.`);
  }
  if (bytes !== undefined) checkInteger("download", "bytes", bytes, 0);
  if (timeout !== undefined) checkNumber("download", "timeout", timeout, 0);
  return sha256.toLowerCase();
}

function show(value: unknown): string {
  return JSON.stringify(value) ?? String(value);
}

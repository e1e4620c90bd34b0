import { join } from "node:path";
import { listFiles, modelInfo } from "@huggingface/hub";
import { checkOptions, OptionError } from "@nf/core";
import { reasonOf } from "../errors.ts";
import { HubError } from "./errors.ts";
import {
  checkContents,
  damagedFiles,
  type HubFile,
  isInside,
  isSound,
  type Manifest,
  readManifest,
  writeManifest,
  writeWhole,
} from "./manifest.ts";

/** A download that resumes, verifies and moves into place: `download` of `@nf/data/node`. */
export type DownloadFunction = (
  url: string,
  options: {
    sha256: string;
    file: string;
    bytes: number;
    fetch: typeof globalThis.fetch;
    signal?: AbortSignal;
    onProgress: (progress: { readonly received: number }) => void;
  },
) => Promise<string>;

/** How far a model is. */
export interface HubProgress {
  /** Path in the repository of the file that is being fetched. */
  readonly path: string;
  /** Bytes of all files that are there, this one's so far among them. */
  readonly received: number;
  /** Bytes of all files. */
  readonly total: number;
}

/** Options of {@link downloadModel}. */
export interface DownloadModelOptions {
  /** Fetches large files; pass `download` of `@nf/data/node`. */
  readonly download: DownloadFunction;
  /** Where models are kept, for example `defaultCacheFolder()` of `@nf/data/node`. */
  readonly cacheFolder: string;
  /** Branch, tag or commit; default `main`. */
  readonly revision?: string;
  /**
   * Which files to fetch, by their paths. Default: configuration, tokenizer, chat template and the safetensors at the
   * top of the repository (of several sets, `model.safetensors` or `model-…-of-….safetensors`).
   */
  readonly files?: (path: string) => boolean;
  /** Use nothing but the cache; default false. */
  readonly offline?: boolean;
  /** Compare the checksums of files that are there already, as well as their sizes; default true. */
  readonly verify?: boolean;
  /** Token for private and gated models. It is sent to the hub only. */
  readonly accessToken?: string;
  /** Default `https://huggingface.co`. */
  readonly hubUrl?: string;
  /** Milliseconds after which an answer of the hub itself, or a small file, is given up. Default 60,000. */
  readonly timeout?: number;
  readonly signal?: AbortSignal;
  readonly fetch?: typeof globalThis.fetch;
  readonly onProgress?: (progress: HubProgress) => void;
}

const OPTIONS = [
  "download",
  "cacheFolder",
  "revision",
  "files",
  "offline",
  "verify",
  "accessToken",
  "hubUrl",
  "timeout",
  "signal",
  "fetch",
  "onProgress",
];
/** Small files are held in memory; git keeps larger ones elsewhere, with a SHA-256. */
const LARGEST_SMALL_FILE = 64_000_000;
const MOST_FILES = 10_000;

/**
 * Makes sure that a model of the Hugging Face hub is in the cache, and returns the folder that holds it, for
 * `openWeights` and `loadTokenizer`. Files are verified, resumed and appear under their names only whole. A commit (40
 * hexadecimal digits) that is complete in the cache needs no network; a branch or tag is asked for each time, unless
 * `offline` is set.
 *
 * @throws HubError (`NF_DOWNLOAD`) if the hub does not deliver, or the cache lacks something and `offline` is set.
 */
export async function downloadModel(repository: string, options: DownloadModelOptions): Promise<string> {
  checkOptions("downloadModel", options, OPTIONS);
  const { cacheFolder, revision = "main", offline = false, verify = true } = options;
  if (!/^[\w.-]+\/[\w.-]+$/.test(repository) || !isInside(repository))
    throw new OptionError(
      `downloadModel: expected a model as owner/name, got ${JSON.stringify(repository)}.`,
    );
  if (!isInside(revision))
    throw new OptionError(`downloadModel: ${JSON.stringify(revision)} is no branch, tag or commit.`);
  const home = join(cacheFolder, "hub", repository.replace("/", "--"));
  const place = join(home, "revisions", `${revision.replaceAll("/", "--")}.json`);
  const folderOf = (manifest: Manifest): string => join(home, manifest.commit);

  const cached = await readManifest(place);
  const wanted = options.files ?? usualFiles(cached?.files.map(({ path }) => path) ?? []);
  if (offline || (cached?.commit === revision && options.files === undefined)) {
    const problems = await missingOf(cached, wanted, folderOf, verify);
    if (cached !== undefined && problems.length === 0) return folderOf(cached);
    if (offline) {
      throw new HubError(
        `downloadModel: ${repository} (${revision}) is not in the cache ${home}: ${problems.join(", ")}. Fetch it once with offline: false.`,
      );
    }
  }
  const hub = new Hub(repository, options);
  const manifest = await hub.manifest(revision);
  await hub.fetchAll(manifest, folderOf(manifest));
  const fetched = new Set(manifest.files.map(({ path }) => path));
  // An earlier call may have wanted other files of the same commit.
  const others =
    cached?.commit === manifest.commit ? cached.files.filter(({ path }) => !fetched.has(path)) : [];
  await writeManifest(place, { commit: manifest.commit, files: [...manifest.files, ...others] });
  return folderOf(manifest);
}

/** What of the wanted files the cache lacks. */
async function missingOf(
  cached: Manifest | undefined,
  wanted: (path: string) => boolean,
  folderOf: (manifest: Manifest) => string,
  verify: boolean,
): Promise<readonly string[]> {
  if (cached === undefined) return ["it was never fetched whole"];
  const files = cached.files.filter(({ path }) => wanted(path));
  if (files.length === 0) return ["none of its files is wanted"];
  return damagedFiles(folderOf(cached), files, verify);
}

/** The files that a model needs here, of those at the top of the repository. */
function usualFiles(paths: readonly string[]): (path: string) => boolean {
  const weights = paths.filter((path) => /^[^/]+\.safetensors$/.test(path));
  const named = weights.filter((path) => /^model(?:-\d+-of-\d+)?\.safetensors$/.test(path));
  const chosen = new Set(named.length > 0 ? named : weights);
  return (path) =>
    chosen.has(path) ||
    /^(?:(?:config|generation_config|tokenizer|tokenizer_config|special_tokens_map)\.json|chat_template\.jinja|model\.safetensors\.index\.json)$/.test(
      path,
    );
}

class Hub {
  readonly #repository: string;
  readonly #options: DownloadModelOptions;
  readonly #url: string;
  readonly #fetch: typeof globalThis.fetch;

  constructor(repository: string, options: DownloadModelOptions) {
    this.#repository = repository;
    this.#options = options;
    this.#url = (options.hubUrl ?? "https://huggingface.co").replace(/\/+$/, "");
    if (!/^https?:$/.test(URL.canParse(this.#url) ? new URL(this.#url).protocol : ""))
      throw new OptionError(
        `downloadModel: hubUrl must be an http or https address, got ${JSON.stringify(this.#url)}.`,
      );
    this.#fetch = options.fetch ?? globalThis.fetch;
  }

  /** Asks the hub which commit a revision is, and which files it has. */
  async manifest(revision: string): Promise<Manifest> {
    const { accessToken } = this.#options;
    const common = {
      hubUrl: this.#url,
      fetch: (input: string | URL | Request, init?: RequestInit) => this.#ask(input, init),
      ...(accessToken !== undefined && { accessToken }),
    };
    try {
      const { sha } = await modelInfo({
        ...common,
        name: this.#repository,
        revision,
        additionalFields: ["sha"],
      });
      if (typeof sha !== "string" || !/^[0-9a-f]{40}$/.test(sha)) throw new Error("the hub names no commit");
      const entries: { path: string; file: HubFile | undefined }[] = [];
      const repo = { type: "model", name: this.#repository } as const;
      for await (const entry of listFiles({ ...common, repo, revision: sha, recursive: true })) {
        if (entries.length >= MOST_FILES) throw new Error(`it has more than ${MOST_FILES} files`);
        if (entry.type === "file") entries.push({ path: entry.path, file: hubFile(entry) });
      }
      const wanted = this.#options.files ?? usualFiles(entries.map(({ path }) => path));
      const files = entries.flatMap(({ path, file }) => {
        if (!wanted(path)) return [];
        if (file === undefined)
          throw new Error(`${JSON.stringify(path)} has no usable path, size or checksum`);
        return [file];
      });
      if (files.length === 0) throw new Error("none of its files is wanted");
      return { commit: sha, files };
    } catch (error) {
      this.#options.signal?.throwIfAborted();
      throw new HubError(
        `downloadModel: ${this.#repository} (${revision}) could not be looked up at ${this.#url}: ${reasonOf(error)}. ` +
          "Check the name, the network and, for a gated model, accessToken; offline: true uses what is in the cache.",
        { cause: error },
      );
    }
  }

  async fetchAll({ commit, files }: Manifest, folder: string): Promise<void> {
    const { verify = true, onProgress } = this.#options;
    const total = files.reduce((sum, { bytes }) => sum + bytes, 0);
    let before = 0;
    for (const file of files) {
      const report = (received: number): void =>
        onProgress?.({ path: file.path, received: before + received, total });
      const target = join(folder, file.path);
      if (!(await isSound(target, file, verify))) {
        const url = `${this.#url}/${this.#repository}/resolve/${commit}/${file.path.split("/").map(encodeURIComponent).join("/")}`;
        if (file.checksum.kind === "sha256") await this.#fetchLarge(url, file, target, report);
        else await writeWhole(target, await this.#fetchSmall(url, file));
      }
      before += file.bytes;
      onProgress?.({ path: file.path, received: before, total });
    }
  }

  async #fetchLarge(
    url: string,
    { checksum, bytes }: HubFile,
    file: string,
    report: (received: number) => void,
  ): Promise<void> {
    const { download, signal } = this.#options;
    await download(url, {
      sha256: checksum.hex,
      bytes,
      file,
      fetch: (input, init) => this.#fetch(input, { ...init, headers: this.#headers(init?.headers) }),
      ...(signal !== undefined && { signal }),
      onProgress: ({ received }) => report(received),
    });
  }

  async #fetchSmall(url: string, file: HubFile): Promise<Uint8Array> {
    let bytes: Uint8Array;
    try {
      const response = await this.#fetch(url, { headers: this.#headers(), signal: this.#signal() });
      if (!response.ok) throw new Error(`HTTP ${response.status}`);
      bytes = await bounded(response, file.bytes);
    } catch (error) {
      this.#options.signal?.throwIfAborted();
      throw new HubError(`downloadModel: ${url} could not be fetched: ${reasonOf(error)}. Try again.`, {
        cause: error,
      });
    }
    checkContents(bytes, file);
    return bytes;
  }

  /** A request of the library. Pages of a list name their successors; the token goes to the hub alone. */
  async #ask(input: string | URL | Request, init?: RequestInit): Promise<Response> {
    const { origin } = new URL(input instanceof Request ? input.url : input);
    if (origin !== new URL(this.#url).origin) throw new Error(`the hub refers to ${origin}, another host`);
    return this.#fetch(input, { ...init, signal: this.#signal() });
  }

  #headers(given?: ConstructorParameters<typeof Headers>[0]): Headers {
    const headers = new Headers(given);
    headers.set("accept-encoding", "identity");
    const { accessToken } = this.#options;
    if (accessToken !== undefined) headers.set("authorization", `Bearer ${accessToken}`);
    return headers;
  }

  #signal(): AbortSignal {
    const { signal, timeout = 60_000 } = this.#options;
    const limit = AbortSignal.timeout(timeout);
    return signal === undefined ? limit : AbortSignal.any([signal, limit]);
  }
}

/** Reads an answer that must have so many bytes, and stops at one more. */
async function bounded(response: Response, expected: number): Promise<Uint8Array> {
  const bytes = new Uint8Array(expected);
  let have = 0;
  const reader: ReadableStreamDefaultReader<Uint8Array> | undefined = response.body?.getReader();
  for (let next = await reader?.read(); next !== undefined && !next.done; next = await reader?.read()) {
    if (have + next.value.length > expected) {
      await reader?.cancel();
      throw new Error(`the answer is longer than the ${expected} bytes of the file`);
    }
    bytes.set(next.value, have);
    have += next.value.length;
  }
  if (have < expected) throw new Error(`the connection ended after ${have} of ${expected} bytes`);
  return bytes;
}

/** A file as the hub lists it; undefined if its path leads elsewhere or it cannot be verified. */
function hubFile(entry: {
  readonly path: string;
  readonly size: number;
  readonly oid?: string;
  readonly lfs?: { readonly oid: string; readonly size: number };
}): HubFile | undefined {
  const { path, lfs, oid } = entry;
  const bytes = lfs?.size ?? entry.size;
  if (typeof path !== "string" || !isInside(path) || !Number.isSafeInteger(bytes) || bytes < 0)
    return undefined;
  if (lfs !== undefined)
    return /^[0-9a-f]{64}$/.test(lfs.oid)
      ? { path, bytes, checksum: { kind: "sha256", hex: lfs.oid } }
      : undefined;
  const sound = oid !== undefined && /^[0-9a-f]{40}$/.test(oid) && bytes <= LARGEST_SMALL_FILE;
  return sound ? { path, bytes, checksum: { kind: "git", hex: oid } } : undefined;
}

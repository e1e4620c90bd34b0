import { createRequire } from "node:module";
import { BackendError } from "@nf/core";

/**
 * The compiled module (crates/binding): numbers in, numbers out. A failure of its own, panics included, is an `Error`.
 */
export interface Binding {
  /** Starts the thread pool of the process, once; returns its number of threads. */
  start(threads: number, thisThread: boolean): number;
  /** The processor's vectors: `avx512`, `avx2` or `portable`. */
  level(): string;
  /** Makes an engine, whose calls are written to `words`. */
  open(maxBytes: number, threads: number, words: Float64Array): number;
  close(engine: number): void;
  /** Takes another array for the calls of an engine. */
  attach(engine: number, words: Float64Array): void;
  /** A new buffer's handle, or -1 above the engine's limit, or -2 where the machine has no room. */
  allocate(engine: number, bytes: number): number;
  free(engine: number, handle: number): void;
  /** Bytes of live buffers. */
  live(engine: number): number;
  write(engine: number, handle: number, offset: number, bytes: Uint8Array): void;
  read(engine: number, handle: number, offset: number, into: Uint8Array): void;
  /** `read` of so many bytes to the beginning of `words`: to pass an array costs more than few bytes do. */
  peek(engine: number, handle: number, offset: number, bytes: number): void;
  /** `write` of so many bytes from the beginning of `words`. */
  poke(engine: number, handle: number, offset: number, bytes: number): void;
  /** So many bytes of a buffer where they are, until the array is collected or the look of that number is ended. */
  look(engine: number, handle: number, offset: number, bytes: number, number: number): Uint8Array;
  /** Ends a look whose array was detached. */
  unlook(engine: number, number: number): void;
  /** Takes the memory away from an array of `look`. */
  detach(buffer: ArrayBufferLike): void;
  /** Registers a program under a number. */
  register(engine: number, program: number, words: Float64Array): void;
  /** Runs the call in `words`: 0, a failed check's code + 1, or -1 where `words[0]` bytes of scratch memory were not to be had. */
  run(engine: number, kernel: number): number;
  /** Runs an engine's calls later, on a thread of their own: `run` then gives 0 for a call that can be run. */
  defer(engine: number): void;
  /** Whether calls are under way. */
  busy(engine: number): boolean;
  /** The bytes of a buffer once all calls before are done; rejects with what `failureOf` reads. */
  readLater(engine: number, handle: number, offset: number, bytes: number): Promise<Uint8Array>;
  /** Resolves once all calls before are done; rejects with a failure that no read told of. */
  finish(engine: number): Promise<unknown>;
  /** Closes an engine whose calls run later; resolves once its memory was given back. */
  closeLater(engine: number): Promise<unknown>;
  /** Bytes a nanosecond (GB/s) of each of some passes over so many bytes: for benchmarks. */
  readRates(bytes: number, threads: number, passes: number): number[];
  /** Panics, here or on a thread of the pool: for tests. */
  panicOnPurpose(inPool: boolean): void;
}

/** The part of a binary's name that says where it runs, as napi-rs names platforms. */
export function platformName(): string {
  const { platform, arch } = process;
  if (platform === "linux") return `${platform}-${arch}-${isMusl() ? "musl" : "gnu"}`;
  if (platform === "win32") return `${platform}-${arch}-msvc`;
  return `${platform}-${arch}`;
}

function isMusl(): boolean {
  const { header } = process.report.getReport() as { header?: { glibcVersionRuntime?: string } };
  return header?.glibcVersionRuntime === undefined;
}

let loaded: Binding | undefined;

/**
 * Loads the binary of this platform: that which was built in a checkout, or the platform's package.
 *
 * @throws BackendError with code `NF_UNSUPPORTED` where there is none, saying what to do
 */
export function loadBinding(): Binding {
  if (loaded !== undefined) return loaded;
  const require = createRequire(import.meta.url);
  const platform = platformName();
  const problems: unknown[] = [];
  for (const place of [`../binaries/nanoflux.${platform}.node`, `@nf/backend-native-${platform}`]) {
    try {
      loaded = require(place) as Binding;
      return loaded;
    } catch (error) {
      problems.push(error);
    }
  }
  // Absent is the ordinary case; a binary that is there and does not load says why.
  const broken = problems.find((error) => !isAbsent(error));
  const why = broken === undefined ? "" : ` (${broken instanceof Error ? broken.message : String(broken)})`;
  throw new BackendError(
    `native: there is no binary for ${platform}${why}. Use the wasm backend; or, in a checkout of NanoFlux, install Rust ` +
      "(https://rustup.rs) and run npm run build.",
    "NF_UNSUPPORTED",
    { cause: broken },
  );
}

function isAbsent(error: unknown): boolean {
  return error instanceof Error && "code" in error && error.code === "MODULE_NOT_FOUND";
}

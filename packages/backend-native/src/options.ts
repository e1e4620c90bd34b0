import { totalmem } from "node:os";
import { OptionError } from "@nf/core";

/** What factors of matrix products are rounded to. */
export type MatmulPrecision = "f32" | "bf16";

/** Options of the native backend. */
export interface NativeOptions {
  /**
   * Threads that kernels run on, the calling one included; default: as many as the machine has cores. Results are the
   * same bits for any number. The pool is one for the whole process: its first backend starts it, with at least 8 threads,
   * and no later one can have more.
   */
  readonly threads?: number;
  /**
   * Most bytes that all live buffers together may take; default: the machine's memory, or what this process may have of
   * it where that is less.
   */
  readonly maxBytes?: number;
  /**
   * Whether calls run on a thread of their own while JavaScript goes on; default false. Reads wait for them: `data()`
   * without holding up the event loop, `dataSync()` by waiting.
   */
  readonly async?: boolean;
  /**
   * What f32 factors of `matmul` (and so of linear layers and their gradients) are rounded to; default `"f32"`, which
   * leaves them as they are. With `"bf16"` each is rounded to bfloat16, to nearest even, and products add up in f32: an
   * error of up to 2^-7 of the sum of their sizes, for speed where the processor has instructions for it
   * (AVX-512 BF16; there denormal bf16 numbers count as 0). Products with a vector, or with up to 8 rows or columns,
   * stay in f32: they wait for memory. Convolution and attention stay as they are too.
   */
  readonly matmulPrecision?: MatmulPrecision;
}

/**
 * The limit where none is asked for: the machine's memory in bytes, or what the process is held to (a container's limit)
 * where that is less. Without a limit a system that promises more than it has would end the process instead.
 *
 * @param constrained what the process is held to; 0, or more than the machine has, where it is not
 */
export function defaultMaxBytes(
  constrained: number = process.constrainedMemory?.() ?? 0,
  total: number = totalmem(),
): number {
  return constrained > 0 ? Math.min(constrained, total) : total;
}

const KNOWN: readonly string[] = [
  "threads",
  "maxBytes",
  "async",
  "matmulPrecision",
] satisfies readonly (keyof NativeOptions)[];

/** Most threads that can be asked for. */
export const MOST_THREADS = 256;

/** Refuses options that do not exist or are out of their domain. */
export function checkOptions(options: NativeOptions): void {
  if (typeof options !== "object" || options === null) {
    throw new OptionError(`native: options must be an object, got ${String(options)}.`);
  }
  for (const name of Object.keys(options)) {
    if (!KNOWN.includes(name))
      throw new OptionError(`native: unknown option "${name}". It takes ${KNOWN.join(", ")}.`);
  }
  const { threads, maxBytes, async: later, matmulPrecision } = options;
  if (matmulPrecision !== undefined && matmulPrecision !== "f32" && matmulPrecision !== "bf16") {
    throw new OptionError(
      `native: matmulPrecision must be "f32" or "bf16", got ${JSON.stringify(matmulPrecision) ?? String(matmulPrecision)}.`,
    );
  }
  if (later !== undefined && typeof later !== "boolean") {
    throw new OptionError(`native: async must be true or false, got ${String(later)}.`);
  }
  if (threads !== undefined && !(Number.isInteger(threads) && threads >= 1 && threads <= MOST_THREADS)) {
    throw new OptionError(
      `native: threads must be a whole number from 1 to ${MOST_THREADS}, got ${String(threads)}.`,
    );
  }
  if (maxBytes !== undefined && !(typeof maxBytes === "number" && maxBytes > 0)) {
    throw new OptionError(`native: maxBytes must be a number above 0, got ${String(maxBytes)}.`);
  }
}

import { OptionError } from "@nf/core";

/** Options of the native backend. */
export interface NativeOptions {
  /**
   * Threads that kernels run on, the calling one included; default: as many as the machine has cores. Results are the
   * same bits for any number. The pool is one for the whole process: its first backend starts it, with at least 8 threads,
   * and no later one can have more.
   */
  readonly threads?: number;
  /** Most bytes that all live buffers together may take; default: what the machine gives. */
  readonly maxBytes?: number;
}

const KNOWN: readonly string[] = ["threads", "maxBytes"] satisfies readonly (keyof NativeOptions)[];

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
  const { threads, maxBytes } = options;
  if (threads !== undefined && !(Number.isInteger(threads) && threads >= 1 && threads <= MOST_THREADS)) {
    throw new OptionError(
      `native: threads must be a whole number from 1 to ${MOST_THREADS}, got ${String(threads)}.`,
    );
  }
  if (maxBytes !== undefined && !(typeof maxBytes === "number" && maxBytes > 0)) {
    throw new OptionError(`native: maxBytes must be a number above 0, got ${String(maxBytes)}.`);
  }
}

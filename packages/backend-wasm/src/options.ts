import { OptionError } from "@nf/core";

/** Options of the WASM backend. */
export interface WasmOptions {
  /**
   * Threads that kernels run on, this one included; default: as many as the machine has cores, at most 8. Results are
   * the same bits for any number. Where shared memory is missing there is one thread, and a line in the log says why.
   */
  readonly threads?: number;
  /** Most bytes that all live buffers together may take; default: what 4 GiB of memory leave. */
  readonly maxBytes?: number;
  /**
   * Whether to use relaxed SIMD, whose fused multiply-add is faster where a processor has it: `true`, `false`, or
   * wherever the engine knows it (`"auto"`, the default).
   */
  readonly relaxed?: boolean | "auto";
}

const KNOWN: readonly string[] = ["threads", "maxBytes", "relaxed"] satisfies readonly (keyof WasmOptions)[];

/** Most threads that can be asked for. */
export const MOST_THREADS = 64;

/** Refuses options that do not exist or are out of their domain. */
export function checkOptions(options: WasmOptions): void {
  if (typeof options !== "object" || options === null) {
    throw new OptionError(`wasm: options must be an object, got ${String(options)}.`);
  }
  for (const name of Object.keys(options)) {
    if (!KNOWN.includes(name))
      throw new OptionError(`wasm: unknown option "${name}". It takes ${KNOWN.join(", ")}.`);
  }
  const { threads, maxBytes, relaxed } = options;
  if (threads !== undefined && !(Number.isInteger(threads) && threads >= 1 && threads <= MOST_THREADS)) {
    throw new OptionError(
      `wasm: threads must be a whole number from 1 to ${MOST_THREADS}, got ${String(threads)}.`,
    );
  }
  if (maxBytes !== undefined && !(typeof maxBytes === "number" && maxBytes > 0)) {
    throw new OptionError(`wasm: maxBytes must be a number above 0, got ${String(maxBytes)}.`);
  }
  if (relaxed !== undefined && typeof relaxed !== "boolean" && relaxed !== "auto") {
    throw new OptionError(`wasm: relaxed must be true, false or "auto", got ${JSON.stringify(relaxed)}.`);
  }
}

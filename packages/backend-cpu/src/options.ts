import { OptionError } from "@nf/core";

/** Options of the cpu backend. */
export interface CpuOptions {
  /**
   * Whether scalar programs become JavaScript functions (`true`), are interpreted (`false`), or whichever works here
   * (`"auto"`, the default): a Content-Security-Policy without `unsafe-eval` forbids generated code.
   */
  readonly codegen?: boolean | "auto";
  /** Most bytes that all live buffers together may take; default: as much as the engine gives. */
  readonly maxBytes?: number;
}

const KNOWN: readonly string[] = ["codegen", "maxBytes"] satisfies readonly (keyof CpuOptions)[];

/** Refuses options that do not exist or are out of their domain. */
export function checkOptions(options: CpuOptions): void {
  if (typeof options !== "object" || options === null) {
    throw new OptionError(`cpu: options must be an object, got ${String(options)}.`);
  }
  for (const name of Object.keys(options)) {
    if (!KNOWN.includes(name))
      throw new OptionError(`cpu: unknown option "${name}". It takes ${KNOWN.join(", ")}.`);
  }
  const { codegen, maxBytes } = options;
  if (codegen !== undefined && typeof codegen !== "boolean" && codegen !== "auto") {
    throw new OptionError(`cpu: codegen must be true, false or "auto", got ${JSON.stringify(codegen)}.`);
  }
  if (maxBytes !== undefined && !(typeof maxBytes === "number" && maxBytes > 0)) {
    throw new OptionError(`cpu: maxBytes must be a number above 0, got ${String(maxBytes)}.`);
  }
}

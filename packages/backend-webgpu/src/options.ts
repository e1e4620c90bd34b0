import { OptionError } from "@nf/core";
import { ADAPTER_CLASSES, type AdapterClass } from "./adapterClass.ts";

/** Options of the WebGPU backend. */
export interface WebgpuOptions {
  /** Which adapter to ask for where there are several; default: what the system prefers. */
  readonly powerPreference?: "low-power" | "high-performance";
  /** Most bytes that all live buffers together may take; default: no limit but the device's. */
  readonly maxBytes?: number;
  /**
   * What kind of hardware kernels are chosen for; default: what the adapter says of itself. All compute the same, at
   * different speed.
   */
  readonly adapterClass?: AdapterClass;
}

const KNOWN: readonly string[] = [
  "powerPreference",
  "maxBytes",
  "adapterClass",
] satisfies readonly (keyof WebgpuOptions)[];

/** Refuses options that do not exist or are out of their domain. */
export function checkOptions(options: WebgpuOptions): void {
  if (typeof options !== "object" || options === null)
    throw new OptionError(`webgpu: options must be an object, got ${String(options)}.`);
  for (const name of Object.keys(options)) {
    if (!KNOWN.includes(name))
      throw new OptionError(`webgpu: unknown option "${name}". It takes ${KNOWN.join(", ")}.`);
  }
  const { powerPreference, maxBytes, adapterClass } = options;
  if (
    powerPreference !== undefined &&
    powerPreference !== "low-power" &&
    powerPreference !== "high-performance"
  ) {
    throw new OptionError(
      `webgpu: powerPreference must be "low-power" or "high-performance", got ${JSON.stringify(powerPreference)}.`,
    );
  }
  if (maxBytes !== undefined && !(typeof maxBytes === "number" && maxBytes > 0))
    throw new OptionError(`webgpu: maxBytes must be a number above 0, got ${String(maxBytes)}.`);
  if (adapterClass !== undefined && !ADAPTER_CLASSES.includes(adapterClass)) {
    throw new OptionError(
      `webgpu: adapterClass must be one of ${ADAPTER_CLASSES.join(", ")}, got ${JSON.stringify(adapterClass)}.`,
    );
  }
}

import type { Backend } from "@nf/core";
import { UsageError } from "./errors.ts";

const messageOf = (error: unknown): string => (error instanceof Error ? error.message : String(error));

/**
 * Opens a backend by its short name (`wasm`) or its package's.
 *
 * @param threads of its kernels; its own choice when undefined
 * @throws UsageError where it cannot be loaded or does not start, saying why and what to do
 */
export async function openBackend(name: string, threads: number | undefined): Promise<Backend> {
  const packageName = /^[a-z0-9]+$/.test(name) ? `@nf/backend-${name}` : name;
  let module: { createBackend?: (options: object) => Promise<Backend> };
  try {
    module = await import(packageName);
  } catch (error) {
    throw new UsageError(
      `The backend ${name} cannot be loaded: there is no working package ${packageName} here. Install it, or choose ` +
        `another with --backend, such as wasm or cpu. (${messageOf(error)})`,
      { cause: error },
    );
  }
  if (typeof module.createBackend !== "function")
    throw new UsageError(`The package ${packageName} is no backend: it does not export createBackend.`);
  try {
    return await module.createBackend(threads === undefined ? {} : { threads });
  } catch (error) {
    throw new UsageError(`The backend ${name} does not start here: ${messageOf(error)}`, { cause: error });
  }
}

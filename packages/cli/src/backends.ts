import { createRequire } from "node:module";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import type { Backend } from "@nf/core";
import { CliError, messageOf, UsageError } from "./errors.ts";
import { orList } from "./format.ts";
import type { ImportModule } from "./io.ts";

/** Backends that have a short name: `cpu` stands for the package `@nf/backend-cpu`. */
export const SHORT_NAMES = ["native", "wasm", "cpu", "webgpu"] as const;

/**
 * What is tried in turn when no backend is asked for. wasm comes first because it is the same everywhere, where native depends on
 * what was built on the machine. A GPU is used when asked for.
 */
const PREFERRED: readonly string[] = ["wasm", "native", "cpu"];

/**
 * The same for commands that write texts: there speed is what a user waits for, nothing that is kept depends on the backend, and
 * who installed native has what was built for this machine.
 */
export const FASTEST: readonly string[] = ["native", "wasm", "cpu"];

const PACKAGE_NAME = /^(?:@[a-z0-9~-][a-z0-9._~-]*\/)?[a-z0-9~-][a-z0-9._~-]*$/;
const isShortName = (name: string): boolean => SHORT_NAMES.some((known) => known === name);

/** How a backend was found, for `nf backends`. */
export interface BackendReport {
  readonly name: string;
  readonly package: string;
  readonly available: boolean;
  /** Why it is not available, and what to do. */
  readonly reason?: string;
  /** Threads that its kernels use. */
  readonly threads?: number;
  /** Dtypes of elementwise kernels. */
  readonly dtypes?: readonly string[];
  /** What it says of the hardware that it found: a GPU's vendor, limits and features. */
  readonly description?: string;
}

/** Whether an import failed because something to import is not there. */
function isNotFound(error: unknown): boolean {
  const code = error instanceof Error && "code" in error ? error.code : undefined;
  return code === "ERR_MODULE_NOT_FOUND" || code === "MODULE_NOT_FOUND";
}

/** Whether an import failed because this very package is absent, rather than something that it needs. */
function isMissing(error: unknown, name: string): boolean {
  return isNotFound(error) && messageOf(error).includes(`'${name}'`);
}

/**
 * Imports packages as installed beside this one or, failing that, in the project of `cwd`: a global `nf` finds the
 * backends of the project it is used in.
 *
 * @returns a function that gives the module, or `undefined` where the package is not installed
 */
export function importerFrom(cwd: string): ImportModule {
  return async (name) => {
    try {
      return await import(name);
    } catch (error) {
      if (!isMissing(error, name)) throw error;
    }
    let path: string;
    try {
      path = createRequire(join(cwd, "package.json")).resolve(name);
    } catch (error) {
      if (isMissing(error, name)) return undefined;
      throw error;
    }
    return import(pathToFileURL(path).href);
  };
}

/**
 * The package that a value of `--backend` means.
 *
 * @throws UsageError for what can be neither a short name nor the name of a package
 */
export function packageOf(name: string): string {
  if (isShortName(name)) return `@nf/backend-${name}`;
  if (!PACKAGE_NAME.test(name)) throw new UsageError(unknownBackend(name));
  return name;
}

const unknownBackend = (name: string): string =>
  `There is no backend "${name}". Choose ${orList(SHORT_NAMES)}, or name an installed package that exports createBackend: one beside nf, or of the project in whose folder nf is run.`;

function isBackend(value: unknown): value is Backend {
  return (
    typeof value === "object" &&
    value !== null &&
    "name" in value &&
    typeof value.name === "string" &&
    "capabilities" in value &&
    "execute" in value &&
    typeof value.execute === "function" &&
    // Whoever opens one also ends it.
    "dispose" in value &&
    typeof value.dispose === "function"
  );
}

/** The backend's factory: own packages export it as `createBackend`, and so does any other. */
function factoryOf(module: unknown, packageName: string): (options?: object) => unknown {
  if (typeof module === "object" && module !== null && "createBackend" in module) {
    const { createBackend } = module;
    if (typeof createBackend === "function")
      return (options) => (options === undefined ? createBackend() : createBackend(options));
  }
  throw new UsageError(
    `The package ${packageName} is no backend: it does not export the function createBackend.`,
  );
}

/** Makes backends of one package, as many as wanted, with options of its own where given. */
export type BackendFactory = (options?: object) => Promise<Backend>;

/**
 * Finds a backend's package by short name or package name. The factory rejects with a CliError where the backend does
 * not start.
 *
 * @throws UsageError for a name that means nothing; CliError for a backend that is not installed, saying what to do
 */
export async function findBackend(name: string, importModule: ImportModule): Promise<BackendFactory> {
  const packageName = packageOf(name);
  let module: unknown;
  try {
    module = await importModule(packageName);
  } catch (error) {
    const hint = isNotFound(error) ? " A package in development must be built before it can be loaded." : "";
    throw new CliError(`The backend package ${packageName} cannot be loaded: ${messageOf(error)}${hint}`, {
      cause: error,
    });
  }
  if (module === undefined) {
    if (!isShortName(name)) throw new UsageError(unknownBackend(name));
    throw new CliError(`The backend "${name}" is not installed: npm install ${packageName}`);
  }
  const create = factoryOf(module, packageName);
  return async (options) => {
    let backend: unknown;
    try {
      backend = await create(options);
    } catch (error) {
      throw new CliError(`The backend "${name}" does not start here: ${messageOf(error)}`, { cause: error });
    }
    if (!isBackend(backend)) {
      throw new UsageError(`The package ${packageName} is no backend: createBackend() gave something else.`);
    }
    return backend;
  };
}

/**
 * Opens a backend by short name or package name.
 *
 * @throws UsageError for a name that means nothing; CliError for a backend that is not installed or does not start,
 * saying what to do
 */
export async function openBackend(name: string, importModule: ImportModule): Promise<Backend> {
  return (await findBackend(name, importModule))();
}

/**
 * Opens the first backend that works here.
 *
 * @param passed is told of each better backend that is installed and does not work
 * @param order short names, the best first; default wasm, native, cpu
 * @throws CliError when none does
 */
export async function openBestBackend(
  importModule: ImportModule,
  passed: (note: string) => void,
  order: readonly string[] = PREFERRED,
): Promise<Backend> {
  for (const name of order) {
    if ((await importOrUndefined(name, importModule)) === undefined) continue;
    try {
      return await openBackend(name, importModule);
    } catch (error) {
      passed(messageOf(error));
    }
  }
  throw new CliError("No backend is available. Install one: npm install @nf/backend-cpu");
}

/** The module, or `undefined` when it is not installed; one that fails to load counts as installed. */
async function importOrUndefined(name: string, importModule: ImportModule): Promise<unknown> {
  try {
    return await importModule(packageOf(name));
  } catch (error) {
    return error;
  }
}

/** Tries every backend that has a short name, one after the other, and closes it again. */
export async function probeBackends(importModule: ImportModule): Promise<readonly BackendReport[]> {
  const reports: BackendReport[] = [];
  for (const name of SHORT_NAMES) {
    const found = { name, package: packageOf(name) };
    try {
      const backend = await openBackend(name, importModule);
      const { description } = backend;
      const { threads, dtypes } = backend.capabilities;
      reports.push({
        ...found,
        available: true,
        threads,
        dtypes: dtypes.map,
        ...(description !== undefined && { description }),
      });
      await backend.dispose();
    } catch (error) {
      reports.push({ ...found, available: false, reason: messageOf(error) });
    }
  }
  return reports;
}

/** Name of the backend that is used when none is asked for, if there is one. */
export function defaultBackend(
  reports: readonly BackendReport[],
  order: readonly string[] = PREFERRED,
): string | undefined {
  return order.find((name) => reports.some((report) => report.name === name && report.available));
}

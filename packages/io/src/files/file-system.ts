import { BackendError } from "@nf/core";

type FileSystem = typeof import("node:fs/promises");

/**
 * Node's file system. Fetched from the running process instead of imported, so that the package bundles for browsers,
 * where files come as bytes or as a `Blob`.
 */
export function fileSystem(): FileSystem {
  const found = globalThis.process?.getBuiltinModule?.("node:fs/promises");
  if (found === undefined) {
    throw new BackendError(
      "Paths can be read in Node only. Pass the file's bytes or a Blob instead.",
      "NF_UNSUPPORTED",
    );
  }
  return found;
}

/** A path below a folder. Node takes forward slashes on every system. */
export function joinPath(folder: string, name: string): string {
  return /[\\/]$/.test(folder) ? folder + name : `${folder}/${name}`;
}

/** Names in a folder; undefined if the path is no folder. */
export async function namesIn(path: string): Promise<readonly string[] | undefined> {
  const { stat, readdir } = fileSystem();
  const status = await stat(path).catch(() => undefined);
  return status?.isDirectory() === true ? (await readdir(path)).sort() : undefined;
}

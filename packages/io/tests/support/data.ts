import { existsSync } from "node:fs";
import { join } from "node:path";

const root = process.env["NF_DATA_DIR"];

/** The folder of a data set below NF_DATA_DIR; undefined, with a line that says so, where it is absent. */
export function dataFolder(name: string): string | undefined {
  const folder = root === undefined ? undefined : join(root, name);
  if (folder !== undefined && existsSync(folder)) return folder;
  console.log(`skipped: NF_DATA_DIR (${root ?? "not set"}) has no folder ${name}`);
  return undefined;
}

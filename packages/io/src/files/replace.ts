import { fileSystem } from "./file-system.ts";

let made = 0;

/**
 * Writes a file beside its place and moves it there, so that the old or the new one is found under the name, whatever
 * happens. `write` gets the path to write to, and syncs what it wrote.
 */
export async function replaceFile(path: string, write: (part: string) => Promise<void>): Promise<void> {
  const { open, rename, rm } = fileSystem();
  const part = `${path}.${process.pid}.${made++}.part`;
  try {
    await write(part);
    await rename(part, path);
  } catch (error) {
    await rm(part, { force: true });
    throw error;
  }
  // Windows cannot open folders; renaming is durable there.
  if (process.platform === "win32") return;
  const folder = await open(path.replace(/[^/]*$/, "") || ".", "r");
  try {
    await folder.sync();
  } finally {
    await folder.close();
  }
}

import { homedir } from "node:os";
import { join } from "node:path";

/**
 * The folder that downloads are kept in: `NF_CACHE_DIR` if set, else `nanoflux` in the system's folder for caches
 * (`~/.cache`, `~/Library/Caches`, `%LOCALAPPDATA%`).
 */
export function defaultCacheFolder(): string {
  const { env, platform } = process;
  if (env["NF_CACHE_DIR"]) return env["NF_CACHE_DIR"];
  if (platform === "win32")
    return join(env["LOCALAPPDATA"] ?? join(homedir(), "AppData", "Local"), "nanoflux", "Cache");
  if (platform === "darwin") return join(homedir(), "Library", "Caches", "nanoflux");
  return join(env["XDG_CACHE_HOME"] || join(homedir(), ".cache"), "nanoflux");
}

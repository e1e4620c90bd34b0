// Whether Rust is here: the native backend is compiled where it is.
import { spawnSync } from "node:child_process";
import { homedir } from "node:os";
import { join } from "node:path";

/** Where cargo is, on the path or where rustup puts it, and what it says of itself; undefined where it is in neither place. */
function look() {
  for (const cargo of ["cargo", join(homedir(), ".cargo", "bin", "cargo")]) {
    const { status, stdout } = spawnSync(cargo, ["--version"], { encoding: "utf8" });
    if (status === 0) return { cargo, version: stdout.trim() };
  }
  return undefined;
}

/** The command cargo, or undefined where there is none. */
export const findCargo = () => look()?.cargo;

/** `cargo 1.95.0 …`, or "" where there is none. */
export const cargoVersion = () => look()?.version ?? "";

/** For turbo: a build without Rust must not be taken from the cache once there is one. */
export const cargoEnv = () => ({ NF_CARGO: cargoVersion() });

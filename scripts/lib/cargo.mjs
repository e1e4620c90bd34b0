// Whether Rust is here: the native backend is compiled where it is.
import { spawnSync } from "node:child_process";
import { homedir } from "node:os";
import { join } from "node:path";

/** `cargo 1.95.0 …`, or "" where there is none, neither on the path nor where rustup puts it. */
export function cargoVersion() {
  for (const cargo of ["cargo", join(homedir(), ".cargo", "bin", "cargo")]) {
    const { status, stdout } = spawnSync(cargo, ["--version"], { encoding: "utf8" });
    if (status === 0) return stdout.trim();
  }
  return "";
}

/** For turbo: a build without Rust must not be taken from the cache once there is one. */
export const cargoEnv = () => ({ NF_CARGO: cargoVersion() });

// Compiles the crates into binaries/, for the platform at hand. Without cargo it says so in one line and succeeds: the rest
// of the workspace does not need it. With NF_NATIVE=required (the release does that) it fails instead.
import { spawnSync } from "node:child_process";
import { copyFileSync, existsSync, mkdirSync, renameSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import { findCargo } from "../../../scripts/lib/cargo.mjs";

const folder = dirname(dirname(fileURLToPath(import.meta.url)));

/** The name that src/binding.ts looks for. */
export function platformName() {
  const { platform, arch } = process;
  const musl = process.report.getReport().header.glibcVersionRuntime === undefined;
  if (platform === "linux") return `${platform}-${arch}-${musl ? "musl" : "gnu"}`;
  if (platform === "win32") return `${platform}-${arch}-msvc`;
  return `${platform}-${arch}`;
}

/** What cargo calls the module. */
export const LIBRARY = {
  linux: "libnanoflux_binding.so",
  darwin: "libnanoflux_binding.dylib",
  win32: "nanoflux_binding.dll",
};

function build() {
  const cargo = findCargo();
  if (cargo === undefined) {
    console.log("backend-native: cargo is not installed, so no binary is built (https://rustup.rs has it).");
    return process.env["NF_NATIVE"] === "required" ? 1 : 0;
  }
  const began = performance.now();
  const { status, stderr } = spawnSync(cargo, ["build", "--release", "--locked", "-p", "nanoflux-binding"], {
    cwd: folder,
    encoding: "utf8",
    env: { ...process.env, CARGO_TERM_COLOR: "never", CARGO_TARGET_DIR: join(folder, "target") },
  });
  if (status !== 0) {
    process.stderr.write(stderr);
    return 1;
  }
  const made = join(folder, "target", "release", LIBRARY[process.platform] ?? LIBRARY.linux);
  if (!existsSync(made)) {
    console.error(`backend-native: cargo made no ${made}`);
    return 1;
  }
  const to = join(folder, "binaries", `nanoflux.${platformName()}.node`);
  mkdirSync(dirname(to), { recursive: true });
  // A process that has the old binary open keeps it: the new one takes its place as a whole.
  copyFileSync(made, `${to}.new`);
  renameSync(`${to}.new`, to);
  console.log(`backend-native: compiled in ${((performance.now() - began) / 1000).toFixed(1)} s`);
  return 0;
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? "").href) process.exitCode = build();

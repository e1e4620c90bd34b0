// The unsafe Rust under AddressSanitizer: the crates' own tests, then kernels, calls and queues from Node, which say what
// they were given and compare what comes out. Prints one line for each, `skipped` with the reason where the machine lacks
// something. Compiles everything anew: for the nightly run. Names of parts (`crates`, `calls`, …) run these alone.
import { spawnSync } from "node:child_process";
import { copyFileSync, existsSync, mkdirSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import { findCargo } from "../../../scripts/lib/cargo.mjs";
import { LIBRARY, platformName } from "./build-native.mjs";

const folder = dirname(dirname(fileURLToPath(import.meta.url)));
const root = dirname(dirname(folder));
const work = join(folder, "target", "asan");

/** Requests beyond all memory must fail, as they do without the sanitizer; what a process holds at its end is no leak. */
const OPTIONS = "allocator_may_return_null=1:detect_leaks=0";

/** What is run from Node: each test that hands memory to kernels, under few examples. */
const TESTS = ["calls", "programs", "backend", "async", "pin", "conformance"];

/** Longest that one command may take: one that hangs fails, and says so. */
const LONGEST_MS = 30 * 60_000;

function capture(command, args) {
  const { status, stdout } = spawnSync(command, args, { encoding: "utf8" });
  return status === 0 ? stdout.trim() : undefined;
}

/** How to compile with the sanitizer, or why that cannot be. */
export function toolchain() {
  const cargo = findCargo();
  if (cargo === undefined) return { reason: "cargo is not installed" };
  const rustc = process.env["RUSTC"] ?? cargo.replace(/cargo$/, "rustc");
  const target = /^host: (.*)$/m.exec(capture(rustc, ["-vV"]) ?? "")?.[1];
  const libraries = capture(rustc, ["--print", "target-libdir"]);
  if (target === undefined || libraries === undefined)
    return { reason: "rustc is not installed beside cargo" };
  // The sanitizer is an unstable option of every compiler; its runtime comes with those that were built with it.
  const runtimes = [
    "librustc-stable_rt.asan.a",
    "librustc-nightly_rt.asan.a",
    "librustc-stable_rt.asan.dylib",
  ];
  if (!runtimes.some((name) => existsSync(join(libraries, name))))
    return { reason: `this Rust has no AddressSanitizer for ${target}` };
  const env = {
    ...process.env,
    RUSTC_BOOTSTRAP: "1",
    RUSTFLAGS: "-Zsanitizer=address",
    CARGO_TARGET_DIR: work,
    CARGO_TERM_COLOR: "never",
    ASAN_OPTIONS: OPTIONS,
  };
  return { cargo, target, env };
}

/** Runs a command; what it says is shown where it fails. */
function must(name, command, args, options) {
  const began = performance.now();
  const { status, signal, stdout, stderr } = spawnSync(command, args, {
    encoding: "utf8",
    maxBuffer: 1 << 28,
    timeout: LONGEST_MS,
    killSignal: "SIGKILL",
    ...options,
  });
  if (status !== 0) {
    const after = `after ${((performance.now() - began) / 1000).toFixed(0)} s`;
    process.stdout.write(`${stdout}\n${stderr}\n${name}: failed (${signal ?? status}) ${after}\n`);
    return undefined;
  }
  return { stdout, stderr, seconds: ((performance.now() - began) / 1000).toFixed(0) };
}

/** The crates' tests. */
function crates({ cargo, target, env }) {
  const args = ["test", "--locked", "-p", "nanoflux-kernels", "--target", target];
  const done = must("cargo test", cargo, args, { cwd: folder, env });
  if (done === undefined) return false;
  const passed = [...done.stdout.matchAll(/test result: ok\. (\d+) passed/g)];
  const sum = passed.reduce((total, [, count]) => total + Number(count), 0);
  console.log(`cargo test: ${sum} passed, ${done.seconds} s`);
  return true;
}

/** The runtime that a process loads which was not compiled with the sanitizer itself: GCC's speaks the same language. */
function runtime() {
  const path = process.platform === "linux" ? capture("gcc", ["-print-file-name=libasan.so"]) : undefined;
  return path?.startsWith("/") === true && existsSync(path) ? path : undefined;
}

/** The module in Node, under some of the tests. */
function module({ cargo, target, env }, names) {
  const library = runtime();
  if (library === undefined) {
    console.log("in Node: skipped, there is no libasan.so (it comes with gcc on Linux)");
    return true;
  }
  const args = ["build", "--release", "--locked", "-p", "nanoflux-binding", "--target", target];
  // With the names and lines that a report shows.
  const named = {
    ...env,
    CARGO_PROFILE_RELEASE_STRIP: "none",
    CARGO_PROFILE_RELEASE_DEBUG: "line-tables-only",
  };
  if (must("cargo build", cargo, args, { cwd: folder, env: named }) === undefined) return false;
  const made = join(work, "node", `nanoflux.${platformName()}.node`);
  mkdirSync(dirname(made), { recursive: true });
  copyFileSync(join(work, target, "release", LIBRARY[process.platform]), made);
  // The package looks for its own binary; here this one takes its place.
  const hook = join(work, "node", "hook.cjs");
  writeFileSync(
    hook,
    `const Module = require("node:module");
const resolve = Module._resolveFilename;
Module._resolveFilename = function (request, ...rest) {
  return request.endsWith(".node") && request.includes("nanoflux.") ? ${JSON.stringify(made)} : resolve.call(this, request, ...rest);
};
`,
  );
  const require = createRequire(join(root, "package.json"));
  const vitest = join(dirname(require.resolve("vitest/package.json")), "vitest.mjs");
  const tests = names.map((name) => `packages/backend-native/tests/${name}.test.ts`);
  const run = ["run", ...tests, "--testTimeout=600000", "--maxWorkers=1", "--reporter=dot"];
  const nodeEnv = {
    ...process.env,
    LD_PRELOAD: library,
    ASAN_OPTIONS: OPTIONS,
    NODE_OPTIONS: `--require ${hook}`,
    NO_COLOR: "1",
    FORCE_COLOR: "0",
    NF_SANITIZED: "1",
    NF_NIGHTLY: "0",
    NF_NATIVE: "required",
  };
  const done = must("in Node", process.execPath, [vitest, ...run], { cwd: root, env: nodeEnv });
  if (done === undefined) return false;
  console.log(`in Node: ${/Tests\D*(\d+ passed)/.exec(done.stdout)?.[1]}, ${done.seconds} s`);
  return true;
}

function sanitize(names) {
  const all = ["crates", ...TESTS];
  const unknown = names.find((name) => !all.includes(name));
  if (unknown !== undefined) {
    console.error(`sanitize: there is no part ${unknown}; there are ${all.join(", ")}.`);
    return false;
  }
  const tools = toolchain();
  if (tools.reason !== undefined) {
    console.log(`AddressSanitizer: skipped, ${tools.reason}`);
    return true;
  }
  const wanted = names.length === 0 ? all : all.filter((name) => names.includes(name));
  const tests = wanted.filter((name) => name !== "crates");
  if (wanted.includes("crates") && !crates(tools)) return false;
  return tests.length === 0 || module(tools, tests);
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? "").href) {
  process.exitCode = sanitize(process.argv.slice(2)) ? 0 : 1;
}

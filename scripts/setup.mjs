// Makes a fresh checkout ready: dependencies, then the build. Needs Node and npm; does nothing the second time.
//
// Progress goes to standard error, so that commands which set up first keep standard output to themselves.
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { pathToFileURL } from "node:url";
import { cargoEnv, cargoVersion } from "./lib/cargo.mjs";
import { run, seconds } from "./lib/process.mjs";
import { filesUnder, fingerprint, packages, pnpmVersion, root } from "./lib/workspace.mjs";

const OLDEST_NODE = [20, 19];
const stampFile = join(root, "node_modules", ".cache", "nanoflux", "setup.json");

const say = (line) => process.stderr.write(`setup  ${line}\n`);

function checkNode() {
  const [major, minor] = process.versions.node.split(".").map(Number);
  if (major < OLDEST_NODE[0] || (major === OLDEST_NODE[0] && minor < OLDEST_NODE[1])) {
    throw new Error(`NanoFlux needs Node ${OLDEST_NODE.join(".")} or newer; this is ${process.version}.`);
  }
}

function readStamp() {
  try {
    return JSON.parse(readFileSync(stampFile, "utf8"));
  } catch {
    return {}; // missing or damaged: everything is done again
  }
}

function writeStamp(change) {
  mkdirSync(dirname(stampFile), { recursive: true });
  writeFileSync(stampFile, `${JSON.stringify({ ...readStamp(), ...change }, null, 2)}\n`);
}

/** Folders of the examples, which are installed and built with the packages. */
function examples() {
  const parent = join(root, "examples");
  return readdirSync(parent)
    .map((name) => join(parent, name))
    .filter((folder) => existsSync(join(folder, "package.json")))
    .sort();
}

function dependencyFingerprint() {
  const manifests = [root, ...packages().map(({ folder }) => folder), ...examples()].map((folder) =>
    join(folder, "package.json"),
  );
  const files = [...manifests, join(root, "pnpm-lock.yaml"), join(root, "pnpm-workspace.yaml")];
  return fingerprint(files.filter(existsSync), process.platform, process.arch);
}

function sourceFingerprint() {
  const files = [
    join(root, "tsconfig.base.json"),
    join(root, "turbo.json"),
    ...filesUnder(join(root, "types")),
  ];
  for (const folder of examples())
    files.push(
      ...filesUnder(join(folder, "src")),
      join(folder, "package.json"),
      join(folder, "tsconfig.json"),
    );
  for (const { folder } of packages()) {
    for (const sources of ["src", "c", "crates", "scripts"]) files.push(...filesUnder(join(folder, sources)));
    const manifests = ["package.json", "tsconfig.json", "tsconfig.build.json", "Cargo.toml", "Cargo.lock"];
    files.push(...manifests.map((name) => join(folder, name)));
  }
  // Once Rust is installed, what it compiles is missing.
  return fingerprint(files.filter(existsSync), process.platform, process.arch, cargoVersion());
}

/** Every package's JavaScript, the WebAssembly modules of those that ship some, and what the examples run. */
const isBuilt = () =>
  examples().every((folder) => existsSync(join(folder, "dist"))) &&
  packages().every(({ folder, manifest }) =>
    [join("dist", "index.js"), ...manifest.files.filter((name) => name === "wasm")].every((name) =>
      existsSync(join(folder, name)),
    ),
  );

/** One stage: skipped when its fingerprint is unchanged, else run, timed and remembered. */
async function stage({ key, title, mark, stillThere, quiet, work, hint }) {
  if (readStamp()[key] === mark && stillThere()) {
    if (!quiet) say(`${title}: up to date`);
    return;
  }
  say(`${title}: started …`);
  const { code, output, milliseconds } = await work();
  if (code !== 0) {
    process.stderr.write(output);
    throw new Error(`${title} failed after ${seconds(milliseconds)} (exit code ${code}). ${hint}`);
  }
  writeStamp({ [key]: mark });
  say(`${title}: done in ${seconds(milliseconds)}`);
}

/**
 * Installs and builds what is out of date.
 *
 * @param options `quiet`: no lines when there is nothing to do
 */
export async function setup({ quiet = false } = {}) {
  checkNode();
  const pnpm = [`--yes`, `pnpm@${pnpmVersion()}`];
  await stage({
    key: "dependencies",
    title: `dependencies (pnpm ${pnpmVersion()}, frozen lockfile)`,
    mark: dependencyFingerprint(),
    stillThere: () => existsSync(join(root, "node_modules", ".modules.yaml")),
    quiet,
    work: () => run("npx", [...pnpm, "install", "--frozen-lockfile"], { env: { CI: "true" } }),
    hint: `If a package.json was changed, update the lockfile: npx ${pnpm.join(" ")} install`,
  });
  await stage({
    key: "build",
    title: `build of ${packages().length} packages`,
    mark: sourceFingerprint(),
    stillThere: isBuilt,
    quiet,
    work: () =>
      run("npx", [...pnpm, "exec", "turbo", "run", "build", "--output-logs=errors-only"], {
        env: cargoEnv(),
      }),
    hint: "The compiler's messages are above.",
  });
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? "").href) {
  try {
    await setup();
  } catch (error) {
    say(error.message);
    process.exitCode = 1;
  }
}

// The packages as they are published: one a platform with its binary, and the main one that asks for them.
//
//   node scripts/pack.mjs --out FOLDER [--binaries FOLDER] [--all] [--try]
//
// --binaries: where the binaries lie, default binaries/; --all: a platform without one is an error, else it is left out;
// --try: installs what was packed into an empty folder, and computes with it. `--published` alone asks the registry whether
// all platforms' packages of this version are there: the main one must not come before them.
import { spawnSync } from "node:child_process";
import {
  copyFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  realpathSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join, resolve } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import { parseArgs } from "node:util";
import { platformName } from "./build-native.mjs";

const folder = dirname(dirname(fileURLToPath(import.meta.url)));
const root = dirname(dirname(folder));
const readJson = (path) => JSON.parse(readFileSync(path, "utf8"));
const { version } = readJson(join(folder, "package.json"));
// Beside the packages a system may have put files of its own.
const platforms = readdirSync(join(folder, "npm"))
  .filter((name) => existsSync(join(folder, "npm", name, "package.json")))
  .sort();

function run(command, args, options = {}) {
  const { status, stdout, stderr, error } = spawnSync(command, args, {
    encoding: "utf8",
    // npm and npx are scripts on Windows, which only a shell can start.
    shell: process.platform === "win32" && command !== process.execPath,
    ...options,
  });
  if (status !== 0)
    throw new Error(
      `${command} ${args.join(" ")} failed (${error?.message ?? status}):\n${stdout}\n${stderr}`,
    );
  return stdout;
}

/** Lays out the package of a platform, and packs it. */
function packPlatform(name, binary, out) {
  const from = join(folder, "npm", name);
  const stage = join(out, "stage", name);
  mkdirSync(stage, { recursive: true });
  const manifest = readJson(join(from, "package.json"));
  // The crates that are linked into a binary want their notices beside it.
  const files = [...manifest.files, "THIRD_PARTY_NOTICES.md"];
  writeFileSync(join(stage, "package.json"), `${JSON.stringify({ ...manifest, version, files }, null, 2)}\n`);
  copyFileSync(join(from, "README.md"), join(stage, "README.md"));
  for (const file of ["LICENSE", "THIRD_PARTY_NOTICES.md"]) copyFileSync(join(root, file), join(stage, file));
  copyFileSync(binary, join(stage, manifest.main));
  const [{ filename }] = JSON.parse(
    run("npm", ["pack", "--json", "--pack-destination", out], { cwd: stage }),
  );
  return join(out, filename);
}

/** Packs a package of the workspace as pnpm publishes it (.pnpmfile.cjs has its part in it). */
function packOwn(from, out) {
  const pnpm = readJson(join(root, "package.json")).packageManager;
  const before = new Set(readdirSync(out));
  run("npx", ["--yes", pnpm, "pack", "--pack-destination", out], { cwd: from });
  const made = readdirSync(out).find((name) => name.endsWith(".tgz") && !before.has(name));
  if (made === undefined) throw new Error(`pnpm packed nothing of ${from}`);
  return join(out, made);
}

/** Packs everything; paths of tarballs: of platforms by name, of the main package, of core. */
export function pack({ out, binaries = join(folder, "binaries"), all = false }) {
  mkdirSync(out, { recursive: true });
  for (const name of readdirSync(out)) if (name.endsWith(".tgz")) rmSync(join(out, name));
  const missing = [];
  const packed = {};
  for (const name of platforms) {
    const binary = join(binaries, `nanoflux.${name}.node`);
    if (existsSync(binary)) packed[name] = packPlatform(name, binary, out);
    else missing.push(name);
  }
  rmSync(join(out, "stage"), { recursive: true, force: true });
  if (all && missing.length > 0) throw new Error(`no binary in ${binaries} for ${missing.join(", ")}`);
  return {
    platforms: packed,
    main: packOwn(folder, out),
    core: packOwn(join(root, "packages", "core"), out),
  };
}

const PROGRAM = `
import { native } from "@nf/backend-native";
import { tensor, use } from "@nf/core";
for (const async of [false, true]) {
  const backend = await use(native({ threads: 2, async }));
  const a = tensor([[1, 2], [3, 4]]);
  console.log((await a.matmul(a).data()).join());
  await backend.dispose();
}
console.log(process.report.getReport().sharedObjects.find((path) => path.includes("nanoflux.")));
`;

/** Installs the packages of this machine into an empty folder, without a network, and computes with them. */
export function tryOut({ platforms: packed, main, core }) {
  const own = packed[platformName()];
  if (own === undefined) throw new Error(`there is no binary for ${platformName()}: npm run build`);
  const place = realpathSync(mkdtempSync(join(tmpdir(), "nf-native-")));
  try {
    writeFileSync(
      join(place, "package.json"),
      JSON.stringify({ name: "empty", private: true, type: "module" }),
    );
    const install = ["install", "--offline", "--no-audit", "--no-fund", "--ignore-scripts"];
    run("npm", [...install, core, main, own], { cwd: place });
    writeFileSync(join(place, "program.js"), PROGRAM);
    const lines = run(process.execPath, ["program.js"], { cwd: place }).trim().split("\n");
    const binary = join(place, "node_modules", "@nf", `backend-native-${platformName()}`);
    const fits =
      lines[0] === "7,10,15,22" && lines[1] === lines[0] && realpathSync(lines[2]).startsWith(binary);
    if (!fits) throw new Error(`the installed packages say ${lines.join(" | ")}`);
    return lines;
  } finally {
    rmSync(place, { recursive: true, force: true });
  }
}

/** Platforms' packages of this version that the registry does not have. */
function unpublished() {
  const has = (name) => {
    const known = spawnSync("npm", ["view", `${name}@${version}`, "version"], {
      encoding: "utf8",
      shell: process.platform === "win32",
    });
    return known.status === 0 && known.stdout.trim() === version;
  };
  const names = platforms.map((name) => readJson(join(folder, "npm", name, "package.json")).name);
  return names.filter((name) => !has(name));
}

function main() {
  const { values } = parseArgs({
    options: {
      out: { type: "string" },
      binaries: { type: "string" },
      all: { type: "boolean" },
      try: { type: "boolean" },
      published: { type: "boolean" },
    },
  });
  if (values.published === true) {
    const absent = unpublished();
    if (absent.length === 0) return 0;
    console.error(
      `Not in the registry at ${version}: ${absent.join(", ")}. Run the workflow "native" with "publish", which publishes ` +
        "@nf/backend-native after them.",
    );
    return 1;
  }
  if (values.out === undefined) throw new Error("--out FOLDER is missing");
  const binaries = values.binaries === undefined ? undefined : resolve(values.binaries);
  const packed = pack({ out: resolve(values.out), binaries, all: values.all });
  if (values.try === true) tryOut(packed);
  console.log([...Object.values(packed.platforms), packed.main].join("\n"));
  return 0;
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? "").href) process.exitCode = main();

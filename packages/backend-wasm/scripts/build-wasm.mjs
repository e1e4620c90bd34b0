// Compiles c/*.c with clang from npm into two modules, for plain and for relaxed SIMD: wasm/simd.wasm, and wasm/relaxed.delta,
// which is what differs. Does nothing when they are up to date.
//
//   node scripts/build-wasm.mjs             build
//   node scripts/build-wasm.mjs --check f.c compile these files alone, to see the compiler's messages
//
// c/modules.json records a hash of everything the modules are made of, and hashes of the modules. Sources that the
// record knows must give the recorded modules, byte for byte; changed sources get a new record, which is committed
// with them (under CI, where nobody commits, a record that does not fit is an error).
import { createHash } from "node:crypto";
import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import { makeDelta } from "./delta.mjs";

const folder = dirname(dirname(fileURLToPath(import.meta.url)));
const sources = join(folder, "c");
const target = join(folder, "wasm");
const objects = join(folder, "node_modules", ".cache", "wasm");
const recordFile = join(sources, "modules.json");

const COMPILE = [
  "--target=wasm32-unknown-unknown",
  "-std=c17",
  "-ffreestanding",
  "-nostdlib",
  "-fwrapv",
  "-fno-strict-aliasing",
  "-ffp-contract=off",
  "-fno-math-errno",
  "-fvisibility=hidden",
  "-Wall",
  "-Wextra",
  "-Werror",
  "-Wno-unused-parameter",
  "-Wno-unused-function",
  "-msimd128",
  "-matomics",
  "-mbulk-memory",
  "-mmutable-globals",
  "-mnontrapping-fptoint",
  "-msign-ext",
];
/**
 * Files whose size counts for more than their speed (memory decides there, or nobody waits), and that use nothing of
 * relaxed SIMD: compiled once, for both modules.
 */
const SMALL = [
  "arg_reduce.c",
  "functions.c",
  "gather.c",
  "map.c",
  "matmul.c",
  "pool.c",
  "scan.c",
  "scratch.c",
  "sort.c",
  "view.c",
  "walk.c",
];
const flagsOf = (name, relaxed) => (SMALL.includes(name) ? ["-Os"] : ["-O3", ...relaxed]);
const MODULES = { simd: [], relaxed: ["-mrelaxed-simd", "-DRELAXED=1"] };
const LINK = [
  "--no-entry",
  "--import-memory",
  "--shared-memory",
  "--max-memory=4294967296",
  "--export=__stack_pointer",
  "--export=__heap_base",
  "--export-table",
  "--growable-table",
  "--strip-all",
  "-z",
  "stack-size=2097152",
];

/** Of a file's bytes, as the command sha256sum prints it. */
const sha256 = (bytes) => createHash("sha256").update(bytes).digest("hex");
/** Of several texts or files: where one ends and the next begins counts too. */
const fingerprint = (...parts) => {
  const hash = createHash("sha256");
  for (const part of parts) hash.update(part).update("\0");
  return hash.digest("hex");
};
const read = (name) => readFileSync(join(sources, name));
const names = (ending) =>
  readdirSync(sources)
    .filter((name) => name.endsWith(ending))
    .sort();

function compilerVersion() {
  const manifest = JSON.parse(readFileSync(join(folder, "package.json"), "utf8"));
  return manifest.devDependencies["@yowasp/clang"];
}

async function loadCompiler() {
  // Its messages about its own download are not ours.
  const path = createRequire(join(folder, "package.json")).resolve("@yowasp/clang");
  const { commands, Exit } = await import(pathToFileURL(path).href);
  const run = async (command, args, files) => {
    let messages = "";
    const { log } = console;
    console.log = () => {};
    const collect = (bytes) => {
      if (bytes !== null) messages += Buffer.from(bytes).toString();
    };
    try {
      const tree = await commands[command](args, files, { stdout: collect, stderr: collect });
      return { tree, messages };
    } catch (error) {
      if (error instanceof Exit) throw new Error(`${command} failed:\n${messages}`);
      throw error;
    } finally {
      console.log = log;
    }
  };
  return {
    compile: async (name, flags, files) => {
      const { tree } = await run("clang", [...COMPILE, ...flags, "-Ic", "-c", `c/${name}`, "-o", "out.o"], {
        c: files,
      });
      return tree["out.o"];
    },
    link: async (files) => {
      const { tree } = await run("wasm-ld", [...LINK, ...Object.keys(files).sort(), "-o", "out.wasm"], files);
      return tree["out.wasm"];
    },
  };
}

/** Writes whole files only, so that a reader never sees half of one. */
function write(path, bytes) {
  mkdirSync(dirname(path), { recursive: true });
  const temporary = `${path}.${process.pid}.tmp`;
  writeFileSync(temporary, bytes);
  renameSync(temporary, path);
}

function snapshot() {
  const files = Object.fromEntries([...names(".h"), ...names(".c")].map((name) => [name, read(name)]));
  const headers = names(".h").map((name) => files[name]);
  return { files, headers };
}

const say = (line) => process.stderr.write(`wasm   ${line}\n`);

async function check(wanted) {
  const { files } = snapshot();
  const { compile } = await loadCompiler();
  for (const name of wanted.map((path) => path.split("/").at(-1)))
    for (const [module, flags] of Object.entries(MODULES)) {
      await compile(name, flagsOf(name, flags), files);
      say(`${name} compiles for ${module}`);
    }
}

async function build() {
  const { files, headers } = snapshot();
  const version = compilerVersion();
  const source = fingerprint(
    version,
    JSON.stringify([COMPILE, SMALL, MODULES, LINK]),
    readFileSync(join(folder, "scripts", "delta.mjs")),
    ...Object.entries(files).flat(),
  );
  const record = existsSync(recordFile) ? JSON.parse(readFileSync(recordFile, "utf8")) : {};
  const pathOf = (name) => join(target, name);
  const upToDate =
    record.source === source &&
    Object.entries(record.files).every(
      ([name, hash]) => existsSync(pathOf(name)) && sha256(readFileSync(pathOf(name))) === hash,
    );
  if (upToDate) return;
  if (record.source !== source && process.env.CI && record.source !== undefined && process.env.CI !== "false")
    throw new Error("c/modules.json does not fit the sources: run scripts/build-wasm.mjs and commit it.");

  const started = performance.now();
  let compiler;
  const modules = {};
  const results = {};
  for (const [module, flags] of Object.entries(MODULES)) {
    const linked = {};
    for (const name of names(".c")) {
      const own = flagsOf(name, flags);
      const key = fingerprint(version, JSON.stringify([COMPILE, own]), ...headers, name, files[name]);
      const cached = join(objects, `${key}.o`);
      if (!existsSync(cached)) {
        compiler ??= await loadCompiler();
        write(cached, await compiler.compile(name, own, files));
      }
      linked[name.replace(/\.c$/, ".o")] = readFileSync(cached);
    }
    compiler ??= await loadCompiler();
    const bytes = await compiler.link(linked);
    results[module] = bytes;
    modules[module] = { sha256: sha256(bytes), bytes: bytes.length };
  }
  if (record.source === source && JSON.stringify(record.modules) !== JSON.stringify(modules)) {
    throw new Error(
      `the same sources gave other modules: ${JSON.stringify(modules)} instead of ${JSON.stringify(record.modules)}.`,
    );
  }
  const shipped = { "simd.wasm": results.simd, "relaxed.delta": makeDelta(results.simd, results.relaxed) };
  for (const [name, bytes] of Object.entries(shipped)) write(pathOf(name), bytes);
  const stale = readdirSync(target).filter((name) => !(name in shipped) && !name.endsWith(".tmp"));
  for (const name of stale) rmSync(pathOf(name));
  const hashes = Object.fromEntries(Object.entries(shipped).map(([name, bytes]) => [name, sha256(bytes)]));
  const text = `${JSON.stringify({ compiler: version, source, modules, files: hashes }, null, 2)}\n`;
  if (record.source !== source) write(recordFile, text);
  const sizes = Object.entries(modules).map(([name, { bytes }]) => `${name} ${bytes} bytes`);
  say(`${sizes.join(", ")}, ${((performance.now() - started) / 1000).toFixed(1)} s`);
}

try {
  if (process.argv[2] === "--check") await check(process.argv.slice(3));
  else await build();
} catch (error) {
  say(error.message);
  process.exitCode = 1;
}

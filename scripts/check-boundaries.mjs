// Holds the architecture's rules that no compiler knows:
// dependency arrows between packages, backend names, node-free packages, package manifests, banned text.
//
// Import cycles between files are Biome's (noImportCycles); cycles between packages are found here.
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { filesUnder, packages, readJson, root, shortPath } from "./lib/workspace.mjs";

/** Who may depend on whom, in shipped code: the arrows of docs/internal/workspace.md. */
const ARROWS = {
  core: [],
  "backend-*": ["core"],
  io: ["core"],
  nn: ["core"],
  optim: ["core"],
  data: ["core"],
  models: ["core", "nn", "io"],
  energy: ["core", "nn"],
  train: ["core", "nn", "optim", "data", "io"],
  conformance: ["core", "nn", "optim"],
  cli: "all",
};

/** Must work with any backend, so they name none, not even in a comment or a message. */
const BACKEND_FREE = ["core", "nn", "optim", "data", "models", "io", "train"];
const BACKEND_NAME = /@nf\/backend-[a-z]+|\bbackend-(?:cpu|wasm|webgpu|native)\b/g;

/** Run in browsers too: no static import of a Node module (a dynamic one behind a check is fine). */
const UNIVERSAL = [
  ...["core", "nn", "optim", "models", "energy", "conformance"],
  ...["backend-cpu", "backend-wasm", "backend-webgpu"],
];

const BANNED = [
  { pattern: /\bas unknown as\b/, why: "double cast: narrow the type, or fix the one that is wrong" },
  { pattern: /@ts-(?:ignore|nocheck)\b/, why: "silences the compiler: fix the type" },
  {
    pattern: /\bbiome-ignore\b/,
    why: "silences the linter: fix the code, or discuss the rule in biome.json",
  },
];
const EXPECT_ERROR = /@ts-expect-error\b/;

// Statements only: a message that quotes an import is none.
const IMPORT =
  /^(?:import\b[^;'"]*?\bfrom|import|export\s+(?:type\s+)?(?:\{[^}'"]*\}|\*(?:\s+as\s+\w+)?)\s*from)\s*(["'])([^"'\n]+)\1/gm;
const DYNAMIC_IMPORT = /\bimport\(\s*(["'])([^"'\n]+)\1/g;

const problems = [];
const report = (path, line, message) =>
  problems.push(`${path === "" ? "" : `${shortPath(path)}${line ? `:${line}` : ""}  `}${message}`);

const all = packages();
const shortNames = all.map(({ short }) => short);
const isNf = (name) => name.startsWith("@nf/");
const ruleFor = (short) => ARROWS[short] ?? ARROWS[short.replace(/-.*/, "-*")];
const mayUse = (short, other) => ruleFor(short) === "all" || ruleFor(short)?.includes(other) === true;
const lineOf = (text, index) => text.slice(0, index).split("\n").length;
/** Same length, without comments: an example in TSDoc is not an import, and columns stay right. */
const withoutComments = (text) =>
  text.replace(/\/\*[\s\S]*?\*\/|(?<=^|[\s;{}(])\/\/[^\n]*/g, (comment) => comment.replace(/[^\n]/g, " "));

function importsOf(text) {
  const code = withoutComments(text);
  const found = [];
  for (const [pattern, dynamic] of [
    [IMPORT, false],
    [DYNAMIC_IMPORT, true],
  ]) {
    for (const match of code.matchAll(pattern)) {
      found.push({ specifier: match[2], line: lineOf(code, match.index), dynamic });
    }
  }
  return found;
}

const packageOf = (specifier) => specifier.split("/", specifier.startsWith("@") ? 2 : 1).join("/");

function checkManifest({ short, folder, manifest, name }) {
  const path = join(folder, "package.json");
  const expected = `@nf/${short}`;
  if (name !== expected) report(path, 0, `"name" must be "${expected}", it is "${name}"`);
  if (manifest.license !== "MIT") report(path, 0, `"license" must be "MIT"`);
  if (manifest.type !== "module") report(path, 0, `"type" must be "module"`);
  if (manifest.sideEffects !== false) report(path, 0, `"sideEffects" must be false`);
  if (!manifest.description) report(path, 0, `"description" is missing`);
  if (manifest.engines?.node !== ">=20.19") report(path, 0, `"engines.node" must be ">=20.19"`);
  for (const file of ["dist", "src"]) {
    if (!manifest.files?.includes(file)) report(path, 0, `"files" must list "${file}"`);
  }
  const entry = manifest.exports?.["."];
  if (entry === undefined) report(path, 0, `"exports" must have "."`);
  for (const [subpath, target] of Object.entries(manifest.exports ?? {})) {
    if (typeof target === "string") continue;
    const order = Object.keys(target).join(", ");
    if (order !== "nf-source, types, default") {
      report(
        path,
        0,
        `exports "${subpath}": conditions must be nf-source, types, default, in that order; got ${order}`,
      );
    } else if (!existsSync(join(folder, target["nf-source"]))) {
      report(path, 0, `exports "${subpath}": ${target["nf-source"]} does not exist`);
    }
  }
  if (ruleFor(short) === undefined) {
    report(path, 0, `no arrow for "${short}": add it to ARROWS in scripts/check-boundaries.mjs`);
    return;
  }
  const shipped = { ...manifest.dependencies, ...manifest.peerDependencies };
  for (const dependency of Object.keys(shipped).filter(isNf)) {
    const other = dependency.slice("@nf/".length);
    if (!mayUse(short, other)) report(path, 0, `"${dependency}": ${short} may not depend on ${other}`);
  }
  if (short.startsWith("backend-") && manifest.peerDependencies?.["@nf/core"] === undefined) {
    report(path, 0, `a backend has "@nf/core" as a peer dependency`);
  }
}

function checkReadme({ folder }) {
  const path = join(folder, "README.md");
  if (!existsSync(path)) report(path, 0, "every package has a README");
  else if (!/^```ts\b/m.test(readFileSync(path, "utf8"))) report(path, 0, "needs a ```ts snippet");
}

function checkSource({ short, name, manifest }, path) {
  const text = readFileSync(path, "utf8");
  const declared = { ...manifest.dependencies, ...manifest.peerDependencies };
  for (const { specifier, line, dynamic } of importsOf(text)) {
    if (specifier.startsWith(".")) {
      if (!/\.(?:ts|json)$/.test(specifier))
        report(path, line, `"${specifier}": relative imports end in .ts`);
      continue;
    }
    if (specifier.startsWith("node:")) {
      if (!dynamic && UNIVERSAL.includes(short))
        report(path, line, `"${specifier}": ${short} runs in browsers too`);
      continue;
    }
    const dependency = packageOf(specifier);
    if (dependency === name) report(path, line, `"${specifier}": import own files by relative path`);
    else if (isNf(dependency) && !mayUse(short, dependency.slice("@nf/".length))) {
      report(path, line, `"${specifier}": ${short} may not depend on ${dependency.slice("@nf/".length)}`);
    } else if (declared[dependency] === undefined) {
      report(path, line, `"${dependency}" is not in dependencies or peerDependencies of ${name}`);
    }
  }
  if (!BACKEND_FREE.includes(short)) return;
  for (const match of text.matchAll(BACKEND_NAME)) {
    report(
      path,
      lineOf(text, match.index),
      `names "${match[0]}": ${short} works with every backend and names none`,
    );
  }
}

function checkText(path) {
  const lines = readFileSync(path, "utf8").split("\n");
  const typeTest = path.endsWith(".test-d.ts");
  lines.forEach((text, index) => {
    for (const { pattern, why } of BANNED) {
      if (pattern.test(text)) report(path, index + 1, `"${pattern.exec(text)[0]}": ${why}`);
    }
    if (!typeTest && EXPECT_ERROR.test(text))
      report(path, index + 1, "@ts-expect-error belongs in *.test-d.ts");
  });
}

/** Follows shipped dependencies; a path that returns to its start is a cycle. */
function checkPackageCycles() {
  const edges = new Map(
    all.map(({ name, manifest }) => [
      name,
      Object.keys({ ...manifest.dependencies, ...manifest.peerDependencies }).filter(isNf),
    ]),
  );
  const done = new Set();
  const visit = (name, trail) => {
    if (trail.includes(name)) {
      report(
        "",
        0,
        `packages depend on each other: ${[...trail.slice(trail.indexOf(name)), name].join(" -> ")}`,
      );
      return;
    }
    if (done.has(name)) return;
    for (const next of edges.get(name) ?? []) visit(next, [...trail, name]);
    done.add(name);
  };
  for (const name of edges.keys()) visit(name, []);
}

function checkLockfile() {
  const path = join(root, "pnpm-lock.yaml");
  readFileSync(path, "utf8")
    .split("\n")
    .forEach((line, index) => {
      if (/\w+:\/\//.test(line))
        report(path, index + 1, "names a host: resolve against the default registry");
    });
  for (const name of packages().map((p) => p.name)) {
    const linked = readJson(join(root, "package.json")).devDependencies?.[name] === "workspace:*";
    if (!linked) report(join(root, "package.json"), 0, `devDependencies must link "${name}": "workspace:*"`);
  }
}

let files = 0;
for (const entry of all) {
  checkManifest(entry);
  checkReadme(entry);
  const isTs = (path) => path.endsWith(".ts");
  for (const path of filesUnder(join(entry.folder, "src"), isTs)) {
    checkSource(entry, path);
    checkText(path);
    files++;
  }
  for (const path of filesUnder(join(entry.folder, "tests"), isTs)) {
    checkText(path);
    files++;
  }
}
checkPackageCycles();
checkLockfile();

for (const problem of problems) console.error(problem);
console.log(
  problems.length === 0
    ? `${shortNames.length} packages, ${files} files: arrows and manifests hold`
    : `${problems.length} problem(s) in ${shortNames.length} packages`,
);
process.exitCode = problems.length === 0 ? 0 : 1;

// Compiles and runs every ```ts block of the documentation against the built packages, as a reader would who
// pastes it into a project of their own. A block marked "```ts no-run" is only compiled.
//
// Blocks become modules in .snippets/ (ignored by git; inside the repository, so that "@nf/core" resolves).
// Each keeps the line numbers of its document, so a compiler's message points at the Markdown.
import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { run, runNode } from "./lib/process.mjs";
import { binary, filesUnder, packages, root, shortPath } from "./lib/workspace.mjs";

const TIMEOUT = 120_000;
const folder = join(root, ".snippets");

const isMarkdown = (path) => path.endsWith(".md");
const documents = [
  join(root, "README.md"),
  ...packages().map((entry) => join(entry.folder, "README.md")),
  ...filesUnder(join(root, "docs"), isMarkdown),
].filter(existsSync);

/** Blocks of a document: `{ document, line, runs, name, source }`, `line` of the first line of code. */
function blocksOf(document) {
  const blocks = [];
  const lines = readFileSync(document, "utf8").split(/\r?\n/);
  for (let i = 0; i < lines.length; i++) {
    const fence = /^```(\w*)\s*(.*)$/.exec(lines[i]);
    if (fence === null) continue;
    const start = i + 1;
    while (++i < lines.length && !lines[i].startsWith("```"));
    if (fence[1] !== "ts") continue;
    const name = `${shortPath(document)
      .replace(/\.md$/, "")
      .replace(/[^\w-]+/g, "_")}_${start + 1}`;
    const source = `${"\n".repeat(start)}${lines.slice(start, i).join("\n")}\n`;
    blocks.push({ document, line: start + 1, runs: !/\bno-run\b/.test(fence[2]), name, source });
  }
  return blocks;
}

const COMPILER_OPTIONS = {
  target: "ES2022",
  lib: ["ES2023", "ESNext.Disposable"],
  module: "nodenext",
  moduleDetection: "force",
  types: ["node"],
  strict: true,
  // Declarations of the packages are checked too: they are what a user's compiler reads.
  skipLibCheck: false,
  rootDir: "src",
  outDir: "out",
};

const blocks = documents.flatMap(blocksOf);
rmSync(folder, { recursive: true, force: true });
mkdirSync(join(folder, "src"), { recursive: true });
writeFileSync(join(folder, "package.json"), `{ "type": "module", "private": true }\n`);
writeFileSync(
  join(folder, "tsconfig.json"),
  JSON.stringify({ compilerOptions: COMPILER_OPTIONS, include: ["src"] }, null, 2),
);
for (const { name, source } of blocks) writeFileSync(join(folder, "src", `${name}.ts`), source);

let failures = 0;
if (blocks.length > 0) {
  const compiled = await runNode(binary("typescript", "tsc"), [
    "-p",
    join(folder, "tsconfig.json"),
    "--pretty",
    "false",
  ]);
  if (compiled.code !== 0) {
    const names = new Map(blocks.map(({ name, document }) => [name, shortPath(document)]));
    const messages = compiled.output.replace(
      /\S*?(\w[\w-]*)\.ts\((\d+),(\d+)\)/g,
      (whole, name, line, column) => (names.has(name) ? `${names.get(name)}:${line}:${column}` : whole),
    );
    console.error(messages);
    failures++;
  }
}

async function execute({ name, document, line }) {
  const cwd = join(folder, "run", name);
  mkdirSync(cwd, { recursive: true });
  const file = join(folder, "out", `${name}.js`);
  const { code, output } = await run(process.execPath, ["--enable-source-maps", file], {
    cwd,
    timeout: TIMEOUT,
  });
  if (code === 0) return;
  failures++;
  console.error(`${shortPath(document)}:${line}  exit code ${code}\n${output}`);
}

const queue = failures === 0 ? blocks.filter(({ runs }) => runs) : [];
const total = queue.length;
const worker = async () => {
  for (let next = queue.shift(); next !== undefined; next = queue.shift()) await execute(next);
};
await Promise.all([worker(), worker()]);

console.log(`${blocks.length} snippets compiled, ${total} run, ${failures} failed`);
process.exitCode = failures === 0 ? 0 : 1;

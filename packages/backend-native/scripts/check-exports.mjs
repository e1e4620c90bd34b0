// Every function that the binding exports catches panics: one that reached Node would end the process.
import { readdirSync, readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";

const sources = join(dirname(dirname(fileURLToPath(import.meta.url))), "crates", "binding", "src");

/** What is wrong with the exports in a Rust source, as lines; and how many exports it has. */
export function checkExports(name, text) {
  const problems = [];
  let exports = 0;
  for (const { 0: attribute, index } of text.matchAll(/#\[(?:napi_derive::)?napi\b[^\]]*\]/g)) {
    exports += 1;
    if (/^#\[napi\(catch_unwind\)\]$/.test(attribute)) continue;
    const line = text.slice(0, index).split("\n").length;
    problems.push(`${name}:${line}  ${attribute} must be #[napi(catch_unwind)]`);
  }
  return { problems, exports };
}

/** The same for all sources of the binding. */
export function checkAll() {
  const results = readdirSync(sources, { recursive: true })
    .filter((name) => name.endsWith(".rs"))
    .map((name) => checkExports(name, readFileSync(join(sources, name), "utf8")));
  return {
    problems: results.flatMap(({ problems }) => problems),
    exports: results.reduce((sum, { exports }) => sum + exports, 0),
  };
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? "").href) {
  const { problems, exports } = checkAll();
  for (const problem of problems) console.error(problem);
  console.log(`${exports} exports, ${problems.length} problems`);
  process.exitCode = problems.length === 0 && exports > 0 ? 0 : 1;
}

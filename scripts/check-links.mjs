// Checks the Markdown of the repository: relative links and anchors lead somewhere, and paths that a guide
// names in backticks exist, so that a moved file takes its documentation along. Links to the web are not followed.
import { existsSync, readFileSync, statSync } from "node:fs";
import { dirname, join, resolve } from "node:path";
import { filesUnder, root, shortPath } from "./lib/workspace.mjs";

const markdown = [
  ...["README.md", "CONTRIBUTING.md", "THIRD_PARTY_NOTICES.md"].map((name) => join(root, name)),
  ...["docs", "packages", "examples", "bench"].flatMap((folder) =>
    filesUnder(join(root, folder), (path) => path.endsWith(".md") && !path.endsWith("CHANGELOG.md")),
  ),
].filter(existsSync);

const LINK = /\[(?:[^\]\\]|\\.)*\]\(<?([^)\s>]+)>?(?:\s+"[^"]*")?\)/g;
// In backticks and starting in a folder of this repository: a path, unless it holds a placeholder.
const PATH = /`((?:packages|docs|scripts|bench|examples|types|\.ci|\.changeset)\/[^`\s]*)`/g;
const PLACEHOLDER = /[<>*{}$…|]/;
const GENERATED = /(?:^|\/)(?:dist|node_modules|target|\.reports|\.snippets)(?:\/|$)/;

const problems = [];
let checked = 0;

/** Text with fenced code blanked out, lines kept. */
const prose = (text) => text.replace(/^(```+)[\s\S]*?^\1\s*$/gm, (block) => block.replace(/[^\n]/g, " "));

/** GitHub's anchors: lower case, punctuation dropped, blanks to hyphens, repeats numbered. */
function anchorsOf(path) {
  const seen = new Map();
  const anchors = new Set();
  for (const [, title] of prose(readFileSync(path, "utf8")).matchAll(/^#{1,6}\s+(.+?)\s*#*$/gm)) {
    const plain = title.replace(/\[([^\]]*)\]\([^)]*\)/g, "$1").toLowerCase();
    const slug = plain.replace(/[^\p{L}\p{N}\s_-]/gu, "").replace(/\s/g, "-");
    const count = seen.get(slug) ?? 0;
    seen.set(slug, count + 1);
    anchors.add(count === 0 ? slug : `${slug}-${count}`);
  }
  return anchors;
}

function check(file, text, index, target, base) {
  checked++;
  const complain = (why) =>
    problems.push(`${shortPath(file)}:${text.slice(0, index).split("\n").length}  ${target}  ${why}`);
  const [path, anchor] = decodeURI(target).split("#");
  const full = path === "" ? file : resolve(base, path);
  if (!full.startsWith(root)) complain("leads out of the repository");
  else if (!existsSync(full)) complain("does not exist");
  else if (anchor && full.endsWith(".md") && statSync(full).isFile() && !anchorsOf(full).has(anchor)) {
    complain("has no such heading");
  }
}

for (const file of markdown) {
  const text = prose(readFileSync(file, "utf8"));
  for (const match of text.matchAll(LINK)) {
    if (!/^[a-z][a-z+.-]*:/i.test(match[1])) check(file, text, match.index, match[1], dirname(file));
  }
  for (const match of text.matchAll(PATH)) {
    const path = match[1].replace(/(?::\d+|[.,;])$/, "");
    if (!PLACEHOLDER.test(path) && !GENERATED.test(path)) check(file, text, match.index, path, root);
  }
}

for (const problem of problems) console.error(problem);
console.log(`${markdown.length} documents, ${checked} links and paths, ${problems.length} broken`);
process.exitCode = problems.length === 0 ? 0 : 1;

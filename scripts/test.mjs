// `npm test`: set-up, then every check, then the unit tests. Runs all of them even when one fails, and ends with
// a summary, vitest's own closing lines and one last line "N passed, N failed".
//
// With --nightly only set-up and tests, with the long fuzz runs that NF_NIGHTLY=1 asks for; then the tests of what
// depends on the engine (WebAssembly, relaxed SIMD, memory) once more under newer versions of Node, and the unsafe Rust under
// AddressSanitizer where Rust is installed.
import { existsSync, mkdirSync, readFileSync, rmSync } from "node:fs";
import { dirname, join } from "node:path";
import { failuresOnly } from "./lib/failures.mjs";
import { run, runNode, seconds } from "./lib/process.mjs";
import { binary, filesUnder, pnpmVersion, root, shortPath } from "./lib/workspace.mjs";
import { setup } from "./setup.mjs";

const nightly = process.argv.includes("--nightly");
const reportFile = join(root, ".reports", "vitest.json");
const script = (name, ...args) => runNode(join(root, "scripts", name), args);
const lastLine = (output) => output.trim().split("\n").at(-1)?.trim() ?? "";

/** Type tests are compiled along with everything else: what they assert is counted here. */
function typeTestCount() {
  const files = filesUnder(join(root, "packages"), (path) => path.endsWith(".test-d.ts"));
  const errors = files.flatMap((path) => readFileSync(path, "utf8").match(/@ts-expect-error/g) ?? []);
  return `${files.length} type test files, ${errors.length} expected errors`;
}

/** `needsBuild`: looks at dist, so it cannot run when the build failed. `detail`: what the summary says. */
const CHECKS = [
  {
    name: "lint",
    work: () => runNode(binary("@biomejs/biome"), ["check", "--error-on-warnings", "."]),
    detail: (output) => /Checked .*? files/.exec(output)?.[0] ?? "",
  },
  { name: "boundaries", work: () => script("check-boundaries.mjs"), detail: lastLine },
  {
    name: "types",
    work: () => runNode(binary("typescript", "tsc"), ["-p", "tsconfig.json", "--pretty", "false"]),
    detail: typeTestCount,
  },
  { name: "links", work: () => script("check-links.mjs"), detail: lastLine },
  { name: "notices", work: () => script("notices.mjs", "--check"), detail: lastLine },
  {
    name: "support matrix",
    needsBuild: true,
    work: () => script("support-matrix.mjs", "--check"),
    detail: lastLine,
  },
  { name: "snippets", needsBuild: true, work: () => script("snippets.mjs"), detail: lastLine },
  {
    name: "publint",
    needsBuild: true,
    work: () =>
      run("npx", [
        "--yes",
        `pnpm@${pnpmVersion()}`,
        "exec",
        "turbo",
        "run",
        "publint",
        "--output-logs=errors-only",
      ]),
    detail: (output) => /\d+ successful, \d+ total/.exec(output)?.[0] ?? "",
  },
  {
    name: "bundle size",
    needsBuild: true,
    work: () => runNode(binary("size-limit"), []),
    detail: (output) =>
      `${/Size:\s*(.*? k?B)\b/.exec(output)?.[1]} of ${/Size limit:\s*(.*)/.exec(output)?.[1]}`,
  },
];

const results = [];

async function check({ name, needsBuild = false, work, detail }, built) {
  if (needsBuild && !built) {
    results.push({ name, ok: false, milliseconds: 0, detail: "not run: the build failed" });
    return;
  }
  process.stdout.write(`${name} …\n`);
  // A tool that is not there, after a failed install, must not take the summary along.
  const { code, output, milliseconds } = await Promise.resolve()
    .then(work)
    .catch((error) => ({ code: 1, output: error.message, milliseconds: 0 }));
  if (code !== 0) process.stdout.write(`${output}\n`);
  results.push({
    name,
    ok: code === 0,
    milliseconds,
    detail: code === 0 ? detail(output) : `exit code ${code}`,
  });
}

async function setUp() {
  const started = performance.now();
  let problem;
  try {
    await setup();
  } catch (error) {
    problem = error.message;
    process.stderr.write(`setup  ${problem}\n`);
  }
  const ok = problem === undefined;
  const milliseconds = performance.now() - started;
  results.push({ name: "set-up", ok, milliseconds, detail: problem ?? "dependencies and build" });
  return ok;
}

async function unitTests() {
  rmSync(reportFile, { force: true });
  mkdirSync(dirname(reportFile), { recursive: true });
  process.stdout.write("unit tests …\n");
  const args = ["run", "--reporter=default", "--reporter=json", `--outputFile.json=${reportFile}`];
  const env = nightly ? { NF_NIGHTLY: "1" } : {};
  if (!process.env.CI) return runNode(binary("vitest"), args, { echo: process.stdout, env });
  const echo = failuresOnly((text) => process.stdout.write(text));
  const result = await runNode(binary("vitest"), args, { echo, env });
  echo.end();
  return result;
}

/** Newer versions of Node, whose binaries are packages; the relaxed SIMD module only loads there. */
const OTHER_NODES = ["22.23.3", "24.9.0"];

/** The tests of the WebAssembly backend under another version of Node. */
function underNode(version) {
  const platform = process.platform === "win32" ? "win" : process.platform;
  const other = `--package=node-${platform}-${process.arch}@${version}`;
  const vitest = ["node", binary("vitest"), "run", "packages/backend-wasm"];
  return run("npx", ["--yes", other, "--", ...vitest], { echo: process.stdout });
}

/** What failed, by name and with the first line of why. */
function namesOfFailed(report) {
  return report.testResults.flatMap(({ name, message, assertionResults }) => {
    const failed = assertionResults.filter(({ status }) => status === "failed");
    const file = shortPath(name);
    const why = (text) => (text ?? "").trim().split("\n")[0];
    if (failed.length === 0 && message) return [`${file}: ${why(message)}`];
    return failed.map(({ fullName, failureMessages }) => `${file} > ${fullName}: ${why(failureMessages[0])}`);
  });
}

/** The test files that took longest, with their seconds. */
function slowestFiles({ testResults }, most = 8) {
  const files = testResults.map(({ name, startTime, endTime }) => ({
    name: shortPath(name),
    took: endTime - startTime,
  }));
  return files.sort((a, b) => b.took - a.took).slice(0, most);
}

/** Real numbers from vitest's report. A test file that did not load holds no test, but is a failure. */
function readReport() {
  if (!existsSync(reportFile)) return { passed: 0, failed: 1, skipped: 0, files: 0, slowest: [], names: [] };
  const report = JSON.parse(readFileSync(reportFile, "utf8"));
  const unloaded = report.testResults.filter(
    ({ status, assertionResults }) =>
      status === "failed" && assertionResults.every((one) => one.status !== "failed"),
  );
  return {
    passed: report.numPassedTests,
    failed: report.numFailedTests + unloaded.length,
    skipped: report.numPendingTests + report.numTodoTests,
    files: report.testResults.length,
    slowest: slowestFiles(report),
    names: namesOfFailed(report),
  };
}

/** The block that vitest ends with: counts, start, duration; empty when it did not get that far. */
function closingLines(output) {
  // Colours are dropped; a control character in a literal would be unreadable, so it is built.
  const plain = output.replace(new RegExp(`${String.fromCharCode(27)}\\[[0-9;]*m`, "g"), "");
  const begin = plain.lastIndexOf(" Test Files ");
  if (begin < 0) return "";
  return plain
    .slice(begin)
    .split("\n")
    .filter((line) => /^ *(?:Test Files|Tests|Type Errors|Errors|Start at|Duration) /.test(line))
    .join("\n");
}

const started = performance.now();
const built = await setUp();
const installed = existsSync(join(root, "node_modules", ".modules.yaml"));
if (installed && !nightly) for (const one of CHECKS) await check(one, built);

let counts = { passed: 0, failed: 0, skipped: 0, slowest: [], names: [] };
let closing = "";
if (installed) {
  const { code, output, milliseconds } = await unitTests();
  counts = readReport();
  // An error outside any test (an unhandled rejection, say) fails vitest without failing a test.
  const ok = code === 0 && counts.failed === 0;
  if (!ok && counts.failed === 0) counts.failed = 1;
  results.push({
    name: "unit tests",
    ok,
    milliseconds,
    detail: `${counts.passed} passed in ${counts.files} files`,
  });
  closing = closingLines(output);
}
if (nightly) {
  for (const version of OTHER_NODES)
    await check(
      {
        name: `Node ${version}`,
        needsBuild: true,
        work: () => underNode(version),
        detail: (output) => closingLines(output).split("\n")[1]?.trim() ?? "",
      },
      built,
    );
  await check(
    {
      name: "sanitizer",
      work: () =>
        runNode(join(root, "packages", "backend-native", "scripts", "sanitize.mjs"), [], {
          echo: process.stdout,
        }),
      detail: (output) => output.trim().replaceAll("\n", "; "),
    },
    built,
  );
}

process.stdout.write(`\nsummary (${seconds(performance.now() - started)})\n`);
for (const { name, ok, milliseconds, detail } of results) {
  process.stdout.write(
    `  ${ok ? "ok    " : "FAILED"}  ${name.padEnd(14)} ${seconds(milliseconds).padStart(8)}  ${detail}\n`,
  );
}
// Failed checks count as failures, so that a run that exits non-zero never says "0 failed".
const failedChecks = results.filter(({ name, ok }) => !ok && name !== "unit tests").length;
const failed = counts.failed + failedChecks;
for (const { name, took } of counts.slowest)
  process.stdout.write(`          ${seconds(took).padStart(8)}  ${name}\n`);
for (const name of counts.names) process.stdout.write(`          ${name}\n`);
process.stdout.write(`\n${closing === "" ? "" : `${closing}\n\n`}`);
process.stdout.write(
  `${counts.passed} passed, ${failed} failed${counts.skipped > 0 ? `, ${counts.skipped} skipped` : ""}\n`,
);
process.exitCode = failed === 0 ? 0 : 1;

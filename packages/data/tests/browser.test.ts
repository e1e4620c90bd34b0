import { execFile } from "node:child_process";
import { mkdtemp, readdir, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { build } from "esbuild";
import { afterAll, beforeAll, describe, expect, it } from "vitest";

const entry = join(dirname(fileURLToPath(import.meta.url)), "..", "src", "index.ts");
let folder: string;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "nf-bundle-"));
});
afterAll(() => rm(folder, { recursive: true, force: true }));

describe("the main entry in a browser", () => {
  it("bundles without anything of Node, and loads the digits only when asked", async () => {
    // An import of a Node module would be an error here.
    await build({
      entryPoints: [entry],
      outdir: folder,
      bundle: true,
      splitting: true,
      format: "esm",
      platform: "browser",
      conditions: ["nf-source"],
      outExtension: { ".js": ".mjs" },
      logLevel: "silent",
    });
    const digits = (await readdir(folder)).filter((name) => /^\d-/.test(name));
    expect(digits).toHaveLength(10);
    expect((await stat(join(folder, "index.mjs"))).size).toBeLessThan(1_000_000);
  });

  it("reads the embedded digits from the bundle", async () => {
    const script = join(folder, "main.mjs");
    await writeFile(
      script,
      `process.getBuiltinModule = undefined; // as in a browser
       const { embeddedMnist } = await import("./index.mjs");
       const { train, test } = await embeddedMnist();
       console.log(JSON.stringify([train.length, ...test.classCounts()]));`,
    );
    const { stdout } = await promisify(execFile)(process.execPath, [script]);
    const [train, ...test] = JSON.parse(stdout);
    expect(train).toBe(8000);
    expect(test.reduce((sum: number, count: number) => sum + count, 0)).toBe(2000);
  });
});

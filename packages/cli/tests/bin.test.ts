import { type ChildProcess, spawn } from "node:child_process";
import { existsSync } from "node:fs";
import { mkdir, mkdtemp, readdir, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { lastLine, type Ran } from "./io.ts";

const bin = fileURLToPath(new URL("../dist/bin.js", import.meta.url));
const built = existsSync(bin);
if (!built)
  console.warn("skipped: packages/cli/dist/bin.js is not built (npm run build); npm test builds it first");

let cwd: string;
beforeAll(async () => {
  cwd = await mkdtemp(join(tmpdir(), "nf-bin-"));
});
afterAll(() => rm(cwd, { recursive: true, force: true }));

/** Starts the real command; `onText` sees all of standard error so far, each time there is more. */
function start(
  argv: readonly string[],
  onText: (text: string, child: ChildProcess) => void = () => {},
): Promise<Ran> {
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, [bin, ...argv], { cwd });
    let stdout = "";
    let stderr = "";
    child.stdout.on("data", (chunk: Buffer) => {
      stdout += chunk.toString("utf8");
    });
    child.stderr.on("data", (chunk: Buffer) => {
      stderr += chunk.toString("utf8");
      onText(stderr, child);
    });
    child.on("error", reject);
    child.on("close", (code, signal) =>
      resolve({ code: code ?? -1, stdout, stderr: `${stderr}${signal ?? ""}` }),
    );
  });
}

describe.skipIf(!built)("the built command", () => {
  it("ends with the exit code", async () => {
    expect((await start(["--version"])).code).toBe(0);
    const wrong = await start(["train", "lenet", "--epochs", "0"]);
    expect(wrong.code).toBe(2);
    expect(wrong.stderr).toContain("Expected a whole number from 1 to 100000");
  });

  it("learns to read digits: at least 97.5 % of 2,000 unseen ones after three epochs", {
    timeout: 180_000,
  }, async () => {
    const argv = [
      "train",
      "lenet",
      "--backend",
      "cpu",
      "--data",
      "embedded",
      "--epochs",
      "3",
      "--out",
      "full",
      "--json",
    ];
    const { code, stdout } = await start(argv);
    expect(code).toBe(0);
    const result = JSON.parse(lastLine(stdout));
    expect(result).toMatchObject({ backend: "cpu", parameters: 44_426, epochs: 3, testImages: 2000 });
    expect(result.testAccuracy).toBeGreaterThanOrEqual(0.975);
  });

  it("finishes the step at Ctrl-C, writes what there is and says so", async () => {
    let asked = false;
    const { code, stderr } = await start(
      ["train", "lenet", "--backend", "cpu", "--epochs", "1000", "--out", "stopped"],
      (text, child) => {
        if (asked || !text.includes("steps\n")) return;
        asked = true;
        // Some steps later, in the middle of an epoch.
        setTimeout(() => child.kill("SIGINT"), 700);
      },
    );
    expect(code).toBe(130);
    expect(stderr).toMatch(/Stopped after step [\d,]+ of 500,000\.\n$/);
    expect(await readdir(join(cwd, "stopped"))).toEqual(
      expect.arrayContaining(["curves.png", "metrics.jsonl", "run.json"]),
    );
  });

  it("ends at once at the second Ctrl-C", async () => {
    const folder = join(cwd, "node_modules", "nf-test-hanging");
    await mkdir(folder, { recursive: true });
    await writeFile(
      join(folder, "package.json"),
      '{ "name": "nf-test-hanging", "type": "module", "exports": "./index.js" }',
    );
    await writeFile(
      join(folder, "index.js"),
      `export const createBackend = () => new Promise(() => {
        setInterval(() => {}, 1000);
        console.error("hanging");
      });`,
    );
    const begun = performance.now();
    let signals = 0;
    const { code } = await start(["train", "lenet", "--backend", "nf-test-hanging"], (text, child) => {
      if (signals > 0 || !text.includes("hanging")) return;
      signals = 2;
      child.kill("SIGINT");
      setTimeout(() => child.kill("SIGINT"), 600);
    });
    expect(code).toBe(130);
    expect(performance.now() - begun).toBeGreaterThan(600);
  });

  it("goes on when nobody reads its notes any more", async () => {
    const argv = [
      "train",
      "lenet",
      "--backend",
      "cpu",
      "--epochs",
      "1",
      "--limit",
      "320",
      "--out",
      "unread",
      "--json",
    ];
    const { code, stdout } = await start(argv, (_, child) => child.stderr?.destroy());
    expect(code).toBe(0);
    expect(JSON.parse(lastLine(stdout))).toMatchObject({ steps: 20, stopped: false });
    expect(await readdir(join(cwd, "unread"))).toContain("curves.png");
  });

  it("is not hurt by a reader that goes away", async () => {
    const code = await new Promise((resolve) => {
      const child = spawn(process.execPath, [bin, "backends"], { cwd, stdio: ["ignore", "pipe", "ignore"] });
      child.stdout.destroy();
      child.on("close", resolve);
    });
    expect(code).toBe(0);
  });
});

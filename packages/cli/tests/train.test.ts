import { mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it, vi } from "vitest";
import type { Io } from "../src/index.ts";
import { MODELS } from "../src/models.ts";
import { MODEL_NAMES } from "../src/options.ts";
import { capture, lastLine, nf } from "./io.ts";

let cwd: string;
beforeAll(async () => {
  cwd = await mkdtemp(join(tmpdir(), "nf-cli-train-"));
});
afterAll(() => rm(cwd, { recursive: true, force: true }));

const importModule: Io["importModule"] = (name) =>
  name === "@nf/backend-cpu" ? import("@nf/backend-cpu") : Promise.resolve(undefined);

/** Few images: what is tried here is the command, not the learning. */
const QUICK = ["train", "lenet", "--epochs", "1", "--limit", "320", "--batch", "32"];

const linesOf = async (folder: string) =>
  (await readFile(join(cwd, folder, "metrics.jsonl"), "utf8"))
    .trimEnd()
    .split("\n")
    .map((line) => JSON.parse(line));

describe("nf train", () => {
  it("prints one object as the last line and writes curves, predictions, metrics and run.json", async () => {
    const { code, stdout, stderr } = await nf([...QUICK, "--out", "a", "--json"], { cwd, importModule });
    expect(stderr).not.toContain("error");
    expect(code).toBe(0);
    const result = JSON.parse(lastLine(stdout));
    expect(result).toMatchObject({
      model: "lenet",
      backend: "cpu",
      parameters: 44_426,
      data: "embedded",
      trainImages: 320,
      testImages: 2000,
      steps: 10,
      epochs: 1,
      seed: 42,
      batch: 32,
      stopped: false,
      out: "a",
    });
    expect(result.seconds).toBeGreaterThan(0);
    expect(result.testAccuracy).toBeGreaterThan(0.05);
    expect(result.testAccuracy).toBeLessThanOrEqual(1);
    expect(result.testLoss).toBeGreaterThan(0);

    const names = [
      "curves.png",
      "curves.svg",
      "metrics.jsonl",
      "predictions.png",
      "predictions.svg",
      "run.json",
    ];
    expect((await readdir(join(cwd, "a"))).sort()).toEqual(names);
    expect([...result.files].sort()).toEqual(names.map((name) => join("a", name)));
    const lines = await linesOf("a");
    expect(lines.map(({ kind }) => kind)).toEqual([...Array(10).fill("step"), "epoch"]);
    expect(lines.at(-1)).toMatchObject({
      epoch: 1,
      step: 10,
      testAccuracy: result.testAccuracy,
      testLoss: result.testLoss,
    });
    const run = JSON.parse(await readFile(join(cwd, "a", "run.json"), "utf8"));
    expect(run).toMatchObject({ testLoss: result.testLoss, epochsAsked: 1, history: [{ epoch: 1 }] });
    expect(await readFile(join(cwd, "a", "curves.svg"), "utf8")).toContain("LeNet-5 on cpu");

    // Standard error: inspector first, then progress, then the epoch.
    expect(stderr.indexOf("Conv2d")).toBeGreaterThanOrEqual(0);
    expect(stderr.indexOf("44,426")).toBeGreaterThanOrEqual(0);
    expect(stderr.indexOf("epoch 1/1   10 %")).toBeGreaterThan(stderr.indexOf("Conv2d"));
    expect(stderr.indexOf("epoch 1/1 done")).toBeGreaterThan(stderr.indexOf("epoch 1/1   10 %"));
  });

  it("gives the same losses for the same seed, to the last bit, and others for another", async () => {
    const losses = async (folder: string, seed: string) => {
      const { code } = await nf([...QUICK, "--out", folder, "--seed", seed], { cwd, importModule });
      expect(code).toBe(0);
      return (await linesOf(folder)).filter(({ kind }) => kind === "step").map(({ objective }) => objective);
    };
    const first = await losses("first", "7");
    expect(await losses("second", "7")).toEqual(first);
    expect(await losses("third", "8")).not.toEqual(first);
  });

  it("says what came of it to people, in a folder of its own", async () => {
    const { code, stdout } = await nf([...QUICK, "--optimizer", "sgd", "--lr", "0.05"], {
      cwd,
      importModule,
    });
    expect(code).toBe(0);
    expect(stdout).toMatch(/^Test accuracy +\d+\.\d\d % \([\d,]+ of 2,000 unseen digits, loss /m);
    const pictures = /^Pictures +(runs\/lenet-\S+)\/curves\.png$/m.exec(stdout.replaceAll("\\", "/"));
    expect(await readdir(join(cwd, pictures?.[1] ?? ""))).toContain("predictions.png");
  });

  it("draws a bar on a terminal", async () => {
    const stderr = capture({ columns: 120 });
    const { code } = await nf([...QUICK, "--out", "bar"], { cwd, importModule, stderr: stderr.stream });
    expect(code).toBe(0);
    expect(stderr.text()).toMatch(/epoch 1\/1 █*░* \d+ % {2}loss \d/);
    expect(stderr.text().lastIndexOf("\x1b[?25h")).toBeGreaterThan(stderr.text().lastIndexOf("\x1b[?25l"));
  });

  it("stops after the step in hand and keeps what there is", async () => {
    const controller = new AbortController();
    const stderr = capture();
    stderr.stream.on("data", (chunk: Buffer) => {
      if (chunk.toString("utf8").includes("10 %")) controller.abort("SIGINT");
    });
    const { code, stdout } = await nf([...QUICK, "--out", "stopped", "--json"], {
      cwd,
      importModule,
      signal: controller.signal,
      stderr: stderr.stream,
    });
    expect(code).toBe(130);
    const result = JSON.parse(lastLine(stdout));
    expect(result).toMatchObject({ stopped: true, epochs: 0, testAccuracy: null, testLoss: null });
    expect(result.steps).toBeGreaterThanOrEqual(1);
    expect(result.steps).toBeLessThan(10);
    expect(stderr.text()).toContain(`Stopped after step ${result.steps} of 10.`);
    expect((await readdir(join(cwd, "stopped"))).sort()).toEqual([
      "curves.png",
      "curves.svg",
      "metrics.jsonl",
      "run.json",
    ]);
    expect(await linesOf("stopped")).toHaveLength(result.steps);
  });

  it("does not begin when it was stopped before", async () => {
    const stopped = { cwd, importModule, signal: AbortSignal.abort("SIGTERM") };
    const { code, stdout, stderr } = await nf([...QUICK, "--out", "never"], stopped);
    expect(code).toBe(143);
    expect(stdout).toBe("");
    expect(stderr).toContain("Stopped before the first step.");
    await expect(readdir(join(cwd, "never"))).rejects.toThrow("ENOENT");
  });

  it("prints a result of no steps when it was stopped before the first", async () => {
    const argv = [...QUICK, "--out", "never", "--json", "--seed", "3"];
    const stopped = { cwd, importModule, signal: AbortSignal.abort("SIGINT") };
    const { code, stdout } = await nf(argv, stopped);
    expect(code).toBe(130);
    const result = JSON.parse(stdout);
    expect(result).toMatchObject({
      model: "lenet",
      backend: "cpu",
      seed: 3,
      steps: 0,
      epochs: 0,
      stopped: true,
    });
    expect(result).toMatchObject({ testAccuracy: null, testLoss: null, out: null, files: [] });
    const whole = await nf([...QUICK, "--out", "whole", "--json"], { cwd, importModule });
    expect(Object.keys(JSON.parse(lastLine(whole.stdout)))).toEqual(Object.keys(result));
    // While something is fetched, too.
    const controller = new AbortController();
    vi.stubEnv("NF_DATA_DIR", "");
    vi.stubEnv("NF_CACHE_DIR", join(cwd, "empty-cache"));
    vi.stubGlobal("fetch", () => {
      controller.abort("SIGINT");
      return Promise.reject(new Error("offline"));
    });
    const mnist = ["train", "lenet", "--data", "mnist", "--download", "--json"];
    const fetching = await nf(mnist, { cwd, importModule, signal: controller.signal });
    vi.unstubAllGlobals();
    expect(fetching.code).toBe(130);
    expect(JSON.parse(lastLine(fetching.stdout))).toMatchObject({ data: "mnist", steps: 0, stopped: true });
  });

  it("gives up when the loss is no number, and keeps the curves", async () => {
    const { code, stderr } = await nf([...QUICK, "--optimizer", "sgd", "--lr", "1e30", "--out", "wild"], {
      cwd,
      importModule,
    });
    expect(code).toBe(1);
    expect(stderr).toContain("diverged");
    expect(stderr).toContain("--lr");
    expect(await readdir(join(cwd, "wild"))).toContain("curves.png");
  });

  it("refuses a folder that cannot be written to", async () => {
    await writeFile(join(cwd, "file"), "");
    const { code, stderr } = await nf([...QUICK, "--out", "file/runs"], { cwd, importModule });
    expect(code).toBe(1);
    expect(stderr).toContain("The output folder file/runs cannot be written to");
    expect(stderr).toContain("--out");
  });

  it.skipIf(process.platform !== "linux")("refuses a folder that cannot be made", async () => {
    const { code, stderr } = await nf([...QUICK, "--out", "/proc/nf-nothing/run"], { cwd, importModule });
    expect(code).toBe(1);
    expect(stderr).toContain("The output folder /proc/nf-nothing/run cannot be written to: ENOENT");
  });

  it("refuses more images than there are", async () => {
    const argv = ["train", "lenet", "--limit", "8001", "--out", "limit"];
    const { code, stderr } = await nf(argv, { cwd, importModule });
    expect(code).toBe(2);
    expect(stderr).toContain("there are only 8,000 training images");
    await expect(readdir(join(cwd, "limit"))).rejects.toThrow("ENOENT");
  });

  it("says how to get MNIST when it is not there", async () => {
    vi.stubEnv("NF_DATA_DIR", "");
    vi.stubEnv("NF_CACHE_DIR", join(cwd, "empty-cache"));
    const { code, stderr } = await nf(["train", "lenet", "--data", "mnist"], { cwd, importModule });
    expect(code).toBe(1);
    expect(stderr).toContain("NF_DATA_DIR");
    expect(stderr).toContain("--download");
  });
});

describe("nf inspect", () => {
  it("knows every model by the name that its help tells", () => {
    expect(Object.keys(MODELS)).toEqual([...MODEL_NAMES]);
  });

  it("prints the table, or the same as JSON", async () => {
    const { code, stdout } = await nf(["inspect", "lenet"], { cwd, importModule });
    expect(code).toBe(0);
    for (const part of ["Conv2d", "Linear", "44,426"]) expect(stdout).toContain(part);
    const json = await nf(["inspect", "lenet", "--json"], { cwd, importModule });
    const inspection = JSON.parse(lastLine(json.stdout));
    expect(inspection).toMatchObject({ model: "lenet", input: [1, 28, 28], parameters: 44_426 });
    expect(inspection.rows.length).toBeGreaterThan(10);
    const costs = await nf(["inspect", "lenet", "--flops", "--bytes"], { cwd, importModule });
    expect(costs.stdout).toMatch(/Param # +FLOPs +Bytes moved\n.*\nSequential .* 44,426 +572,658 +[\d,]+\n/);
  });
});

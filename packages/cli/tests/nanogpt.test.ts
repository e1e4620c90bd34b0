import { createHash } from "node:crypto";
import { copyFile, mkdir, mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createBackend } from "@nf/backend-wasm";
import { openCheckpoint as openFile, saveCheckpoint as saveFile } from "@nf/io";
import { afterAll, beforeAll, describe, expect, it, vi } from "vitest";
import type { ImportModule } from "../src/index.ts";
import { openCheckpoint } from "../src/train/text/checkpoint.ts";
import { capture, lastLine, nf } from "./io.ts";

let cwd: string;
beforeAll(async () => {
  cwd = await mkdtemp(join(tmpdir(), "nf-nanogpt-"));
  const verse = "the cat sat on the mat, and the rat ran off.\n";
  await writeFile(join(cwd, "verse.txt"), verse.repeat(40));
});
afterAll(() => rm(cwd, { recursive: true, force: true }));

const importModule: ImportModule = async (name) =>
  name === "@nf/backend-wasm"
    ? { createBackend: () => createBackend({ threads: 1 }) }
    : name === "@nf/backend-cpu"
      ? await import("@nf/backend-cpu")
      : undefined;

const QUICK = ["train", "nanogpt", "--data", "verse.txt", "--batch", "2", "--sample", "12"];
const run = (argv: readonly string[], io: object = {}) => nf(argv, { cwd, importModule, ...io });

interface Line {
  readonly kind: string;
  readonly step: number;
  readonly seconds?: number;
}

/** Metrics without times. */
async function linesOf(folder: string): Promise<readonly Omit<Line, "seconds">[]> {
  const text = await readFile(join(cwd, folder, "metrics.jsonl"), "utf8");
  return text
    .trimEnd()
    .split("\n")
    .map((line): Omit<Line, "seconds"> => {
      const { seconds: _seconds, ...rest }: Line = JSON.parse(line);
      return rest;
    });
}

const hash = async (folder: string, name: string) =>
  createHash("sha256")
    .update(await readFile(join(cwd, folder, name)))
    .digest("hex");

/** Runs, and stops once standard error says something. */
async function stopAt(text: string, argv: readonly string[]) {
  const controller = new AbortController();
  const stderr = capture();
  stderr.stream.on("data", () => {
    if (stderr.text().includes(text)) controller.abort("SIGINT");
  });
  return run(argv, { signal: controller.signal, stderr: stderr.stream });
}

describe("nf train nanogpt", () => {
  it("prints one object as the last line, and writes all that came of it", { timeout: 60_000 }, async () => {
    const argv = [...QUICK, "--steps", "6", "--eval-every", "4", "--out", "a", "--json"];
    const { code, stdout, stderr } = await run(argv);
    expect(code, stderr).toBe(0);
    const result = JSON.parse(lastLine(stdout));
    expect(result).toMatchObject({
      model: "nanogpt",
      backend: "wasm",
      data: "verse.txt",
      vocabulary: 16,
      trainCharacters: 1620,
      validationCharacters: 180,
      optimizer: "adamw",
      learningRate: 3e-3,
      weightDecay: 0.1,
      dropout: 0,
      batch: 2,
      seed: 42,
      steps: 6,
      stepsAsked: 6,
      stopped: false,
      out: "a",
    });
    // Each character fewer than 65 takes a row of the embedding, one of the head and its bias away.
    expect(result.parameters).toBe(626_625 - (65 - 16) * (2 * 128 + 1));
    expect(result.validationLoss).toBeLessThan(Math.log(16) + 0.1);
    for (const name of ["trainAccuracy", "validationAccuracy"]) {
      expect(result[name]).toBeGreaterThan(0.02);
      expect(result[name]).toBeLessThan(1);
    }
    const evaluations = (await linesOf("a")).filter(({ kind }) => kind === "evaluation");
    expect(evaluations.map(({ step }) => step)).toEqual([4, 6]);
    expect(evaluations[1]).toMatchObject({
      train: { loss: result.trainLoss, characters: 128 },
      validation: { loss: result.validationLoss, accuracy: result.validationAccuracy, characters: 128 },
    });
    expect((await linesOf("a")).map(({ kind }) => kind)).toEqual([
      ...Array(4).fill("step"),
      "evaluation",
      ...Array(2).fill("step"),
      "evaluation",
    ]);
    const names = ["checkpoint.safetensors", "config.json", "curves.png", "curves.svg", "metrics.jsonl"];
    names.push("model.safetensors", "run.json", "samples.txt", "tokenizer.json");
    expect((await readdir(join(cwd, "a"))).sort()).toEqual(names);
    expect([...result.files].sort()).toEqual(names.map((name) => join("a", name)));
    expect(await readFile(join(cwd, "a", "samples.txt"), "utf8")).toContain("--- after step 4\n");
    const svg = await readFile(join(cwd, "a", "curves.svg"), "utf8");
    for (const part of ["nanoGPT on wasm", "validation", "% of characters", "Step"])
      expect(svg).toContain(part);
    expect(stderr).toContain("step 4/6 after");
    expect(stderr.indexOf("GptBlock")).toBeGreaterThanOrEqual(0);
    const details = JSON.parse(await readFile(join(cwd, "a", "run.json"), "utf8"));
    expect(details).toMatchObject({ evalEvery: 4, config: { vocabSize: 16, layers: 3 } });
    expect(details.history).toHaveLength(2);
  });

  it("writes text afterwards", { timeout: 60_000 }, async () => {
    const argv = ["generate", "a", "--prompt", "the cat", "--max-tokens", "9", "--seed", "1", "--json"];
    const { code, stdout, stderr } = await run(argv);
    expect(code, stderr).toBe(0);
    const result = JSON.parse(lastLine(stdout));
    expect(result).toMatchObject({ finish: "length", backend: "wasm", seed: 1 });
    expect(result.promptTokens).toHaveLength(7);
    expect(result.tokens).toHaveLength(9);
    expect(result.text).toHaveLength(9);
    const empty = await run(["generate", "a", "--greedy", "--max-tokens", "3"]);
    expect(empty.code, empty.stderr).toBe(0);
    const odd = await run(["generate", "a", "--prompt", "€"]);
    expect(odd.code).toBe(2);
    expect(odd.stderr).toContain('does not know: "€"');
    const weights = await run(["generate", "a", "--weights", "q8_0"]);
    expect(weights.code).toBe(2);
    expect(weights.stderr).toContain("--weights");
    const chat = await run(["chat", "a"], { stdin: process.stdin });
    expect(chat.code).toBe(2);
    expect(chat.stderr).toContain("no chat template");
  });

  it("learns", { timeout: 120_000 }, async () => {
    const argv = [
      ...QUICK,
      "--steps",
      "40",
      "--eval-every",
      "40",
      "--sample",
      "0",
      "--out",
      "learns",
      "--json",
    ];
    const { code, stdout } = await run(argv);
    expect(code).toBe(0);
    const { validationLoss, validationAccuracy } = JSON.parse(lastLine(stdout));
    expect(validationLoss).toBeLessThan(1.9);
    expect(validationAccuracy).toBeGreaterThan(0.4);
    expect(await readdir(join(cwd, "learns"))).not.toContain("samples.txt");
  });

  it("goes on after an interruption as if there had been none", { timeout: 120_000 }, async () => {
    const settings = ["--steps", "6", "--eval-every", "3", "--dropout", "0.1", "--sample", "5"];
    const straight = await run([...QUICK, ...settings, "--out", "straight"]);
    expect(straight.code).toBe(0);
    // Before an evaluation; in the middle of a stretch, and then after an evaluation.
    for (const [index, stops] of [["50 %"], ["33 %", "step 3/6 after"]].entries()) {
      const out = `broken-${index}`;
      for (const [count, text] of stops.entries()) {
        const argv =
          count === 0 ? [...QUICK, ...settings, "--out", out] : ["train", "nanogpt", "--resume", out];
        const { code } = await stopAt(text, argv);
        expect(code).toBe(130);
      }
      // What a killed run left behind does not count.
      const metrics = join(cwd, out, "metrics.jsonl");
      await writeFile(metrics, `${await readFile(metrics, "utf8")}{"kind":"step","step":99}\n{"kind`);
      const resumed = await run(["train", "nanogpt", "--resume", out, "--json"]);
      expect(resumed.code, resumed.stderr).toBe(0);
      const result = JSON.parse(lastLine(resumed.stdout));
      expect(result).toMatchObject({ steps: 6, stopped: false, out, data: "verse.txt", dropout: 0.1 });
      expect(result.files).toContain(join(out, "tokenizer.json"));
      expect(await linesOf(out)).toEqual(await linesOf("straight"));
      for (const name of ["model.safetensors", "samples.txt"])
        expect(await hash(out, name)).toBe(await hash("straight", name));
    }
  });

  it("says what keeps it from going on", { timeout: 60_000 }, async () => {
    const nothing = await run(["train", "nanogpt", "--resume", "nowhere"]);
    expect(nothing.code).toBe(2);
    expect(nothing.stderr).toContain("There is no nowhere");
    const over = await run(["train", "nanogpt", "--resume", "straight"]);
    expect(over.code).toBe(2);
    expect(over.stderr).toContain("has done all of its 6 steps");
    const stopped = await stopAt("33 %", [...QUICK, "--steps", "9", "--out", "other"]);
    expect(stopped.code).toBe(130);
    const download = await run(["train", "nanogpt", "--resume", "other", "--download"]);
    expect(download.code).toBe(2);
    expect(download.stderr).toContain("is on verse.txt");
    await writeFile(join(cwd, "other.txt"), "another text. ".repeat(200));
    const other = await run(["train", "nanogpt", "--resume", "other", "--data", "other.txt"]);
    expect(other.code).toBe(1);
    expect(other.stderr).toContain("is another text");
    await copyFile(join(cwd, "other", "model.safetensors"), join(cwd, "other", "checkpoint.safetensors"));
    const none = await run(["train", "nanogpt", "--resume", "other"]);
    expect(none.code).toBe(1);
    expect(none.stderr).toContain("is no checkpoint");
  });

  it("refuses a checkpoint with a flipped bit, wherever it is", { timeout: 60_000 }, async () => {
    const argv = [...QUICK, "--steps", "9", "--sample", "0", "--out", "flipped"];
    expect((await stopAt("22 %", argv)).code).toBe(130);
    const path = join(cwd, "flipped", "checkpoint.safetensors");
    const sound = await readFile(path);
    const start = 8 + Number(sound.readBigUInt64LE(0));
    const header = sound.subarray(8, start).toString();
    const places = [start, start + 1, start + (sound.length - start) / 2, sound.length - 1];
    // The step, a setting, the text, the generator, the checksum itself, and the name and place of a tensor.
    for (const word of [
      'step\\":',
      'batch\\":',
      "verse",
      'counter\\":',
      'sha256":"',
      "norm.bias",
      '_offsets":[',
    ])
      places.push(8 + header.indexOf(word) + word.length);
    for (const place of places) {
      const bytes = Buffer.from(sound);
      bytes[place] = (bytes[place] as number) ^ 1;
      await writeFile(path, bytes);
      await expect(openCheckpoint(path), String(place)).rejects.toThrow(/is damaged: /);
    }
    await writeFile(path, sound.subarray(0, sound.length - 4));
    const cut = await run(["train", "nanogpt", "--resume", "flipped"]);
    expect([cut.code, cut.stderr.includes("\n    at ")]).toEqual([1, false]);
    expect(cut.stderr).toContain("begin anew without --resume");
    await writeFile(path, sound);
    expect(await openCheckpoint(path)).toMatchObject({ step: 2, rounds: 1 });
  });

  it("names what is wrong in a checkpoint's header", { timeout: 60_000 }, async () => {
    const path = join(cwd, "flipped", "checkpoint.safetensors");
    const file = await openFile(path);
    await file.close();
    const resume = async (extra: unknown) => {
      await saveFile(path, {}, { extra });
      const { code, stderr } = await run(["train", "nanogpt", "--resume", "flipped"]);
      expect([code, stderr.includes("\n    at ")]).toEqual([1, false]);
      return stderr;
    };
    for (const extra of [null, [], 3, { version: 3 }])
      expect(await resume(extra)).toMatch(
        /is damaged: missing or wrong in its header: .*step, rounds, seconds/,
      );
    expect(await resume({ version: 1 })).toContain("written by another version of nf");
    const header = file.extra as Record<string, object>;
    const settings = { ...header["settings"], batch: "2", seed: -1 };
    expect(await resume({ ...header, settings, backend: null })).toContain(
      "header: settings.batch, settings.seed, backend.name, backend.threads.",
    );
    expect(await resume(header)).toContain("holds no model, optimizer, random");
  });

  it("goes on without metrics, with a note and a gap, to the same weights", {
    timeout: 120_000,
  }, async () => {
    const settings = ["--steps", "6", "--eval-every", "3", "--dropout", "0.1", "--sample", "5"];
    const steps = async (out: string) =>
      (await linesOf(out)).map(({ kind, step }) => `${kind === "step" ? "" : "e"}${step}`);
    // Before the evaluation, whose steps are all gone; and behind it, with a part of the lines.
    for (const [out, stop, keep, lines] of [
      ["gone", "50 %", 0, ["e3", "4", "5", "6", "e6"]],
      ["short", "step 3/6 after", 2, ["1", "2", "4", "5", "6", "e6"]],
    ] as const) {
      expect((await stopAt(stop, [...QUICK, ...settings, "--out", out])).code).toBe(130);
      const path = join(cwd, out, "metrics.jsonl");
      const kept = (await readFile(path, "utf8")).split("\n").slice(0, keep);
      await (keep === 0 ? rm(path) : writeFile(path, `${kept.join("\n")}\n{"kind":"st`));
      const resumed = await run(["train", "nanogpt", "--resume", out, "--json"]);
      expect(resumed.code, resumed.stderr).toBe(0);
      expect(resumed.stderr).toContain("metrics.jsonl lacks ");
      expect(JSON.parse(lastLine(resumed.stdout))).toMatchObject({ steps: 6, stopped: false });
      expect(await steps(out)).toEqual(lines);
      expect(await hash(out, "model.safetensors")).toBe(await hash("straight", "model.safetensors"));
      expect(await readdir(join(cwd, out))).not.toContainEqual(expect.stringContaining(".part"));
      const over = await run(["train", "nanogpt", "--resume", out]);
      expect(over.stderr).toContain("has done all of its 6 steps");
    }
  });

  it("says when it goes on on another backend", { timeout: 60_000 }, async () => {
    const path = join(cwd, "gone", "checkpoint.safetensors");
    expect((await openCheckpoint(path)).backend).toEqual({ name: "wasm", threads: 1 });
    const argv = [...QUICK, "--steps", "3", "--sample", "0", "--out", "moved"];
    expect((await stopAt("33 %", argv)).code).toBe(130);
    const same = await stopAt("characters to train", ["train", "nanogpt", "--resume", "moved"]);
    expect(same.stderr).not.toContain("goes on on");
    const other = await run(["train", "nanogpt", "--resume", "moved", "--backend", "cpu"]);
    expect(other.code, other.stderr).toBe(0);
    expect(other.stderr).toContain("The run was on wasm with 1 thread and goes on on cpu");
  });

  it("gives a result of no steps when it was stopped before the first", async () => {
    const { code, stdout } = await run([...QUICK, "--json"], { signal: AbortSignal.abort("SIGTERM") });
    expect(code).toBe(143);
    const result = JSON.parse(lastLine(stdout));
    expect(result).toMatchObject({ model: "nanogpt", steps: 0, stopped: true, parameters: null, files: [] });
    const whole = JSON.parse(
      lastLine((await run([...QUICK, "--steps", "1", "--out", "one", "--json"])).stdout),
    );
    expect(Object.keys(whole)).toEqual(Object.keys(result));
    // Another run in the same folder begins anew.
    await run([...QUICK, "--steps", "1", "--seed", "2", "--out", "one"]);
    expect((await linesOf("one")).map(({ kind }) => kind)).toEqual(["step", "evaluation"]);
    expect((await readFile(join(cwd, "one", "samples.txt"), "utf8")).match(/--- after/g)).toHaveLength(1);
  });

  it("gives up when the loss is no number, and keeps the checkpoint before", {
    timeout: 60_000,
  }, async () => {
    const argv = [...QUICK, "--steps", "200", "--eval-every", "1", "--lr", "1e30", "--sample", "0"];
    const { code, stderr } = await run([...argv, "--out", "wild"]);
    expect(code).toBe(1);
    expect(stderr).toContain("diverged");
    expect(await readdir(join(cwd, "wild"))).toContain("curves.png");
  });

  it("says how to get a text", async () => {
    vi.stubEnv("NF_DATA_DIR", "");
    vi.stubEnv("NF_CACHE_DIR", join(cwd, "empty-cache"));
    const { code, stderr } = await run(["train", "nanogpt"]);
    vi.unstubAllEnvs();
    expect(code).toBe(1);
    for (const part of ["NF_DATA_DIR", "--download", "--data FILE"]) expect(stderr).toContain(part);
    const missing = await run(["train", "nanogpt", "--data", "nowhere.txt"]);
    expect(missing.code).toBe(2);
    expect(missing.stderr).toContain("--data nowhere.txt cannot be read");
    await writeFile(
      join(cwd, "random.bin"),
      Uint8Array.from({ length: 5000 }, (_, i) => (i * 7919) % 251),
    );
    const binary = await run(["train", "nanogpt", "--data", "random.bin"]);
    expect(binary.code).toBe(2);
    expect(binary.stderr).toContain("random.bin is no text in UTF-8");
    await mkdir(join(cwd, "data", "tinyshakespeare"), { recursive: true });
    await writeFile(join(cwd, "data", "tinyshakespeare", "input.txt"), "To be, or not to be. ".repeat(200));
    vi.stubEnv("NF_DATA_DIR", join(cwd, "data"));
    const other = await run(["train", "nanogpt"]);
    vi.unstubAllEnvs();
    expect(other.code).toBe(1);
    expect(other.stderr).toContain("is not tinyshakespeare: its SHA-256 is");
    await writeFile(join(cwd, "short.txt"), "too short ".repeat(100));
    const short = await run(["train", "nanogpt", "--data", "short.txt"]);
    expect(short.code).toBe(1);
    expect(short.stderr).toContain("At least 1,290 are needed");
  });
});

const root = process.env["NF_DATA_DIR"];
if (!root)
  console.warn("skipped: nanoGPT on tinyshakespeare needs NF_DATA_DIR with tinyshakespeare/input.txt");
describe.skipIf(!root)("tinyshakespeare", () => {
  it("makes a model of exactly 626,625 parameters", { timeout: 120_000 }, async () => {
    const controller = new AbortController();
    const stderr = capture();
    stderr.stream.on("data", () => {
      if (stderr.text().includes("characters to train")) controller.abort("SIGINT");
    });
    const argv = ["train", "nanogpt", "--batch", "1", "--steps", "3", "--out", "shakespeare", "--json"];
    const { code, stdout } = await run(argv, { signal: controller.signal, stderr: stderr.stream });
    expect(code).toBe(130);
    expect(JSON.parse(lastLine(stdout))).toMatchObject({
      data: "tinyshakespeare",
      parameters: 626_625,
      vocabulary: 65,
      trainCharacters: 1_003_854,
      validationCharacters: 111_540,
    });
  });
});

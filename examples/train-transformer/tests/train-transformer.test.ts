import { mkdtempSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Generator } from "@nf/core";
import { describe, expect, it, vi } from "vitest";
import { HELP, parseOptions } from "../src/options.ts";
import { run } from "../src/run.ts";
import { bucketed } from "../src/tasks/buckets.ts";
import { simulated } from "../src/tasks/simulated.ts";
import type { Pair } from "../src/tasks/task.ts";
import { vocabularyOf } from "../src/tasks/vocabulary.ts";

async function runLines(
  ...args: readonly string[]
): Promise<{ code: number; out: string[]; progress: string[] }> {
  const [out, progress]: [string[], string[]] = [[], []];
  const code = await run(args, {
    out: (line) => out.push(line),
    progress: (line) => progress.push(line),
  });
  return { code, out, progress };
}

const SMALL =
  "--backend cpu --batch 16 --d-model 32 --heads 2 --layers 1 --feed-forward 64 --warmup 20 --lr 0.005".split(
    " ",
  );

describe("a run of a few steps", { timeout: 120_000 }, () => {
  it.each(["reverse", "sort"])("learns something of %s", async (task) => {
    const { code, out, progress } = await runLines(
      "--task",
      task,
      ...SMALL,
      "--steps",
      "40",
      "--limit",
      "20",
      "--json",
    );
    expect(code).toBe(0);
    const result = JSON.parse(out.join("\n"));
    expect(result).toMatchObject({
      task,
      backend: "cpu",
      steps: 40,
      metric: "exact match",
      tested: 20,
      beams: 1,
    });
    // Guessing among 16 symbols and the end costs 2.8 nats; what the model begins with is far worse.
    expect(result.validationLoss).toBeLessThan(2.8);
    expect(result.loss).toBeGreaterThan(result.validationLoss);
    expect(result.seconds).toBeGreaterThan(0);
    expect(result.samples).toHaveLength(5);
    expect(progress.at(-2)).toMatch(/^step 40\/40 {2}.* loss \d\.\d{4} {2}validation/);
  });

  it("repeats itself, with experts and beams too", async () => {
    const args = [
      ...SMALL,
      "--steps",
      "3",
      "--limit",
      "3",
      "--experts",
      "2",
      "--beams",
      "2",
      "--norm",
      "post",
    ];
    const outcome = async (): Promise<unknown> => {
      const { loss, validationLoss, samples } = JSON.parse((await runLines(...args, "--json")).out.join());
      return { loss, validationLoss, samples };
    };
    expect(await outcome()).toEqual(await outcome());
  });

  it("prints samples and figures for people, and stops in time", async () => {
    const { out } = await runLines(...SMALL, "--seconds", "0.01", "--limit", "2", "--dropout", "0.1");
    expect(out).toHaveLength(4);
    expect(out[0]).toMatch(/^source {5}\d+ .*\nreference {2}\d+ .*\noutput/);
    expect(out[2]).toMatch(/^exact match \d+\.\d\d % of 2 test sequences, greedy, in/);
    expect(out[3]).toMatch(/^after 1 steps in/);
  });
});

describe("Multi30k", () => {
  it("that is not there is an error that says how to get it", async () => {
    const folder = mkdtempSync(join(tmpdir(), "nf-multi30k-"));
    for (const name of ["NF_DATA_DIR", "NF_CACHE_DIR"]) vi.stubEnv(name, folder);
    try {
      const { code, out, progress } = await runLines("--task", "multi30k", "--json");
      expect([code, out]).toEqual([2, []]);
      expect(progress.join()).toMatch(
        /^error: Multi30k.* is not on this machine: .* Fetch it once with --download/,
      );
    } finally {
      vi.unstubAllEnvs();
    }
  });

  const folder = process.env["NF_DATA_DIR"];

  it.skipIf(folder === undefined)(
    "translates, however badly, after two steps",
    async () => {
      const out: string[] = [];
      const args = [
        ...SMALL,
        "--task",
        "multi30k",
        "--batch",
        "8",
        "--steps",
        "2",
        "--limit",
        "2",
        "--beams",
        "1",
        "--json",
      ];
      const code = await run(args, { out: (line) => out.push(line), progress() {} });
      expect(code).toBe(0);
      const result = JSON.parse(out[0] as string);
      expect(result).toMatchObject({ task: "multi30k", metric: "BLEU", tested: 2, steps: 2 });
      expect(result.samples[0]).toMatchObject({ source: "A man in an orange hat starring at something." });
      expect(result.value).toBeGreaterThanOrEqual(0);
    },
    120_000,
  );
});

describe("arguments", () => {
  it("are explained, and refused where they are wrong", async () => {
    expect((await runLines("--help")).out).toEqual([HELP]);
    for (const [args, message] of [
      [["--task", "translate"], "--task must be reverse, sort, multi30k, got translate."],
      [["--steps", "0"], "--steps must be a whole number from 1, got 0."],
      [["--lr", "fast"], "--lr must be a number from 0, got fast."],
      [["--backend", "nowhere", "--steps", "1"], "The backend nowhere cannot be loaded"],
      [["--seconds", "0"], "--seconds must be a number above 0, got 0."],
    ] as const) {
      const { code, progress, out } = await runLines(...args);
      expect([code, out]).toEqual([2, []]);
      expect(progress.join("\n")).toContain(message);
    }
    for (const [args, message] of [
      [["--backend", "cpu", "--heads", "3"], /dModel .*nhead|nhead .*dModel/],
      [["--backend", "cpu", "--dropout", "2"], /dropout/],
      [["--backend", "cpu", "--threads", "2"], /threads/],
    ] as const) {
      const { code, progress, out } = await runLines(...args);
      expect([code, out]).toEqual([2, []]);
      expect(progress.at(-1)).toMatch(message);
    }
    expect((await runLines("--epochs", "3")).progress[0]).toMatch(/'--epochs'.* See --help/);
  });

  it("have defaults that the help tells, each option is in it", () => {
    expect(parseOptions([])).toMatchObject({ task: "reverse", backend: "wasm", seed: 1, json: false });
    expect(parseOptions(["--task", "multi30k"])).toMatchObject({ dModel: 256, beams: 4 });
    for (const name of ["backend", "d-model", "label-smoothing", "limit", "json"])
      expect(HELP).toContain(`--${name}`);
  });
});

describe("data", () => {
  it("of the simulated tasks are never trained and tested on alike", () => {
    const task = simulated("sort", 3);
    const tested = new Set(task.validation.map(({ source }) => source.join()));
    const batches = task.batches(500);
    for (let i = 0; i < 4; i++) {
      for (const { source, target } of batches.next().value as readonly Pair[]) {
        expect(tested.has(source.join())).toBe(false);
        expect([...source].sort((a, b) => a - b)).toEqual(target);
        expect(source.length).toBeGreaterThanOrEqual(3);
        expect(source.length).toBeLessThanOrEqual(10);
      }
    }
  });

  it("in buckets are all there, at similar lengths", () => {
    const pairs = Array.from({ length: 1003 }, (_, i): Pair => {
      const source = new Array<number>(1 + ((i * 7) % 30)).fill(i);
      return { source, target: source };
    });
    const batches = bucketed(pairs, 10, new Generator(1));
    expect(
      batches
        .flat()
        .map(({ source }) => source[0])
        .sort((a, b) => (a ?? 0) - (b ?? 0)),
    ).toEqual(pairs.map((_, i) => i));
    const waste = batches.map((batch) => {
      const longest = Math.max(...batch.map(({ source }) => source.length));
      return batch.reduce((sum, { source }) => sum + longest - source.length, 0);
    });
    const all = pairs.reduce((sum, { source }) => sum + source.length, 0);
    expect(waste.reduce((sum, one) => sum + one) / all).toBeLessThan(0.05);
    expect(bucketed(pairs, 10, new Generator(2))).not.toEqual(batches);
    const positions = batches.map((batch) => {
      const longest = Math.max(
        ...batch.map(({ source, target }) => Math.max(source.length, target.length + 1)),
      );
      return longest * batch.length;
    });
    expect(Math.max(...positions)).toBeLessThanOrEqual(160);
    // The last batch of each of the three pools is not full, nor is one that was about to become wider.
    expect(positions.reduce((sum, one) => sum + one) / positions.length).toBeGreaterThan(130);
  });

  it("in buckets are sorted by width, however long they are", () => {
    // The narrower one has more tokens in all.
    const pairs = [
      [3002, 1],
      [3000, 2990],
    ].map((lengths): Pair => {
      const [source = [], target = []] = lengths.map((length) => new Array<number>(length).fill(7));
      return { source, target };
    });
    // Room for two of 3,000, not of 3,002.
    expect(bucketed(pairs, 375, new Generator(1))).toHaveLength(2);
  });

  it("have a vocabulary of the frequent words", () => {
    const vocabulary = vocabularyOf(
      [
        ["ein", "Hund"],
        ["ein", "Mann"],
        ["der", "Hund", "ein"],
      ],
      2,
    );
    expect(vocabulary.tokens).toEqual(["<pad>", "<s>", "</s>", "<unk>", "ein", "Hund"]);
    expect(vocabulary.encode(["Hund", "Katze"])).toEqual([5, 3]);
    expect(vocabulary.decode([5, 4, 3])).toEqual(["Hund", "ein", "<unk>"]);
  });
});

import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createBackend } from "@nf/backend-cpu";
import { Generator, memory, noGrad, use } from "@nf/core";
import { Gpt } from "@nf/models";
import { fit } from "@nf/train";
import { curvesSvg } from "@nf/train/curves";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { UsageError } from "../src/errors.ts";
import { createOptimizer } from "../src/train/optimizer.ts";
import { meanOf } from "../src/train/steps.ts";
import { loadText } from "../src/train/text/data.ts";
import { evaluate, nextCharacters } from "../src/train/text/evaluate.ts";
import { batchesOf, evenWindows, randomWindows } from "../src/train/text/windows.ts";

let cwd: string;
beforeAll(async () => {
  cwd = await mkdtemp(join(tmpdir(), "nf-parts-"));
  await use(createBackend());
});
afterAll(() => rm(cwd, { recursive: true, force: true }));

const signal = new AbortController().signal;
const counting = Int32Array.from({ length: 200 }, (_, i) => i);

describe("a text", () => {
  it("becomes ids by code point, nine tenths of them to train", async () => {
    await writeFile(join(cwd, "text.txt"), "bä😀a\n".repeat(20));
    const text = await loadText({ data: "text.txt", download: false, window: 8 }, { cwd, signal }, () => {});
    expect(text.characters).toEqual(["\n", "a", "b", "ä", "😀"]);
    expect([...text.train.subarray(0, 6)]).toEqual([2, 3, 4, 1, 0, 2]);
    expect([text.train.length, text.validation.length]).toEqual([90, 10]);
    expect(text).toMatchObject({ name: "text.txt", path: join(cwd, "text.txt") });
  });

  it("has no byte order mark, and is UTF-8", async () => {
    const load = async (bytes: Uint8Array) => {
      await writeFile(join(cwd, "bytes.txt"), bytes);
      return loadText({ data: "bytes.txt", download: false, window: 8 }, { cwd, signal }, () => {});
    };
    const marked = await load(Buffer.from(`\uFEFF${"abc".repeat(40)}`));
    expect(marked.characters).toEqual(["a", "b", "c"]);
    const latin = Buffer.from("Stra\u00DFe ".repeat(40), "latin1");
    await expect(load(latin)).rejects.toThrow(UsageError);
    await expect(load(latin)).rejects.toThrow("bytes.txt is no text in UTF-8");
  });
});

describe("windows", () => {
  it("are drawn alike for the same seed and step, wherever a run begins, and lie anywhere", async () => {
    const all = randomWindows(counting, 8, 4, 7, 0, 100);
    const later = randomWindows(counting, 8, 4, 7, 60, 100);
    expect([all.length, later.length]).toEqual([400, 160]);
    const starts = [];
    for (let i = 0; i < 400; i++) {
      const { tokens, targets } = await all.get(i);
      const first = tokens.data[0] as number;
      starts.push(first);
      expect([...tokens.data]).toEqual(Array.from({ length: 8 }, (_, k) => first + k));
      expect([...targets.data]).toEqual(Array.from({ length: 8 }, (_, k) => first + k + 1));
      if (i >= 240) expect((await later.get(i - 240)).tokens.data).toEqual(tokens.data);
    }
    expect(Math.min(...starts)).toBeLessThan(5);
    expect(Math.max(...starts)).toBeGreaterThan(186);
    expect(new Set(starts).size).toBeGreaterThan(130);
    const other = randomWindows(counting, 8, 4, 8, 0, 100);
    expect((await other.get(0)).tokens.data).not.toEqual((await all.get(0)).tokens.data);
    expect(randomWindows(counting, 8, 4, 7, 100, 100).length).toBe(0);
  });

  it("are spread evenly and do not overlap", async () => {
    const startsOf = async (most?: number) => {
      const windows = evenWindows(counting, 8, most);
      const starts = [];
      for (let i = 0; i < windows.length; i++) starts.push((await windows.get(i)).tokens.data[0]);
      return starts;
    };
    expect(await startsOf()).toEqual(Array.from({ length: 24 }, (_, i) => 8 * i));
    expect(await startsOf(3)).toEqual([0, 64, 128]);
    expect(await startsOf(1000)).toHaveLength(24);
  });
});

describe("figures", () => {
  const model = () =>
    new Gpt(
      { vocabSize: 200, maxPositions: 8, hiddenSize: 8, layers: 1, heads: 2 },
      { generator: new Generator(1) },
    );

  it("are means over all characters, whatever the batch", async () => {
    const gpt = model();
    const text = {
      ...{ name: "", source: "", sha256: "", characters: [] },
      train: counting.subarray(0, 150),
      validation: counting.subarray(150),
    };
    const all = async () => true;
    const result = await evaluate(gpt, text, 4, all);
    expect(gpt.training).toBe(true);
    expect(result?.validation.characters).toBe(48);
    expect(result?.train.characters).toBe(48);
    const single = await evaluate(gpt, text, 1, all);
    expect(single?.validation.loss).toBeCloseTo(result?.validation.loss ?? 0, 5);
    let [loss, right] = [0, 0];
    for await (const { tokens, targets } of batchesOf(evenWindows(text.validation, 8), 6)) {
      const rows = Array.from(await noGrad(() => gpt.eval().forward(tokens)).data());
      for (const [i, next] of [...(await targets.data())].entries()) {
        const row = rows.slice(200 * i, 200 * i + 200);
        const sum = row.reduce((total, logit) => total + Math.exp(logit), 0);
        loss += (Math.log(sum) - (row[next] as number)) / 48;
        right += (row.indexOf(Math.max(...row)) === next ? 1 : 0) / 48;
      }
    }
    expect(result?.validation.loss).toBeCloseTo(loss, 5);
    expect(result?.validation.accuracy).toBeCloseTo(right, 6);
    const before = memory().liveTensors;
    expect(await evaluate(gpt, text, 4, async () => false)).toBeUndefined();
    await evaluate(gpt, text, 1, all);
    expect(memory().liveTensors).toBe(before);
  });

  it("weigh steps by their items", () => {
    const step = (loss: number, items: number) => ({ objective: loss, loss, accuracy: loss / 10, items });
    expect(meanOf([step(1, 3), step(5, 1)])).toEqual({ loss: 2, accuracy: expect.closeTo(0.2, 12) });
  });

  it("leave nothing behind, step after step", async () => {
    const gpt = model();
    const live: unknown[] = [];
    await fit(gpt, {
      data: (epoch: number) => batchesOf(randomWindows(counting, 8, 2, 1, 4 * epoch - 4, 4 * epoch), 2),
      forward: nextCharacters,
      loss: ({ loss }) => loss,
      metrics: { right: ({ right }) => ({ total: right, count: 16 }) },
      optimizer: createOptimizer("adam", gpt.parameters(), 1e-3),
      epochs: 12,
      callbacks: [
        {
          onEvaluation() {
            const { liveTensors, liveBytes, poolMisses } = memory();
            live.push({ liveTensors, liveBytes, poolMisses });
          },
        },
      ],
    });
    expect(live).toHaveLength(12);
    expect(live.at(-1)).toEqual(live[1]);
  });
});

describe("curves of steps", () => {
  it("have round ticks and their own words", () => {
    const steps = Array.from({ length: 5000 }, (_, i) => ({ step: i + 1, loss: 2, accuracy: 0.5 }));
    const svg = curvesSvg({
      ...{ title: "t", subtitle: "s", stepsPerEpoch: 1, steps },
      tests: [{ epoch: 1, step: 5000, loss: 1.9, accuracy: 0.5 }],
      words: { x: "Step", items: "characters", tests: "validation" },
    });
    for (const text of ["1,000", "5,000", "Step", "Accuracy (% of characters)", ">validation<"])
      expect(svg).toContain(text);
    expect(svg).not.toContain("Epoch");
  });
});

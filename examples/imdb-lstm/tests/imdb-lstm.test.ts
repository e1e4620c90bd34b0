import { existsSync, mkdtempSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { cpu } from "@nf/backend-cpu";
import { fromData, manualSeed, use } from "@nf/core";
import { DataError, TextDataset } from "@nf/data";
import { imdb } from "@nf/data/node";
import { type Called, callExample } from "@nf-examples/shared/testing";
import { describe, expect, it } from "vitest";
import { collateReviews, headAndTail, LengthBuckets, prepare, type Review } from "../src/data.ts";
import { imdbLstm, readReviews, type Texts, verdicts } from "../src/example.ts";
import { Sentiment } from "../src/model.ts";

/** Reviews that one word decides. */
function texts(split: string, count: number): TextDataset {
  return new TextDataset({
    texts: Array.from({ length: count }, (_, i) => {
      const filler = Array.from({ length: 2 + ((i * 5) % 9) }, (_, j) => `word${(i + j) % 7}`).join(" ");
      return `${filler}<br /><br />${i % 2 === 1 ? "great" : "awful"} film`;
    }),
    labels: Uint8Array.from({ length: count }, (_, i) => i % 2),
    classes: ["negative", "positive"],
    name: `made/${split}`,
    source: "made for the test",
  });
}

const made = async (): Promise<Texts> => ({ train: texts("train", 200), test: texts("test", 60) });

function call(load: Parameters<typeof imdbLstm>[0], ...args: readonly string[]): Promise<Called> {
  return callExample(imdbLstm(load), ["--backend", "cpu", "--out", ".", ...args]);
}

describe("data", () => {
  it("validate with a part of the training set, and know only the words that are trained on", async () => {
    const both = { train: texts("train", 200), test: texts("test", 60) };
    const { tokenizer, train, validation, test } = prepare(both, {
      vocabulary: 8,
      words: 6,
      validation: 0.1,
      seed: 1,
    });
    expect([train.length, validation.length, test.length]).toEqual([180, 20, 60]);
    expect(validation.filter(({ label }) => label === 1)).toHaveLength(10);
    expect(tokenizer.vocabularySize).toBe(8);
    expect(tokenizer.vocabulary.tokens.slice(0, 3)).toEqual(["<pad>", "<unk>", "film"]);
    const [first] = test as [Review];
    expect(first.text).not.toContain("<br");
    expect(first.ids.length).toBeLessThanOrEqual(6);
    expect(first.ids.at(-1)).toBe(2);
  });

  it("are cut in the middle", () => {
    expect(headAndTail([1, 2, 3, 4, 5, 6], 3)).toEqual([1, 5, 6]);
    expect(headAndTail([1, 2], 3)).toEqual([1, 2]);
  });

  it("in batches are of similar length, all there, in another order in each epoch", () => {
    const lengths = Array.from({ length: 1003 }, (_, i) => 1 + ((i * 37) % 200));
    const sampler = new LengthBuckets(lengths, { batchSize: 10, seed: 1 });
    const batches = sampler.batches(0);
    expect(batches).toHaveLength(sampler.length);
    expect(batches.flat().sort((a, b) => a - b)).toEqual(lengths.map((_, i) => i));
    const of = (batch: readonly number[]) => batch.map((index) => lengths[index] as number);
    const padded = batches.reduce((sum, batch) => sum + Math.max(...of(batch)) * batch.length, 0);
    expect(padded / lengths.reduce((sum, one) => sum + one)).toBeLessThan(1.1);
    expect(sampler.batches(1)).not.toEqual(batches);
    expect(sampler.batches(0)).toEqual(batches);
  });

  it("become one array with lengths", () => {
    const review = (number: number, ids: number[]): Review => ({
      number,
      text: "",
      ids: Int32Array.from(ids),
      label: number % 2,
    });
    const { ids, lengths, numbers, labels } = collateReviews([review(3, [5, 6]), review(4, [7])]);
    expect(ids.shape).toEqual([2, 8]);
    expect(Array.from(ids.data).slice(0, 9)).toEqual([5, 6, 0, 0, 0, 0, 0, 0, 7]);
    expect([lengths, numbers, [...labels]]).toEqual([
      [2, 1],
      [3, 4],
      [1, 0],
    ]);
  });
});

describe("the model", () => {
  it.each([false, true])("does not see padding (bidirectional: %s)", async (bidirectional) => {
    await use(cpu());
    manualSeed(1);
    const sizes = { words: 20, embedding: 4, hidden: 3, dropout: 0.5 };
    const model = new Sentiment({ ...sizes, bidirectional });
    model.eval();
    const logits = async (rows: readonly (readonly number[])[], lengths: readonly number[]) => {
      const ids = Int32Array.from(rows.flat());
      const output = model.forward(fromData(ids, [rows.length, rows[0]?.length ?? 0]), lengths);
      return Array.from(await output.data(), Number);
    };
    const alone = await logits([[3, 4, 5]], [3]);
    const padded = await logits(
      [
        [3, 4, 5, 0, 0],
        [9, 8, 7, 6, 5],
      ],
      [3, 5],
    );
    for (const i of [0, 1]) expect(padded[i]).toBeCloseTo(alone[i] as number, 5);
    expect(await logits([[5, 4, 3]], [3])).not.toEqual(alone);
  });

  it("answers in the order of the reviews", async () => {
    await use(cpu());
    manualSeed(1);
    const model = new Sentiment({ words: 20, embedding: 4, hidden: 3, dropout: 0, bidirectional: false });
    model.eval();
    const reviews = Array.from({ length: 12 }, (_, number): Review => {
      const ids = Int32Array.from({ length: 1 + ((number * 5) % 7) }, (_, j) => 2 + ((number * 3 + j) % 18));
      return { number, text: "", ids, label: 0 };
    });
    const all = await readReviews(model, reviews);
    for (const number of [0, 7, 11]) {
      const one = await readReviews(model, [{ ...(reviews[number] as Review), number: 0 }]);
      expect(all[number]).toBeCloseTo(one[0] as number, 5);
    }
    expect(new Set(all).size).toBeGreaterThan(6);
  });
});

it("counts verdicts", () => {
  const reviews = [1, 0, 1, 0].map((label, number): Review => {
    return { number, text: `review ${number}`, ids: new Int32Array(1), label };
  });
  const { accuracy, confusion, samples } = verdicts(reviews, [0.9, 0.2, 0.1, 0.4]);
  expect(accuracy).toBe(0.75);
  expect(confusion).toEqual([
    [2, 0],
    [1, 1],
  ]);
  expect(samples.map(({ text }) => text)).toEqual(["review 0…", "review 1…", "review 3…", "review 2…"]);
});

describe("the command", { timeout: 60_000 }, () => {
  const SMALL = "--batch 20 --embedding 8 --hidden 8 --lr 0.03 --dropout 0.1 --vocabulary 50".split(" ");

  it("learns a word that decides, validates, tests and draws", async () => {
    const { code, out, cwd } = await call(made, ...SMALL, "--epochs", "6", "--json");
    expect(code).toBe(0);
    const result = JSON.parse(out);
    expect(result).toMatchObject({ example: "imdb-lstm", tested: 60, ending: "done" });
    expect(result.accuracy).toBeGreaterThan(0.9);
    expect(result.confusion.flat().reduce((a: number, b: number) => a + b)).toBe(60);
    for (const name of ["curves.png", "curves.svg", "log.csv"])
      expect(existsSync(join(cwd, name))).toBe(true);
  });

  it("says what it found", async () => {
    const { code, out } = await call(made, ...SMALL, "--epochs", "1", "--limit", "40", "--bidirectional");
    expect(code).toBe(0);
    expect(out).toMatch(/test set +said bad +said good/);
    expect(out).toMatch(/\d\.\d\d % of 40 test reviews right, after/);
  });

  it("says how to get the reviews where there are none, and refuses damaged ones", async () => {
    const empty = mkdtempSync(join(tmpdir(), "nf-none-"));
    const before = process.env["NF_DATA_DIR"];
    process.env["NF_DATA_DIR"] = empty;
    try {
      const { code, out, err } = await call((options) => imdb({ ...options, cacheFolder: empty }));
      expect([code, out]).toEqual([2, ""]);
      expect(err).toMatch(/^error: .* is not on this machine: .* Fetch it once with --download \(84 MB\)/m);
    } finally {
      if (before === undefined) delete process.env["NF_DATA_DIR"];
      else process.env["NF_DATA_DIR"] = before;
    }
    const damaged = await call(() => Promise.reject(new DataError("line 3 is damaged")));
    expect(damaged.code).toBe(2);
    expect(damaged.err).toContain("line 3 is damaged");
  });

  it("explains itself, and refuses what makes no sense", async () => {
    const help = await call(made, "--help");
    expect(help.code).toBe(0);
    for (const name of ["backend", "json", "bidirectional", "words"]) expect(help.out).toContain(`--${name}`);
    const refused = await call(made, "--dropout", "2");
    expect(refused.code).toBe(2);
    expect(refused.err).toContain("--dropout must be a number from 0 to below 1, got 2.");
  });
});

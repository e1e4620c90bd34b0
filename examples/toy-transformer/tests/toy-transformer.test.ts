import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { cpu } from "@nf/backend-cpu";
import { fromData, manualSeed, use } from "@nf/core";
import { type Called, callExample } from "@nf-examples/shared/testing";
import { describe, expect, it } from "vitest";
import {
  ANSWER,
  drawPairs,
  NUMBERS,
  partOf,
  QUESTION,
  sumOf,
  TOKENS,
  textOf,
  trainingSums,
} from "../src/data.ts";
import { answers, attentionFor, example } from "../src/example.ts";
import { Adder } from "../src/model.ts";
import { attentionSvg } from "../src/picture.ts";

function call(...args: readonly string[]): Promise<Called> {
  return callExample(example, ["--out", ".", ...args]);
}

describe("data", () => {
  it("are sums as tokens, with their digits", () => {
    const { tokens, answer } = sumOf([23, 459]);
    expect(textOf(tokens)).toBe("320+954=284");
    expect(textOf(answer)).toBe("2840");
    expect(textOf(sumOf([999, 999]).answer)).toBe("8991");
  });

  it("are never trained and tested on alike, in either order of the numbers", async () => {
    const train = trainingSums();
    const trained = new Set<string>();
    // All 900,000 would take seconds; what a part is made of is counted below.
    for (let i = 0; i < train.length; i += 71) trained.add(textOf((await train.get(i)).tokens));
    const held = [...drawPairs("test", 10_000, 2), ...drawPairs("validation", 1000, 1)];
    expect(new Set(held.map((pair) => pair.join())).size).toBe(11_000);
    for (const [a, b] of held) {
      expect(partOf([a, b])).not.toBe("train");
      expect(partOf([b, a])).toBe(partOf([a, b]));
      expect(trained.has(textOf(sumOf([a, b]).tokens)) || trained.has(textOf(sumOf([b, a]).tokens))).toBe(
        false,
      );
    }
    // Each pair is in one part: those that are trained on are all that are not held out.
    let kept = 0;
    for (let a = 0; a < NUMBERS; a++)
      for (let b = 0; b < NUMBERS; b++) if (partOf([a, b]) === "train") kept++;
    expect(train.length).toBe(kept);
    expect(kept / NUMBERS ** 2).toBeCloseTo(0.9, 2);
  });
});

describe("the model", () => {
  it("does not see the digit that it is to say, nor those behind it", async () => {
    await use(cpu());
    manualSeed(1);
    const model = new Adder({ width: 16, feedForward: 32, blocks: 2 });
    const logits = async (tokens: Int32Array) =>
      Array.from(await model.forward(fromData(tokens, [1, tokens.length])).data(), Number);
    const { tokens } = sumOf([23, 459]);
    const whole = await logits(tokens);
    expect(whole).toHaveLength(ANSWER * 10);
    for (let said = 0; said < ANSWER; said++) {
      const sofar = await logits(tokens.slice(0, QUESTION + said));
      expect(sofar).toHaveLength((said + 1) * 10);
      for (const [i, one] of sofar.entries()) expect(one).toBeCloseTo(whole[i] as number, 4);
    }
  });

  it("answers digit by digit, the likeliest first digit read for the second", async () => {
    await use(cpu());
    manualSeed(1);
    const model = new Adder({ width: 16, feedForward: 32, blocks: 2 });
    const [first, second] = await answers(model, [
      [1, 2],
      [998, 7],
    ]);
    expect(await answers(model, [[998, 7]])).toEqual([second]);
    const { tokens } = sumOf([1, 2]);
    const likeliest = async (read: Int32Array) => {
      const logits = Array.from(await model.forward(fromData(read, [1, read.length])).data(), Number).slice(
        -10,
      );
      return logits.indexOf(Math.max(...logits));
    };
    let read = tokens.slice(0, QUESTION);
    for (let place = 0; place < ANSWER; place++) read = Int32Array.from([...read, await likeliest(read)]);
    expect(first).toBe(Number([...read.slice(QUESTION)].reverse().join("")));
  });

  it("shows what it attends to: nothing that comes later", async () => {
    await use(cpu());
    manualSeed(1);
    const model = new Adder({ width: 16, feedForward: 32, blocks: 2 });
    const matrices = await attentionFor(model, sumOf([1, 2]));
    expect(matrices).toHaveLength(2);
    for (const matrix of matrices) {
      const rows = Array.from({ length: TOKENS }, (_, row) =>
        Array.from(matrix).slice(row * TOKENS, (row + 1) * TOKENS),
      );
      for (const [row, weights] of rows.entries()) {
        expect(weights.reduce((sum, weight) => sum + weight, 0)).toBeCloseTo(1, 5);
        expect(weights.slice(row + 1).every((weight) => weight === 0)).toBe(true);
      }
    }
    const svg = attentionSvg({ title: "t", subtitle: "s", tokens: [..."100+200=300"], matrices });
    expect(svg.match(/<rect /g)?.length).toBe(2 * TOKENS ** 2 + 1);
    expect(svg).toContain("Block 2");
  });
});

describe("the command", { timeout: 60_000 }, () => {
  const SMALL =
    "--backend cpu --width 16 --feed-forward 32 --blocks 1 --batch 32 --steps 30 --epochs 2 --test 40".split(
      " ",
    );

  it("trains, tests and draws", async () => {
    const { code, out, err, cwd } = await call(...SMALL, "--json");
    expect(err).toContain("toy-transformer on cpu");
    expect(code).toBe(0);
    const result = JSON.parse(out);
    expect(result).toMatchObject({ example: "toy-transformer", tested: 40, epochs: 2, ending: "done" });
    expect(result.exact).toBeGreaterThanOrEqual(0);
    expect(result.samples).toHaveLength(8);
    expect(result.attention.matrices).toHaveLength(1);
    expect(readFileSync(join(cwd, "attention.svg"), "utf8")).toContain("What attends to what");
    for (const name of ["attention.png", "curves.png", "curves.svg", "log.csv"])
      expect(existsSync(join(cwd, name))).toBe(true);
    const rows = readFileSync(join(cwd, "log.csv"), "utf8").trim().split("\n");
    expect(rows).toHaveLength(3);
  });

  it("says what it found", async () => {
    const { out } = await call(...SMALL);
    expect(out).toMatch(/^ *\d+ \+ \d+ = \d+\n/);
    expect(out).toMatch(/\d\.\d\d % of 40 sums that it has not seen exact, after/);
  });

  it("explains itself, and refuses what makes no sense", async () => {
    const help = await call("--help");
    expect(help.code).toBe(0);
    for (const name of ["backend", "json", "blocks", "steps"]) expect(help.out).toContain(`--${name}`);
    const refused = await call("--width", "wide");
    expect([refused.code, refused.out]).toEqual([2, ""]);
    expect(refused.err).toContain("Expected a whole number from 1 to 4096");
  });
});

import { Generator } from "@nf/core";
import { describe, expect, it } from "vitest";
import { Sampler, type SamplingOptions } from "../src/index.ts";

const LOGITS = Float32Array.from([1, 3, 2, -1, 2.5, 0]);

/** Shares in which tokens are drawn. */
function shares(options: SamplingOptions, logits = LOGITS, draws = 20_000): number[] {
  const sampler = new Sampler({ seed: 11, ...options });
  const counts = new Array<number>(logits.length).fill(0);
  for (let i = 0; i < draws; i++) counts[sampler.choose(logits)] += 1;
  return counts.map((count) => count / draws);
}

/** The definition, written out: temperature, the k best, the smallest set of share p, those above m of the best. */
function probabilities({ temperature = 1, topK = 99, topP = 1, minP = 0 }: SamplingOptions): number[] {
  const weights = Array.from(LOGITS, (logit) => Math.exp(logit / temperature));
  const order = [...weights.keys()].sort((a, b) => (weights[b] as number) - (weights[a] as number));
  const best = order.slice(0, topK);
  const total = best.reduce((sum, id) => sum + (weights[id] as number), 0);
  const kept: number[] = [];
  let sum = 0;
  for (const id of best) {
    if (kept.length > 0 && sum >= topP * total) break;
    kept.push(id);
    sum += weights[id] as number;
  }
  const last = kept.filter((id) => (weights[id] as number) >= minP * (weights[best[0] as number] as number));
  const mass = last.reduce((all, id) => all + (weights[id] as number), 0);
  return weights.map((weight, id) => (last.includes(id) ? weight / mass : 0));
}

const expectClose = (got: readonly number[], want: readonly number[]): void => {
  want.forEach((value, id) => {
    if (value === 0) expect(got[id], `token ${id}`).toBe(0);
    else expect(Math.abs((got[id] as number) - value), `token ${id}`).toBeLessThan(0.015);
  });
};

describe("sampling", () => {
  it.each<SamplingOptions>([
    {},
    { temperature: 0.5 },
    { temperature: 2 },
    { topK: 1 },
    { topK: 3 },
    { topK: 100 },
    { topP: 0 },
    { topP: 0.5 },
    { topP: 0.9 },
    { minP: 0.3 },
    { minP: 1 },
    { topK: 4, topP: 0.8, minP: 0.2, temperature: 1.5 },
    { topK: 3, topP: 0.99 },
  ])("draws with %j as defined", (options) => {
    expectClose(shares(options), probabilities(options));
  });

  it("finds the best of many in the order of their ids where they are equal", () => {
    const logits = Float32Array.from({ length: 5000 }, (_, id) => (id % 7 === 3 ? 5 : Math.sin(id)));
    const drawn = shares({ topK: 4 }, logits, 2000);
    expect(drawn.flatMap((share, id) => (share > 0 ? [id] : []))).toEqual([3, 10, 17, 24]);
  });

  it("is greedy at temperature 0, the first of equals", () => {
    for (const options of [{ greedy: true }, { temperature: 0 }, { greedy: true, temperature: 0 }]) {
      const sampler = new Sampler(options);
      expect(sampler.plain).toBe(true);
      expect(sampler.choose(LOGITS)).toBe(1);
      expect(sampler.choose([2, 5, 5])).toBe(1);
    }
  });

  it("divides and multiplies by the repetition penalty, prompt and text alike", () => {
    const sampler = new Sampler({ greedy: true, repetitionPenalty: 2 });
    expect(sampler.plain).toBe(false);
    sampler.prompt([1]); //     3 becomes 1.5
    expect(sampler.choose(LOGITS)).toBe(4);
    sampler.generated(4); //    2.5 becomes 1.25
    expect(sampler.choose(LOGITS)).toBe(2);
    const negative = new Sampler({ greedy: true, repetitionPenalty: 2 });
    negative.prompt([0]); //    -1 becomes -2
    expect(negative.choose([-1, -1.5])).toBe(1);
    expect(LOGITS[1]).toBe(3);
  });

  it("takes the frequency penalty off for each time a token was generated, and not for the prompt", () => {
    const sampler = new Sampler({ greedy: true, frequencyPenalty: 0.3 });
    sampler.prompt([1, 1, 1, 1]);
    expect(sampler.choose(LOGITS)).toBe(1);
    sampler.generated(1); // 2.7
    expect(sampler.choose(LOGITS)).toBe(1);
    sampler.generated(1); // 2.4
    expect(sampler.choose(LOGITS)).toBe(4);
  });

  it("draws the same from the same seed or generator", () => {
    const draw = (options: SamplingOptions): number[] => {
      const sampler = new Sampler({ temperature: 2, ...options });
      return Array.from({ length: 50 }, () => sampler.choose(LOGITS));
    };
    expect(draw({ seed: 4 })).toEqual(draw({ seed: 4 }));
    expect(draw({ seed: 4 })).toEqual(draw({ generator: new Generator(4) }));
    expect(draw({ seed: 4 })).not.toEqual(draw({ seed: 5 }));
  });

  it("never draws what is impossible", () => {
    const drawn = shares({}, Float32Array.from([0, -Infinity, 1]), 500);
    expect(drawn[1]).toBe(0);
    expect(() => new Sampler({ seed: 1 }).choose([Number.NaN, Number.NaN])).toThrow("no token can be chosen");
  });

  it.each<readonly [object, string]>([
    [{ temperature: -1 }, "temperature"],
    [{ temperature: Number.NaN }, "temperature"],
    [{ topK: 0 }, "topK"],
    [{ topK: 2.5 }, "topK"],
    [{ topP: 1.1 }, "topP"],
    [{ minP: -0.1 }, "minP"],
    [{ repetitionPenalty: 0 }, "repetitionPenalty"],
    [{ frequencyPenalty: Infinity }, "frequencyPenalty"],
    [{ typicalP: 0.5 }, 'unknown option "typicalP"'],
    [{ greedy: true, temperature: 0.5 }, "greedy goes without a temperature"],
    [{ greedy: true, topP: 0.9 }, "topP would have no effect"],
    [{ temperature: 0, seed: 1, minP: 0.1 }, "minP, seed would have no effect"],
    [{ seed: 1, generator: new Generator(1) }, "not both"],
  ])("refuses %j", (options, message) => {
    expect(() => new Sampler(options)).toThrow(message);
  });
});

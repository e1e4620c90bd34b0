import { cpu } from "@nf/backend-cpu";
import { add, fromData, logSoftmax, memory, noGrad, OptionError, use } from "@nf/core";
import { beforeAll, describe, expect, it } from "vitest";
import { beamSearch, greedySearch, type Hypothesis, type Transformer } from "../src/index.ts";
import { build, ids, rowsOf } from "./transformer.ts";

beforeAll(async () => {
  await use(cpu());
});

describe("decoding", () => {
  it.each([false, true])("step by step gives what a whole pass gives (pre-norm %s)", async (normFirst) => {
    const model = build({ normFirst, experts: { count: 3, topK: 1 } });
    const [source, target] = [ids([3, 4, 5], [6, 0, 0]), ids([1, 3, 4, 4], [1, 4, 3, 3])];
    const whole = await rowsOf(noGrad(() => model.forward(source, target)));
    let state = model.start(source);
    for (const [from, to] of [
      [0, 1],
      [1, 3],
      [3, 4],
    ] as const) {
      const result = model.step(target.slice(null, [from, to]), state);
      state = result.state;
      for (const [row, logits] of (await rowsOf(result.logits)).entries())
        for (const [i, value] of logits.entries())
          expect(value).toBeCloseTo(whole[row * 4 + to - 1]?.[i] as number, 5);
    }
    expect(state.length).toBe(4);
  });

  /** Every sequence of at most `maxLength` tokens that ends, and its probability, from whole passes. */
  async function exhaustive(
    model: Transformer,
    source: readonly number[],
    maxLength: number,
  ): Promise<Hypothesis[]> {
    const { padId, bosId, eosId, targetVocabSize } = model.config;
    const found: Hypothesis[] = [];
    const visit = async (tokens: readonly number[], logProbability: number): Promise<void> => {
      const offsets = Float32Array.from({ length: targetVocabSize }, (_, id) =>
        id === padId ? -Infinity : 0,
      );
      const logits = noGrad(() => model.forward(ids(source), ids([bosId, ...tokens])));
      const last = logits.slice(0, tokens.length);
      const logs = await noGrad(() => logSoftmax(add(last, fromData(offsets, [targetVocabSize])))).data();
      for (const [id, log] of logs.entries()) {
        if (id === padId) continue;
        const total = logProbability + log;
        const length = tokens.length + 1;
        if (id === eosId) {
          const score = total / ((5 + length) / 6) ** 0.6;
          found.push({ tokens, logProbability: total, score, finished: true });
        } else if (length < maxLength) await visit([...tokens, id], total);
      }
    };
    await visit([], 0);
    return found.sort((a, b) => b.score - a.score);
  }

  it.each([1, 2, 3, 4, 5, 6])("a wide beam finds what an exhaustive search finds (seed %i)", async (seed) => {
    const model = build({}, seed, 6);
    const source = [3, 5, 4];
    const want = await exhaustive(model, source, 4);
    const [got] = await beamSearch(model, [source], { beams: 100, hypotheses: 5, maxLength: 4 });
    expect(got?.map(({ tokens }) => tokens)).toEqual(want.slice(0, 5).map(({ tokens }) => tokens));
    for (const [i, { score, logProbability, finished }] of (got ?? []).entries()) {
      expect(finished).toBe(true);
      expect(score).toBeCloseTo(want[i]?.score as number, 4);
      expect(logProbability).toBeCloseTo(want[i]?.logProbability as number, 4);
    }
  });

  const SOURCES = [[3, 4, 5, 6], [6], [5, 3], [4, 4, 4, 4, 4], [3, 6, 3]];

  it.each([1, 2, 3, 4, 5, 6])("one beam is the greedy search (seed %i)", async (seed) => {
    const model = build({}, seed, 4);
    const greedy = await greedySearch(model, SOURCES, { maxLength: 8 });
    for (const lengthPenalty of [0, 0.6]) {
      const beam = await beamSearch(model, SOURCES, { beams: 1, maxLength: 8, lengthPenalty });
      for (const [i, { tokens, logProbability, finished }] of greedy.entries()) {
        expect(beam[i]).toHaveLength(1);
        expect(beam[i]?.[0]).toMatchObject({ tokens, finished });
        expect(beam[i]?.[0]?.logProbability).toBeCloseTo(logProbability, 4);
        const divisor = ((5 + tokens.length + (finished ? 1 : 0)) / 6) ** lengthPenalty;
        expect(beam[i]?.[0]?.score).toBeCloseTo(logProbability / divisor, 4);
      }
    }
  });

  it("a batch gives what its sentences give alone, and more beams nothing worse than one", async () => {
    let [longer, different] = [0, 0];
    for (const seed of [1, 2, 3, 4]) {
      const model = build({}, seed, 4);
      const options = { beams: 3, maxLength: 9 };
      const together = await beamSearch(model, SOURCES, options);
      const greedy = await beamSearch(model, SOURCES, { beams: 1, maxLength: 9 });
      for (const [i, source] of SOURCES.entries()) {
        const [alone] = await beamSearch(model, [source], options);
        expect(together[i]?.[0]?.tokens).toEqual(alone?.[0]?.tokens);
        expect(together[i]?.[0]?.score).toBeCloseTo(alone?.[0]?.score as number, 4);
        if (together[i]?.[0]?.finished === true && greedy[i]?.[0]?.finished === true)
          expect(together[i]?.[0]?.score).toBeGreaterThan((greedy[i]?.[0]?.score as number) - 1e-4);
        if ((together[i]?.[0]?.tokens.length ?? 0) > 1) longer++;
        if (together[i]?.[0]?.tokens.join() !== greedy[i]?.[0]?.tokens.join()) different++;
      }
    }
    // Models that stop at once would prove nothing.
    expect(longer).toBeGreaterThan(4);
    expect(different).toBeGreaterThan(0);
  });

  it("keeps to maxLength and to what is suppressed", async () => {
    const model = build({}, 2, 4);
    const suppress = [model.config.eosId, 3];
    for (const results of [
      (await greedySearch(model, SOURCES, { maxLength: 6, suppress })).map((one) => [one]),
      await beamSearch(model, SOURCES, { maxLength: 6, suppress, beams: 2, hypotheses: 2 }),
    ]) {
      for (const { tokens, finished } of results.flat()) {
        expect(finished).toBe(false);
        expect(tokens).toHaveLength(6);
        for (const id of [0, ...suppress]) expect(tokens).not.toContain(id);
      }
    }
  });

  it("leaves the model's mode and no memory behind", async () => {
    const model = build().train();
    model.decoder[0]?.eval();
    const first = await greedySearch(model, SOURCES, { maxLength: 8 });
    await beamSearch(model, SOURCES, { beams: 3, maxLength: 8 });
    const { liveTensors, liveBuffers } = memory();
    expect(await greedySearch(model, SOURCES, { maxLength: 8 })).toEqual(first);
    await beamSearch(model, SOURCES, { beams: 3, maxLength: 8 });
    await expect(greedySearch(model, SOURCES, { signal: AbortSignal.abort("enough") })).rejects.toBe(
      "enough",
    );
    expect(memory()).toMatchObject({ liveTensors, liveBuffers });
    expect([model.training, model.decoder[0]?.training, model.decoder[1]?.training]).toEqual([
      true,
      false,
      true,
    ]);
    expect(await beamSearch(model, [])).toEqual([]);
  });

  it("refuses sources and options that make no sense", async () => {
    const model = build();
    await expect(greedySearch(model, [[]])).rejects.toThrow(/source 0 has no tokens/);
    await expect(greedySearch(model, [[9]])).rejects.toThrow(OptionError);
    await expect(beamSearch(model, [[3]], { beams: 2, hypotheses: 3 })).rejects.toThrow(/hypotheses/);
    await expect(greedySearch(model, [[3]], { beams: 2 } as object)).rejects.toThrow(/"beams"/);
    await expect(greedySearch(build({ padId: null }), [[3], [3, 4]])).rejects.toThrow(/equally long/);
  });
});

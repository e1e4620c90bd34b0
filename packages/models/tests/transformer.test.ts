import { cpu } from "@nf/backend-cpu";
import {
  add,
  fromData,
  Generator,
  logSoftmax,
  manualSeed,
  memory,
  mul,
  noGrad,
  OptionError,
  randn,
  reshape,
  ShapeError,
  scope,
  sum,
  type Tensor,
  tensor,
  use,
} from "@nf/core";
import { functionalize } from "@nf/nn";
import { Adam, InverseSqrtLR } from "@nf/optim";
import { beforeAll, describe, expect, it } from "vitest";
import {
  beamSearch,
  greedySearch,
  type Hypothesis,
  MixtureOfExperts,
  Transformer,
  TransformerConfigError,
  type TransformerSettings,
  transformerConfig,
  transformerParameters,
} from "../src/index.ts";

const TINY: TransformerSettings = {
  sourceVocabSize: 7,
  targetVocabSize: 5,
  dModel: 8,
  nhead: 2,
  numEncoderLayers: 1,
  numDecoderLayers: 2,
  dimFeedforward: 16,
  maxPositions: 32,
};

const ids = (...rows: readonly (readonly number[])[]): Tensor =>
  fromData(Int32Array.from(rows.flat()), [rows.length, rows[0]?.length ?? 0]);

/** A random model whose logits are wide enough to prefer something. */
function build(settings: Partial<TransformerSettings> = {}, seed = 1, gain = 3): Transformer {
  const model = new Transformer(transformerConfig({ ...TINY, ...settings }), {
    generator: new Generator(seed),
  });
  const head = model.head ?? model.targetEmbedding;
  noGrad(() => head.loadStateDict({ weight: mul(head.weight, gain) }));
  return model.eval();
}

const rowsOf = async (logits: Tensor): Promise<readonly (readonly number[])[]> => {
  const width = logits.shape.at(-1) as number;
  const values = await logits.data();
  return Array.from({ length: values.length / width }, (_, i) =>
    Array.from(values.slice(i * width, (i + 1) * width)),
  );
};

beforeAll(async () => {
  await use(cpu());
});

describe("configuration", () => {
  it("is the base model of the paper unless told otherwise", () => {
    const config = transformerConfig({ sourceVocabSize: 37000, targetVocabSize: 37000 });
    expect(config).toMatchObject({
      dModel: 512,
      nhead: 8,
      numEncoderLayers: 6,
      dimFeedforward: 2048,
      dropout: 0.1,
    });
    expect(config).toMatchObject({ normFirst: false, finalNorm: false });
    expect(transformerConfig({ ...TINY, normFirst: true }).finalNorm).toBe(true);
  });

  it("counts parameters", () => {
    // The base model with all three tables one: 63 million, as many as the paper says (65).
    const paper = { sourceVocabSize: 37000, targetVocabSize: 37000, tiedEmbeddings: true, tiedOutput: true };
    expect(transformerParameters(transformerConfig(paper))).toBe(63_082_496);
    for (const settings of [
      {},
      { tiedOutput: true },
      { tiedEmbeddings: true, sourceVocabSize: 5 },
      { tiedEmbeddings: true, tiedOutput: true, sourceVocabSize: 5 },
      { normFirst: true },
      { experts: { count: 3 } },
    ]) {
      const model = build(settings);
      const count = model.parameters().reduce((total, { size }) => total + size, 0);
      expect(count).toBe(transformerParameters(model.config));
    }
  });

  it("refuses what does not fit", () => {
    expect(() => transformerConfig({ ...TINY, nhead: 3 })).toThrow(TransformerConfigError);
    expect(() => transformerConfig({ ...TINY, tiedEmbeddings: true })).toThrow(/one vocabulary, got 7 and 5/);
    expect(() => transformerConfig({ ...TINY, bosId: 2 })).toThrow(/must differ/);
    expect(() => transformerConfig({ ...TINY, eosId: 5 })).toThrow(/no id of the target/);
    expect(() => transformerConfig({ ...TINY, dropout: 2 })).toThrow(OptionError);
    expect(() => transformerConfig({ ...TINY, experts: { count: 2, topK: 3 } })).toThrow(/topK/);
    expect(() => transformerConfig({ ...TINY, ...{ heads: 2 } })).toThrow(/"heads"/);
  });

  it("shares tables that are tied", () => {
    const model = build({ tiedEmbeddings: true, tiedOutput: true, sourceVocabSize: 5 });
    expect(model.targetEmbedding).toBe(model.sourceEmbedding);
    expect(model.head).toBeNull();
    const { weight } = model.targetEmbedding;
    model.loss(ids([3, 4]), ids([1, 3, 2])).backward();
    expect(weight.grad?.shape).toEqual([5, 8]);
  });
});

describe("masks", () => {
  it("a target position does not see later ones", async () => {
    const model = build();
    const source = ids([3, 4, 5]);
    const [a, b] = await Promise.all(
      [
        [1, 3, 4, 3],
        [1, 3, 3, 4],
      ].map(async (target) => rowsOf(model.forward(source, ids(target)))),
    );
    expect(b?.slice(0, 2)).toEqual(a?.slice(0, 2));
    expect(b?.[2]).not.toEqual(a?.[2]);
  });

  it.each([false, true])("padding changes nothing (pre-norm %s)", async (normFirst) => {
    const model = build({ normFirst, experts: { count: 3 } });
    const plain = await rowsOf(model.forward(ids([3, 4]), ids([1, 3])));
    const padded = await rowsOf(model.forward(ids([3, 4, 0, 0], [5, 6, 3, 4]), ids([1, 3, 0], [1, 4, 4])));
    for (const [position, row] of plain.entries())
      for (const [i, value] of row.entries()) expect(padded[position]?.[i]).toBeCloseTo(value, 5);
    const alone = await model.loss(ids([3, 4]), ids([1, 3, 2])).item();
    const [source, target] = [ids([3, 4, 0]), ids([1, 3, 2, 0, 0])];
    expect(await model.loss(source, target).item()).toBeCloseTo(alone, 5);
  });

  it("an embedding of padding gets no gradient", async () => {
    const model = build();
    model.loss(ids([3, 4, 0]), ids([1, 3, 2, 0])).backward();
    for (const table of [model.sourceEmbedding, model.targetEmbedding]) {
      const gradient = await (table.weight.grad as Tensor).data();
      expect(Array.from(gradient.slice(0, 8))).toEqual(new Array(8).fill(0));
      expect(Math.max(...gradient.slice(8).map(Math.abs))).toBeGreaterThan(0);
    }
  });

  it("refuses sequences that are too long, and tokens that are no batch", () => {
    const model = build({ maxPositions: 3 });
    expect(() => model.forward(ids([3, 4, 5, 6]), ids([1]))).toThrow(/positions for 3 tokens, got 4/);
    expect(() => model.forward(tensor([3], { dtype: "i32" }), ids([1]))).toThrow(ShapeError);
  });
});

describe("positions", () => {
  it("are sines and cosines of falling rates", async () => {
    const { waves } = build().positions;
    const table = await rowsOf(waves);
    for (const [position, row] of table.slice(0, 5).entries()) {
      expect(row[0]).toBeCloseTo(Math.sin(position), 6);
      expect(row[1]).toBeCloseTo(Math.cos(position), 6);
      expect(row[6]).toBeCloseTo(Math.sin(position / 1000), 6);
      expect(row[7]).toBeCloseTo(Math.cos(position / 1000), 6);
    }
  });

  it("are no part of a state dict, and are made again for fresh weights", async () => {
    const model = build();
    expect(Object.keys(model.stateDict())).not.toContain("positions.waves");
    const { structure } = functionalize(model);
    const { params, state } = functionalize(model);
    const [logits] = structure.apply({ params, state }, ids([3, 4]), { moreInputs: [ids([1, 3])] });
    expect(await logits.toArray()).toEqual(await model.forward(ids([3, 4]), ids([1, 3])).toArray());
    const fresh = structure.bind(structure.init(new Generator(4)));
    expect(await fresh.positions.waves.toArray()).toEqual(await model.positions.waves.toArray());
  });
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

describe("mixture of experts", () => {
  const settings = {
    dModel: 8,
    dimFeedforward: 6,
    activation: "relu",
    experts: { count: 4, topK: 2, balance: 1 },
  } as const;

  it("gives each position topK experts whose weights sum to one", async () => {
    const experts = new MixtureOfExperts(settings, { generator: new Generator(3) });
    const { weights, chosen } = experts.route(randn([20, 8], { generator: new Generator(5) }));
    const picks = await rowsOf(chosen);
    for (const [position, row] of (await rowsOf(weights)).entries()) {
      expect(row.reduce((total, value) => total + value)).toBeCloseTo(1, 6);
      expect(row.filter((value) => value > 0)).toHaveLength(2);
      expect(row.map((value) => (value > 0 ? 1 : 0))).toEqual(picks[position]);
    }
  });

  it("is the weighted sum of its experts", async () => {
    const experts = new MixtureOfExperts(settings, { generator: new Generator(3) });
    const x = randn([5, 8], { generator: new Generator(6) });
    const weights = await rowsOf(experts.route(x).weights);
    const got = await rowsOf(reshape(experts.forward(reshape(x, [1, 5, 8])), [5, 8]));
    const one = (expert: number): Tensor => {
      const inner = add(x.matmul(experts.up.slice(expert)), experts.upBias.slice(expert)).relu();
      return add(inner.matmul(experts.down.slice(expert)), experts.downBias.slice(expert));
    };
    const outs = await Promise.all([0, 1, 2, 3].map((expert) => rowsOf(one(expert))));
    for (const [position, row] of got.entries()) {
      for (const [i, value] of row.entries()) {
        const want = outs.reduce(
          (total, out, e) => total + (weights[position]?.[e] ?? 0) * (out[position]?.[i] ?? 0),
          0,
        );
        expect(value).toBeCloseTo(want, 5);
      }
    }
  });

  it("has a load-balancing loss of 1 where the load is even, and more where it is not", async () => {
    const experts = new MixtureOfExperts(settings);
    const even = tensor([
      [1, 1, 0, 0],
      [0, 0, 1, 1],
    ]);
    const flat = tensor(new Array(2).fill([0.25, 0.25, 0.25, 0.25]));
    expect(
      await experts.balanceLoss({ weights: flat, probabilities: flat, chosen: even }).item(),
    ).toBeCloseTo(1, 6);
    const one = tensor([
      [1, 1, 0, 0],
      [1, 1, 0, 0],
    ]);
    const sure = tensor([
      [0.5, 0.5, 0, 0],
      [0.5, 0.5, 0, 0],
    ]);
    expect(await experts.balanceLoss({ weights: sure, probabilities: sure, chosen: one }).item()).toBeCloseTo(
      2,
      6,
    );
    // The second position is padding.
    const mixed = {
      weights: sure,
      probabilities: tensor([
        [0.5, 0.5, 0, 0],
        [0, 0, 0, 1],
      ]),
      chosen: one,
    };
    const mask = tensor([[true, false]]);
    expect(await experts.balanceLoss(mixed, mask).item()).toBeCloseTo(2, 6);
  });

  it("passes gradients to gate and experts, and adds its loss", async () => {
    const model = build({ experts: { count: 3, topK: 2, balance: 0.5 } });
    const [source, target] = [ids([3, 4, 5, 6], [6, 5, 3, 0]), ids([1, 3, 4, 4, 2], [1, 4, 2, 0, 0])];
    model.loss(source, target).backward();
    for (const [name, parameter] of model.namedParameters()) {
      const gradient = await (parameter.grad as Tensor).data();
      expect(Math.max(...gradient.map(Math.abs)), name).toBeGreaterThan(0);
    }
    const plain = new Transformer(
      transformerConfig({ ...TINY, experts: { count: 3, topK: 2, balance: 0 } }),
    ).eval();
    plain.loadStateDict(model.stateDict());
    const extra = (await model.loss(source, target).item()) - (await plain.loss(source, target).item());
    // Three layers, each at least near 1, times the weight.
    expect(extra).toBeGreaterThan(0.5 * 3 * 0.8);
    expect(extra).toBeLessThan(0.5 * 3 * 1.6);
  });
});

describe("training", { timeout: 120_000 }, () => {
  const SOURCES = [[3, 4, 5], [6, 3], [5, 5, 4, 3], [4]];
  const TARGETS = [[4, 3], [3, 3, 4, 4], [4], [3, 4, 3]];

  function padded(rows: readonly (readonly number[])[]): Tensor {
    const width = Math.max(...rows.map(({ length }) => length));
    return ids(...rows.map((row) => [...row, ...new Array(width - row.length).fill(0)]));
  }

  it.each([
    ["post-norm", {}],
    ["pre-norm", { normFirst: true }],
    ["experts", { normFirst: true, experts: { count: 2, topK: 1 } }],
    ["attention dropout", { attentionDropout: 0.1 }],
  ] as const)("learns a handful of pairs by heart, %s", async (_, settings) => {
    manualSeed(7);
    const model = build({ ...settings, dModel: 16, numDecoderLayers: 1, dropout: 0.05 }, 5, 1).train();
    const optimizer = new Adam(model.parameters(), { lr: 0.01, betas: [0.9, 0.98] });
    const schedule = new InverseSqrtLR(optimizer, { warmupSteps: 20 });
    const [source, target] = [padded(SOURCES), padded(TARGETS.map((row) => [1, ...row, 2]))];
    let first = 0;
    for (let step = 0; step < 200; step++) {
      optimizer.zeroGrad();
      const loss = model.loss(source, target);
      loss.backward();
      optimizer.step();
      schedule.step();
      if (step === 0) first = await loss.item();
    }
    model.eval();
    expect(await noGrad(() => model.loss(source, target)).item()).toBeLessThan(first / 25);
    expect((await greedySearch(model, SOURCES)).map(({ tokens }) => tokens)).toEqual(TARGETS);
    const beams = await beamSearch(model, SOURCES);
    expect(beams.map(([best]) => best?.tokens)).toEqual(TARGETS);
  });

  it("needs no more memory with every step", async () => {
    const model = build({ experts: { count: 2 } }).train();
    const optimizer = new Adam(model.parameters());
    const counts: unknown[] = [];
    for (let step = 0; step < 6; step++) {
      scope(() => {
        optimizer.zeroGrad();
        model.loss(padded(SOURCES), padded(TARGETS.map((row) => [1, ...row, 2]))).backward();
        optimizer.step();
      });
      const { liveTensors, liveBuffers, poolMisses } = memory();
      counts.push({ liveTensors, liveBuffers, poolMisses });
    }
    expect(counts[5]).toEqual(counts[2]);
  });

  it("draws every mask from the generator that it was given", async () => {
    const settings = { dropout: 0.3, attentionDropout: 0.3, experts: null };
    const lossOf = async (own: number, common: number): Promise<number> => {
      const generator = new Generator(own);
      const model = new Transformer(transformerConfig({ ...TINY, ...settings }), { generator });
      manualSeed(common);
      return model.loss(padded(SOURCES), padded(TARGETS.map((row) => [1, ...row, 2]))).item();
    };
    const loss = await lossOf(1, 1);
    expect(await lossOf(1, 2)).toBe(loss);
    expect(await lossOf(2, 1)).not.toBe(loss);
  });

  it("smooths labels", async () => {
    const model = build();
    const [source, target] = [ids([3, 4]), ids([1, 3, 2])];
    const logs = await noGrad(() => logSoftmax(model.forward(source, ids([1, 3])))).data();
    const classes = 5;
    const want = [3, 2].map((id, position) => {
      const row = Array.from(logs.slice(position * classes, (position + 1) * classes));
      return -0.9 * (row[id] as number) - (0.1 / classes) * row.reduce((total, log) => total + log);
    });
    const loss = model.loss(source, target, { labelSmoothing: 0.1 });
    expect(await loss.item()).toBeCloseTo(((want[0] as number) + (want[1] as number)) / 2, 5);
    expect(() => model.loss(source, target, { smoothing: 0.1 } as object)).toThrow(/"smoothing"/);
    expect(await sum(loss).item()).toBeGreaterThan(0);
  });
});

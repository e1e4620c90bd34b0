import { cpu } from "@nf/backend-cpu";
import { Generator, logSoftmax, manualSeed, memory, noGrad, scope, sum, type Tensor, use } from "@nf/core";
import { Adam, InverseSqrtLR } from "@nf/optim";
import { beforeAll, describe, expect, it } from "vitest";
import { beamSearch, greedySearch, Transformer, transformerConfig } from "../src/index.ts";
import { build, ids, TINY } from "./transformer.ts";

beforeAll(async () => {
  await use(cpu());
});

describe("mixture of experts", () => {
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

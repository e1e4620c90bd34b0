import { beforeEach, describe, expect, it } from "vitest";
import * as core from "../../src/index.ts";
import { alive, counts, forward, makeBatch, makeWeights, open, pureStep, step } from "./helper.ts";

const { crossEntropy, memory, noGrad, Scope, scope, tensor, zeroGrad } = core;

beforeEach(async () => {
  await open();
});

/** Runs a step often and wants the counts after a warm-up to stay. */
function expectFlat(run: () => void, times = 60): void {
  for (let i = 0; i < 4; i++) run();
  const before = counts();
  for (let i = 0; i < times; i++) run();
  expect(counts()).toEqual(before);
}

describe("the plain loop", () => {
  it("is flat in tensors, buffers, bytes and pool misses, and learns", () => {
    const weights = makeWeights();
    const { x, y } = makeBatch();
    const losses: number[] = [];
    expectFlat(() => {
      zeroGrad(weights);
      const loss = crossEntropy(forward(weights, x), y);
      loss.backward();
      step(weights);
      losses.push(loss.itemSync());
    });
    expect(losses.at(-1) as number).toBeLessThan((losses[0] as number) / 2);
  });

  it("is flat with batches of its own that are disposed of, and with a batch scope", () => {
    const weights = makeWeights();
    expectFlat(() => {
      const batch = new Scope();
      const { x, y } = batch.run(() => makeBatch());
      zeroGrad(weights);
      const loss = crossEntropy(forward(weights, x.mul(2)), y);
      loss.backward();
      step(weights);
      batch.dispose();
    });
  });

  it("is flat with metrics of the logits, before and after backward", () => {
    const weights = makeWeights();
    const { x, y } = makeBatch();
    const seen: number[] = [];
    expectFlat(() => {
      zeroGrad(weights);
      const logits = forward(weights, x);
      const before = logits.argmax({ axis: 1 }).equal(y).mean();
      const loss = crossEntropy(logits, y);
      loss.backward();
      const after = logits.argmax({ axis: 1 }).equal(y).mean();
      const confidence = core.softmax(logits).max();
      seen.push(before.itemSync(), after.itemSync(), confidence.itemSync());
      step(weights);
    });
    expect(seen.every((value) => value >= 0 && value <= 1)).toBe(true);
    expect(seen.at(-2) as number).toBeGreaterThan(0.8);
  });

  it("lets logits and loss be read after the step, and ends them at the next zeroGrad with a clear error", () => {
    const weights = makeWeights();
    const { x, y } = makeBatch();
    const logits = forward(weights, x);
    const loss = crossEntropy(logits, y);
    loss.backward();
    step(weights);
    expect(Number.isFinite(loss.itemSync())).toBe(true);
    expect(logits.dataSync()).toHaveLength(48);
    zeroGrad(weights);
    expect(weights.every(({ grad }) => grad === null)).toBe(true);
    expect(logits.isDisposed).toBe(true);
    expect(() => logits.add(1)).toThrow(
      expect.objectContaining({
        code: "NF_DEAD_TENSOR",
        message: expect.stringMatching(/^add: the result of "add" of shape \[12, 4\].*zeroGrad.*\.keep\(\)/s),
      }),
    );
    expect(() => loss.itemSync()).toThrow(/^dataSync: .*\.keep\(\)/s);
  });

  it("ends them at the next backward as well, where zeroGrad was forgotten", () => {
    const weights = makeWeights();
    const { x, y } = makeBatch();
    const first = crossEntropy(forward(weights, x), y);
    first.backward();
    const once = (weights[3] as core.Tensor).grad?.dataSync();
    crossEntropy(forward(weights, x), y).backward();
    expect(first.isDisposed).toBe(true);
    expect(Array.from((weights[3] as core.Tensor).grad?.dataSync() ?? [])).toEqual(
      Array.from(once ?? [], (value) => Math.fround(value * 2)),
    );
  });

  it("keeps what .keep() holds", () => {
    const weights = makeWeights();
    const { x, y } = makeBatch();
    const loss = crossEntropy(forward(weights, x), y).keep();
    loss.backward();
    zeroGrad(weights);
    expect(Number.isFinite(loss.itemSync())).toBe(true);
    loss.dispose();
    expect(loss.isDisposed).toBe(true);
  });

  it("ends gradients with zeroGrad, and what was computed from them is the caller's", () => {
    const weights = makeWeights();
    const { x, y } = makeBatch();
    crossEntropy(forward(weights, x), y).backward();
    const gradient = (weights[0] as core.Tensor).grad as core.Tensor;
    const norm = gradient.mul(gradient).sum();
    zeroGrad(weights);
    expect(gradient.isDisposed).toBe(true);
    expect(norm.itemSync()).toBeGreaterThan(0);
    norm.dispose();
  });

  it("is flat with gradient norms that are disposed of", () => {
    const weights = makeWeights();
    const { x, y } = makeBatch();
    expectFlat(() => {
      zeroGrad(weights);
      crossEntropy(forward(weights, x), y).backward();
      scope(() => weights.map(({ grad }) => grad?.mul(grad).sum().itemSync()));
      step(weights);
    });
  });

  it("is flat over several backwards a step, which add up", () => {
    const weights = makeWeights();
    const batches = [1, 2, 3].map((seed) => makeBatch(seed));
    expectFlat(() => {
      zeroGrad(weights);
      for (const { x, y } of batches) crossEntropy(forward(weights, x), y).div(3).backward();
      step(weights);
    });
    zeroGrad(weights);
    for (const { x, y } of batches) crossEntropy(forward(weights, x), y).div(3).backward();
    const summed = weights.map(({ grad }) => Array.from(grad?.dataSync() ?? []));
    zeroGrad(weights);
    batches
      .map(({ x, y }) => crossEntropy(forward(weights, x), y).div(3))
      .reduce((a, b) => a.add(b))
      .backward();
    weights.forEach(({ grad }, i) => {
      Array.from(grad?.dataSync() ?? []).forEach((value, j) => {
        expect(value).toBeCloseTo(summed[i]?.[j] as number, 5);
      });
    });
  });

  it("is flat for two networks against each other, with detach", () => {
    const generator = makeWeights(1);
    const judge = makeWeights(2);
    const { x, y } = makeBatch();
    const wide = (z: core.Tensor): core.Tensor => core.concat([z, z], 1);
    expectFlat(() => {
      const made = forward(generator, x);
      zeroGrad(judge);
      const judged = crossEntropy(forward(judge, wide(made.detach())), y);
      const real = crossEntropy(forward(judge, x), y);
      judged.add(real).backward();
      step(judge);
      zeroGrad(generator);
      const fooled = crossEntropy(forward(judge, wide(made)), y).neg();
      fooled.backward();
      step(generator);
    });
  });

  it("is flat where one forward serves two losses with retainGraph", () => {
    const weights = makeWeights();
    const { x, y } = makeBatch();
    expectFlat(() => {
      zeroGrad(weights);
      const logits = forward(weights, x);
      crossEntropy(logits, y).backward(undefined, { retainGraph: true });
      logits.mul(logits).mean().backward();
      step(weights);
    });
  });

  it("is flat with second-order gradients in a scope", () => {
    const weights = makeWeights();
    const { x, y } = makeBatch();
    expectFlat(() => {
      zeroGrad(weights);
      scope(() => {
        const loss = core.logSoftmax(forward(weights, x)).mul(y.cast("f32").unsqueeze(1)).mean();
        const input = core.grad((p: core.Tensor) => forward([p, ...weights.slice(1)], x).sum(), {
          createGraph: true,
        })(weights[0] as core.Tensor);
        loss.add(input.mul(input).mean()).backward();
      });
      step(weights);
    }, 20);
  });
});

describe("the functional loop", () => {
  it("is flat where old parameters are disposed of", () => {
    const { x, y } = makeBatch();
    let weights = makeWeights().map((weight) => weight.detach());
    const gradients = core.valueAndGrad((p: core.Tensor[]) => crossEntropy(forward(p, x), y));
    const losses: number[] = [];
    expectFlat(() => {
      const [loss, g] = gradients(weights);
      const next = pureStep(weights, g);
      losses.push(loss.itemSync());
      for (const dead of [loss, ...weights, ...g]) dead.dispose();
      weights = next;
    });
    expect(losses.at(-1) as number).toBeLessThan((losses[0] as number) / 2);
  });

  it("is flat in a scope that returns the parameters, with further outputs", () => {
    const { x, y } = makeBatch();
    let state = { weights: makeWeights().map((weight) => weight.detach()), average: tensor([0, 0, 0, 0]) };
    const gradients = core.valueAndGrad(
      (p: core.Tensor[], mean: core.Tensor) => {
        const logits = forward(p, x);
        return [
          crossEntropy(logits, y),
          mean.mul(0.9).add(logits.detach().mean({ axis: 0 }).mul(0.1)),
        ] as const;
      },
      { aux: true },
    );
    expectFlat(() => {
      const old = state;
      state = scope(() => {
        const [[, average], g] = gradients(old.weights, old.average);
        return { weights: pureStep(old.weights, g), average };
      });
      for (const dead of [...old.weights, old.average]) dead.dispose();
    });
    expect(state.average.shape).toEqual([4]);
  });

  it("leaves nothing but what it returns: noGrad, grad, valueAndGrad, vjp", () => {
    const w = core.parameter(tensor([1, 2, 3]));
    const x = tensor([2, 2, 2]);
    const before = alive().liveTensors as number;
    const kept = noGrad(() => w.mul(x).add(1).sum());
    const gradient = core.grad((p: core.Tensor) => p.mul(p).mul(x).sum())(x);
    const [value, both] = core.valueAndGrad((p: core.Tensor) => p.exp().mul(w).sum())(x);
    expect(memory().liveTensors).toBe(before + 4);
    for (const one of [kept, gradient, value, both]) one.dispose();
    const [out, pullback] = core.vjp((p) => (p as core.Tensor).mul(x).exp(), x);
    const [back] = pullback(out.detach());
    expect(back?.shape).toEqual([3]);
    expect(w.grad).toBeNull();
  });
});

describe("concurrent loops", () => {
  it("do not end each other's tensors", async () => {
    const train = async (seed: number): Promise<number[]> => {
      const weights = makeWeights(seed);
      const { x, y } = makeBatch(seed);
      const losses: number[] = [];
      for (let i = 0; i < 12; i++) {
        zeroGrad(weights);
        const logits = forward(weights, x);
        await null;
        const loss = crossEntropy(logits, y);
        await logits.data();
        loss.backward();
        await new Promise((resolve) => setTimeout(resolve, i % 3));
        step(weights);
        losses.push(await loss.item());
      }
      for (const weight of weights) weight.dispose();
      return losses;
    };
    const alone = [await train(1), await train(2), await train(3)];
    const together = await Promise.all([train(1), train(2), train(3)]);
    expect(together).toEqual(alone);
  });

  it("work with explicit scopes around their synchronous parts", async () => {
    const before = alive();
    const work = async (factor: number): Promise<number> => {
      const own = new Scope();
      const x = own.run(() => tensor([1, 2, 3]).mul(factor));
      await null;
      const y = own.run(() => x.mul(x));
      await null;
      // Outside of run: results belong where their operands do.
      const sum = y.sum();
      const value = await sum.item();
      own.dispose();
      expect([x, y, sum].every((one) => one.isDisposed)).toBe(true);
      return value;
    };
    expect(await Promise.all([work(1), work(2), work(3)])).toEqual([14, 56, 126]);
    expect(alive()).toEqual(before);
  });
});

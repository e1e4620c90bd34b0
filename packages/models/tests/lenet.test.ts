import { cpu } from "@nf/backend-cpu";
import { Generator, manualSeed, rand, randint, use } from "@nf/core";
import { CrossEntropyLoss, inspect, inspectModel } from "@nf/nn";
import { Adam } from "@nf/optim";
import { beforeAll, expect, it } from "vitest";
import { LENET, lenet } from "../src/index.ts";

beforeAll(async () => {
  await use(cpu());
});

it("has exactly 44,426 parameters, layer by layer as published", () => {
  const { parameters, trainable, rows } = inspectModel(lenet(), LENET.input);
  expect(parameters).toBe(44_426);
  expect(parameters).toBe(LENET.parameters);
  expect(trainable).toBe(44_426);
  expect(rows.filter((row) => row.depth === 1 && row.parameters > 0).map((row) => row.parameters)).toEqual([
    156, 2_416, 30_840, 10_164, 850,
  ]);
  expect(rows.map((row) => row.outputs?.[0])).toEqual([
    [1, 10],
    [1, 6, 24, 24],
    [1, 6, 24, 24],
    [1, 6, 12, 12],
    [1, 16, 8, 8],
    [1, 16, 8, 8],
    [1, 16, 4, 4],
    [1, 256],
    [1, 120],
    [1, 120],
    [1, 84],
    [1, 84],
    [1, 10],
  ]);
  expect(inspect(lenet(), LENET.input)).toContain("Total params: 44,426");
});

it("names parameters as PyTorch does", () => {
  expect(Object.keys(lenet().stateDict())).toEqual(
    [0, 3, 7, 9, 11].flatMap((layer) => [`${layer}.weight`, `${layer}.bias`]),
  );
});

it("starts from a generator, and refuses unknown options", async () => {
  const first = async (seed: number): Promise<unknown> =>
    lenet({ generator: new Generator(seed) })
      .parameters()[0]
      ?.toArray();
  expect(await first(1)).toEqual(await first(1));
  expect(await first(1)).not.toEqual(await first(2));
  const wrong: object = { stride: 2 };
  expect(() => lenet(wrong)).toThrow(/lenet: unknown option "stride"/);
});

/** Losses of some steps from a seed, on random images. */
async function train(steps: number, seed: number): Promise<number[]> {
  manualSeed(seed);
  const model = lenet();
  const criterion = new CrossEntropyLoss();
  const optimizer = new Adam(model.parameters(), { lr: 1e-3 });
  const x = rand([8, ...LENET.input]);
  const y = randint(0, 10, [8]);
  const losses: number[] = [];
  for (let step = 0; step < steps; step++) {
    optimizer.zeroGrad();
    const loss = criterion.forward(model.forward(x), y);
    loss.backward();
    optimizer.step();
    losses.push(await loss.item());
  }
  return losses;
}

it("repeats to the last bit from the same seed", async () => {
  const losses = await train(10, 3);
  expect(await train(10, 3)).toEqual(losses);
  expect(await train(10, 4)).not.toEqual(losses);
  expect(losses.at(-1)).toBeLessThan(losses[0] as number);
});

it("goes on training on another backend where it was moved to", async () => {
  const other = await cpu();
  const losses = async (move: boolean): Promise<number[]> => {
    manualSeed(1);
    const model = lenet();
    const optimizer = new Adam(model.parameters(), { lr: 1e-3 });
    const criterion = new CrossEntropyLoss();
    let [x, y] = [rand([4, ...LENET.input]), randint(0, 10, [4])];
    const found: number[] = [];
    for (let step = 0; step < 6; step++) {
      if (move && step === 3) {
        await model.to(other);
        [x, y] = [await x.to(other), await y.to(other)];
      }
      optimizer.zeroGrad();
      const loss = criterion.forward(model.forward(x), y);
      loss.backward();
      optimizer.step();
      found.push(await loss.item());
    }
    expect(model.parameters()[0]?.backend === other).toBe(move);
    return found;
  };
  expect(await losses(true)).toEqual(await losses(false));
  await other.dispose();
});

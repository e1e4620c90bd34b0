import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createBackend } from "@nf/backend-cpu";
import { fromData, memory, Scope, type Tensor, use } from "@nf/core";
import { DataLoader, iterableDataset } from "@nf/data";
import { BatchNorm1d, Linear, sequential } from "@nf/nn";
import { SGD } from "@nf/optim";
import { expect, it, onTestFinished } from "vitest";
import { fit, type TrainingData } from "../src/index.ts";
import { loader, net, points, task } from "./support/toy.ts";

await use(createBackend());

function temporaryFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), "nf-train-"));
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }));
  return folder;
}

const batchOf = (...values: number[]): Tensor => fromData(Float32Array.from(values), [values.length, 1]);

/** Fits `w` in `w x` to `x`, from 0, and gives it. */
async function weightAfter(data: TrainingData<Tensor>, options: object): Promise<number> {
  const model = new Linear(1, 1, { bias: false });
  model.loadStateDict({ weight: fromData(Float32Array.of(0), [1, 1]) });
  await fit(model, {
    data,
    forward: (net, x) => net.forward(x),
    loss: (output, x) => output.sub(x).square().mean(),
    optimizer: new SGD(model.parameters(), { lr: 0.25 }),
    epochs: 1,
    ...options,
  });
  return model.weight.item();
}

it.each([1, 2, 3])(
  "trains on a loader that does not know its length, %i batches a step",
  async (accumulate) => {
    const items = iterableDataset([1, 2, 3, 4].map((value) => ({ x: Float32Array.of(value) })));
    const stream = new DataLoader(items, { batchSize: 1 });
    expect(stream.knownLength).toBeUndefined();
    expect(() => stream.length).toThrow("iterable");
    expect(loader(16).knownLength).toBe(4);
    const model = new Linear(1, 1);
    const result = await fit(model, {
      data: stream,
      forward: (net, { x }) => net.forward(x),
      loss: (output) => output.square().mean(),
      optimizer: new SGD(model.parameters(), { lr: 0.01 }),
      epochs: 2,
      accumulate,
    });
    expect(result).toMatchObject({ epochs: 2, step: 2 * Math.ceil(4 / accumulate) });
  },
);

it("what an epoch leaves over is a mean of what there is, whether the length is known or not", async () => {
  const batches = [batchOf(1), batchOf(2)];
  for (const accumulate of [2, 3, 4, 8]) {
    const known = await weightAfter(batches, { accumulate });
    const unknown = await weightAfter(() => batches.values(), { accumulate });
    expect(unknown).toBeCloseTo(known, 6);
    // 0.25 times the mean of 2 x squared.
    expect(known).toBeCloseTo(1.25, 6);
  }
});

it("goes on after a training of steps that ended with an epoch", async () => {
  const train = (folder: string, steps: number) => {
    const model = net();
    const optimizer = new SGD(model.parameters(), { lr: 0.1 });
    const checkpoints = { folder, resume: true };
    return fit(model, { ...task, data: loader(16), optimizer, steps, checkpoints }).then(async (result) => ({
      ...result,
      weights: await Promise.all(model.parameters().map((one) => one.data())),
    }));
  };
  const folder = temporaryFolder();
  expect(await train(folder, 4)).toMatchObject({ step: 4, epochs: 1 });
  const resumed = await train(folder, 8);
  expect(resumed).toMatchObject({ step: 8, epochs: 2 });
  const straight = await train(temporaryFolder(), 8);
  expect(resumed.weights).toEqual(straight.weights);
});

it("a function that makes loaders gets the order of each epoch, after a resume as before", async () => {
  const train = async (folder: string, epochs: number) => {
    const seen: number[][] = [];
    const model = net();
    await fit(model, {
      ...task,
      data: () => loader(32),
      forward: (one: ReturnType<typeof net>, { x }: { x: Tensor; y: Tensor }) => {
        seen.push([...(x.dataSync() as Float32Array)]);
        return one.forward(x);
      },
      optimizer: new SGD(model.parameters(), { lr: 0.1 }),
      epochs,
      checkpoints: { folder, resume: true },
    });
    return seen;
  };
  const whole = await train(temporaryFolder(), 2);
  expect(whole[2]).not.toEqual(whole[0]);
  const folder = temporaryFolder();
  expect([...(await train(folder, 1)), ...(await train(folder, 2))]).toEqual(whole);
});

it("a layer that was put into evaluation mode stays there, through validations too", async () => {
  const norm = new BatchNorm1d(2);
  const model = sequential(norm, new Linear(2, 2));
  const options = { ...task, data: loader(), validation: loader(), epochs: 2 };
  const run = () =>
    fit(model, {
      ...options,
      forward: (one, { x }) => one.forward(x),
      optimizer: new SGD(model.parameters(), { lr: 0.1 }),
    });
  norm.eval();
  const before = [...(norm.runningMean as Tensor).dataSync()];
  await run();
  expect([...(norm.runningMean as Tensor).dataSync()]).toEqual(before);
  // In evaluation mode as a whole by then: all of it trains.
  expect(model.training).toBe(false);
  await run();
  expect([...(norm.runningMean as Tensor).dataSync()]).not.toEqual(before);
});

it("memory stays flat over a generator that ends its tensors", async () => {
  const { x, y } = points().getBatch([0, 1, 2, 3]);
  function* batches() {
    for (let i = 0; i < 20; i++) {
      const batch = new Scope();
      try {
        yield batch.run(() => ({
          x: fromData(x.data as Float32Array, [4, 2]),
          y: fromData(y.data as Int32Array, [4]),
        }));
      } finally {
        batch.dispose();
      }
    }
  }
  const model = net();
  const live: number[] = [];
  await fit(model, {
    ...task,
    data: batches,
    optimizer: new SGD(model.parameters(), { lr: 0.1 }),
    epochs: 3,
    callbacks: [{ onEpochEnd: () => void live.push(memory().liveTensors) }],
  });
  expect(live[2]).toBe(live[0]);
});

import { createBackend } from "@nf/backend-cpu";
import { crossEntropy, manualSeed, memory, OptionError, ShapeError, type Tensor, use } from "@nf/core";
import { Linear } from "@nf/nn";
import { Adam, ExponentialLR, ReduceLROnPlateau, SGD } from "@nf/optim";
import { describe, expect, it, vi } from "vitest";
import {
  type Callback,
  DivergedError,
  fit,
  type LogEvent,
  perplexity,
  type ValidationContext,
} from "../src/index.ts";
import { batchOf, loader, net, task } from "./support/toy.ts";

await use(createBackend());

const weightsOf = async (model: ReturnType<typeof net>) =>
  Promise.all(model.parameters().map(async (one) => [...(await one.data())]));

/** A training by hand, as the documentation of optimisers has it. */
async function byHand(epochs: number, lr = 0.05): Promise<ReturnType<typeof net>> {
  const model = net().train();
  const optimizer = new Adam(model.parameters(), { lr });
  const data = loader();
  for (let epoch = 0; epoch < epochs; epoch++) {
    for await (const { x, y } of data) {
      optimizer.zeroGrad();
      crossEntropy(model.forward(x), y).backward();
      optimizer.step();
    }
  }
  return model;
}

describe("fit", () => {
  it("learns, and its history says how", async () => {
    const model = net();
    const { history, ...result } = await fit(model, {
      ...task,
      data: loader(),
      optimizer: new Adam(model.parameters(), { lr: 0.05 }),
      epochs: 25,
      metrics: { ...task.metrics, perplexity },
      validation: loader(50),
    });
    expect(result).toMatchObject({ step: 100, epochs: 25, items: 1600, ending: "done", best: undefined });
    expect(history).toHaveLength(25);
    const last = history.at(-1);
    expect(last).toMatchObject({ epoch: 25, step: 100, learningRate: 0.05 });
    expect(last?.validation?.accuracy).toBeGreaterThan(0.9);
    expect(last?.train.perplexity).toBeCloseTo(Math.exp(last?.train.loss ?? 0), 10);
    // In evaluation mode afterwards; validation is exact, whatever its batches.
    expect(model.training).toBe(false);
    const { x, y } = batchOf(64);
    expect(last?.validation?.loss).toBeCloseTo(await crossEntropy(model.forward(x), y).item(), 6);
  });

  it("does the very steps of a loop by hand", async () => {
    const model = net();
    await fit(model, {
      ...task,
      data: loader(),
      optimizer: new Adam(model.parameters(), { lr: 0.05 }),
      epochs: 3,
      validation: loader(50),
    });
    expect(await weightsOf(model)).toEqual(await weightsOf(await byHand(3)));
  });

  it("ends after steps, in the middle of an epoch, and takes any iterable", async () => {
    const seen: number[] = [];
    const model = net();
    const batch = batchOf(4);
    const result = await fit(model, {
      ...task,
      data: (epoch: number) => {
        seen.push(epoch);
        return [batch, batch, batch];
      },
      optimizer: new SGD(model.parameters(), { lr: 0.1 }),
      steps: 7,
      evaluateEvery: 3,
    });
    expect(seen).toEqual([1, 2, 3]);
    expect(result).toMatchObject({ step: 7, epochs: 2, items: 28 });
    expect(result.history.map(({ step, epoch }) => [step, epoch])).toEqual([
      [3, 1],
      [6, 2],
      [7, 3],
    ]);
  });

  it("accumulates: two halves of a batch are the batch, and the rest of an epoch is a step", async () => {
    const train = async (batchSize: number, accumulate: number, count = 64) => {
      const model = net(0);
      const { step } = await fit(model, {
        ...task,
        data: loader(batchSize, count),
        optimizer: new SGD(model.parameters(), { lr: 0.1 }),
        epochs: 2,
        accumulate,
      });
      return { step, weights: (await weightsOf(model)).flat() };
    };
    const [whole, halves] = [await train(16, 1), await train(8, 2)];
    expect(halves.step).toBe(whole.step);
    for (const [i, weight] of halves.weights.entries())
      expect(weight).toBeCloseTo(whole.weights[i] as number, 6);
    expect((await train(16, 3)).step).toBe(4);
  });

  it("clips gradients", async () => {
    const moved = async (options: { clipGradNorm?: number; clipGradValue?: number }) => {
      const model = net(0);
      const before = (await weightsOf(model)).flat();
      const optimizer = new SGD(model.parameters(), { lr: 1 });
      await fit(model, { ...task, data: loader(64), optimizer, epochs: 1, ...options });
      return (await weightsOf(model)).flat().map((one, i) => one - (before[i] as number));
    };
    const norm = (values: number[]) => Math.hypot(...values);
    const free = await moved({});
    expect(norm(free)).toBeGreaterThan(0.02);
    expect(norm(await moved({ clipGradNorm: 0.01 }))).toBeCloseTo(0.01, 5);
    expect(Math.max(...(await moved({ clipGradValue: 0.001 })).map(Math.abs))).toBeCloseTo(0.001, 6);
  });

  it("sets learning rates: by a function, by a schedule per step, epoch or evaluation", async () => {
    const rates = async (choose: (optimizer: SGD) => object) => {
      const model = net();
      const optimizer = new SGD(model.parameters(), { lr: 1 });
      const seen: number[] = [];
      const callbacks = [
        { onStep: ({ learningRate }: { learningRate: number }) => void seen.push(learningRate) },
      ];
      await fit(model, { ...task, data: loader(32), optimizer, epochs: 2, callbacks, ...choose(optimizer) });
      return seen;
    };
    expect(await rates(() => ({ learningRate: (step: number) => step / 10 }))).toEqual([0, 0.1, 0.2, 0.3]);
    expect(await rates((optimizer) => ({ schedule: new ExponentialLR(optimizer, { gamma: 0.5 }) }))).toEqual([
      1, 0.5, 0.25, 0.125,
    ]);
    for (const per of ["epoch", "evaluation"])
      expect(
        await rates((optimizer) => ({
          schedule: { schedule: new ExponentialLR(optimizer, { gamma: 0.5 }), per },
        })),
      ).toEqual([1, 1, 0.5, 0.5]);
    // The accuracy of 32 points after one step and two is never better by 2.
    const plateau = (optimizer: SGD) => ({
      schedule: {
        schedule: new ReduceLROnPlateau(optimizer, {
          mode: "max",
          patience: 0,
          threshold: 2,
          thresholdMode: "abs",
        }),
        per: "evaluation",
        metric: "accuracy",
      },
      epochs: 3,
    });
    expect((await rates(plateau)).map((rate) => Number(rate.toPrecision(6)))).toEqual([1, 1, 1, 1, 0.1, 0.1]);
  });

  it("tells of everything in order, waits for callbacks, and reads nothing back for a step", async () => {
    const told: string[] = [];
    const logs: LogEvent[] = [];
    const note = (event: string) => async (fields: { epoch: number; step: number }) => {
      await Promise.resolve();
      told.push(`${event} ${fields.epoch}.${fields.step}`);
    };
    const model = net();
    await fit(model, {
      ...task,
      data: loader(32),
      optimizer: new SGD(model.parameters(), { lr: 0.1 }),
      epochs: 2,
      logEvery: 3,
      callbacks: [
        {
          onTrainBegin(event) {
            expect(event).toMatchObject({
              resumed: false,
              totalSteps: 4,
              totalEpochs: 2,
              names: ["loss", "accuracy"],
            });
            return note("begin")(event);
          },
          onEpochBegin: note("epoch"),
          onStep: note("step"),
          onLog(event) {
            logs.push(event);
          },
          onEvaluation: note("evaluation"),
          onEpochEnd: note("end of epoch"),
          onTrainEnd: note("end"),
        },
      ],
    });
    expect(told).toEqual([
      ...["begin 1.0", "epoch 1.0", "step 1.1", "step 1.2", "evaluation 1.2", "end of epoch 1.2"],
      ...["epoch 2.2", "step 2.3", "step 2.4", "evaluation 2.4", "end of epoch 2.4", "end 2.4"],
    ]);
    expect(logs.map(({ step, steps, stepItems, items }) => [step, steps, stepItems, items])).toEqual([
      [2, 2, 64, 64],
      [3, 1, 32, 96],
      [4, 1, 32, 128],
    ]);
  });

  it("is stopped by a callback, a signal and Ctrl-C, after the step in hand", async () => {
    const train = async (callback: Callback, options = {}) => {
      const model = net();
      const optimizer = new SGD(model.parameters(), { lr: 0.1 });
      return fit(model, { ...task, data: loader(), optimizer, epochs: 9, callbacks: [callback], ...options });
    };
    const own = await train({ onStep: ({ step, stop }) => (step === 3 ? stop("enough") : undefined) });
    expect(own).toMatchObject({ step: 3, ending: "callback", reason: "enough" });
    const controller = new AbortController();
    const at = (step: number, act: () => void): Callback => ({
      onStep: (event) => (event.step === step ? act() : undefined),
    });
    const aborted = await train(
      at(2, () => controller.abort()),
      { signal: controller.signal },
    );
    expect(aborted).toMatchObject({ step: 2, ending: "aborted" });
    expect(await train({}, { signal: controller.signal })).toMatchObject({
      step: 0,
      ending: "aborted",
      history: [],
    });
    const before = process.listenerCount("SIGINT");
    const pressed = await train(at(4, () => process.emit("SIGINT")));
    expect(pressed).toMatchObject({ step: 4, ending: "aborted" });
    expect(process.listenerCount("SIGINT")).toBe(before);
    // In the middle of a validation, which is given up.
    const late = new AbortController();
    const validate = async ({ breathe }: { breathe: () => Promise<boolean> }) => {
      late.abort();
      return (await breathe()) ? { loss: 1 } : undefined;
    };
    expect(await train({}, { signal: late.signal, validate })).toMatchObject({ step: 4, history: [] });
  });

  it("stops early, and puts the best weights back", async () => {
    const model = net();
    const losses = [3, 2, 2.5, 2.4, 2.2, 1];
    const weights: number[][][] = [];
    const result = await fit(model, {
      ...task,
      data: loader(),
      optimizer: new SGD(model.parameters(), { lr: 0.1 }),
      epochs: 6,
      validate: async ({ epoch }: ValidationContext) => {
        weights.push(await weightsOf(model));
        return { error: losses[epoch - 1] as number };
      },
      earlyStopping: { metric: "error", patience: 3 },
    });
    expect(result).toMatchObject({ epochs: 5, ending: "early", best: { step: 8, value: 2 } });
    expect(result.reason).toBe("error did not get better than 2 for 3 evaluations");
    expect(await weightsOf(model)).toEqual(weights[1]);
    expect(result.history.map(({ validation }) => validation?.error)).toEqual(losses.slice(0, 5));

    const other = net();
    const seen: (boolean | undefined)[] = [];
    await fit(other, {
      ...task,
      data: loader(),
      optimizer: new SGD(other.parameters(), { lr: 0.1 }),
      epochs: 4,
      validate: async ({ epoch }: ValidationContext) => ({
        score: [1, 1.05, 1.5, Number.NaN][epoch - 1] as number,
      }),
      earlyStopping: { metric: "score", mode: "max", patience: 5, minDelta: 0.1, restoreBest: false },
      callbacks: [{ onEvaluation: ({ best }) => void seen.push(best) }],
    });
    expect(seen).toEqual([true, false, true, false]);
  });

  it("says when it has diverged", async () => {
    const model = net();
    const optimizer = new SGD(model.parameters(), { lr: 1e30 });
    const ended = vi.fn();
    const error = await fit(model, {
      ...task,
      data: loader(),
      optimizer,
      epochs: 9,
      logEvery: 4,
      callbacks: [{ onTrainEnd: ({ error }) => ended(error) }],
    }).catch((reason: unknown) => reason);
    expect(error).toBeInstanceOf(DivergedError);
    expect(error).toMatchObject({ code: "NF_ARITHMETIC", step: 4, checkpoint: undefined });
    expect(String(error)).toMatch(
      /the loss is NaN, in one of 4 steps at step 4: .*Try a lower learning rate/,
    );
    expect(ended).toHaveBeenCalledWith(error);
  });

  it("refuses what makes no sense, saying what would", async () => {
    const model = net();
    const optimizer = new Adam(model.parameters());
    const good = { ...task, data: loader(), optimizer, epochs: 1 };
    const refused = async (options: object, message: string | RegExp, on: object = model) => {
      const attempt = fit(on as typeof model, { ...good, ...options } as typeof good);
      await expect(attempt).rejects.toThrow(message);
      await expect(attempt).rejects.toThrow(OptionError);
    };
    await refused({}, "structure.bind", {});
    await refused({ epoch: 3 }, 'unknown option "epoch"');
    await refused({ steps: 3 }, "either epochs or steps");
    await refused({ epochs: undefined }, "either epochs or steps");
    await refused({ epochs: 1.5 }, "epochs");
    await refused({ optimizer: {} }, "new Adam(model.parameters())");
    await refused({ data: 3 }, "data must be a DataLoader");
    await refused({ forward: undefined }, "forward must be a function");
    await refused({ data: [] }, "the data gave no batch in epoch 1");
    await refused({ validation: [] }, "the validation data gave no batch");
    await refused({ validation: loader(), validate: async () => undefined }, "not both");
    await refused({ metrics: { loss: task.loss } }, 'no metric can be called "loss"');
    await refused({ earlyStopping: { metric: "f1", patience: 1 } }, 'is "f1", and there are loss, accuracy');
    await refused({ earlyStopping: { patience: 0 } }, "patience");
    await refused({ schedule: { schedule: {}, per: "step" } }, "schedule must be one of @nf/optim");
    await refused({ callbacks: [{ onEpoch() {} }] }, "callback 0 has onEpoch, which is no event");
    await refused(
      { validate: async () => ({ loss: 1 }), earlyStopping: { metric: "error", patience: 1 } },
      'earlyStopping.metric is "error", and there are loss',
    );
    const attempt = fit(model, { ...good, metrics: { raw: (logits: Tensor) => logits } });
    await expect(attempt).rejects.toThrow(ShapeError);
  });

  it("holds as much after many steps as after few", { timeout: 900_000 }, async () => {
    const nightly = process.env["NF_NIGHTLY"] === "1";
    manualSeed(1);
    const model = net();
    const live: unknown[] = [];
    const optimizer = new Adam(model.parameters());
    await fit(model, {
      ...task,
      data: loader(8),
      optimizer,
      epochs: nightly ? 1250 : 12,
      validation: loader(16),
      accumulate: 2,
      clipGradNorm: 1,
      earlyStopping: { patience: 10_000 },
      callbacks: [
        {
          onEvaluation() {
            const { liveTensors, liveBytes, poolMisses } = memory();
            live.push({ liveTensors, liveBytes, poolMisses });
          },
        },
      ],
    });
    expect(live.at(-1)).toEqual(live[2]);
    optimizer.dispose();
    model.dispose();
    const { liveTensors } = memory();
    const again = new Linear(2, 2);
    expect(memory().liveTensors).toBe(liveTensors + 2);
    again.dispose();
  });
});

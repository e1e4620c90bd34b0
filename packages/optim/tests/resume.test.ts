import { cpu } from "@nf/backend-cpu";
import { add, Generator, mul, parameter, randn, square, sum, type Tensor, tensor, use } from "@nf/core";
import { beforeAll, describe, expect, it } from "vitest";
import * as optim from "../src/index.ts";

/*
 * A run that was saved in the middle and goes on in objects made anew has the same bits as one that was never interrupted: for
 * every optimiser under every schedule, with two groups, clipping and averages.
 */

type Make = new (params: unknown, options: object) => optim.Optimizer;
type Schedule = optim.LRScheduler | optim.ReduceLROnPlateau;

/** Options that give each optimiser all the state that it can have. */
const OPTIMIZERS: Readonly<Record<string, object>> = {
  SGD: { lr: 0.1, momentum: 0.9, nesterov: true, weightDecay: 0.01 },
  Adagrad: { lr: 0.1, lrDecay: 0.01 },
  Adadelta: { lr: 1 },
  RMSprop: { lr: 0.05, momentum: 0.5, centered: true },
  Adam: { lr: 0.1, amsgrad: true },
  AdamW: { lr: 0.1, weightDecay: 0.1 },
  Adamax: { lr: 0.1 },
  NAdam: { lr: 0.1 },
  RAdam: { lr: 0.1 },
  Lion: { lr: 0.05, weightDecay: 0.1 },
};

const SCHEDULES: Readonly<Record<string, (optimizer: optim.Optimizer) => Schedule>> = {
  StepLR: (o) => new optim.StepLR(o, { stepSize: 3, gamma: 0.5 }),
  MultiStepLR: (o) => new optim.MultiStepLR(o, { milestones: [2, 7], gamma: 0.5 }),
  ExponentialLR: (o) => new optim.ExponentialLR(o, { gamma: 0.9 }),
  PolynomialLR: (o) => new optim.PolynomialLR(o, { totalIters: 8, power: 2 }),
  LinearLR: (o) => new optim.LinearLR(o, { totalIters: 7 }),
  ConstantLR: (o) => new optim.ConstantLR(o, { totalIters: 6, factor: 0.25 }),
  LambdaLR: (o) => new optim.LambdaLR(o, { lrLambda: (step) => 1 / (1 + step) }),
  CosineAnnealingLR: (o) => new optim.CosineAnnealingLR(o, { tMax: 8, etaMin: 0.001 }),
  CosineAnnealingWarmRestarts: (o) => new optim.CosineAnnealingWarmRestarts(o, { t0: 2, tMult: 2 }),
  OneCycleLR: (o) =>
    new optim.OneCycleLR(o, {
      maxLr: [0.1, 0.2],
      totalSteps: 10,
      cycleMomentum: !(o instanceof optim.Adagrad || o instanceof optim.Adadelta),
    }),
  WarmupLR: (o) => new optim.WarmupLR(o, { warmupSteps: 7, shape: "cosine" }),
  InverseSqrtLR: (o) => new optim.InverseSqrtLR(o, { warmupSteps: 3 }),
  SequentialLR: (o) =>
    new optim.SequentialLR(
      o,
      [new optim.WarmupLR(o, { warmupSteps: 3 }), new optim.CosineAnnealingLR(o, { tMax: 5 })],
      { milestones: [3] },
    ),
  ReduceLROnPlateau: (o) => new optim.ReduceLROnPlateau(o, { factor: 0.5, patience: 1, cooldown: 1 }),
};

/** Names of what the package exports that extends a class. */
const named = (Base: unknown): string[] =>
  Object.entries(optim).flatMap(([name, value]) =>
    typeof value === "function" && value.prototype instanceof (Base as typeof optim.Optimizer) ? [name] : [],
  );

const STEPS = 10;

class Run {
  readonly optimizer: optim.Optimizer;
  readonly schedule: Schedule;
  readonly ema: optim.EMA;
  readonly params: readonly Tensor[];

  constructor(name: string, schedule: string, params: readonly Tensor[]) {
    const [w, b] = params as [Tensor, Tensor];
    const Type = Reflect.get(optim, name) as Make;
    this.params = params;
    this.optimizer = new Type([{ params: [w] }, { params: [b], lr: 0.05 }], OPTIMIZERS[name] as object);
    this.schedule = (SCHEDULES[schedule] as (optimizer: optim.Optimizer) => Schedule)(this.optimizer);
    this.ema = new optim.EMA([w, b], { decay: 0.75 });
  }

  train(from: number, to: number): void {
    const [w, b] = this.params as [Tensor, Tensor];
    for (let step = from; step < to; step++) {
      this.optimizer.zeroGrad();
      // What a batch would bring follows from the step alone.
      const noise = randn([3], { generator: new Generator(step) });
      add(sum(square(add(w, noise))), mul(sum(square(b)), 2)).backward();
      optim.clipGradNorm([w, b], 3);
      this.optimizer.step();
      if (this.schedule instanceof optim.ReduceLROnPlateau) this.schedule.step(step < 3 ? 3 - step : 1);
      else this.schedule.step();
      this.ema.update();
    }
  }

  /** All there is to see: parameters, averages, rates, and what a checkpoint would hold. */
  async values(): Promise<unknown> {
    const { state, paramGroups } = this.optimizer.stateDict();
    const read = (tensors: readonly Tensor[]): Promise<unknown> =>
      Promise.all(tensors.map((one) => one.toArray()));
    const kept = Object.values(state);
    return {
      params: await read(this.params),
      averages: await read(Object.values(this.ema.stateDict().averages)),
      slots: await read(kept.flatMap(({ slots }) => Object.values(slots))),
      numbers: kept.map(({ count, carried }) => [count, carried]),
      paramGroups,
      schedule: this.schedule.stateDict(),
    };
  }
}

const fresh = (): Tensor[] => [parameter(tensor([1, -2, 3])), parameter(tensor([4]))];

beforeAll(async () => {
  await use(cpu());
});

it("every optimiser and every schedule is here", () => {
  expect(Object.keys(OPTIMIZERS).sort()).toEqual(named(optim.Optimizer).sort());
  expect(Object.keys(SCHEDULES).sort()).toEqual([...named(optim.LRScheduler), "ReduceLROnPlateau"].sort());
});

describe.each(Object.keys(OPTIMIZERS))("%s goes on bit for bit where it was saved", (name) => {
  it.each(Object.keys(SCHEDULES))("under %s", async (schedule) => {
    const whole = new Run(name, schedule, fresh());
    whole.train(0, STEPS);
    const expected = await whole.values();

    for (const middle of [1, 5]) {
      const first = new Run(name, schedule, fresh());
      first.train(0, middle);
      const second = new Run(
        name,
        schedule,
        first.params.map((one) => parameter(one.detach().clone())),
      );
      second.optimizer.loadStateDict(first.optimizer.stateDict());
      // A file holds JSON beside the tensors.
      second.schedule.loadStateDict(JSON.parse(JSON.stringify(first.schedule.stateDict())));
      second.ema.loadStateDict(first.ema.stateDict());
      second.train(middle, STEPS);
      expect(await second.values(), `saved after ${middle} steps`).toEqual(expected);
    }
  });
});

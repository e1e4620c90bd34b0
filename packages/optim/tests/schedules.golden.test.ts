import { cpu } from "@nf/backend-cpu";
import { parameter, type Tensor, tensor, use } from "@nf/core";
import { beforeAll, describe, expect, it } from "vitest";
import * as optim from "../src/index.ts";
import { golden } from "./golden.ts";

interface Case {
  readonly schedule: string;
  readonly options: object;
  readonly optimizer?: "Adam";
  /** Of both groups, before the first step and after each. */
  readonly rates: readonly (readonly number[])[];
  readonly momenta: readonly (readonly number[])[];
}

interface Plateau {
  readonly options: optim.ReduceLROnPlateauOptions;
  readonly metrics: readonly number[];
  readonly rates: readonly (readonly number[])[];
}

interface Goldens {
  readonly groups: readonly number[];
  readonly cases: readonly Case[];
  readonly plateaus: readonly Plateau[];
}

const { groups, cases, plateaus } = golden<Goldens>("schedules.json");

type Make = new (optimizer: optim.Optimizer, options: object) => optim.LRScheduler;

function optimizerOf(test: Pick<Case, "optimizer">): optim.Optimizer {
  const params = groups.map((lr): { params: Tensor[]; lr: number } => ({
    params: [parameter(tensor([0]))],
    lr,
  }));
  return test.optimizer === "Adam" ? new optim.Adam(params) : new optim.SGD(params, { momentum: 0.9 });
}

function scheduleOf({ schedule, options }: Case, optimizer: optim.Optimizer): optim.LRScheduler {
  if (schedule === "LambdaLR")
    return new optim.LambdaLR(optimizer, { lrLambda: [(step) => 1 / (1 + step), (step) => 0.5 ** step] });
  if (schedule === "SequentialLR") {
    const parts = [
      new optim.LinearLR(optimizer, { totalIters: 4 }),
      new optim.CosineAnnealingLR(optimizer, { tMax: 10 }),
      new optim.ExponentialLR(optimizer, { gamma: 0.5 }),
    ];
    return new optim.SequentialLR(optimizer, parts, options as optim.SequentialLROptions);
  }
  return new (Reflect.get(optim, schedule) as Make)(optimizer, options);
}

function momenta(optimizer: optim.Optimizer): readonly number[] {
  return optimizer.paramGroups.map((group: object) => {
    const betas: readonly number[] | undefined = Reflect.get(group, "betas");
    return betas?.[0] ?? Reflect.get(group, "momentum");
  });
}

function near(got: readonly number[], expected: readonly number[], what: string): void {
  for (const [i, value] of expected.entries())
    expect(Math.abs((got[i] as number) - value), `${what} group ${i}`).toBeLessThanOrEqual(
      1e-14 + 1e-12 * Math.abs(value),
    );
}

beforeAll(async () => {
  await use(cpu());
});

describe("as PyTorch's", () => {
  it("covers every schedule", () => {
    const classes = Object.entries(optim)
      .filter(([, value]) => typeof value === "function" && value.prototype instanceof optim.LRScheduler)
      .map(([name]) => name);
    // InverseSqrtLR is not PyTorch's.
    expect(new Set([...cases.map(({ schedule }) => schedule), "InverseSqrtLR"])).toEqual(new Set(classes));
  });

  const titled = cases.map((one) => ({ ...one, title: `${one.schedule} ${JSON.stringify(one.options)}` }));
  it.each(titled)("$title $optimizer", (test) => {
    let optimizer = optimizerOf(test);
    let schedule = scheduleOf(test, optimizer);
    // PyTorch's goes on rising or falling behind the last step of the run, to below 0; ours stays where it ended.
    const last =
      test.schedule === "OneCycleLR" ? Number(Reflect.get(test.options, "totalSteps")) - 1 : Infinity;
    for (const step of test.rates.keys()) {
      const at = Math.min(step, last);
      near(schedule.getLastLr(), test.rates[at] as readonly number[], `rate after ${step}`);
      near(momenta(optimizer), test.momenta[at] as readonly number[], `momentum after ${step}`);
      if (step === test.rates.length - 1) break;
      if (step === 7) {
        const rates = schedule.getLastLr();
        const saved = JSON.parse(JSON.stringify(schedule.stateDict()));
        optimizer = optimizerOf(test);
        schedule = scheduleOf(test, optimizer);
        schedule.loadStateDict(saved);
        expect(schedule.getLastLr()).toEqual(rates);
        expect(schedule.stateDict()).toEqual(saved);
      }
      schedule.step();
    }
  });

  it.each(plateaus)("ReduceLROnPlateau $options", ({ options, metrics, rates }) => {
    let optimizer = optimizerOf({});
    let schedule = new optim.ReduceLROnPlateau(optimizer, options);
    for (const [step, metric] of metrics.entries()) {
      if (step === 6) {
        const saved = JSON.parse(JSON.stringify(schedule.stateDict()));
        optimizer = optimizerOf({});
        schedule = new optim.ReduceLROnPlateau(optimizer, options);
        schedule.loadStateDict(saved);
        expect(schedule.stateDict()).toEqual(saved);
      }
      schedule.step(metric);
      near(schedule.getLastLr(), rates[step] as readonly number[], `rate after ${step + 1}`);
    }
  });
});

describe("schedules", () => {
  it("begin from the optimiser's own rates, whichever was made before", () => {
    const optimizer = optimizerOf({});
    new optim.ConstantLR(optimizer);
    const schedule = new optim.StepLR(optimizer, { stepSize: 2 });
    expect(schedule.getLastLr()).toEqual(groups);
    expect(schedule.rateAt(1, 4)).toBeCloseTo(0.01, 15);
  });

  it("warm up to the rate itself, and hand over", () => {
    const optimizer = optimizerOf({});
    const parts = [
      new optim.WarmupLR(optimizer, { warmupSteps: 3 }),
      new optim.CosineAnnealingLR(optimizer, { tMax: 4 }),
    ];
    const schedule = new optim.SequentialLR(optimizer, parts, { milestones: [3] });
    const seen = Array.from({ length: 8 }, () => {
      const [, rate] = schedule.getLastLr();
      schedule.step();
      return (rate as number) / 0.5;
    });
    const expected = [1 / 3, 2 / 3, 1, 1, (1 + Math.SQRT1_2) / 2, 0.5, (1 - Math.SQRT1_2) / 2, 0];
    for (const [i, value] of expected.entries()) expect(seen[i]).toBeCloseTo(value, 14);
  });

  it("refuse what is no option, no optimiser and no state of theirs", () => {
    const optimizer = optimizerOf({});
    const other = optimizerOf({});
    const plain = new optim.Adagrad([parameter(tensor([1]))]);
    const wrong: readonly (() => unknown)[] = [
      () => new optim.StepLR({} as optim.Optimizer, { stepSize: 1 }),
      () => new optim.ReduceLROnPlateau({} as optim.Optimizer),
      () => new optim.StepLR(optimizer, {} as optim.StepLROptions),
      () => Reflect.construct(optim.StepLR, [optimizer]),
      () => Reflect.construct(optim.OneCycleLR, [optimizer]),
      () => Reflect.construct(optim.MultiStepLR, [optimizer]),
      () => new optim.MultiStepLR(optimizer, { milestones: [1.5] }),
      () => new optim.ExponentialLR(optimizer, { gamma: Number.NaN }),
      () => new optim.LinearLR(optimizer, { startFactor: 2 }),
      () => new optim.CosineAnnealingLR(optimizer, { tMax: 0 }),
      () => new optim.CosineAnnealingLR(optimizer, { tMax: 3, etaMax: 1 } as optim.CosineAnnealingLROptions),
      () => new optim.LambdaLR(optimizer, { lrLambda: [() => 1] }),
      () => new optim.LambdaLR(optimizer, { lrLambda: 3 as never }),
      () => new optim.OneCycleLR(optimizer, { maxLr: [1, 2, 3], totalSteps: 3 }),
      () => new optim.OneCycleLR(optimizer, { maxLr: 1, totalSteps: 3, divFactor: 0 }),
      () => new optim.OneCycleLR(plain, { maxLr: 1, totalSteps: 3 }),
      () => new optim.WarmupLR(optimizer, { warmupSteps: 2, shape: "square" as "linear" }),
      () => new optim.SequentialLR(optimizer, [], { milestones: [] }),
      () => new optim.SequentialLR(optimizer, [new optim.LinearLR(other)], { milestones: [] }),
      () => new optim.SequentialLR(optimizer, [new optim.LinearLR(optimizer)], { milestones: [1] }),
      () =>
        new optim.SequentialLR(optimizer, [new optim.ReduceLROnPlateau(optimizer) as never], {
          milestones: [],
        }),
      () => new optim.ReduceLROnPlateau(optimizer, { mode: "least" as "min" }),
      () => new optim.ReduceLROnPlateau(optimizer, { factor: 1 }),
      () => new optim.ReduceLROnPlateau(optimizer).step(tensor([1]) as never),
      () => new optim.ReduceLROnPlateau(optimizer).loadStateDict({} as optim.PlateauState),
      () => new optim.StepLR(optimizer, { stepSize: 2 }).loadStateDict({ steps: 1, baseLrs: [1] }),
    ];
    for (const call of wrong) expect(call).toThrow(expect.objectContaining({ code: "NF_OPTION" }));
    new optim.OneCycleLR(plain, { maxLr: 1, totalSteps: 3, cycleMomentum: false });
    const run = new optim.OneCycleLR(optimizer, { maxLr: 1, totalSteps: 2 });
    run.step();
    run.step();
    expect(() => run.step()).toThrow(/the run has 2 steps, and this is step 3/);
  });
});

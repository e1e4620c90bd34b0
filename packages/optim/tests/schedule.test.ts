import { cpu } from "@nf/backend-cpu";
import { OptionError, parameter, tensor, use } from "@nf/core";
import { beforeAll, describe, expect, it } from "vitest";
import { Adam, InverseSqrtLR, LambdaLR, OneCycleLR, ReduceLROnPlateau, SGD } from "../src/index.ts";

beforeAll(async () => {
  await use(cpu());
});

const weight = () => parameter(tensor([1]));

describe("InverseSqrtLR", () => {
  it("is the schedule of the paper", () => {
    const [dModel, warmupSteps] = [512, 40];
    const optimizer = new Adam([weight()], { lr: 1 / Math.sqrt(dModel * warmupSteps) });
    const schedule = new InverseSqrtLR(optimizer, { warmupSteps });
    for (let step = 1; step <= 200; step++) {
      const want = dModel ** -0.5 * Math.min(step ** -0.5, step * warmupSteps ** -1.5);
      expect(optimizer.lr).toBeCloseTo(want, 12);
      schedule.step();
    }
  });

  it("rises to the rates of the groups and falls from them", () => {
    const groups = [{ params: [weight()], lr: 1 }, { params: [weight()] }];
    const optimizer = new SGD(groups, { lr: 0.5 });
    const schedule = new InverseSqrtLR(optimizer, { warmupSteps: 4 });
    const seen: (readonly number[])[] = [];
    for (let step = 0; step < 16; step++) {
      seen.push(schedule.getLastLr());
      schedule.step();
    }
    expect(seen[0]).toEqual([0.25, 0.125]);
    expect(seen[3]).toEqual([1, 0.5]);
    expect(seen[15]).toEqual([0.5, 0.25]);
  });

  it("goes on where its state was taken", () => {
    const first = new SGD([weight()], { lr: 2 });
    const schedule = new InverseSqrtLR(first, { warmupSteps: 3 });
    for (let step = 0; step < 7; step++) schedule.step();
    const saved = JSON.parse(JSON.stringify(schedule.stateDict()));
    const second = new SGD([weight()], { lr: first.lr });
    const resumed = new InverseSqrtLR(second, { warmupSteps: 3 });
    resumed.loadStateDict(saved);
    expect(second.lr).toBe(first.lr);
    schedule.step();
    resumed.step();
    expect(second.lr).toBe(first.lr);
  });

  it("refuses what is no optimiser, no option and no state of it", () => {
    const optimizer = new SGD([weight()]);
    expect(() => new InverseSqrtLR({ ...optimizer } as SGD)).toThrow(
      /the first argument must be an optimiser/,
    );
    expect(() => new InverseSqrtLR(optimizer, { warmupSteps: 0 })).toThrow(OptionError);
    expect(() => new InverseSqrtLR(optimizer, { warmup: 3 } as object)).toThrow(/"warmup"/);
    const schedule = new InverseSqrtLR(optimizer);
    expect(() => schedule.loadStateDict({ steps: 1, baseLrs: [1, 2] })).toThrow(/over 1 parameter groups/);
    expect(() => schedule.loadStateDict({ steps: -1, baseLrs: [1] })).toThrow(OptionError);
  });
});

describe("OneCycleLR", () => {
  it.each([
    [false, 0.1],
    [true, 0.1],
    [false, 1],
    [true, 0.5],
  ])("stays between its rates (threePhase %s, pctStart %f)", (threePhase, pctStart) => {
    const optimizer = new SGD([weight()], { momentum: 0.9 });
    const options = { maxLr: 1, totalSteps: 10, pctStart, threePhase, annealStrategy: "linear" } as const;
    const schedule = new OneCycleLR(optimizer, options);
    for (let step = 0; step <= 10; step++) {
      expect(optimizer.lr).toBeGreaterThan(0);
      expect(optimizer.lr).toBeLessThanOrEqual(1);
      expect(optimizer.paramGroups[0]?.momentum).toBeGreaterThanOrEqual(0.85);
      expect(optimizer.paramGroups[0]?.momentum).toBeLessThanOrEqual(0.95);
      if (step < 10) schedule.step();
    }
    expect(() => schedule.step()).toThrow(/the run has 10 steps/);
  });
});

describe("what is no number", () => {
  it("is refused in states and from functions", () => {
    const optimizer = new SGD([weight()]);
    const words: readonly number[] = JSON.parse('["x"]');
    const schedule = new InverseSqrtLR(optimizer);
    expect(() => schedule.loadStateDict({ steps: 1, baseLrs: words })).toThrow(/baseLrs must be a number/);
    const plateau = new ReduceLROnPlateau(optimizer);
    expect(() => plateau.loadStateDict({ ...plateau.stateDict(), lrs: words })).toThrow(
      /lrs must be a number/,
    );
    expect(() => new LambdaLR(optimizer, { lrLambda: () => Number.NaN })).toThrow(/LambdaLR: .* NaN/);
  });

  it.each([
    ["min", [-Infinity, 1, -5]],
    ["min", [Infinity, Infinity, 1]],
    ["max", [Infinity, 1, 5]],
    ["max", [-Infinity, -Infinity, 1]],
  ] as const)("a plateau of %s over %j is the same after JSON", (mode, metrics) => {
    const schedule = new ReduceLROnPlateau(new SGD([weight()], { lr: 1 }), { mode, patience: 0 });
    let resumed = new ReduceLROnPlateau(new SGD([weight()], { lr: 1 }), { mode, patience: 0 });
    for (const metric of metrics) {
      schedule.step(metric);
      resumed.step(metric);
      const saved = JSON.parse(JSON.stringify(resumed.stateDict()));
      expect(saved).toEqual(schedule.stateDict());
      resumed = new ReduceLROnPlateau(new SGD([weight()], { lr: 1 }), { mode, patience: 0 });
      resumed.loadStateDict(saved);
    }
  });
});

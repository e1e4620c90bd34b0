import { cpu } from "@nf/backend-cpu";
import { OptionError, parameter, tensor, use } from "@nf/core";
import { beforeAll, describe, expect, it } from "vitest";
import { Adam, InverseSqrtLR, SGD } from "../src/index.ts";

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

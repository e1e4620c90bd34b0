import { cpu } from "@nf/backend-cpu";
import { mul, parameter, sum, type Tensor, tensor, use } from "@nf/core";
import { beforeAll, describe, expect, it } from "vitest";
import {
  Adam,
  type AdamOptions,
  AdamW,
  adam,
  adamw,
  type Optimizer,
  type PureOptimizer,
  SGD,
  type SGDOptions,
  sgd,
} from "../src/index.ts";
import { adamReference, type Reference, sgdReference } from "./reference.ts";

beforeAll(async () => {
  await use(cpu());
});

const START = [0.5, -1.5, 3, 0];
const GRADIENTS = [
  [1, -0.5, 0.25, 0],
  [-2, 0.125, 4, 1e-3],
  [0.5, 0.5, -1, 0],
  [3, -3, 1e-4, 2],
  [1, 1, 1, 1],
];

interface Case {
  readonly name: string;
  readonly make: (params: readonly Tensor[]) => Optimizer;
  readonly pure: () => PureOptimizer;
  readonly reference: Reference;
}

const sgdCase = (options: SGDOptions): Case => ({
  name: `SGD ${JSON.stringify(options)}`,
  make: (params) => new SGD(params, options),
  pure: () => sgd(options),
  reference: sgdReference(options),
});
const adamCase = (options: AdamOptions): Case => ({
  name: `Adam ${JSON.stringify(options)}`,
  make: (params) => new Adam(params, options),
  pure: () => adam(options),
  reference: adamReference(options, false),
});
const adamwCase = (options: AdamOptions): Case => ({
  name: `AdamW ${JSON.stringify(options)}`,
  make: (params) => new AdamW(params, options),
  pure: () => adamw(options),
  reference: adamReference(options, true),
});

const cases: readonly Case[] = [
  sgdCase({}),
  sgdCase({ lr: 0.1 }),
  sgdCase({ lr: 0.1, weightDecay: 0.5 }),
  sgdCase({ lr: 0.1, momentum: 0.9 }),
  sgdCase({ lr: 0.1, momentum: 0.9, dampening: 0.25, weightDecay: 0.1 }),
  sgdCase({ lr: 0.1, momentum: 0.5, nesterov: true, weightDecay: 0.1 }),
  sgdCase({ lr: 0.1, momentum: 0.5, maximize: true, weightDecay: 0.1 }),
  adamCase({}),
  adamCase({ lr: 0.1, betas: [0.5, 0.75], eps: 0.125 }),
  adamCase({ lr: 0.1, weightDecay: 0.25, maximize: true }),
  adamCase({ lr: 0.1, amsgrad: true, betas: [0.9, 0.5] }),
  adamwCase({}),
  adamwCase({ lr: 0.1, weightDecay: 0.5, maximize: true }),
  adamwCase({ lr: 0.1, weightDecay: 0.25, amsgrad: true, betas: [0.9, 0.5] }),
];

describe("five steps follow the formulas", () => {
  it.each(cases)("$name", async ({ make, pure, reference }) => {
    for (const dtype of ["f64", "f32"] as const) {
      const p = parameter(tensor(START, { dtype }));
      const optimizer = make([p]);
      const functional = pure();
      let params: readonly Tensor[] = [tensor(START, { dtype })];
      let state = functional.init(params);
      for (const row of GRADIENTS) {
        optimizer.zeroGrad();
        const g = tensor(row, { dtype });
        sum(mul(p, g)).backward();
        optimizer.step();
        [params, state] = functional.update([g], state, params);
      }
      const got = Array.from(await p.data());
      reference(START, GRADIENTS).forEach((expected, element) => {
        expect(Math.abs((got[element] as number) - expected)).toBeLessThan(dtype === "f64" ? 1e-14 : 1e-6);
      });
      // Both faces run the same program: the same bits.
      expect(Array.from(await (params[0] as Tensor).data())).toEqual(got);
    }
  });
});

it("Adam and AdamW differ in their default weight decay", () => {
  const p = parameter(tensor([1]));
  expect(new Adam([p]).paramGroups[0]?.weightDecay).toBe(0);
  expect(new AdamW([p]).paramGroups[0]?.weightDecay).toBe(0.01);
});

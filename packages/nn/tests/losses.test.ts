import { cpu } from "@nf/backend-cpu";
import { tensor, use, zeros } from "@nf/core";
import { beforeAll, expect, it } from "vitest";
import {
  BCELoss,
  BCEWithLogitsLoss,
  CrossEntropyLoss,
  HuberLoss,
  L1Loss,
  MSELoss,
  MultiLabelMarginLoss,
  MultiMarginLoss,
  NLLLoss,
} from "../src/index.ts";

beforeAll(async () => {
  await use(cpu());
});

const classes = (...targets: number[]): ReturnType<typeof tensor> => tensor(targets, { dtype: "i32" });

it("regression losses", async () => {
  const [x, y] = [tensor([1, 2, 5]), tensor([1, 4, 2])];
  expect(await new MSELoss().forward(x, y).item()).toBeCloseTo(13 / 3, 6);
  expect(await new MSELoss({ reduction: "sum" }).forward(x, y).item()).toBe(13);
  expect(await new MSELoss({ reduction: "none" }).forward(x, y).toArray()).toEqual([0, 4, 9]);
  expect(await new L1Loss().forward(x, y).item()).toBeCloseTo(5 / 3, 6);
  expect(await new HuberLoss({ delta: 2, reduction: "sum" }).forward(x, y).item()).toBe(2 + 2 * (3 - 1));
});

it("class losses", async () => {
  const logits = tensor([
    [2, 0, 0],
    [0, 1, 0],
  ]);
  const first = Math.log(Math.exp(2) + 2) - 2;
  const second = Math.log(Math.E + 2);
  expect(await new CrossEntropyLoss().forward(logits, classes(0, 2)).item()).toBeCloseTo(
    (first + second) / 2,
    5,
  );
  const weight = tensor([1, 1, 3]);
  const weighted = new CrossEntropyLoss({ weight });
  expect(await weighted.forward(logits, classes(0, 2)).item()).toBeCloseTo((first + 3 * second) / 4, 5);
  expect(Object.keys(weighted.stateDict())).toEqual(["weight"]);
  const ignoring = new CrossEntropyLoss({ ignoreIndex: 2 });
  expect(await ignoring.forward(logits, classes(0, 2)).item()).toBeCloseTo(first, 5);
  const smooth = new CrossEntropyLoss({ labelSmoothing: 0.3 }).forward(logits, classes(0, 2));
  const spread = (first + (first + 2) * 2) / 3;
  const spread2 = (second - 1 + second * 2) / 3;
  expect(await smooth.item()).toBeCloseTo((0.7 * (first + second) + 0.3 * (spread + spread2)) / 2, 5);
  const logProbabilities = tensor([[-1, -2]]);
  expect(await new NLLLoss().forward(logProbabilities, classes(1)).item()).toBe(2);
});

it("binary losses", async () => {
  const target = tensor([1, 0]);
  expect(await new BCELoss().forward(tensor([0.5, 0.5]), target).item()).toBeCloseTo(Math.LN2, 6);
  const loss = new BCEWithLogitsLoss({ reduction: "none" }).forward(tensor([1e4, 1e4]), target);
  expect(await loss.toArray()).toEqual([0, 1e4]);
  const weighted = new BCEWithLogitsLoss({ posWeight: tensor([3]), reduction: "none" });
  const [positive, negative] = await weighted.forward(tensor([0, 0]), target).data();
  expect(positive).toBeCloseTo(3 * Math.LN2, 6);
  expect(negative).toBeCloseTo(Math.LN2, 6);
});

it("options that a loss does not have", () => {
  const option: object = { weight: tensor([1]) };
  expect(() => new MSELoss(option)).toThrow(/MSELoss: unknown option "weight"/);
  const build = (Loss: new (options: object) => unknown, options: object) => () => new Loss(options);
  for (const labelSmoothing of [2, -0.1, Number.NaN, "0.1"])
    expect(build(CrossEntropyLoss, { labelSmoothing })).toThrow(
      /CrossEntropyLoss: labelSmoothing must be a number from 0 to 1/,
    );
  expect(build(NLLLoss, { ignoreIndex: 0.5 })).toThrow(/NLLLoss: ignoreIndex must be a whole number/);
  expect(build(HuberLoss, { delta: -1 })).toThrow(/HuberLoss: delta must be a number of at least 0/);
  expect(build(CrossEntropyLoss, { weight: [1, 2] })).toThrow(/expected a tensor, got an array/);
  const reduction: object = { reduction: "median" };
  expect(() => new L1Loss(reduction)).toThrow(/L1Loss: reduction must be one of/);
});

it("a weight of MultiMarginLoss has an element for each class", () => {
  const loss = new MultiMarginLoss({ weight: tensor([1, 2]) });
  expect(() => loss.forward(zeros([2, 5]), tensor([0, 1], { dtype: "i32" }))).toThrow(
    /expected a weight of 5 classes/,
  );
});

it("infinite scores of classes that make no pair count for nothing", async () => {
  const losses = [
    // A masked class that no row names, one right class behind 1 + 0 - 2; then a right class that is ahead of all.
    [
      new MultiLabelMarginLoss({ reduction: "none" }),
      tensor(
        [
          [1, -1, 0],
          [2, -1, -1],
        ],
        { dtype: "i32" },
      ),
      [0.5, 0],
    ],
    [new MultiMarginLoss({ reduction: "none" }), classes(1, 2), [0.5, 0]],
    [new MultiMarginLoss({ reduction: "none", p: 2 }), classes(1, 2), [0.75, 0]],
  ] as const;
  for (const [loss, target, wanted] of losses) {
    const scores = tensor([
      [-Infinity, 1, 1.5],
      [3, -Infinity, Infinity],
    ]);
    scores.requiresGrad = true;
    const each = loss.forward(scores, target);
    const got = (await each.toArray()) as number[];
    for (const [i, value] of wanted.entries()) expect(got[i], `${loss} of row ${i}`).toBeCloseTo(value, 6);
    each.sum().backward();
    const slope = (loss instanceof MultiMarginLoss && loss.p === 2 ? 2 * 1.5 : 1) / 3;
    const gradient = (await scores.grad?.toArray()) as number[][];
    expect(gradient[1]).toEqual([0, 0, 0]);
    for (const [i, value] of [0, -slope, slope].entries()) expect(gradient[0]?.[i]).toBeCloseTo(value, 6);
  }
});

import { cpu } from "@nf/backend-cpu";
import { beforeAll, describe, expect, it, vi } from "vitest";
import * as core from "../../src/index.ts";
import { scoped, setUp, valuesOf } from "./helper.ts";
import { ints, refuses, zeros } from "./refuses.ts";

beforeAll(setUp);

describe("dtypes", () => {
  const truth = (): core.Tensor => core.tensor([true, false]);
  refuses([
    [
      "add of bool",
      () => core.add(truth(), truth()),
      "NF_DTYPE",
      /^add: takes float or int tensors, got bool\. Convert/,
    ],
    ["floor of integers", () => core.floor(ints(1)), "NF_DTYPE", /^floor: takes float tensors, got i32/],
    [
      "bitwiseAnd of floats",
      () => core.bitwiseAnd(zeros(1), ints(1)),
      "NF_DTYPE",
      /^bitwiseAnd: takes int or bool tensors, got f32/,
    ],
    ["leftShift by a fraction", () => core.leftShift(ints(1), 0.5), "NF_DTYPE", /^leftShift: takes int/],
    [
      "i32 with u32",
      () => core.add(ints(1), core.tensor([1], { dtype: "u32" })),
      "NF_DTYPE",
      /i32 and u32 have no common integer type .*x\.cast\("i32"\)/,
    ],
    [
      "where",
      () => core.where(zeros(1), 1, 2),
      "NF_DTYPE",
      /^where: the condition must be bool, got f32\. Compare first/,
    ],
    [
      "maskedFill",
      () => core.maskedFill(zeros(1), zeros(1), 2),
      "NF_DTYPE",
      /^maskedFill: the mask must be bool, got f32/,
    ],
    ["max of bool", () => truth().max(), "NF_DTYPE", /^max: takes numbers, got bool\. Use any or all/],
    ["var of integers", () => ints(1, 2).var(), "NF_DTYPE", /^var: needs a float tensor, got i32/],
    ["std of integers", () => ints(1, 2).std(), "NF_DTYPE", /^std: needs a float tensor, got i32/],
    [
      "logSumExp of integers",
      () => ints(1).logSumExp(),
      "NF_DTYPE",
      /^logSumExp: needs a float tensor, got i32/,
    ],
    ["softmax of integers", () => ints(1).softmax(), "NF_DTYPE", /^softmax: needs a float tensor, got i32/],
    [
      "crossEntropy of integers",
      () => core.crossEntropy(ints(1, 2), ints(0).reshape([])),
      "NF_DTYPE",
      /^crossEntropy: .*float tensor, got i32/,
    ],
    [
      "conv1d of integers",
      () => core.conv1d(core.zeros([1, 1, 2], { dtype: "i32" }), zeros(1, 1, 1)),
      "NF_DTYPE",
      /^conv1d: takes float tensors, got i32/,
    ],
    ["matmul of bool", () => core.matmul(truth(), truth()), "NF_DTYPE", /^matmul: takes numbers, got bool/],
    [
      "gather by floats",
      () => core.gather(zeros(3), 0, zeros(1)),
      "NF_DTYPE",
      /^gather: the index must be an integer tensor, got f32/,
    ],
    [
      "an unknown dtype",
      () => core.zeros([1], { dtype: "f8" as never }),
      "NF_DTYPE",
      /^zeros: unknown dtype "f8"\. Choose one of f32, f64/,
    ],
    [
      "cast to an unknown dtype",
      () => zeros(1).cast("float" as never),
      "NF_DTYPE",
      /^cast: unknown dtype "float"/,
    ],
    [
      "a fraction as i32",
      () => core.tensor([1, 2.5], { dtype: "i32" }),
      "NF_DTYPE",
      /^tensor: value 2.5 at position 1 is not a whole number that i32 holds/,
    ],
    [
      "300 as u8",
      () => core.tensor([300], { dtype: "u8" }),
      "NF_DTYPE",
      /300 at position 0 .*u8 holds \(0 to 255\)/,
    ],
    [
      "parameter of integers",
      () => core.parameter(ints(1)),
      "NF_DTYPE",
      /^parameter: needs a float tensor, got i32/,
    ],
    [
      "requiresGrad of integers",
      () => core.zeros([1], { dtype: "i32", requiresGrad: true }),
      "NF_DTYPE",
      /needs a float tensor, got i32/,
    ],
    [
      "rand of integers",
      () => core.rand([1], { dtype: "i32" }),
      "NF_DTYPE",
      /^rand: needs a float dtype, got i32\. Use randint/,
    ],
    ["arange of bool", () => core.arange(0, 2, 1, { dtype: "bool" }), "NF_DTYPE", /^arange: bool/],
    ["numbers alone", () => core.add(1, 2), "NF_DTYPE", /^add: expected a tensor, got only numbers/],
  ]);
});

describe("options", () => {
  const image = (): core.Tensor => zeros(1, 1, 4, 4);
  refuses([
    [
      "unknown",
      () => zeros(2).sum({ dim: 0 } as never),
      "NF_OPTION",
      /^sum: unknown option "dim"\. It takes axis, keepDims/,
    ],
    [
      "of a pooling",
      () => core.avgPool2d(image(), { kernelSize: 2, dilation: 2 } as never),
      "NF_OPTION",
      /^avgPool2d: unknown option "dilation"/,
    ],
    ["not an object", () => zeros(2).sum(1 as never), "NF_OPTION", /^sum: options must be an object .*got 1/],
    [
      "gelu",
      () => core.gelu(zeros(1), { approximate: "erf" as never }),
      "NF_OPTION",
      /^gelu: approximate must be one of "none", "tanh", got "erf"/,
    ],
    ["clip of nothing", () => core.clip(zeros(1), {}), "NF_OPTION", /^clip: give min, max or both/],
    [
      "huberLoss",
      () => core.huberLoss(zeros(1), zeros(1), { delta: 0 }),
      "NF_OPTION",
      /^huberLoss: delta must be positive/,
    ],
    [
      "reduction",
      () => core.mseLoss(zeros(1), zeros(1), { reduction: "avg" as never }),
      "NF_OPTION",
      /^mseLoss: reduction must be one of "mean", "sum", "none", got "avg"/,
    ],
    [
      "labelSmoothing",
      () => core.crossEntropy(zeros(1, 2), ints(0), { labelSmoothing: 2 }),
      "NF_OPTION",
      /^crossEntropy: labelSmoothing must be a number from 0 to 1, got 2/,
    ],
    [
      "ignoreIndex with probabilities",
      () => core.crossEntropy(zeros(1, 2), zeros(1, 2), { ignoreIndex: 0 }),
      "NF_OPTION",
      /^crossEntropy: ignoreIndex goes with class indices/,
    ],
    [
      "stride 0",
      () => core.conv2d(image(), zeros(1, 1, 1, 1), undefined, { stride: 0 }),
      "NF_OPTION",
      /^conv2d: stride must be a whole number, at least 1, got 0/,
    ],
    [
      "groups",
      () => core.conv2d(image(), zeros(1, 1, 1, 1), undefined, { groups: 1.5 }),
      "NF_OPTION",
      /^conv2d: groups must be a whole number/,
    ],
    [
      "padding word",
      () => core.conv2d(image(), zeros(1, 1, 1, 1), undefined, { padding: "full" as never }),
      "NF_OPTION",
      /^conv2d: padding, if not numbers, must be one of "same", "valid", got "full"/,
    ],
    [
      "same with stride",
      () => core.conv2d(image(), zeros(1, 1, 1, 1), undefined, { padding: "same", stride: 2 }),
      "NF_OPTION",
      /^conv2d: padding "same" needs stride 1/,
    ],
    [
      "one stride too many",
      () => core.conv2d(image(), zeros(1, 1, 1, 1), undefined, { stride: [1, 1, 1] }),
      "NF_OPTION",
      /^conv2d: stride must be a number or an array of 2, got \[1, 1, 1\]/,
    ],
    [
      "no window",
      () => core.maxPool2d(image(), {} as never),
      "NF_OPTION",
      /^maxPool2d: kernelSize must be a number or an array of 2, got undefined/,
    ],
    [
      "no options",
      () => core.maxPool2d(image(), undefined as never),
      "NF_OPTION",
      /^maxPool2d: give at least/,
    ],
    [
      "padding beyond half the window",
      () => core.maxPool2d(image(), { kernelSize: 2, padding: 2 }),
      "NF_OPTION",
      /^maxPool2d: padding 2 is more than half of the kernel size 2/,
    ],
    [
      "dropout",
      () => core.dropout(zeros(1), { p: 1.5 }),
      "NF_OPTION",
      /^dropout: p must be a number from 0 to 1, got 1.5/,
    ],
    [
      "slice step",
      () => zeros(2).slice({ step: 0 }),
      "NF_OPTION",
      /^slice: step must be a whole number other than 0/,
    ],
    [
      "slice option",
      () => zeros(2).slice({ begin: 1 } as never),
      "NF_OPTION",
      /^slice: unknown option "begin"\. It takes start, end, step/,
    ],
    [
      "split size",
      () => zeros(4).split(0),
      "NF_OPTION",
      /^split: size must be a whole number, at least 1, got 0/,
    ],
    [
      "negative size",
      () => zeros(-1),
      "NF_OPTION",
      /^zeros: each size must be a whole number, at least 0, got -1/,
    ],
    ["arange step", () => core.arange(0, 3, 0), "NF_OPTION", /^arange: .*step other than 0/],
    [
      "randint range",
      () => core.randint(3, 3, [1]),
      "NF_OPTION",
      /^randint: high must be a whole number, 4 to/,
    ],
    [
      "bernoulli",
      () => core.bernoulli([1], -0.1),
      "NF_OPTION",
      /^bernoulli: p must be a number from 0 to 1, got -0.1/,
    ],
    [
      "seed",
      () => core.manualSeed(-1),
      "NF_OPTION",
      /^manualSeed: seed must be a whole number, at least 0, got -1/,
    ],
    [
      "generator",
      () => core.rand([1], { generator: 3 as never }),
      "NF_OPTION",
      /^rand: expected a random generator, .*got 3/,
    ],
  ]);
});

describe("arithmetic", () => {
  refuses([
    [
      "remainder",
      () => core.remainder(ints(1, 2), ints(1, 0)),
      "NF_ARITHMETIC",
      /^remainder: .*integer division by zero/,
    ],
    [
      "floorDivide by a number",
      () => core.floorDivide(ints(1, 2), 0),
      "NF_ARITHMETIC",
      /^floorDivide: .*integer division by zero/,
    ],
  ]);

  it(
    "the next operation works",
    scoped(() => {
      for (let i = 0; i < 100; i++)
        expect(() => core.remainder(ints(1), ints(0))).toThrow(core.ArithmeticError);
      expect(valuesOf(core.remainder(ints(7), ints(4)))).toEqual([3]);
    }),
  );
});

describe("backends", () => {
  it("two in one operation are refused, with what to do", async () => {
    const other = await cpu();
    const mine = core.ones([2]);
    const theirs = core.ones([2], { backend: other });
    const calls = [
      () => core.add(mine, theirs),
      () => core.matmul(mine, theirs),
      () => core.concat([mine, theirs]),
      () => core.where(core.greater(mine, 0), theirs, 1),
      () => core.assign(mine, theirs),
    ];
    for (const call of calls) {
      expect(call).toThrow(core.BackendError);
      expect(call).toThrow(/cpu.* and cpu.*\. Move .*await \w+\.to\(/);
    }
    const moved = await theirs.to(core.currentBackend());
    expect(valuesOf(core.add(mine, moved))).toEqual([2, 2]);
    for (const one of [mine, theirs, moved]) one.dispose();
    await other.dispose();
  });

  it("none in use is an error that says how to choose one", async () => {
    vi.resetModules();
    const fresh = await import("../../src/index.ts");
    const backend = await cpu();
    const calls: (() => unknown)[] = [
      () => fresh.zeros([1]),
      () => fresh.tensor([1]),
      () => fresh.rand([1]),
      () => fresh.zeros([1], { backend }),
      () => fresh.currentBackend(),
      () => fresh.memory(),
    ];
    for (const call of calls) {
      expect(call).toThrow(expect.objectContaining({ code: "NF_NO_BACKEND" }));
      expect(call).toThrow(/await use\(/);
    }
    for (const wrong of [undefined, null, {}, "cpu", cpu]) {
      await expect(fresh.use(wrong as never)).rejects.toMatchObject({ code: "NF_BACKEND" });
    }
    await fresh.use(cpu());
    expect(Array.from(fresh.ones([2]).dataSync())).toEqual([1, 1]);
  });
});

describe("dead tensors", () => {
  it(
    "are refused by name, with why they ended",
    scoped(() => {
      const x = zeros(2);
      x.dispose();
      const calls = [
        () => core.neg(x),
        () => x.sum(),
        () => x.reshape([2, 1]),
        () => x.dataSync(),
        () => x.keep(),
      ];
      for (const call of calls) {
        expect(call).toThrow(expect.objectContaining({ code: "NF_DEAD_TENSOR" }));
        expect(call).toThrow(
          /^\w+: the result of "full" of shape \[2\] was ended because dispose\(\) was called/,
        );
      }
    }),
  );
});

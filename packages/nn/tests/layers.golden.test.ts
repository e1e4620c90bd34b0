import { readFileSync } from "node:fs";
import { cpu } from "@nf/backend-cpu";
import { fromData, Generator, mul, sum, type Tensor, use } from "@nf/core";
import { beforeAll, describe, expect, it } from "vitest";
import * as nn from "../src/index.ts";

/*
 * What PyTorch's layers and losses give in float64, in training and then in evaluation, with the gradients of inputs and
 * parameters and what became of the buffers: goldens/layers.py. State dicts are loaded under PyTorch's names, strictly.
 */

interface Values {
  readonly shape: readonly number[];
  readonly dtype: "f64" | "i32";
  readonly data: readonly number[];
}
interface Pass {
  readonly output: Values;
  readonly cotangent: Values;
  readonly inputGrads: readonly Values[];
  readonly grads: Readonly<Record<string, Values>>;
}
interface Case {
  readonly name: string;
  readonly inputs: readonly Values[];
  readonly state: Readonly<Record<string, Values>>;
  /** How many of the inputs have a gradient. */
  readonly differentiated: number;
  readonly training: Pass;
  readonly buffers?: Readonly<Record<string, Values>>;
  readonly evaluation?: Pass;
}
interface Draw {
  readonly shape: readonly number[];
  readonly mean: number;
  readonly std: number;
  readonly min: number;
  readonly max: number;
}
interface Golden {
  readonly cases: readonly Case[];
  readonly initial: readonly { readonly layer: string; readonly state: Readonly<Record<string, Draw>> }[];
}

const golden: Golden = JSON.parse(
  readFileSync(new URL("../../../goldens/layers/cases.json", import.meta.url), "utf8"),
);

function made({ shape, dtype, data }: Values): Tensor {
  return dtype === "i32"
    ? fromData(Int32Array.from(data), shape)
    : fromData(Float64Array.from(data), shape, { dtype: "f64" });
}

const f64 = { dtype: "f64" } as const;
const weights = (...values: readonly number[]): Tensor =>
  fromData(Float64Array.from(values), [values.length], f64);

/** How each case is called here. */
const MODULES: Readonly<Record<string, () => nn.Module>> = {
  ConvTranspose1d: () => new nn.ConvTranspose1d(4, 3, 3, { stride: 2, padding: 1, outputPadding: 1, ...f64 }),
  ConvTranspose2d: () =>
    new nn.ConvTranspose2d(4, 6, [3, 2], { stride: [2, 1], groups: 2, dilation: [1, 2], ...f64 }),
  "ConvTranspose2d without bias": () => new nn.ConvTranspose2d(4, 2, 2, { bias: false, ...f64 }),
  ConvTranspose3d: () => new nn.ConvTranspose3d(2, 1, 2, { stride: [1, 2, 1], ...f64 }),
  "Conv2d depthwise": () => new nn.Conv2d(4, 8, 3, { padding: 1, groups: 4, ...f64 }),
  MaxPool3d: () => new nn.MaxPool3d(2, { stride: 1, padding: 1 }),
  AvgPool3d: () => new nn.AvgPool3d([1, 2, 3], { ceilMode: true, countIncludePad: false }),
  AdaptiveAvgPool1d: () => new nn.AdaptiveAvgPool1d(4),
  AdaptiveAvgPool2d: () => new nn.AdaptiveAvgPool2d([3, null]),
  AdaptiveAvgPool3d: () => new nn.AdaptiveAvgPool3d([2, 3, 2]),
  AdaptiveMaxPool1d: () => new nn.AdaptiveMaxPool1d(4),
  AdaptiveMaxPool2d: () => new nn.AdaptiveMaxPool2d([2, 3]),
  AdaptiveMaxPool3d: () => new nn.AdaptiveMaxPool3d([2, 3, 2]),
  GlobalAvgPool: () => new nn.GlobalAvgPool(),
  GlobalMaxPool: () => new nn.GlobalMaxPool(),
  "BatchNorm1d of features": () => new nn.BatchNorm1d(4, f64),
  "BatchNorm1d of signals": () => new nn.BatchNorm1d(4, { momentum: 0.25, eps: 1e-3, ...f64 }),
  BatchNorm2d: () => new nn.BatchNorm2d(4, f64),
  "BatchNorm2d of one image": () => new nn.BatchNorm2d(4, f64),
  "BatchNorm2d cumulative": () => new nn.BatchNorm2d(4, { momentum: null, ...f64 }),
  "BatchNorm2d not affine": () => new nn.BatchNorm2d(4, { affine: false, ...f64 }),
  "BatchNorm2d without statistics": () => new nn.BatchNorm2d(4, { trackRunningStats: false, ...f64 }),
  BatchNorm3d: () => new nn.BatchNorm3d(2, f64),
  RMSNorm: () => new nn.RMSNorm(6, f64),
  "RMSNorm of two dimensions": () => new nn.RMSNorm([5, 3], { eps: 1e-2, ...f64 }),
  GroupNorm: () => new nn.GroupNorm(2, 4, f64),
  "GroupNorm of features": () => new nn.GroupNorm(2, 4, { affine: false }),
  InstanceNorm1d: () => new nn.InstanceNorm1d(4),
  InstanceNorm2d: () => new nn.InstanceNorm2d(4, { affine: true, ...f64 }),
  "InstanceNorm2d with statistics": () =>
    new nn.InstanceNorm2d(4, { affine: true, trackRunningStats: true, ...f64 }),
  "InstanceNorm3d with statistics": () =>
    new nn.InstanceNorm3d(2, { momentum: 0.25, trackRunningStats: true, ...f64 }),
  "Upsample nearest": () => new nn.Upsample({ scaleFactor: 2 }),
  "Upsample nearest by size": () => new nn.Upsample({ size: [7, 2] }),
  "Upsample linear": () => new nn.Upsample({ scaleFactor: 1.5, mode: "linear" }),
  "Upsample bilinear": () => new nn.Upsample({ scaleFactor: [2, 3], mode: "bilinear" }),
  "Upsample bilinear by corners": () =>
    new nn.Upsample({ size: [4, 6], mode: "bilinear", alignCorners: true }),
  PixelShuffle: () => new nn.PixelShuffle(2),
  PixelUnshuffle: () => new nn.PixelUnshuffle(2),
  Unflatten: () => new nn.Unflatten(1, [2, 2]),
  Dropout1d: () => new nn.Dropout1d(0),
  Dropout2d: () => new nn.Dropout2d(0),
  Dropout3d: () => new nn.Dropout3d(0),
  "Sequential with names": () =>
    nn.sequential(
      ["hidden", new nn.Linear(4, 3, f64)],
      ["act", new nn.Tanh()],
      ["out", new nn.Linear(3, 2, f64)],
    ),
  ELU: () => new nn.ELU({ alpha: 0.75 }),
  CELU: () => new nn.CELU({ alpha: 1.5 }),
  SELU: () => new nn.SELU(),
  ReLU6: () => new nn.ReLU6(),
  Hardsigmoid: () => new nn.Hardsigmoid(),
  Hardswish: () => new nn.Hardswish(),
  Hardtanh: () => new nn.Hardtanh({ minVal: -0.5, maxVal: 2 }),
  Hardshrink: () => new nn.Hardshrink({ lambd: 0.75 }),
  Softshrink: () => new nn.Softshrink({ lambd: 0.75 }),
  Threshold: () => new nn.Threshold(0.25, -1),
  PReLU: () => new nn.PReLU(f64),
  "PReLU by channel": () => new nn.PReLU({ numParameters: 3, ...f64 }),
  Mish: () => new nn.Mish(),
  LogSigmoid: () => new nn.LogSigmoid(),
  Softsign: () => new nn.Softsign(),
  Tanhshrink: () => new nn.Tanhshrink(),
  Softplus: () => new nn.Softplus(),
  "Softplus with options": () => new nn.Softplus({ beta: 2, threshold: 3 }),
  Softmin: () => new nn.Softmin({ axis: 1 }),
  GLU: () => new nn.GLU(),
  SmoothL1Loss: () => new nn.SmoothL1Loss({ beta: 0.5 }),
  "SmoothL1Loss sum": () => new nn.SmoothL1Loss({ reduction: "sum" }),
  KLDivLoss: () => new nn.KLDivLoss({ reduction: "batchmean" }),
  "KLDivLoss of logarithms": () => new nn.KLDivLoss({ reduction: "sum", logTarget: true }),
  PoissonNLLLoss: () => new nn.PoissonNLLLoss(),
  "PoissonNLLLoss full": () => new nn.PoissonNLLLoss({ logInput: false, full: true }),
  GaussianNLLLoss: () => new nn.GaussianNLLLoss(),
  "GaussianNLLLoss full": () => new nn.GaussianNLLLoss({ full: true, eps: 0.5, reduction: "none" }),
  CosineEmbeddingLoss: () => new nn.CosineEmbeddingLoss({ margin: 0.125 }),
  TripletMarginLoss: () => new nn.TripletMarginLoss({ margin: 2 }),
  "TripletMarginLoss with options": () =>
    new nn.TripletMarginLoss({ margin: 3, p: 1, swap: true, reduction: "none" }),
  MarginRankingLoss: () => new nn.MarginRankingLoss({ margin: 0.5 }),
  HingeEmbeddingLoss: () => new nn.HingeEmbeddingLoss({ margin: 1.5 }),
  SoftMarginLoss: () => new nn.SoftMarginLoss(),
  MultiLabelSoftMarginLoss: () => new nn.MultiLabelSoftMarginLoss({ weight: weights(1, 2, 0.5) }),
  MultiMarginLoss: () => new nn.MultiMarginLoss(),
  "MultiMarginLoss with options": () =>
    new nn.MultiMarginLoss({ p: 2, margin: 0.75, weight: weights(1, 2, 0.5, 3), reduction: "sum" }),
  "BCELoss with weights": () => new nn.BCELoss({ weight: weights(1, 2, 0.5) }),
  "BCEWithLogitsLoss with weights": () =>
    new nn.BCEWithLogitsLoss({ weight: weights(1, 2, 0.5), posWeight: weights(3, 1, 2) }),
};

/** Cases that PyTorch itself computes less exactly: it multiplies by a sixth that was rounded to float32. */
const LOOSE: Readonly<Record<string, number>> = { Hardsigmoid: 1e-7 };

beforeAll(async () => {
  await use(cpu());
});

async function expectNear(
  label: string,
  got: Tensor | undefined,
  wanted: Values,
  within = 2e-9,
): Promise<void> {
  expect(got?.shape, label).toEqual(wanted.shape);
  const values = Array.from((await got?.data()) ?? []);
  const scale = Math.max(1, ...wanted.data.map(Math.abs));
  for (const [index, value] of wanted.data.entries())
    expect(
      Math.abs(values[index]! - value),
      `${label} [${index}]: ${values[index]} for ${value}`,
    ).toBeLessThan(within * scale);
}

async function pass(
  module: nn.Module,
  one: Case,
  { output, cotangent, inputGrads, grads }: Pass,
): Promise<void> {
  const inputs = one.inputs.map(made);
  for (const leaf of inputs.slice(0, one.differentiated)) leaf.requiresGrad = true;
  const got: Tensor = Reflect.apply(module.forward, module, inputs) as Tensor;
  await expectNear("output", got, output);
  module.zeroGrad();
  sum(mul(got, made(cotangent))).backward();
  for (const [index, wanted] of inputGrads.entries())
    await expectNear(`gradient of input ${index}`, inputs[index]?.grad ?? undefined, wanted, LOOSE[one.name]);
  const named = new Map(module.namedParameters());
  expect([...named.keys()].sort()).toEqual(Object.keys(grads).sort());
  for (const [name, wanted] of Object.entries(grads))
    await expectNear(`gradient of ${name}`, named.get(name)?.grad ?? undefined, wanted);
}

describe("PyTorch's values, gradients and buffers", () => {
  it("are there for every module named here, and the reverse", () => {
    expect(golden.cases.map(({ name }) => name).sort()).toEqual(Object.keys(MODULES).sort());
  });

  it.each(golden.cases)("$name", async (one) => {
    const module = MODULES[one.name]!();
    // A loss with weights has them already, under names that PyTorch writes another way.
    if (!one.name.includes("Loss"))
      module.loadStateDict(Object.fromEntries(Object.entries(one.state).map(([k, v]) => [k, made(v)])));
    await pass(module, one, one.training);
    if (one.evaluation === undefined) return;
    const again = made(one.inputs[0]!);
    Reflect.apply(module.forward, module, [again.mul(2).add(0.5)]);
    const buffers = new Map(module.namedBuffers());
    expect([...buffers.keys()].sort()).toEqual(Object.keys(one.buffers!).sort());
    for (const [name, wanted] of Object.entries(one.buffers!))
      await expectNear(name, buffers.get(name), wanted);
    await pass(module.eval(), one, one.evaluation);
  });
});

describe("PyTorch's initial values", () => {
  const options = { generator: new Generator(5) };
  const tracked = { affine: true, trackRunningStats: true };
  const FRESH: Readonly<Record<string, () => nn.Module>> = {
    ConvTranspose1d: () => new nn.ConvTranspose1d(40, 30, 5, options),
    ConvTranspose2d: () => new nn.ConvTranspose2d(24, 32, 5, { groups: 2, ...options }),
    ConvTranspose3d: () => new nn.ConvTranspose3d(12, 16, 4, options),
    "Conv2d depthwise": () => new nn.Conv2d(512, 512, 5, { groups: 512, ...options }),
    BatchNorm1d: () => new nn.BatchNorm1d(7),
    BatchNorm2d: () => new nn.BatchNorm2d(7),
    BatchNorm3d: () => new nn.BatchNorm3d(7),
    RMSNorm: () => new nn.RMSNorm(7),
    GroupNorm: () => new nn.GroupNorm(1, 7),
    InstanceNorm1d: () => new nn.InstanceNorm1d(7, tracked),
    InstanceNorm2d: () => new nn.InstanceNorm2d(7, tracked),
    InstanceNorm3d: () => new nn.InstanceNorm3d(7, tracked),
    PReLU: () => new nn.PReLU({ numParameters: 7 }),
  };

  it.each(golden.initial)("$layer", async ({ layer, state }) => {
    const got = FRESH[layer]!().stateDict();
    expect(Object.keys(got).sort()).toEqual(Object.keys(state).sort());
    for (const [name, { shape, mean, std, min, max }] of Object.entries(state)) {
      expect(got[name]!.shape, name).toEqual(shape);
      const values = Array.from(await got[name]!.data());
      const n = values.length;
      const average = values.reduce((total, value) => total + value, 0) / n;
      const deviation = Math.sqrt(values.reduce((total, value) => total + (value - average) ** 2, 0) / n);
      // Two draws: each mean is off by std / √n, each deviation by std √(0.2 / n).
      expect(Math.abs(average - mean), name).toBeLessThanOrEqual((8 * std) / Math.sqrt(n) + 1e-9);
      expect(Math.abs(deviation - std), name).toBeLessThanOrEqual(8 * std * Math.sqrt(0.2 / n) + 1e-9);
      const range = max - min;
      expect(Math.abs(Math.max(...values) - max), name).toBeLessThanOrEqual((20 * range) / n + 1e-9);
      expect(Math.abs(Math.min(...values) - min), name).toBeLessThanOrEqual((20 * range) / n + 1e-9);
    }
  });
});

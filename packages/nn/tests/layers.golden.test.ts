import { readFileSync } from "node:fs";
import { cpu } from "@nf/backend-cpu";
import { fromData, Generator, logSoftmax, mul, sum, type Tensor, use } from "@nf/core";
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

/** A module that is called with more than its input. */
class Called extends nn.Module {
  readonly module: nn.Module;
  readonly more: readonly unknown[];

  constructor(module: nn.Module, ...more: readonly unknown[]) {
    super();
    this.module = module;
    this.more = more;
  }

  forward(x: Tensor): Tensor {
    return Reflect.apply(this.module.forward, this.module, [x, ...this.more]) as Tensor;
  }
}

/** CTC of logits, as PyTorch's gradient is. */
class Ctc extends Called {
  override forward(x: Tensor): Tensor {
    return super.forward(logSoftmax(x));
  }
}

const labels = (): Tensor => fromData(Int32Array.of(2, 2, 1, 3, 1, 0, 1, 0, 0, 3, 3, 2), [4, 3]);
/** Modulo 3; what stands behind the labels of a sequence is no class at all. */
const fewLabels = (): Tensor => fromData(Int32Array.of(2, 2, 1, 0, 9, 9, -1, -1, -1, 0, 0, 9), [4, 3]);

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
  Linear: () => new nn.Linear(4, 3, f64),
  "Linear without bias": () => new nn.Linear(4, 3, { bias: false, ...f64 }),
  Conv1d: () => new nn.Conv1d(4, 3, 3, { stride: 2, padding: 1, ...f64 }),
  Conv2d: () => new nn.Conv2d(4, 6, [3, 2], { stride: [2, 1], dilation: [1, 2], groups: 2, ...f64 }),
  "Conv2d same": () => new nn.Conv2d(4, 2, [2, 3], { padding: "same", bias: false, ...f64 }),
  Conv3d: () => new nn.Conv3d(2, 3, 2, { padding: [0, 1, 0], ...f64 }),
  "ConvTranspose2d of a size": () =>
    new Called(new nn.ConvTranspose2d(4, 2, 3, { stride: [2, 3], padding: 1, ...f64 }), {
      outputSize: [10, 8],
    }),
  MaxPool1d: () => new nn.MaxPool1d(3, { stride: 2 }),
  MaxPool2d: () => new nn.MaxPool2d(2, { stride: 1, padding: 1 }),
  AvgPool1d: () => new nn.AvgPool1d(3, { stride: 2, padding: 1 }),
  AvgPool2d: () => new nn.AvgPool2d(2, { ceilMode: true }),
  LayerNorm: () => new nn.LayerNorm(6, f64),
  "LayerNorm of two dimensions": () => new nn.LayerNorm([5, 3], { eps: 1e-2, bias: false, ...f64 }),
  Flatten: () => new nn.Flatten(),
  Identity: () => new nn.Identity(),
  Dropout: () => new nn.Dropout(0),
  Softmax2d: () => new nn.Softmax2d(),
  LPPool1d: () => new nn.LPPool1d(1, 3, { stride: 2 }),
  LPPool2d: () => new nn.LPPool2d(2, [2, 3], { stride: [1, 2], ceilMode: true }),
  LPPool3d: () => new nn.LPPool3d(4, [1, 2, 2]),
  Unfold: () => new nn.Unfold([2, 3], { dilation: [2, 1], padding: 1, stride: [1, 2] }),
  Fold: () => new nn.Fold([3, 4], [2, 3], { padding: [0, 1], stride: [1, 2] }),
  ChannelShuffle: () => new nn.ChannelShuffle(2),
  CosineSimilarity: () => new nn.CosineSimilarity(),
  "CosineSimilarity with options": () => new nn.CosineSimilarity({ axis: -1 }),
  PairwiseDistance: () => new nn.PairwiseDistance(),
  "PairwiseDistance with options": () => new nn.PairwiseDistance({ p: 1, keepDims: true }),
  ZeroPad1d: () => new nn.ZeroPad1d([1, 2]),
  ZeroPad2d: () => new nn.ZeroPad2d([0, 1, 2, -1]),
  ZeroPad3d: () => new nn.ZeroPad3d(1),
  ConstantPad1d: () => new nn.ConstantPad1d([2, -1], 1.5),
  ConstantPad2d: () => new nn.ConstantPad2d(2, -0.5),
  ConstantPad3d: () => new nn.ConstantPad3d([1, 0, 0, 2, 0, 1], 3),
  ReflectionPad1d: () => new nn.ReflectionPad1d([3, 1]),
  ReflectionPad2d: () => new nn.ReflectionPad2d([2, 1, 4, 0]),
  ReflectionPad3d: () => new nn.ReflectionPad3d([1, 2, 3, 0, 1, 1]),
  ReplicationPad1d: () => new nn.ReplicationPad1d([3, 1]),
  ReplicationPad2d: () => new nn.ReplicationPad2d([2, 1, 4, 0]),
  ReplicationPad3d: () => new nn.ReplicationPad3d([1, 2, 5, 0, 1, 1]),
  CircularPad1d: () => new nn.CircularPad1d([6, 1]),
  CircularPad2d: () => new nn.CircularPad2d([2, 1, 4, 0]),
  CircularPad3d: () => new nn.CircularPad3d([1, 2, 3, 0, 1, 1]),
  Embedding: () => new nn.Embedding(5, 3, f64),
  "Embedding with padding": () => new nn.Embedding(5, 3, { paddingIdx: -1, ...f64 }),
  ReLU: () => new nn.ReLU(),
  LeakyReLU: () => new nn.LeakyReLU({ negativeSlope: 0.25 }),
  GELU: () => new nn.GELU(),
  "GELU by tanh": () => new nn.GELU({ approximate: "tanh" }),
  SiLU: () => new nn.SiLU(),
  Sigmoid: () => new nn.Sigmoid(),
  Tanh: () => new nn.Tanh(),
  Softmax: () => new nn.Softmax(),
  LogSoftmax: () => new nn.LogSoftmax({ axis: 1 }),
  "RReLU of one slope": () => new nn.RReLU({ lower: 0.25, upper: 0.25 }),
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
  MultiLabelMarginLoss: () => new nn.MultiLabelMarginLoss(),
  "MultiLabelMarginLoss none": () => new nn.MultiLabelMarginLoss({ reduction: "none" }),
  CTCLoss: () => new Ctc(new nn.CTCLoss(), labels(), [6, 5, 6, 4], [3, 2, 1, 3]),
  "CTCLoss none": () =>
    new Ctc(new nn.CTCLoss({ blank: 3, reduction: "none" }), fewLabels(), [6, 4, 1, 6], [3, 1, 0, 2]),
  "CTCLoss sum of what is long enough": () =>
    new Ctc(new nn.CTCLoss({ reduction: "sum", zeroInfinity: true }), labels(), [6, 3, 1, 3], [3, 2, 1, 3]),
  CrossEntropyLoss: () => new nn.CrossEntropyLoss(),
  "CrossEntropyLoss with options": () =>
    new nn.CrossEntropyLoss({ weight: weights(1, 2, 0.5, 3), ignoreIndex: 0, labelSmoothing: 0.25 }),
  NLLLoss: () => new nn.NLLLoss({ weight: weights(1, 2, 0.5, 3) }),
  MSELoss: () => new nn.MSELoss(),
  L1Loss: () => new nn.L1Loss({ reduction: "sum" }),
  HuberLoss: () => new nn.HuberLoss({ delta: 0.5 }),
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

  it("are there for every layer and loss that is exported", () => {
    // Their goldens are in recurrent.json and transformer/expected.json, their axioms in tests of their own.
    const elsewhere = [
      ...["RNN", "LSTM", "GRU", "Recurrent", "RNNCell", "LSTMCell", "GRUCell", "MultiheadAttention"],
      ...["SinusoidalPositions", "LearnedPositions", "RoPE", "FeedForward", "SwiGLU", "MixtureOfExperts"],
      ...["Layer", "Sequential", "Block", "Residual", "ModuleList", "ModuleDict", "Module"],
    ];
    const exported = Object.entries(nn).flatMap(([name, value]) =>
      typeof value === "function" && value.prototype instanceof nn.Module ? [name] : [],
    );
    const cases = new Set(golden.cases.map(({ name }) => name.split(" ")[0]));
    expect(exported.filter((name) => !cases.has(name) && !elsewhere.includes(name))).toEqual([]);
    expect(exported.length).toBeGreaterThan(100);
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
    Linear: () => new nn.Linear(300, 40, options),
    Conv1d: () => new nn.Conv1d(40, 60, 5, options),
    Conv2d: () => new nn.Conv2d(24, 32, 5, { groups: 2, ...options }),
    Conv3d: () => new nn.Conv3d(12, 16, 4, options),
    Embedding: () => new nn.Embedding(100, 70, options),
    "Embedding with padding": () => new nn.Embedding(100, 70, { paddingIdx: 0, ...options }),
    LayerNorm: () => new nn.LayerNorm(7),
    RNN: () => new nn.RNN(30, 50, options),
    GRU: () => new nn.GRU(30, 50, { bidirectional: true, ...options }),
    LSTM: () => new nn.LSTM(30, 50, { projSize: 20, ...options }),
    RNNCell: () => new nn.RNNCell(30, 50, options),
    LSTMCell: () => new nn.LSTMCell(30, 50, options),
    GRUCell: () => new nn.GRUCell(30, 50, options),
    MultiheadAttention: () => new nn.MultiheadAttention(64, 4, options),
  };

  it("are compared for every layer named here", () => {
    expect(golden.initial.map(({ layer }) => layer).sort()).toEqual(Object.keys(FRESH).sort());
  });

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
      // Uniform draws fill their range; the tails of a normal have no end.
      const edge = layer.startsWith("Embedding") ? 2 * std : (20 * (max - min)) / n + 1e-9;
      expect(Math.abs(Math.max(...values) - max), name).toBeLessThanOrEqual(edge);
      expect(Math.abs(Math.min(...values) - min), name).toBeLessThanOrEqual(edge);
    }
  });
});

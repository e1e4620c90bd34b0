import { fromData, logSoftmax, type Spatial, type Tensor } from "@nf/core";
import * as nn from "@nf/nn";
import type { LayerCase } from "./layer-case.ts";

const SIGNAL = [2, 4, 7] as const;
const IMAGE = [2, 4, 5, 3] as const;
const VOLUME = [2, 2, 3, 4, 3] as const;
const TRACKED = { affine: true, trackRunningStats: true } as const;

const one = (
  name: string,
  make: LayerCase["make"],
  shape: readonly number[],
  values?: "distinct",
): LayerCase => ({ name, make, inputs: [shape], ...(values !== undefined && { values }) });

const loss = (
  name: string,
  make: () => nn.Module,
  inputs: LayerCase["inputs"],
  more: Partial<LayerCase> = {},
): LayerCase => ({ name, make, inputs, ...more });

/** Integers `[rows, columns]` on the backend that is in use. */
const integers = (rows: readonly (readonly number[])[]): Tensor =>
  fromData(Int32Array.from(rows.flat()), [rows.length, rows[0]?.length ?? 0]);

/** A module that is called with more than its input, made when it is called. */
class Called<M extends nn.Module> extends nn.Module {
  readonly module: M;
  readonly #call: (module: M, x: Tensor) => Tensor;

  constructor(module: M, call: (module: M, x: Tensor) => Tensor) {
    super();
    this.module = module;
    this.#call = call;
  }

  override forward(x: Tensor): Tensor {
    return this.#call(this.module, x);
  }
}

/** Every layer that has state, kernels or a composition of its own. Activations that are one operation have rows of theirs. */
export const LAYER_CASES: readonly LayerCase[] = [
  one("Linear", (dtype) => new nn.Linear(5, 3, { dtype }), [4, 5]),
  one("Conv1d", (dtype) => new nn.Conv1d(4, 3, 3, { padding: 1, dtype }), SIGNAL),
  one("Conv2d", (dtype) => new nn.Conv2d(4, 6, [3, 2], { stride: 2, padding: 1, dtype }), IMAGE),
  one("Conv2d, depthwise", (dtype) => new nn.Conv2d(4, 8, 3, { padding: 1, groups: 4, dtype }), IMAGE),
  one("Conv3d", (dtype) => new nn.Conv3d(2, 3, 2, { dtype }), VOLUME),
  one("ConvTranspose1d", (dtype) => new nn.ConvTranspose1d(4, 3, 3, { stride: 2, dtype }), SIGNAL),
  one("ConvTranspose2d", (dtype) => new nn.ConvTranspose2d(4, 6, 3, { groups: 2, dtype }), IMAGE),
  one("ConvTranspose3d", (dtype) => new nn.ConvTranspose3d(2, 3, 2, { dtype }), VOLUME),
  one(
    "ConvTranspose2d, of a size",
    (dtype) =>
      new Called(new nn.ConvTranspose2d(4, 2, 3, { stride: [2, 3], padding: 1, dtype }), (layer, x) =>
        layer.forward(x as Tensor<Spatial<2, 4>>, { outputSize: [10, 8] }),
      ),
    IMAGE,
  ),
  one("LPPool1d", () => new nn.LPPool1d(2, 3), SIGNAL),
  one("LPPool2d", () => new nn.LPPool2d(2, 2, { stride: 1 }), IMAGE),
  one("LPPool3d", () => new nn.LPPool3d(4, [1, 2, 2]), VOLUME),
  one("Unfold", () => new nn.Unfold(2, { padding: 1 }), IMAGE),
  one("Fold", () => new nn.Fold([3, 4], [2, 3], { padding: [0, 1], stride: [1, 2] }), [2, 12, 4]),
  one("ChannelShuffle", () => new nn.ChannelShuffle(2), IMAGE),
  one("ZeroPad2d", () => new nn.ZeroPad2d([0, 1, 2, -1]), IMAGE),
  one("ConstantPad3d", () => new nn.ConstantPad3d([1, 0, 0, 2, 0, 1], 1.5), VOLUME),
  one("ReflectionPad2d", () => new nn.ReflectionPad2d([2, 1, 4, 0]), IMAGE),
  one("ReplicationPad3d", () => new nn.ReplicationPad3d([1, 2, 5, 0, 1, 1]), VOLUME),
  one("CircularPad1d", () => new nn.CircularPad1d([7, 1]), SIGNAL),
  one("MaxPool1d", () => new nn.MaxPool1d(3, { stride: 2 }), SIGNAL, "distinct"),
  one("MaxPool2d", () => new nn.MaxPool2d(2, { padding: 1 }), IMAGE, "distinct"),
  one("MaxPool3d", () => new nn.MaxPool3d(2), VOLUME, "distinct"),
  one("AvgPool1d", () => new nn.AvgPool1d(3, { stride: 2 }), SIGNAL),
  one("AvgPool2d", () => new nn.AvgPool2d(2, { ceilMode: true }), IMAGE),
  one("AvgPool3d", () => new nn.AvgPool3d(2), VOLUME),
  one("AdaptiveAvgPool1d", () => new nn.AdaptiveAvgPool1d(4), SIGNAL),
  one("AdaptiveAvgPool2d", () => new nn.AdaptiveAvgPool2d(2), IMAGE),
  one("AdaptiveAvgPool3d", () => new nn.AdaptiveAvgPool3d([2, 3, 2]), VOLUME),
  one("AdaptiveMaxPool1d", () => new nn.AdaptiveMaxPool1d(4), SIGNAL, "distinct"),
  one("AdaptiveMaxPool2d", () => new nn.AdaptiveMaxPool2d(2), IMAGE, "distinct"),
  one("AdaptiveMaxPool3d", () => new nn.AdaptiveMaxPool3d([2, 3, 2]), VOLUME, "distinct"),
  one("GlobalAvgPool", () => new nn.GlobalAvgPool(), IMAGE),
  one("GlobalMaxPool", () => new nn.GlobalMaxPool(), IMAGE, "distinct"),
  one("BatchNorm1d", (dtype) => new nn.BatchNorm1d(4, { dtype }), [5, 4]),
  one("BatchNorm1d, cumulative", (dtype) => new nn.BatchNorm1d(4, { momentum: null, dtype }), SIGNAL),
  one("BatchNorm2d", (dtype) => new nn.BatchNorm2d(4, { dtype }), IMAGE),
  one("BatchNorm3d", (dtype) => new nn.BatchNorm3d(2, { dtype }), VOLUME),
  one("LayerNorm", (dtype) => new nn.LayerNorm([5, 3], { dtype }), IMAGE),
  one("RMSNorm", (dtype) => new nn.RMSNorm(7, { eps: 1e-6, dtype }), SIGNAL),
  one("GroupNorm", (dtype) => new nn.GroupNorm(2, 4, { dtype }), IMAGE),
  one("InstanceNorm1d", (dtype) => new nn.InstanceNorm1d(4, { ...TRACKED, dtype }), SIGNAL),
  one("InstanceNorm2d", (dtype) => new nn.InstanceNorm2d(4, { ...TRACKED, dtype }), IMAGE),
  one("InstanceNorm3d", (dtype) => new nn.InstanceNorm3d(2, { ...TRACKED, dtype }), VOLUME),
  one("Upsample, nearest", () => new nn.Upsample({ scaleFactor: 2 }), VOLUME),
  one("Upsample, bilinear", () => new nn.Upsample({ size: [7, 4], mode: "bilinear" }), IMAGE),
  one("PixelShuffle", () => new nn.PixelShuffle(2), [2, 8, 2, 3]),
  one("PixelUnshuffle", () => new nn.PixelUnshuffle(2), [2, 2, 4, 6]),
  one("Unflatten", () => new nn.Unflatten(1, [2, 3]), [4, 6]),
  one("Dropout3d", () => new nn.Dropout3d(1), VOLUME),
  one("Residual", (dtype) => new nn.Residual(new nn.Linear(5, 5, { dtype })), [4, 5]),
  one("CELU", () => new nn.CELU({ alpha: 1.5 }), [4, 5]),
  one("PReLU", (dtype) => new nn.PReLU({ numParameters: 4, dtype }), IMAGE),
  one("Hardtanh", () => new nn.Hardtanh({ maxVal: 1.25 }), [4, 5]),
  one("Hardshrink", () => new nn.Hardshrink({ lambd: 0.703125 }), [4, 5]),
  one("Softshrink", () => new nn.Softshrink({ lambd: 0.703125 }), [4, 5]),
  one("Threshold", () => new nn.Threshold(0.203125, -1), [4, 5]),
  one("Softplus", () => new nn.Softplus({ beta: 2, threshold: 1.015625 }), [4, 5]),
  one("Softmin", () => new nn.Softmin({ axis: 1 }), SIGNAL),
  one("Tanhshrink", () => new nn.Tanhshrink(), [4, 5]),
  one("GLU", () => new nn.GLU(), [4, 6]),
  loss("SmoothL1Loss", () => new nn.SmoothL1Loss({ beta: 0.703125 }), [
    [4, 5],
    [4, 5],
  ]),
  loss("KLDivLoss", () => new nn.KLDivLoss({ logTarget: true, reduction: "batchmean" }), [
    [4, 5],
    [4, 5],
  ]),
  loss("PoissonNLLLoss", () => new nn.PoissonNLLLoss({ full: true }), [
    [4, 5],
    [4, 5],
  ]),
  loss(
    "GaussianNLLLoss",
    () => new nn.GaussianNLLLoss({ full: true }),
    [
      [4, 5],
      [4, 5],
      [4, 5],
    ],
    {
      values: "shares",
    },
  ),
  loss("TripletMarginLoss", () => new nn.TripletMarginLoss({ margin: 3 }), [
    [4, 5],
    [4, 5],
    [4, 5],
  ]),
  loss("CosineSimilarity", () => new nn.CosineSimilarity(), [
    [4, 5],
    [4, 5],
  ]),
  loss("PairwiseDistance", () => new nn.PairwiseDistance(), [
    [4, 5],
    [4, 5],
  ]),
  loss("MarginRankingLoss", () => new nn.MarginRankingLoss({ margin: 0.5 }), [[5], [5], [5]]),
  loss("HingeEmbeddingLoss", () => new nn.HingeEmbeddingLoss(), [[5]], {
    values: "shares",
    signs: [1, -1, -1, 1, -1],
  }),
  loss(
    "CosineEmbeddingLoss",
    () => new nn.CosineEmbeddingLoss({ margin: -0.5 }),
    [
      [4, 5],
      [4, 5],
    ],
    { signs: [1, -1, -1, 1] },
  ),
  loss("SoftMarginLoss", () => new nn.SoftMarginLoss(), [[5], [5]]),
  loss("MultiLabelSoftMarginLoss", () => new nn.MultiLabelSoftMarginLoss(), [
    [4, 5],
    [4, 5],
  ]),
  loss(
    "MultiLabelMarginLoss",
    () =>
      new Called(new nn.MultiLabelMarginLoss(), (margins, x) =>
        margins.forward(
          x,
          integers([
            [3, 0, -1, 1],
            [-1, 0, 2, 2],
            [1, 2, 3, -1],
          ]),
        ),
      ),
    [[3, 4]],
  ),
  loss(
    "CTCLoss",
    () =>
      new Called(new nn.CTCLoss({ reduction: "sum" }), (ctc, x) =>
        ctc.forward(
          logSoftmax(x),
          integers([
            [2, 2, 1],
            [3, 0, 0],
            [1, 3, 0],
          ]),
          [7, 5, 2],
          [3, 1, 2],
        ),
      ),
    [[7, 3, 4]],
  ),
  loss("MultiMarginLoss", () => new nn.MultiMarginLoss({ p: 2 }), [[3, 5]], { classes: [4, 0, 2] }),
];

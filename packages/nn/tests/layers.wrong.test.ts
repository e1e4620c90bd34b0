import { cpu } from "@nf/backend-cpu";
import { ones, type Tensor, use } from "@nf/core";
import { beforeAll, describe, expect, it } from "vitest";
import * as nn from "../src/index.ts";
import { build, call, shape } from "./refusals.ts";

beforeAll(async () => {
  await use(cpu());
});

describe("wrong use says what to do", () => {
  it("options and sizes", () => {
    const wrong: readonly [Type: unknown, args: readonly unknown[], message: RegExp][] = [
      [nn.ConvTranspose1d, [0, 2, 3], /ConvTranspose1d: inChannels/],
      [nn.ConvTranspose2d, [3, 4, 3, { groups: 2 }], /groups must divide/],
      [nn.ConvTranspose2d, [3, 4, 3, { outputPadding: 1 }], /less than stride or dilation \(1\)/],
      [nn.ConvTranspose3d, [3, 4, 3, { padding: "same" }], /padding/],
      [nn.ConvTranspose2d, [3, 4, 3, { paddings: 1 }], /unknown option "paddings"/],
      [nn.MaxPool3d, [[2, 2]], /list of 3/],
      [nn.AvgPool3d, [2, { dilation: 2 }], /unknown option "dilation"/],
      [nn.AdaptiveAvgPool1d, [0], /outputSize must be a whole number/],
      [nn.AdaptiveAvgPool2d, [[1, 2, 3]], /list of 2/],
      [nn.AdaptiveAvgPool3d, [undefined], /list of 3/],
      [nn.BatchNorm1d, [0], /numFeatures/],
      [nn.BatchNorm2d, [3, { momentum: 2 }], /momentum must be a number from 0 to 1/],
      [nn.BatchNorm2d, [3, { eps: -1 }], /eps/],
      [nn.BatchNorm2d, [3, { affine: 1 }], /affine must be true or false/],
      [nn.BatchNorm3d, [3, { trackRunningStats: "no" }], /trackRunningStats must be true or false/],
      [nn.BatchNorm3d, [3, { track: true }], /unknown option "track"/],
      [nn.InstanceNorm2d, [3, { running: true }], /InstanceNorm2d: unknown option "running"/],
      [nn.GroupNorm, [3, 4], /numGroups must divide numChannels/],
      [nn.GroupNorm, [2, 4, { affine: "yes" }], /affine must be true or false/],
      [nn.RMSNorm, [[]], /RMSNorm: normalizedShape/],
      [nn.RMSNorm, [4, { bias: true }], /unknown option "bias"/],
      [nn.Upsample, [{}], /either size or scaleFactor/],
      [nn.Upsample, [{ size: 2, scaleFactor: 2 }], /either size or scaleFactor/],
      [nn.Upsample, [{ scaleFactor: 0 }], /scaleFactor must be positive/],
      [nn.Upsample, [{ size: 0 }], /size/],
      [nn.Upsample, [{ size: 2, mode: "cubic" }], /mode must be one of/],
      [nn.Upsample, [{ size: 2, alignCorners: true }], /alignCorners goes with/],
      [nn.PixelShuffle, [0], /upscaleFactor/],
      [nn.PixelUnshuffle, [1.5], /downscaleFactor/],
      [nn.Unflatten, [1, []], /list of sizes/],
      [nn.Unflatten, [1, [-1, -1]], /only one size can be -1/],
      [nn.Dropout2d, [2], /Dropout2d: p is a probability/],
      [nn.Dropout3d, [0.5, { inplace: true }], /unknown option "inplace"/],
      [nn.ELU, [{ alpha: "1" }], /ELU: alpha/],
      [nn.CELU, [{ alpha: 0 }], /alpha must not be 0/],
      [nn.Hardtanh, [{ minVal: 2 }], /minVal must be below maxVal/],
      [nn.Hardshrink, [{ lambd: -1 }], /lambd/],
      [nn.Softshrink, [{ lambda: 1 }], /unknown option "lambda"/],
      [nn.Threshold, ["a", 1], /threshold must be a number/],
      [nn.RReLU, [{ lower: 1 }], /lower must not be above upper/],
      [nn.PReLU, [{ numParameters: 0 }], /numParameters/],
      [nn.Softplus, [{ beta: 0 }], /beta must not be 0/],
      [nn.Softmin, [{ axis: 0.5 }], /axis must be a whole number/],
      [nn.GLU, [{ dim: 1 }], /unknown option "dim"/],
      [nn.SmoothL1Loss, [{ beta: -1 }], /beta/],
      [nn.KLDivLoss, [{ reduction: "median" }], /reduction must be one of/],
      [nn.KLDivLoss, [{ logTarget: 1 }], /logTarget must be true or false/],
      [nn.PoissonNLLLoss, [{ logInput: 1 }], /logInput must be true or false/],
      [nn.GaussianNLLLoss, [{ full: 0 }], /full must be true or false/],
      [nn.TripletMarginLoss, [{ margin: 0 }], /margin must be above 0/],
      [nn.TripletMarginLoss, [{ swap: 1 }], /swap must be true or false/],
      [nn.CosineEmbeddingLoss, [{ margin: 2 }], /margin/],
      [nn.MarginRankingLoss, [{ margin: "1" }], /margin/],
      [nn.HingeEmbeddingLoss, [{ weight: 1 }], /unknown option "weight"/],
      [nn.MultiMarginLoss, [{ p: 3 }], /p must be 1 or 2/],
      [nn.BCELoss, [{ weight: [1] }], /expected a tensor/],
      [nn.LPPool1d, [0, 2], /normType must be a finite number other than 0/],
      [nn.LPPool2d, [2, [2, 2, 2]], /list of 2/],
      [nn.Unfold, [2, { padding: -1 }], /padding/],
      [nn.Fold, [[4, 4, 4], 2], /outputSize/],
      [nn.ChannelShuffle, [0], /groups/],
      [nn.CosineSimilarity, [{ axis: 0.5 }], /axis must be a whole number/],
      [nn.PairwiseDistance, [{ keepDims: 1 }], /keepDims must be true or false/],
      [nn.ZeroPad2d, [[1, 2]], /list of 4, \[left, right, top, bottom\], got \[1, 2\]/],
      [nn.ZeroPad2d, [[1n, "2"]], /got \[1, "2"\]/],
      [nn.ZeroPad2d, [[1n, 2n, 1n, 2n]], /padding must be a whole number/],
      [nn.AvgPool2d, [[1n, [2n], null]], /list of 2, got \[1, \[2\], null\]/],
      [nn.AdaptiveAvgPool2d, [[1n]], /list of 2, got \[1\]/],
      [nn.ConstantPad1d, [1], /ConstantPad1d: value must be a number, got undefined/],
      [nn.ReflectionPad1d, [-1], /ReflectionPad1d: padding/],
      [nn.CircularPad3d, [undefined], /list of 6/],
      [nn.LSTM, [3, 4, { projSize: 4 }], /projSize must be less than hiddenSize \(4\)/],
      [nn.LSTM, [3, 4, { projSize: -1 }], /projSize/],
      [nn.GRU, [3, 4, { projSize: 2 }], /unknown option "projSize"/],
      [nn.Embedding, [4, 2, { paddingIdx: 4 }], /paddingIdx must be a whole number, -4 to 3/],
      [nn.CTCLoss, [{ blank: -1 }], /blank/],
      [nn.CTCLoss, [{ zeroInfinity: 1 }], /zeroInfinity must be true or false/],
      [nn.MultiLabelMarginLoss, [{ margin: 1 }], /unknown option "margin"/],
    ];
    for (const [Type, args, message] of wrong) expect(build(Type, ...args), String(message)).toThrow(message);
  });

  it("lists are copied: what becomes of the caller's own changes no layer", () => {
    const list = [1, 2, 3, 4];
    const pad = new nn.ZeroPad2d(list);
    const sizes = [2, 2];
    const pool = new nn.AdaptiveAvgPool2d(sizes);
    const windows = new nn.AvgPool2d(sizes);
    list.fill(9);
    sizes.fill(9);
    expect([pad.padding, pool.outputSize, windows.kernelSize]).toEqual([
      [1, 2, 3, 4],
      [2, 2],
      [2, 2],
    ]);
  });

  it("no option of any layer or loss takes a word that it does not know", () => {
    const FIRST: Readonly<Record<string, readonly unknown[]>> = {
      ...{ Linear: [2, 2], Embedding: [4, 2], LayerNorm: [2], RMSNorm: [2], GroupNorm: [1, 2], RoPE: [4, 8] },
      ...{ FeedForward: [4, 8], SwiGLU: [4, 8], MultiheadAttention: [4, 2], MixtureOfExperts: [4, 8] },
      ...{ Unfold: [2], Fold: [4, 2], LPPool1d: [2, 2], LPPool2d: [2, 2], LPPool3d: [2, 2] },
      ...{ SinusoidalPositions: [4, 8], LearnedPositions: [4, 8] },
      ...Object.fromEntries(
        [1, 2, 3].flatMap((n) => [
          ...["Conv", "ConvTranspose"].map((name) => [`${name}${n}d`, [2, 2, 3]]),
          ...["BatchNorm", "InstanceNorm", "MaxPool", "AvgPool"].map((name) => [`${name}${n}d`, [2]]),
          ...["Dropout"].map((name) => [`${name}${n}d`, [0.5]]),
        ]),
      ),
      ...Object.fromEntries(
        ["RNN", "LSTM", "GRU"].flatMap((n) => [n, `${n}Cell`].map((one) => [one, [2, 3]])),
      ),
      Dropout: [0.5],
    };
    let seen = 0;
    for (const [name, Type] of Object.entries(nn)) {
      if (typeof Type !== "function" || !(Type.prototype instanceof nn.Module)) continue;
      const first = FIRST[name] ?? [];
      let refusal = "";
      try {
        build(Type, ...first, { noSuchOption: 1 })();
      } catch (error) {
        refusal = String(error);
      }
      const listed = /unknown option "noSuchOption"\. It takes (.*)\.$/.exec(refusal)?.[1];
      for (const taken of listed?.split(", ") ?? []) {
        const more = name === "MixtureOfExperts" ? { count: 2 } : {};
        expect(build(Type, ...first, { ...more, [taken]: "no" }), `${name}: ${taken}`).toThrow(
          expect.objectContaining({ code: expect.stringMatching(/^NF_/) }),
        );
        seen++;
      }
    }
    expect(seen).toBeGreaterThan(200);
  });

  it("shapes", () => {
    const wrong: readonly [module: nn.Module, inputs: readonly Tensor[], message: RegExp][] = [
      [new nn.ConvTranspose2d(3, 4, 3), [ones([1, 2, 4, 4])], /expected 3 input channels/],
      [new nn.MaxPool3d(2), [ones([1, 2, 4, 4])], /batch dimension/],
      [new nn.AdaptiveAvgPool2d(1), [ones([4, 8])], /4 dimensions/],
      [new nn.GlobalAvgPool(), [ones([4, 8])], /\[batch, channels, …spatial\]/],
      [
        new nn.BatchNorm2d(3),
        [ones([2, 4, 3, 3])],
        /BatchNorm2d\(3\): expected .*\[batch, 3, height, width\].* Make its numFeatures 4/,
      ],
      [new nn.BatchNorm1d(3), [ones([2, 3, 4, 4])], /\[batch, 3\] or \[batch, 3, length\]/],
      [new nn.GroupNorm(2, 4), [ones([2, 3])], /\[batch, 4, …\]/],
      [new nn.InstanceNorm2d(3), [ones([2, 3, 4])], /height, width/],
      [new nn.Upsample({ scaleFactor: 2, mode: "bilinear" }), [ones([1, 2, 3])], /height, width/],
      [new nn.PixelShuffle(2), [ones([1, 6, 2, 2])], /multiple of 4, got 6/],
      [new nn.PixelUnshuffle(2), [ones([1, 1, 3, 2])], /multiples of 2/],
      [new nn.Unflatten(1, [2, 2]), [ones([1, 6])], /dimension 1 .* is 6/],
      [new nn.Dropout3d(), [ones([1, 6])], /5 dimensions/],
      [new nn.PReLU({ numParameters: 3 }), [ones([2, 4])], /expected 3 channels/],
      [new nn.GLU(), [ones([2, 3])], /odd/],
      [new nn.PoissonNLLLoss(), [ones([3]), ones([3, 1])], /same shape/],
      [new nn.GaussianNLLLoss(), [ones([2, 3]), ones([2, 3]), ones([3])], /variance \[3\] does not fit/],
      [new nn.MarginRankingLoss(), [ones([3]), ones([3]), ones([1])], /same shape/],
      [new nn.MultiMarginLoss(), [ones([3]), ones([3])], /\[batch, classes\]/],
      [new nn.MultiLabelMarginLoss(), [ones([3]), ones([3])], /\[batch, classes\], got \[3\]/],
      [new nn.CTCLoss(), [ones([3, 4]), ones([3, 4])], /log-probabilities \[steps, batch, classes\]/],
      [new nn.ChannelShuffle(2), [ones([1, 3, 4])], /multiple of 2, got 3/],
      [new nn.LPPool2d(2, 2), [ones([1, 3, 4])], /4 dimensions/],
      [new nn.ReflectionPad2d(3), [ones([1, 2, 5, 3])], /at most 2/],
      [new nn.ZeroPad1d(-2), [ones([1, 2, 3])], /cuts 4 off dimension 2/],
    ];
    for (const [module, inputs, message] of wrong)
      expect(call(module, ...inputs), String(module)).toThrow(shape(message));
  });
});

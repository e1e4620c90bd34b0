import { sameShape, showShape } from "../backend/geometry.ts";
import { sizeOf } from "../backend/view.ts";
import { DTYPES, type DType, promoteTypes } from "../dtype.ts";
import { OptionError, ShapeError } from "../errors.ts";
import * as s from "../scalar/expr.ts";
import { type Program, program } from "../scalar/program.ts";
import type { Tensor } from "../tensor/tensor.ts";
import { composite, together } from "./apply.ts";
import { div } from "./binary.ts";
import { callElementwise, type Elementwise, elementwise } from "./elementwise.ts";
import { checkEps, inverseDeviation, standardized } from "./layer-norm.ts";
import { checkFloat, checkInteger, checkNumber, checkOptions, checkTensor } from "./options.ts";
import { keptShape, perDType, sumOfProgram } from "./programs.ts";
import { mean } from "./reduce.ts";
import { castTo } from "./select.ts";
import { reshape } from "./shape.ts";
import { defineUpdate, pureUpdate, runUpdate, type Update } from "./update.ts";
import { detach, withUnitDims } from "./views.ts";

/** What normalisations by channel scale and shift with. */
export interface ChannelNormOptions {
  /** Factor of each channel, `[channels]`. */
  readonly weight?: Tensor;
  /** Added to each channel, `[channels]`. */
  readonly bias?: Tensor;
  /** Added to the variance; default 1e-5. */
  readonly eps?: number;
}

/** Options of {@link batchNorm}. */
export interface BatchNormOptions extends ChannelNormOptions {
  /** Running mean of each channel, `[channels]`: used when not training, updated in place when training. */
  readonly runningMean?: Tensor;
  /** Running variance of each channel, `[channels]`; goes with `runningMean`. */
  readonly runningVariance?: Tensor;
  /** Whether the batch's own statistics are used; default false. */
  readonly training?: boolean;
  /** Share of the batch in the new running statistics; default 0.1. */
  readonly momentum?: number;
}

/** Options of {@link groupNorm}. */
export interface GroupNormOptions extends ChannelNormOptions {
  /** Number of groups the channels are cut into. */
  readonly groups: number;
}

const CHANNEL_OPTIONS = ["weight", "bias", "eps"];
const BATCH_OPTIONS = [...CHANNEL_OPTIONS, "runningMean", "runningVariance", "momentum"];

/** Refuses x that is not `[batch, channels, …]` of floats, and channel vectors that do not fit it. */
function checkChannels(op: string, x: Tensor, vectors: Readonly<Record<string, Tensor | undefined>>): number {
  checkFloat(op, x);
  if (x.rank < 2) throw new ShapeError(`${op}: expected x [batch, channels, …], got ${showShape(x.shape)}.`);
  const channels = x.shape[1] as number;
  for (const [name, vector] of Object.entries(vectors)) {
    if (vector === undefined) continue;
    checkTensor(op, vector);
    if (!sameShape(vector.shape, [channels])) {
      throw new ShapeError(
        `${op}: ${name} must be [${channels}], one a channel of x ${showShape(x.shape)}, got ${showShape(vector.shape)}.`,
      );
    }
  }
  return channels;
}

function present(op: string, ...tensors: readonly (Tensor | undefined)[]): readonly Tensor[] {
  return together(
    op,
    tensors.flatMap((one) => (one === undefined ? [] : [one])),
  );
}

/** A vector of channels as it broadcasts to x. */
function alongChannels(vector: Tensor, rank: number): Tensor {
  return withUnitDims(vector, [vector.size, ...new Array<number>(rank - 2).fill(1)]);
}

const AFFINE: Elementwise = /* @__PURE__ */ elementwise({
  name: "affine",
  result: "float",
  body: ([x, weight, bias]) => s.add(s.mul(x as s.Expr, weight as s.Expr), bias as s.Expr),
});

// One pass over x, of which the tape keeps x itself and vectors.
const NORMALIZE: Elementwise = /* @__PURE__ */ elementwise({
  name: "batchNorm",
  result: "float",
  body([x, center, inverse, weight, bias]) {
    const normalized = s.mul(s.sub(x as s.Expr, center as s.Expr), inverse as s.Expr);
    return s.add(s.mul(normalized, weight as s.Expr), bias as s.Expr);
  },
});

const squaresProgram: (dtype: "f32" | "f64" | "i32" | "u32" | "bool") => Program = /* @__PURE__ */ perDType(
  (dtype) =>
    program("batchNorm", [dtype, dtype], [], ([x, center]) => {
      const deviation = s.sub(x as s.Expr, center as s.Expr);
      return s.mul(deviation, deviation);
    }),
);

const RUNNING: Update = /* @__PURE__ */ defineUpdate({
  name: "batchNorm",
  state: 2,
  inputs: 2,
  params: ["momentum", "correction"],
  body([runningMean, runningVariance], [batchMean, batchVariance], [momentum, correction]) {
    const rate = momentum as s.Expr;
    const blend = (old: s.Expr, fresh: s.Expr): s.Expr =>
      s.add(s.mul(old, s.sub(s.constant(1, rate.dtype), rate)), s.mul(fresh, rate));
    const unbiased = s.mul(batchVariance as s.Expr, correction as s.Expr);
    return [blend(runningMean as s.Expr, batchMean as s.Expr), blend(runningVariance as s.Expr, unbiased)];
  },
});

interface Moments {
  /** Mean and biased variance of each channel, `[1, channels, 1, …]`. */
  readonly center: Tensor;
  readonly variance: Tensor;
  readonly count: number;
}

/** Mean and variance of each channel in two passes. */
function momentsOf(x: Tensor): Moments {
  const axes = x.shape.flatMap((_, axis) => (axis === 1 ? [] : [axis]));
  const kept = keptShape(x.shape, axes);
  const count = sizeOf(axes.map((axis) => x.shape[axis] as number));
  if (count < 2) {
    throw new ShapeError(
      `batchNorm: training needs more than one value a channel, x ${showShape(x.shape)} has ${count}. Use a larger batch, or training: false.`,
    );
  }
  const center = mean(x, { axis: axes, keepDims: true });
  const squares = squaresProgram(DTYPES[x.dtype].compute);
  const total = sumOfProgram(squares, [], [x, center], x.shape, axes, kept, x.dtype);
  return { center, variance: div(total, count), count };
}

function normalized(
  x: Tensor,
  center: Tensor,
  variance: Tensor,
  { weight, bias, eps }: ChannelNormOptions,
): Tensor {
  const inverse = inverseDeviation(variance, eps ?? 1e-5);
  const factor = weight === undefined ? 1 : alongChannels(weight, x.rank);
  const shift = bias === undefined ? 0 : alongChannels(bias, x.rank);
  const dtype = [x, weight, bias].reduce<DType>(
    (common, one) => promoteTypes(common, one?.dtype ?? common),
    x.dtype,
  );
  return castTo(callElementwise(NORMALIZE, [widened(x), center, inverse, factor, shift]), dtype);
}

/** x in the dtype that it is computed in: 16-bit statistics would be too coarse. */
function widened(x: Tensor): Tensor {
  return castTo(x, DTYPES[x.dtype].compute);
}

function checkBatchNorm(op: string, x: Tensor, options: BatchNormOptions): void {
  const { weight, bias, runningMean, runningVariance, momentum = 0.1 } = options;
  checkChannels(op, x, { weight, bias, runningMean, runningVariance });
  checkEps(op, options.eps ?? 1e-5);
  checkNumber(op, "momentum", momentum, 0, 1);
  if ((runningMean === undefined) !== (runningVariance === undefined))
    throw new OptionError(`${op}: runningMean and runningVariance go together; only one was given.`);
}

/** What goes into the running statistics: the batch's as vectors, and the numbers of the update. */
function statisticsOf({ center, variance, count }: Moments, momentum: number): [Tensor[], number[]] {
  return [
    [reshape(center, [-1]), reshape(variance, [-1])],
    [momentum, count / (count - 1)],
  ];
}

/**
 * Normalises each channel of x `[batch, channels, …]`: (x - mean) / √(variance + eps) · weight + bias. In training mean
 * and (biased) variance are the batch's, and the running ones, where given, move towards them in place, the variance
 * unbiased; otherwise the running ones are used. Ioffe, Szegedy 2015, arXiv:1502.03167.
 */
export function batchNorm(x: Tensor, options: BatchNormOptions = {}): Tensor {
  checkOptions("batchNorm", options, [...BATCH_OPTIONS, "training"]);
  checkBatchNorm("batchNorm", x, options);
  const { weight, bias, runningMean, runningVariance, momentum = 0.1 } = options;
  return composite(present("batchNorm", x, weight, bias, runningMean, runningVariance), () => {
    if (options.training === true) {
      const moments = momentsOf(widened(x));
      if (runningMean !== undefined && runningVariance !== undefined)
        runUpdate(RUNNING, [runningMean, runningVariance], ...statisticsOf(moments, momentum));
      return normalized(x, moments.center, moments.variance, options);
    }
    if (runningMean === undefined || runningVariance === undefined) {
      throw new OptionError(
        "batchNorm: outside training runningMean and runningVariance are needed. Give both, or training: true.",
      );
    }
    const [center, variance] = [alongChannels(runningMean, x.rank), alongChannels(runningVariance, x.rank)];
    return normalized(x, center, variance, options);
  });
}

/** What {@link batchNormPure} gives. */
export interface BatchNormResult {
  readonly output: Tensor;
  readonly runningMean: Tensor;
  readonly runningVariance: Tensor;
}

/** {@link batchNorm} in training without the write: the new running statistics are returned, the old ones stay. */
export function batchNormPure(
  x: Tensor,
  options: Omit<BatchNormOptions, "training"> &
    Required<Pick<BatchNormOptions, "runningMean" | "runningVariance">>,
): BatchNormResult {
  checkOptions("batchNormPure", options ?? null, BATCH_OPTIONS);
  if (options.runningMean === undefined)
    throw new OptionError("batchNormPure: needs runningMean and runningVariance to make the new ones from.");
  checkBatchNorm("batchNormPure", x, options);
  const { weight, bias, runningMean, runningVariance, momentum = 0.1 } = options;
  return composite(present("batchNormPure", x, weight, bias, runningMean, runningVariance), () => {
    const moments = momentsOf(widened(x));
    const statistics = statisticsOf(
      { ...moments, center: detach(moments.center), variance: detach(moments.variance) },
      momentum,
    );
    const [nextMean, nextVariance] = pureUpdate(RUNNING, [runningMean, runningVariance], ...statistics);
    const output = normalized(x, moments.center, moments.variance, options);
    return { output, runningMean: nextMean as Tensor, runningVariance: nextVariance as Tensor };
  });
}

function groupwise(op: string, x: Tensor, groups: number, options: ChannelNormOptions): Tensor {
  const { weight, bias } = options;
  const eps = checkEps(op, options.eps ?? 1e-5);
  const batch = x.shape[0] as number;
  return composite(present(op, x, weight, bias), () => {
    const width = sizeOf(x.shape.slice(1)) / Math.max(1, groups);
    const result = reshape(standardized(reshape(x, [batch, groups, width]), eps), x.shape);
    if (weight === undefined && bias === undefined) return result;
    const factor = weight === undefined ? 1 : alongChannels(weight, x.rank);
    const shift = bias === undefined ? 0 : alongChannels(bias, x.rank);
    return callElementwise(AFFINE, [result, factor, shift]);
  });
}

/**
 * Normalises groups of channels of x `[batch, channels, …]`, each sample by itself. Wu, He 2018, arXiv:1803.08494.
 */
export function groupNorm(x: Tensor, options: GroupNormOptions): Tensor {
  checkOptions("groupNorm", options ?? null, ["groups", ...CHANNEL_OPTIONS]);
  const channels = checkChannels("groupNorm", x, { weight: options.weight, bias: options.bias });
  const groups = checkInteger("groupNorm", "groups", options.groups, 1);
  if (channels % groups !== 0)
    throw new OptionError(
      `groupNorm: ${channels} channels cannot be cut into ${groups} groups of equal size.`,
    );
  return groupwise("groupNorm", x, groups, options);
}

/** Normalises each channel of each sample of x `[batch, channels, …]` by itself. Ulyanov et al. 2016, arXiv:1607.08022. */
export function instanceNorm(x: Tensor, options: ChannelNormOptions = {}): Tensor {
  checkOptions("instanceNorm", options, CHANNEL_OPTIONS);
  const channels = checkChannels("instanceNorm", x, { weight: options.weight, bias: options.bias });
  return groupwise("instanceNorm", x, channels, options);
}

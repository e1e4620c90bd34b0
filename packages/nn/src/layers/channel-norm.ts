import {
  checkInteger,
  checkNumber,
  type DType,
  ones,
  parameter,
  ShapeError,
  type Tensor,
  zeros,
} from "@nf/core";
import { checkInput, shapeText } from "../check.ts";
import type { Module } from "../module/module.ts";
import type { Slot } from "../module/slots.ts";
import { fill } from "./fill.ts";
import { Layer, type Same } from "./layer.ts";

/** Options of normalisations by channel that keep running statistics. */
export interface RunningNormOptions {
  /** Added to the variance; default 1e-5. */
  readonly eps?: number;
  /**
   * Share of a batch in the new running statistics, default 0.1; null weighs all batches equally (a cumulative mean).
   */
  readonly momentum?: number | null;
  /** Whether a learned factor and bias of each channel follow. */
  readonly affine?: boolean;
  /** Whether running statistics are kept, and used in evaluation. */
  readonly trackRunningStats?: boolean;
  /** dtype of parameters and running statistics; default `f32`. */
  readonly dtype?: DType;
}

export const RUNNING_NORM_OPTIONS = ["eps", "momentum", "affine", "trackRunningStats", "dtype"] as const;

/** PyTorch's names of the buffers, which state dicts have. */
const BUFFERS: Readonly<Record<string, string>> = {
  runningMean: "running_mean",
  runningVar: "running_var",
  numBatchesTracked: "num_batches_tracked",
};

/** Running statistics of a normalisation by channel. */
export interface Statistics {
  readonly runningMean: Tensor;
  readonly runningVar: Tensor;
  readonly numBatchesTracked: Tensor;
}

/** What batch and instance normalisation share: parameters and running statistics, one value a channel. */
export abstract class RunningNorm<In> extends Layer<In, Same> {
  readonly numFeatures: number;
  readonly eps: number;
  /** Share of a batch in the new running statistics; null: all batches weigh the same. */
  readonly momentum: number | null;
  readonly affine: boolean;
  readonly trackRunningStats: boolean;
  /** Factor, `[numFeatures]`, or null without. */
  readonly weight: Tensor | null;
  /** `[numFeatures]`, or null without. */
  readonly bias: Tensor | null;
  /** `[numFeatures]`, or null without running statistics; `running_mean` in a state dict. */
  readonly runningMean: Tensor | null;
  /** Unbiased, `[numFeatures]`, or null without running statistics; `running_var` in a state dict. */
  readonly runningVar: Tensor | null;
  /** Batches trained on, a scalar of `i32`, or null without running statistics; `num_batches_tracked` in a state dict. */
  readonly numBatchesTracked: Tensor | null;

  constructor(layer: string, numFeatures: number, options: RunningNormOptions, standard: boolean) {
    super();
    const { eps = 1e-5, momentum = 0.1, dtype = "f32" } = options;
    this.numFeatures = checkInteger(layer, "numFeatures", numFeatures, 1);
    this.eps = checkNumber(layer, "eps", eps, 0, Number.MAX_VALUE);
    this.momentum = momentum === null ? null : checkNumber(layer, "momentum", momentum, 0, 1);
    this.affine = options.affine ?? standard;
    this.trackRunningStats = options.trackRunningStats ?? standard;
    this.weight = this.affine ? parameter(ones([numFeatures], { dtype })) : null;
    this.bias = this.affine ? parameter(zeros([numFeatures], { dtype })) : null;
    const tracked = this.trackRunningStats;
    this.runningMean = tracked ? this.kept("running_mean", zeros([numFeatures], { dtype })) : null;
    this.runningVar = tracked ? this.kept("running_var", ones([numFeatures], { dtype })) : null;
    this.numBatchesTracked = tracked ? this.kept("num_batches_tracked", zeros([], { dtype: "i32" })) : null;
  }

  override resetParameters(): void {
    const { weight, bias } = this;
    if (weight !== null) fill(weight, 1);
    if (bias !== null) fill(bias, 0);
    this.resetRunningStats();
  }

  /** Forgets the running statistics: mean 0, variance 1, no batches. */
  resetRunningStats(): void {
    const { statistics } = this;
    if (statistics === undefined) return;
    fill(statistics.runningMean, 0);
    fill(statistics.runningVar, 1);
    fill(statistics.numBatchesTracked, 0);
  }

  /** @internal Buffers under PyTorch's names. */
  override slots(): readonly Slot<Module>[] {
    return super.slots().map((slot) => ({ ...slot, name: BUFFERS[slot.name] ?? slot.name }));
  }

  /** The running statistics, if any are kept. */
  protected get statistics(): Statistics | undefined {
    const { runningMean, runningVar, numBatchesTracked } = this;
    if (runningMean === null || runningVar === null || numBatchesTracked === null) return undefined;
    return { runningMean, runningVar, numBatchesTracked };
  }

  /** Options that core's functions take: what the result is scaled and shifted by. */
  protected get scaling(): { readonly weight?: Tensor; readonly bias?: Tensor; readonly eps: number } {
    const { weight, bias, eps } = this;
    return { ...(weight !== null && { weight }), ...(bias !== null && { bias }), eps };
  }

  /**
   * Refuses an input that is not `[batch, numFeatures, …]` of one of some ranks.
   * @throws DTypeError, ShapeError
   */
  protected checkRank(input: Tensor, expected: string, ...ranks: readonly number[]): void {
    checkInput(this, input);
    if (ranks.includes(input.rank) && input.shape[1] === this.numFeatures) return;
    const advice =
      ranks.includes(input.rank) && input.shape[1] !== undefined
        ? ` Make its numFeatures ${input.shape[1]}, or the layer before it give ${this.numFeatures}.`
        : "";
    throw new ShapeError(
      `${this}: expected an input ${expected.replaceAll("C", String(this.numFeatures))}, got ${shapeText(input)}.${advice}`,
    );
  }

  protected override describe(): string {
    const { numFeatures, eps, momentum, affine, trackRunningStats } = this;
    const options = [
      ...(eps === 1e-5 ? [] : [`eps: ${eps}`]),
      ...(momentum === 0.1 ? [] : [`momentum: ${momentum}`]),
      ...(affine === this.standard ? [] : [`affine: ${affine}`]),
      ...(trackRunningStats === this.standard ? [] : [`trackRunningStats: ${trackRunningStats}`]),
    ];
    return options.length === 0 ? String(numFeatures) : `${numFeatures}, { ${options.join(", ")} }`;
  }

  /** Whether this kind of layer learns and keeps statistics where its options do not say. */
  protected abstract get standard(): boolean;

  /** A buffer under the name that state dicts have; the property that holds it has another. */
  private kept(name: string, buffer: Tensor): Tensor {
    this.bufferNames[name] = true;
    return buffer.keep();
  }
}

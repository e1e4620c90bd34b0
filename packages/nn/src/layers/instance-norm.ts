import {
  add,
  assign,
  batchNorm,
  instanceNorm,
  mean,
  mul,
  noGrad,
  reshape,
  ShapeError,
  type Spatial,
  type Tensor,
  zeros,
} from "@nf/core";
import { checkLayerOptions, shapeText } from "../check.ts";
import {
  RUNNING_NORM_OPTIONS,
  RunningNorm,
  type RunningNormOptions,
  type Statistics,
} from "./channel-norm.ts";

/**
 * Options of instance normalisation. `affine` and `trackRunningStats` are false unless given. With `momentum: null` the
 * running statistics stay as they are, as in PyTorch.
 */
export type InstanceNormOptions = RunningNormOptions;

/** What the instance normalisations share. */
abstract class InstanceNorm<N extends 1 | 2 | 3, C extends number> extends RunningNorm<Spatial<N, C>> {
  constructor(layer: string, numFeatures: C, options: InstanceNormOptions) {
    checkLayerOptions(layer, options, RUNNING_NORM_OPTIONS);
    super(layer, numFeatures, options, false);
  }

  protected override get standard(): boolean {
    return false;
  }

  /** @throws ShapeError for a single value a channel, unless running statistics are used. */
  protected normalize(input: Tensor): Tensor {
    const { training, scaling, statistics } = this;
    if (statistics !== undefined && !training) {
      const { runningMean, runningVar: runningVariance } = statistics;
      return batchNorm(input, { ...scaling, runningMean, runningVariance });
    }
    if (input.shape.slice(2).every((size) => size === 1)) {
      throw new ShapeError(
        `${this}: needs more than one value in each channel of a sample, got ${shapeText(input)}.`,
      );
    }
    if (statistics !== undefined) this.follow(input, statistics);
    return instanceNorm(input, scaling);
  }

  /** Moves the running statistics towards the mean over the batch of those of the samples. */
  private follow(input: Tensor, { runningMean, runningVar }: Statistics): void {
    const { momentum, numFeatures } = this;
    const batch = input.shape[0] as number;
    if (momentum === null || batch === 0) return;
    noGrad(() => {
      // A channel of a sample is a channel of one large sample, whose statistics batch normalisation takes.
      const lines = batch * numFeatures;
      const options = { dtype: runningMean.dtype, backend: input.backend };
      const [means, variances] = [zeros([lines], options), zeros([lines], options)];
      batchNorm(reshape(input, [1, lines, ...input.shape.slice(2)]), {
        training: true,
        momentum: 1,
        runningMean: means,
        runningVariance: variances,
      });
      for (const [running, fresh] of [
        [runningMean, means],
        [runningVar, variances],
      ] as const) {
        const average = mean(reshape(fresh, [batch, numFeatures]), { axis: 0 });
        assign(running, add(mul(running, 1 - momentum), mul(average, momentum)));
      }
    });
  }
}

/** Instance normalisation of signals `[batch, channels, length]`; see {@link InstanceNorm2d}. */
export class InstanceNorm1d<const C extends number = number> extends InstanceNorm<1, C> {
  constructor(numFeatures: C, options: InstanceNormOptions = {}) {
    super("InstanceNorm1d", numFeatures, options);
  }

  override forward(input: Tensor<Spatial<1, C>>): Tensor<Spatial<1, C>> {
    this.checkRank(input, "[batch, C, length]", 3);
    return this.normalize(input);
  }
}

/**
 * Takes the mean off each channel of each sample of images `[batch, channels, height, width]` and divides by its standard
 * deviation. Ulyanov, Vedaldi, Lempitsky 2016, arXiv:1607.08022.
 */
export class InstanceNorm2d<const C extends number = number> extends InstanceNorm<2, C> {
  constructor(numFeatures: C, options: InstanceNormOptions = {}) {
    super("InstanceNorm2d", numFeatures, options);
  }

  override forward(input: Tensor<Spatial<2, C>>): Tensor<Spatial<2, C>> {
    this.checkRank(input, "[batch, C, height, width]", 4);
    return this.normalize(input);
  }
}

/** Instance normalisation of volumes `[batch, channels, depth, height, width]`; see {@link InstanceNorm2d}. */
export class InstanceNorm3d<const C extends number = number> extends InstanceNorm<3, C> {
  constructor(numFeatures: C, options: InstanceNormOptions = {}) {
    super("InstanceNorm3d", numFeatures, options);
  }

  override forward(input: Tensor<Spatial<3, C>>): Tensor<Spatial<3, C>> {
    this.checkRank(input, "[batch, C, depth, height, width]", 5);
    return this.normalize(input);
  }
}

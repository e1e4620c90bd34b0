import {
  add,
  assign,
  batchNorm,
  defineUpdate,
  div,
  type Expr,
  type Flat,
  noGrad,
  runUpdate,
  type Spatial,
  scalar,
  sub,
  type Tensor,
  type Update,
  zeros,
  zerosLike,
} from "@nf/core";
import { checkLayerOptions } from "../check.ts";
import { RUNNING_NORM_OPTIONS, RunningNorm, type RunningNormOptions } from "./channel-norm.ts";

/**
 * Options of batch normalisation. `affine` and `trackRunningStats` are true unless given.
 */
export type BatchNormLayerOptions = RunningNormOptions;

/** What the batch normalisations share. */
abstract class BatchNorm<In> extends RunningNorm<In> {
  constructor(layer: string, numFeatures: number, options: BatchNormLayerOptions) {
    checkLayerOptions(layer, options, RUNNING_NORM_OPTIONS);
    super(layer, numFeatures, options, true);
  }

  protected override get standard(): boolean {
    return true;
  }

  /** @throws ShapeError in training for a single value a channel. */
  protected normalize(input: Tensor): Tensor {
    const { training, momentum, scaling, statistics } = this;
    if (input.size === 0) return this.nothing(input);
    if (statistics === undefined) return batchNorm(input, { ...scaling, training: true });
    const { runningMean, runningVar: runningVariance, numBatchesTracked } = statistics;
    if (!training) return batchNorm(input, { ...scaling, runningMean, runningVariance });
    if (momentum !== null) {
      const output = batchNorm(input, { ...scaling, training, momentum, runningMean, runningVariance });
      count(numBatchesTracked);
      return output;
    }
    // How many batches there were is known on the device alone, so the mean over them is computed there.
    const batchMean = zerosLike(runningMean);
    const batchVariance = zerosLike(runningVariance);
    const output = batchNorm(input, {
      ...scaling,
      training,
      momentum: 1,
      runningMean: batchMean,
      runningVariance: batchVariance,
    });
    count(numBatchesTracked);
    noGrad(() => {
      for (const [running, batch] of [
        [runningMean, batchMean],
        [runningVariance, batchVariance],
      ] as const)
        assign(running, add(running, div(sub(batch, running), numBatchesTracked)));
    });
    batchMean.dispose();
    batchVariance.dispose();
    return output;
  }

  /** What an empty batch gives, which has no statistics: nothing. It counts as a batch, as in PyTorch. */
  private nothing(input: Tensor): Tensor {
    const { training, scaling, statistics, numFeatures } = this;
    if (training && statistics !== undefined) count(statistics.numBatchesTracked);
    const { dtype, backend } = input;
    const runningMean = statistics?.runningMean ?? zeros([numFeatures], { dtype, backend });
    return batchNorm(input, {
      ...scaling,
      runningMean,
      runningVariance: statistics?.runningVar ?? runningMean,
    });
  }
}

const COUNT: Update = /* @__PURE__ */ defineUpdate({
  name: "BatchNorm",
  state: 1,
  inputs: 0,
  params: [],
  body: ([batches]) => [scalar.add(batches as Expr, 1)],
});

function count(batches: Tensor): void {
  runUpdate(COUNT, [batches], [], []);
}

/**
 * Batch normalisation of features `[batch, features]` or signals `[batch, channels, length]`; see {@link BatchNorm2d}.
 */
export class BatchNorm1d<const C extends number = number> extends BatchNorm<Flat<C> | Spatial<1, C>> {
  constructor(numFeatures: C, options: BatchNormLayerOptions = {}) {
    super("BatchNorm1d", numFeatures, options);
  }

  override forward(input: Tensor<Flat<C>>): Tensor<Flat<C>>;
  override forward(input: Tensor<Spatial<1, C>>): Tensor<Spatial<1, C>>;
  override forward(input: Tensor): Tensor {
    this.checkRank(input, "[batch, C] or [batch, C, length]", 2, 3);
    return this.normalize(input);
  }
}

/**
 * Takes the mean off each channel of images `[batch, channels, height, width]`, divides by its standard deviation, and
 * applies a learned factor (from 1) and bias (from 0). In training these are the batch's, and running statistics follow
 * them; in evaluation the running ones are used. Ioffe, Szegedy 2015, arXiv:1502.03167.
 *
 * The running statistics are state: `functionalize` gives them apart, and `apply` returns the next ones.
 */
export class BatchNorm2d<const C extends number = number> extends BatchNorm<Spatial<2, C>> {
  constructor(numFeatures: C, options: BatchNormLayerOptions = {}) {
    super("BatchNorm2d", numFeatures, options);
  }

  override forward(input: Tensor<Spatial<2, C>>): Tensor<Spatial<2, C>> {
    this.checkRank(input, "[batch, C, height, width]", 4);
    return this.normalize(input);
  }
}

/** Batch normalisation of volumes `[batch, channels, depth, height, width]`; see {@link BatchNorm2d}. */
export class BatchNorm3d<const C extends number = number> extends BatchNorm<Spatial<3, C>> {
  constructor(numFeatures: C, options: BatchNormLayerOptions = {}) {
    super("BatchNorm3d", numFeatures, options);
  }

  override forward(input: Tensor<Spatial<3, C>>): Tensor<Spatial<3, C>> {
    this.checkRank(input, "[batch, C, depth, height, width]", 5);
    return this.normalize(input);
  }
}

/** The models that the command knows. */
export const MODEL_NAMES = ["lenet"] as const;
/** Where the digits come from. */
export const DATA_NAMES = ["embedded", "mnist"] as const;
/** The optimisers that `nf train` knows. */
export const OPTIMIZER_NAMES = ["adam", "sgd"] as const;

/** One of {@link MODEL_NAMES}. */
export type ModelName = (typeof MODEL_NAMES)[number];
/** One of {@link DATA_NAMES}. */
export type DataName = (typeof DATA_NAMES)[number];
/** One of {@link OPTIMIZER_NAMES}. */
export type OptimizerName = (typeof OPTIMIZER_NAMES)[number];

/** Highest learning rate of a run, unless `--lr` gives another. */
export const LEARNING_RATES: Readonly<Record<OptimizerName, number>> = { adam: 6e-3, sgd: 1e-2 };

/** Options that every command has. */
export interface CommonOptions {
  /** Print one JSON object as the last line of standard output. */
  readonly json?: boolean;
}

/** Options of `nf train`, checked. */
export interface TrainOptions extends CommonOptions {
  /** Short name or package name; the best one there is when absent. */
  readonly backend?: string;
  readonly data: DataName;
  /** Allow the download of data that is not there. */
  readonly download?: boolean;
  /** Train on the first so many images only; on all when absent. */
  readonly limit?: number;
  readonly epochs: number;
  /** Images a step. */
  readonly batch: number;
  readonly seed: number;
  /** Move each training image by up to a pixel, another way in every epoch. */
  readonly shift: boolean;
  /** Part of the target's probability that the loss spreads evenly over all classes, from 0 to below 1. */
  readonly labelSmoothing: number;
  readonly optimizer: OptimizerName;
  /** Learning rate; the optimiser's usual one when absent. */
  readonly lr?: number;
  /** Output folder; a new one under `runs/` when absent. */
  readonly out?: string;
}

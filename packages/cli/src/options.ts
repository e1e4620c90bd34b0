import type { Level } from "@nf/conformance";

/** The models that the command knows. */
export const MODEL_NAMES = ["lenet", "nanogpt"] as const;
/** Where the digits come from. */
export const DATA_NAMES = ["embedded", "mnist"] as const;
/** The optimisers that `nf train` knows. */
export const OPTIMIZER_NAMES = ["adam", "sgd"] as const;

/** How far the conformance suite goes. Named here too, because loading the suite takes a while. */
export const LEVEL_NAMES: readonly Level[] = ["kernels", "inference", "training", "complete"];

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

/** Options of `nf inspect`, checked. */
export interface InspectCommandOptions extends CommonOptions {
  /** Count floating-point operations. */
  readonly flops?: boolean;
  /** Count the bytes that kernels read and write. */
  readonly bytes?: boolean;
}

/** Options of `nf conformance --compare`, checked. */
export interface CompareOptions extends CommonOptions {
  /** Where values, shapes and choices come from. */
  readonly seed?: number;
  /** Examples of each property, or random graphs. */
  readonly examples?: number;
}

/** Options of `nf conformance`, checked. */
export interface ConformanceOptions extends CompareOptions {
  readonly level: Level;
  /** Only these families; all when absent. */
  readonly family?: readonly string[];
  /** Measure each kernel's speed too. */
  readonly speed: boolean;
  /** Two backends whose results are compared, instead of a scorecard. */
  readonly compare?: readonly string[];
}

/** Options of `nf train lenet`, checked. */
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

/** Options of `nf train nanogpt`, checked. */
export interface TextTrainOptions extends CommonOptions {
  /** Short name or package name; the best one there is when absent. */
  readonly backend?: string;
  /** A text file; tinyshakespeare when absent. */
  readonly data?: string;
  /** Allow the download of tinyshakespeare when it is not there. */
  readonly download?: boolean;
  readonly steps: number;
  /** Windows of text a step. */
  readonly batch: number;
  readonly seed: number;
  /** Highest learning rate. */
  readonly lr: number;
  readonly weightDecay: number;
  readonly dropout: number;
  /** Steps between two evaluations; a tenth of all when absent. */
  readonly evalEvery?: number;
  /** Characters of the text that the model writes after an evaluation. */
  readonly sample: number;
  /** Folder of a run to go on with. */
  readonly resume?: string;
  /** Output folder; a new one under `runs/` when absent. */
  readonly out?: string;
}

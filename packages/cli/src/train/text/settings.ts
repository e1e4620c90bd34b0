import type { TextTrainOptions } from "../../options.ts";

/** What decides how a run goes, machine and text apart: a resumed one has the same. */
export interface TextSettings {
  /** Of the whole run. */
  readonly steps: number;
  /** Windows a step. */
  readonly batch: number;
  readonly seed: number;
  /** Highest learning rate. */
  readonly learningRate: number;
  readonly weightDecay: number;
  readonly dropout: number;
  /** Steps between two evaluations. */
  readonly evalEvery: number;
  /** Characters of the text that the model writes after an evaluation. */
  readonly sample: number;
}

/** Evaluations of a run, unless `--eval-every` says otherwise. */
const EVALUATIONS = 10;

/** The settings that options ask for. */
export function settingsOf(options: TextTrainOptions): TextSettings {
  const { steps, batch, seed, lr, weightDecay, dropout, evalEvery, sample } = options;
  return {
    steps,
    batch,
    seed,
    learningRate: lr,
    weightDecay,
    dropout,
    evalEvery: Math.min(steps, evalEvery ?? Math.ceil(steps / EVALUATIONS)),
    sample,
  };
}

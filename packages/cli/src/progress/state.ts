import { clock, count, lossText, percent } from "../format.ts";

/** Where a training run stands. */
export interface ProgressState {
  /** In words: `epoch 1/3`. */
  readonly place: string;
  /** Steps done, of the whole run. */
  readonly step: number;
  /** Steps of the whole run. */
  readonly steps: number;
  /** Recent loss, averaged over some steps. */
  readonly loss: number;
  /** Recent training accuracy, 0 to 1. */
  readonly accuracy: number;
  /** What is trained on: `images`, `characters`. */
  readonly unit: string;
  readonly itemsPerSecond: number;
  readonly secondsLeft: number;
}

/** Shows how a run goes on. */
export interface Progress {
  update(state: ProgressState): void;
  /** A line that stays, such as an epoch's result. */
  note(line: string): void;
  /** Puts the terminal back in order; no further calls. */
  stop(): void;
}

/** What both kinds say of a state, apart from the share that is done. */
export function describe(state: ProgressState): { readonly place: string; readonly figures: string } {
  const figures = [
    `loss ${lossText(state.loss)}`,
    `accuracy ${percent(state.accuracy, 1)}`,
    `${count(state.itemsPerSecond)} ${state.unit}/s`,
    `${clock(state.secondsLeft)} left`,
  ];
  return { place: state.place, figures: figures.join("  ") };
}

/** Where a training run stands. */
export interface ProgressState {
  /** In words: `epoch 1/3`. */
  readonly place: string;
  /** Steps done, of the whole run. */
  readonly step: number;
  /** Steps of the whole run; undefined where nobody knows. */
  readonly steps: number | undefined;
  /** What else is to be shown: `loss 0.123`. */
  readonly figures: readonly string[];
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
export function describe({ place, figures }: ProgressState): {
  readonly place: string;
  readonly figures: string;
} {
  return { place, figures: figures.join("  ") };
}

/** Time left as a clock: `0:07`, `12:30`, `1:02:03`. */
export function clock(seconds: number): string {
  const whole = Math.max(0, Math.ceil(seconds));
  const two = (value: number) => String(value).padStart(2, "0");
  const hours = Math.floor(whole / 3600);
  const minutes = Math.floor((whole % 3600) / 60);
  return hours > 0 ? `${hours}:${two(minutes)}:${two(whole % 60)}` : `${minutes}:${two(whole % 60)}`;
}

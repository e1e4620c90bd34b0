/** What a training step came to. */
export interface StepFigures {
  /** What the step made smaller, before the step. */
  readonly objective: number;
  /** Mean cross-entropy of the batch, in nats. */
  readonly loss: number;
  /** Share of the batch that was predicted right, 0 to 1. */
  readonly accuracy: number;
  /** Things predicted in the batch: images, or characters. */
  readonly items: number;
}

/** One training step of a run. */
export interface StepResult extends StepFigures {
  readonly round: number;
  /** Steps done, from 1 over all rounds. */
  readonly step: number;
  readonly learningRate: number;
  /** Seconds of training since the start: evaluations apart. */
  readonly seconds: number;
}

/** What a round came to. */
export interface RoundResult<E> {
  readonly round: number;
  /** Steps done at its end. */
  readonly step: number;
  /** Mean cross-entropy of what it trained on, each at the time of its step. */
  readonly loss: number;
  /** Share of what it trained on that was predicted right, 0 to 1. */
  readonly accuracy: number;
  /** Seconds of training since the start: evaluations apart. */
  readonly seconds: number;
  readonly evaluation: E;
}

/** Mean loss and accuracy of steps, each weighing as much as it has items; NaN of none. */
export function meanOf(steps: readonly StepFigures[]): Pick<StepFigures, "loss" | "accuracy"> {
  const items = steps.reduce((sum, step) => sum + step.items, 0);
  const mean = (read: (step: StepFigures) => number): number =>
    steps.reduce((sum, step) => sum + read(step) * step.items, 0) / items;
  return { loss: mean(({ loss }) => loss), accuracy: mean(({ accuracy }) => accuracy) };
}

import { clock, type Progress } from "@nf/train/node";
import { CliError } from "../errors.ts";
import { count, lossText, percent } from "../format.ts";
import type { RunRecord } from "./record.ts";
import type { StepResult } from "./steps.ts";

/** Weight of the newest step in the loss and accuracy that are shown while a run goes on. */
const NEWEST = 0.05;

/** What {@link watchSteps} needs to know of a run. */
export interface Watched<E> {
  readonly record: RunRecord<E>;
  readonly progress: Progress;
  /** Of the whole run. */
  readonly steps: number;
  /** Highest learning rate. */
  readonly learningRate: number;
  /** What is trained on: `images`, `characters`. */
  readonly unit: string;
  /** Where a step is: `epoch 1/3`. */
  place(result: StepResult): string;
}

/**
 * Gives what is to be told of each step: it goes into the record, and is shown.
 *
 * @throws CliError from what it gives, when the loss is no longer a number
 */
export function watchSteps<E>(watched: Watched<E>): (result: StepResult) => void {
  const { record, progress, steps, learningRate, unit } = watched;
  // A resumed run's rate is that of what it does itself.
  const start = { items: record.items, seconds: record.seconds, steps: record.steps.length };
  let shown: { loss: number; accuracy: number } | undefined;
  return (result) => {
    record.addStep(result);
    const { step, objective, loss, accuracy } = result;
    if (!Number.isFinite(objective)) {
      throw new CliError(
        `The loss is ${objective} at step ${step}: the training has diverged. Try a learning rate below ` +
          `${learningRate}, such as --lr ${learningRate / 10}.`,
      );
    }
    const weight = shown === undefined ? 1 : NEWEST;
    shown = {
      loss: (shown?.loss ?? 0) * (1 - weight) + loss * weight,
      accuracy: (shown?.accuracy ?? 0) * (1 - weight) + accuracy * weight,
    };
    const seconds = result.seconds - start.seconds;
    progress.update({
      place: watched.place(result),
      step,
      steps,
      figures: [
        `loss ${lossText(shown.loss)}`,
        `accuracy ${percent(shown.accuracy, 1)}`,
        `${count((record.items - start.items) / seconds)} ${unit}/s`,
        `${clock((seconds / (step - start.steps)) * (steps - step))} left`,
      ],
    });
  };
}

import type { Tensor } from "@nf/core";
import type { Optimizer } from "./optimizer.ts";

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

/** What {@link fit} works on: rounds of training batches, each with an evaluation at its end. */
export interface FitTask<Batch, E> {
  /** Of the whole run, counted from 1: epochs, or stretches of steps. */
  readonly rounds: number;
  /** The batches of a round; in the first after a resumption those that were still to come. */
  batches(round: number): AsyncIterable<Batch>;
  /** Does one training step. */
  train(batch: Batch, learningRate: number): Promise<StepFigures>;
  /** @returns undefined when it was given up, because `breathe` gave false */
  evaluate(round: number, breathe: () => Promise<boolean>): Promise<E | undefined>;
  /** Learning rate of a step, counted from 0. */
  learningRate(step: number): number;
  /** Ends the run after the step in hand. */
  readonly signal: AbortSignal;
  onStep(result: StepResult): void;
  onRound(result: RoundResult<E>): void | Promise<void>;
  /** Where an interrupted run goes on; default at the beginning. */
  readonly from?: {
    readonly rounds: number;
    /** Steps done. */
    readonly step: number;
    /** Those of them that are known, oldest first. */
    readonly steps: readonly StepResult[];
    readonly seconds: number;
  };
}

/** Longest time in milliseconds for which timers and signals are kept waiting. */
const BREATH = 25;

/** Lets timers and signals in every now and then: a loop over promises that are ready would never do so. */
function breather(): () => Promise<void> {
  let last = performance.now();
  return async () => {
    if (performance.now() - last < BREATH) return;
    await new Promise((resolve) => setImmediate(resolve));
    last = performance.now();
  };
}

/** Mean loss and accuracy of steps, each weighing as much as it has items; NaN of none. */
export function meanOf(steps: readonly StepFigures[]): Pick<StepFigures, "loss" | "accuracy"> {
  const items = steps.reduce((sum, step) => sum + step.items, 0);
  const mean = (read: (step: StepFigures) => number): number =>
    steps.reduce((sum, step) => sum + read(step) * step.items, 0) / items;
  return { loss: mean(({ loss }) => loss), accuracy: mean(({ accuracy }) => accuracy) };
}

/** One step of an optimiser down the loss that `forward` gives, which may give more to be read afterwards. */
export function descend<T extends { readonly loss: Tensor }>(
  optimizer: Optimizer,
  learningRate: number,
  forward: () => T,
): T {
  optimizer.lr = learningRate;
  optimizer.zeroGrad();
  const result = forward();
  result.loss.backward();
  optimizer.step();
  return result;
}

/**
 * Trains: the batches of a round, then its evaluation. Results go to the callbacks as they come; the promise resolves
 * when all rounds are done or the signal has stopped the run.
 *
 * @returns whether all rounds were done
 */
export async function fit<Batch, E>(task: FitTask<Batch, E>): Promise<boolean> {
  const { signal, from } = task;
  const breathe = breather();
  let step = from?.step ?? 0;
  let seconds = from?.seconds ?? 0;
  const done = from?.rounds ?? 0;
  let seen: StepResult[] = from?.steps.filter(({ round }) => round > done) ?? [];
  for (let round = done + 1; round <= task.rounds; round++) {
    const before = seconds;
    const start = performance.now();
    for await (const batch of task.batches(round)) {
      const learningRate = task.learningRate(step);
      const figures = await task.train(batch, learningRate);
      seconds = before + (performance.now() - start) / 1000;
      step++;
      const result: StepResult = { round, step, ...figures, learningRate, seconds };
      seen.push(result);
      task.onStep(result);
      await breathe();
      if (signal.aborted) return false;
    }
    const evaluation = await task.evaluate(round, async () => {
      await breathe();
      return !signal.aborted;
    });
    if (evaluation === undefined) return false;
    await task.onRound({ round, step, ...meanOf(seen), seconds, evaluation });
    seen = [];
  }
  return true;
}

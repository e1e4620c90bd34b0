import type { Tensor } from "@nf/core";
import {
  type Classifier,
  decide,
  type Evaluation,
  evaluate,
  type ImageBatch,
  type Outcome,
  score,
} from "./evaluate.ts";
import type { Optimizer } from "./optimizer.ts";

/** A loss of logits and classes: the mean over the batch. */
export interface Criterion {
  forward(logits: Tensor, label: Tensor): Tensor;
}

/** One training step. */
export interface StepResult {
  readonly epoch: number;
  /** Steps done, from 1 over all epochs. */
  readonly step: number;
  /** What the step made smaller: the criterion's value for the batch, before the step. */
  readonly objective: number;
  /** Mean cross-entropy of the batch, in nats; the objective has label smoothing besides. */
  readonly loss: number;
  /** Share of the batch that was classified right, 0 to 1. */
  readonly accuracy: number;
  /** Images in the batch. */
  readonly images: number;
  readonly learningRate: number;
  /** Seconds of training since the start: tests apart. */
  readonly seconds: number;
}

/** What an epoch came to. */
export interface EpochResult {
  readonly epoch: number;
  /** Steps done at its end. */
  readonly step: number;
  /** Mean cross-entropy of its images, each at the time of its step. */
  readonly loss: number;
  /** Training accuracy over its images, 0 to 1. */
  readonly accuracy: number;
  /** Seconds of training since the start: tests apart. */
  readonly seconds: number;
  readonly test: Evaluation;
}

/** What {@link fit} works on. */
export interface FitTask {
  readonly model: Classifier;
  readonly criterion: Criterion;
  readonly optimizer: Optimizer;
  /** The training batches of an epoch, counted from 1. */
  trainBatches(epoch: number): AsyncIterable<ImageBatch>;
  readonly testBatches: AsyncIterable<ImageBatch>;
  readonly epochs: number;
  /** Learning rate of a step, counted from 0. */
  learningRate(step: number): number;
  /** Ends the run after the step in hand. */
  readonly signal: AbortSignal;
  onStep(result: StepResult): void;
  onEpoch(result: EpochResult): void;
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

/**
 * Trains a classifier: one pass over the training batches an epoch, then the test. Results go to the callbacks as they
 * come; the promise resolves when all epochs are done or the signal has stopped the run.
 *
 * @returns whether all epochs were done
 */
export async function fit(task: FitTask): Promise<boolean> {
  const { model, criterion, optimizer, signal } = task;
  const breathe = breather();
  let step = 0;
  let seconds = 0;
  for (let epoch = 1; epoch <= task.epochs; epoch++) {
    const seen: Outcome[] = [];
    const before = seconds;
    const start = performance.now();
    for await (const { image, label } of task.trainBatches(epoch)) {
      const learningRate = task.learningRate(step);
      optimizer.lr = learningRate;
      optimizer.zeroGrad();
      const logits = model.forward(image);
      const loss = criterion.forward(logits, label);
      loss.backward();
      optimizer.step();

      const objective = await loss.item();
      const outcomes = decide(await logits.data(), await label.data());
      seen.push(...outcomes);
      seconds = before + (performance.now() - start) / 1000;
      step++;
      task.onStep({
        epoch,
        step,
        objective,
        ...score(outcomes),
        images: outcomes.length,
        learningRate,
        seconds,
      });
      await breathe();
      if (signal.aborted) return false;
    }
    const test = await evaluate(model, task.testBatches, async () => {
      await breathe();
      return !signal.aborted;
    });
    if (test === undefined) return false;
    task.onEpoch({ epoch, step, ...score(seen), seconds, test });
  }
  return true;
}

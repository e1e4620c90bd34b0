import {
  type Classifier,
  type Criterion,
  countRight,
  decide,
  type Evaluation,
  evaluate,
  type ImageBatch,
} from "./evaluate.ts";
import type { Optimizer } from "./optimizer.ts";

/** One training step. */
export interface StepResult {
  readonly epoch: number;
  /** Steps done, from 1 over all epochs. */
  readonly step: number;
  /** Mean loss of the batch before the step. */
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
  /** Mean training loss of its images. */
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
    let images = 0;
    let right = 0;
    let lossSum = 0;
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

      const value = await loss.item();
      const outcomes = decide(await logits.data(), await label.data());
      step++;
      images += outcomes.length;
      right += countRight(outcomes);
      lossSum += value * outcomes.length;
      seconds = before + (performance.now() - start) / 1000;
      const accuracy = countRight(outcomes) / outcomes.length;
      task.onStep({ epoch, step, loss: value, accuracy, images: outcomes.length, learningRate, seconds });
      await breathe();
      if (signal.aborted) return false;
    }
    const test = await evaluate(model, criterion, task.testBatches, async () => {
      await breathe();
      return !signal.aborted;
    });
    if (test === undefined) return false;
    task.onEpoch({ epoch, step, loss: lossSum / images, accuracy: right / images, seconds, test });
  }
  return true;
}

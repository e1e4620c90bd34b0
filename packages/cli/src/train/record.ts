import type { EpochResult, StepResult } from "./fit.ts";

/** All that a run has shown so far. */
export class RunRecord {
  readonly #steps: StepResult[] = [];
  readonly #epochs: EpochResult[] = [];
  #images = 0;
  #written = { steps: 0, epochs: 0 };

  /** Steps done, oldest first. */
  get steps(): readonly StepResult[] {
    return this.#steps;
  }

  /** Epochs done, oldest first. */
  get epochs(): readonly EpochResult[] {
    return this.#epochs;
  }

  /** Images that were trained on so far, repeated ones counted each time. */
  get images(): number {
    return this.#images;
  }

  /** Seconds of training so far. */
  get seconds(): number {
    return this.#steps.at(-1)?.seconds ?? 0;
  }

  /** The latest test, where there was one. */
  get test(): EpochResult["test"] | undefined {
    return this.epochs.at(-1)?.test;
  }

  addStep(result: StepResult): void {
    this.#steps.push(result);
    this.#images += result.images;
  }

  addEpoch(result: EpochResult): void {
    this.#epochs.push(result);
  }

  /**
   * What is new since the last call, as JSON lines. Those of steps hold no times, so that two runs can be compared
   * line by line.
   */
  takeLines(): string {
    const steps = this.steps
      .slice(this.#written.steps)
      .map(({ epoch, step, objective, loss, accuracy, images, learningRate }) => ({
        kind: "step",
        epoch,
        step,
        objective,
        loss,
        accuracy,
        images,
        learningRate,
      }));
    const epochs = this.epochs
      .slice(this.#written.epochs)
      .map(({ epoch, step, loss, accuracy, seconds, test }) => ({
        kind: "epoch",
        epoch,
        step,
        loss,
        accuracy,
        testLoss: test.loss,
        testAccuracy: test.accuracy,
        seconds,
      }));
    this.#written = { steps: this.steps.length, epochs: this.epochs.length };
    return [...steps, ...epochs].map((line) => `${JSON.stringify(line)}\n`).join("");
  }
}

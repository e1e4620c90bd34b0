import type { RoundResult, StepResult } from "./fit.ts";

/** How a model's metrics name what is in a record. */
export interface RecordNames<E> {
  /** A step as a line of metrics, without times, so that two runs can be compared line by line. */
  step(result: StepResult): Readonly<Record<string, unknown>>;
  /** A round as a line of metrics. */
  round(result: RoundResult<E>): Readonly<Record<string, unknown>>;
}

/** All that a run has shown so far. */
export class RunRecord<E> {
  readonly #names: RecordNames<E>;
  readonly #steps: StepResult[] = [];
  readonly #rounds: RoundResult<E>[] = [];
  #items = 0;
  #written = { steps: 0, rounds: 0 };

  constructor(names: RecordNames<E>) {
    this.#names = names;
  }

  /** Steps done, oldest first. */
  get steps(): readonly StepResult[] {
    return this.#steps;
  }

  /** Rounds done, oldest first. */
  get rounds(): readonly RoundResult<E>[] {
    return this.#rounds;
  }

  /** Items that were trained on so far, repeated ones counted each time. */
  get items(): number {
    return this.#items;
  }

  /** Seconds of training so far. */
  get seconds(): number {
    return this.#steps.at(-1)?.seconds ?? 0;
  }

  /** The latest evaluation, where there was one. */
  get evaluation(): E | undefined {
    return this.rounds.at(-1)?.evaluation;
  }

  addStep(result: StepResult): void {
    this.#steps.push(result);
    this.#items += result.items;
  }

  addRound(result: RoundResult<E>): void {
    this.#rounds.push(result);
  }

  /** What is new since the last call, as JSON lines in the order in which it came. */
  takeLines(): string {
    const rounds = this.rounds.slice(this.#written.rounds);
    const lines: unknown[] = [];
    for (const step of this.steps.slice(this.#written.steps)) {
      while (rounds[0] !== undefined && rounds[0].step < step.step) lines.push(this.#round(rounds.shift()));
      lines.push({ kind: "step", ...this.#names.step(step) });
    }
    for (const round of rounds) lines.push(this.#round(round));
    this.#written = { steps: this.steps.length, rounds: this.rounds.length };
    return lines.map((line) => `${JSON.stringify(line)}\n`).join("");
  }

  #round(result: RoundResult<E> | undefined): unknown {
    return result === undefined ? {} : this.#names.round(result);
  }
}

import type { RoundResult, StepResult } from "./steps.ts";

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
  #before = { step: 0, rounds: 0, seconds: 0 };
  #written = { steps: 0, rounds: 0 };

  constructor(names: RecordNames<E>) {
    this.#names = names;
  }

  /**
   * Says where a resumed run goes on, after what is known of the steps before was added.
   *
   * @param items that were trained on so far, those of steps that are not known counted
   */
  resumeAt(step: number, rounds: number, seconds: number, items: number): void {
    this.#before = { step, rounds, seconds };
    this.#items = items;
  }

  /** Steps done, those of a resumed run that nothing is known of among them. */
  get step(): number {
    return Math.max(this.#before.step, this.#steps.at(-1)?.step ?? 0);
  }

  /** Rounds done, likewise. */
  get round(): number {
    return Math.max(this.#before.rounds, this.#rounds.at(-1)?.round ?? 0);
  }

  /** Steps that are known, oldest first. */
  get steps(): readonly StepResult[] {
    return this.#steps;
  }

  /** Rounds that are known, oldest first. */
  get rounds(): readonly RoundResult<E>[] {
    return this.#rounds;
  }

  /** Items that were trained on so far, repeated ones counted each time. */
  get items(): number {
    return this.#items;
  }

  /** Seconds of training so far. */
  get seconds(): number {
    return this.#steps.at(-1)?.seconds ?? this.#before.seconds;
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

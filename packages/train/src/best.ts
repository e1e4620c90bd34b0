import { assign, clone, noGrad, type Tensor } from "@nf/core";
import type { HasStateDict } from "@nf/io";
import type { Module } from "@nf/nn";
import type { EarlyStopping } from "./options.ts";

/** Where early stopping stands; plain, for checkpoints. */
export interface BestState {
  /** The best figure so far; null before the first. */
  readonly value: number | null;
  readonly step: number;
  /** Evaluations since then. */
  readonly waited: number;
}

/** Watches a figure, and keeps the weights that it was best with. */
export class BestKeeper {
  readonly metric: string;
  readonly patience: number;
  readonly #sign: 1 | -1;
  readonly #minDelta: number;
  readonly #restores: boolean;
  readonly #model: Module;
  #state: BestState = { value: null, step: 0, waited: 0 };
  #weights: Record<string, Tensor> = {};

  constructor(model: Module, options: EarlyStopping) {
    this.metric = options.metric ?? "loss";
    this.patience = options.patience;
    this.#sign = options.mode === "max" ? -1 : 1;
    this.#minDelta = options.minDelta ?? 0;
    this.#restores = options.restoreBest ?? true;
    this.#model = model;
  }

  get state(): BestState {
    return this.#state;
  }

  set state(state: BestState) {
    this.#state = state;
  }

  /** Whether patience is at its end. */
  get exhausted(): boolean {
    return this.#state.waited >= this.patience;
  }

  /** Takes a figure in. @returns whether it is the best so far; NaN never is */
  take(value: number, step: number): boolean {
    const { value: best, waited } = this.#state;
    const better = best === null ? !Number.isNaN(value) : this.#sign * (best - value) > this.#minDelta;
    if (!better) {
      this.#state = { ...this.#state, waited: waited + 1 };
      return false;
    }
    this.#state = { value, step, waited: 0 };
    if (this.#restores) this.#remember(this.#model.stateDict());
    return true;
  }

  /** Puts the best weights back into the model, where there are any. */
  restore(): void {
    if (Object.keys(this.#weights).length > 0) this.#model.loadStateDict(this.#weights);
  }

  dispose(): void {
    for (const tensor of Object.values(this.#weights)) tensor.dispose();
    this.#weights = {};
  }

  /** The weights as a part of a checkpoint. */
  get part(): HasStateDict & { parameters(): readonly Tensor[] } {
    return {
      stateDict: () => this.#weights,
      loadStateDict: (state: Readonly<Record<string, Tensor>>) => {
        this.dispose();
        this.#remember(state);
      },
      // Where they belong: the backend of the model.
      parameters: () => this.#model.parameters(),
    };
  }

  /** Over the copies of before where there are any: memory does not grow. */
  #remember(state: Readonly<Record<string, Tensor>>): void {
    noGrad(() => {
      for (const [name, tensor] of Object.entries(state)) {
        const kept = this.#weights[name];
        if (kept === undefined) this.#weights[name] = clone(tensor).keep();
        else assign(kept, tensor);
      }
    });
  }
}

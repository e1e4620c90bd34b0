import { checkInteger, checkOptions, OptionError } from "@nf/core";
import { Optimizer } from "./optimizer.ts";

/** Where a schedule stands; plain JSON, for checkpoints. */
export interface SchedulerState {
  /** Calls of `step()` so far. */
  readonly steps: number;
  /** Learning rate that each group had when the schedule was made. */
  readonly baseLrs: readonly number[];
}

/**
 * Base class of the schedules: sets the learning rate of each group of an optimiser to a multiple of the rate that it had
 * when the schedule was made. Call `step()` after each `optimizer.step()`.
 */
export abstract class LRScheduler {
  readonly optimizer: Optimizer;
  private baseLrs: readonly number[];
  private steps = 0;

  /** @throws OptionError for what is no optimiser. */
  constructor(optimizer: Optimizer) {
    if (!(optimizer instanceof Optimizer)) {
      throw new OptionError(
        `${new.target.name}: the first argument must be an optimiser, as in new ${new.target.name}(new Adam(…)).`,
      );
    }
    this.optimizer = optimizer;
    this.baseLrs = optimizer.paramGroups.map(({ lr }) => lr);
  }

  /** Multiple of the groups' own rates in a step of the optimiser, counted from 1. */
  protected abstract factor(step: number): number;

  /** Sets the rates of the optimiser's next step. */
  step(): void {
    this.steps++;
    this.apply();
  }

  /** The rates of the groups, for the optimiser's next step. */
  getLastLr(): readonly number[] {
    return this.optimizer.paramGroups.map(({ lr }) => lr);
  }

  /** Where it stands. */
  stateDict(): SchedulerState {
    return { steps: this.steps, baseLrs: [...this.baseLrs] };
  }

  /**
   * Goes on where a state was taken.
   *
   * @throws OptionError for a state of another number of groups.
   */
  loadStateDict(state: SchedulerState): void {
    const name = this.constructor.name;
    const groups = this.optimizer.paramGroups.length;
    if (!Array.isArray(state?.baseLrs) || state.baseLrs.length !== groups) {
      throw new OptionError(
        `${name} loadStateDict: expected the state of a schedule over ${groups} parameter groups, got ${JSON.stringify(state) ?? String(state)}.`,
      );
    }
    checkInteger(`${name} loadStateDict`, "steps", state.steps, 0);
    this.steps = state.steps;
    this.baseLrs = [...state.baseLrs];
    this.apply();
  }

  /** Sets the rates. Subclasses call it at the end of their constructor, so that the first step has its rate. */
  protected apply(): void {
    const factor = this.factor(this.steps + 1);
    for (const [index, group] of this.optimizer.paramGroups.entries())
      group.lr = (this.baseLrs[index] as number) * factor;
  }
}

/** Options of {@link InverseSqrtLR}. */
export interface InverseSqrtLROptions {
  /** Steps in which the rate rises to the optimiser's own; default 4000. */
  readonly warmupSteps?: number;
}

/**
 * Warm-up, then the inverse square root of the step: lr · min(step / warmupSteps, √(warmupSteps / step)), steps counted from
 * 1, so that the optimiser's own rate is the highest. It is the schedule of "Attention Is All You Need" (Vaswani et al. 2017,
 * section 5.3) where that rate is 1 / √(dModel · warmupSteps).
 *
 * @example
 * ```ts no-run
 * import { Linear } from "@nf/nn";
 * import { Adam, InverseSqrtLR } from "@nf/optim";
 *
 * const model = new Linear(512, 512);
 * const lr = 1 / Math.sqrt(512 * 4000); // 7e-4
 * const optimizer = new Adam(model.parameters(), { lr, betas: [0.9, 0.98], eps: 1e-9 });
 * const schedule = new InverseSqrtLR(optimizer, { warmupSteps: 4000 });
 * // in the loop: optimizer.step(); schedule.step();
 * ```
 */
export class InverseSqrtLR extends LRScheduler {
  readonly warmupSteps: number;

  /** @throws OptionError for what is no optimiser, an unknown option or a value out of its domain. */
  constructor(optimizer: Optimizer, options: InverseSqrtLROptions = {}) {
    super(optimizer);
    checkOptions("InverseSqrtLR", options, ["warmupSteps"]);
    const { warmupSteps = 4000 } = options;
    checkInteger("InverseSqrtLR", "warmupSteps", warmupSteps, 1);
    this.warmupSteps = warmupSteps;
    this.apply();
  }

  protected override factor(step: number): number {
    return Math.min(step / this.warmupSteps, Math.sqrt(this.warmupSteps / step));
  }
}

import { checkOptions, OptionError } from "@nf/core";
import type { Optimizer } from "../optimizer.ts";
import { checkMilestones } from "./decay.ts";
import { LRScheduler } from "./scheduler.ts";

/** Options of {@link SequentialLR}. */
export interface SequentialLROptions {
  /** The step at which each schedule but the first takes over, ascending: one less than there are schedules. */
  readonly milestones: readonly number[];
}

/**
 * Schedules one after the other, each beginning anew at its milestone. Step this one alone; what it runs need not be stepped,
 * and its state is all there is.
 *
 * @example
 * ```ts no-run
 * import { Linear } from "@nf/nn";
 * import { CosineAnnealingLR, LinearLR, SequentialLR, SGD } from "@nf/optim";
 *
 * const optimizer = new SGD(new Linear(2, 1).parameters(), { lr: 0.1 });
 * const schedule = new SequentialLR(
 *   optimizer,
 *   [new LinearLR(optimizer, { totalIters: 5 }), new CosineAnnealingLR(optimizer, { tMax: 95 })],
 *   { milestones: [5] },
 * );
 * ```
 */
export class SequentialLR extends LRScheduler {
  readonly schedulers: readonly LRScheduler[];
  readonly milestones: readonly number[];

  /** @throws OptionError for schedules of another optimiser, or milestones that do not fit them. */
  constructor(optimizer: Optimizer, schedulers: readonly LRScheduler[], options: SequentialLROptions) {
    super(optimizer);
    checkOptions("SequentialLR", options, ["milestones"]);
    if (!Array.isArray(schedulers) || schedulers.length === 0)
      throw new OptionError("SequentialLR: expected a list of schedules.");
    for (const [position, scheduler] of schedulers.entries()) {
      if (!(scheduler instanceof LRScheduler)) {
        throw new OptionError(
          `SequentialLR: schedule ${position} is none that depends on the step alone (ReduceLROnPlateau does not).`,
        );
      }
      if (scheduler.optimizer !== optimizer)
        throw new OptionError(`SequentialLR: schedule ${position} is that of another optimiser.`);
    }
    this.schedulers = [...schedulers];
    this.milestones = checkMilestones("SequentialLR", options?.milestones);
    if (this.milestones.length !== schedulers.length - 1) {
      throw new OptionError(
        `SequentialLR: ${schedulers.length} schedules need ${schedulers.length - 1} milestones, got ${this.milestones.length}.`,
      );
    }
    this.apply();
  }

  override rateAt(base: number, steps: number, group: number): number {
    const { scheduler, since } = this.at(steps);
    return scheduler.rateAt(base, since, group);
  }

  override momentumAt(steps: number, group: number): number | undefined {
    const { scheduler, since } = this.at(steps);
    return scheduler.momentumAt(since, group);
  }

  /** The schedule that rules after so many steps, and how many of them were its own. */
  private at(steps: number): { readonly scheduler: LRScheduler; readonly since: number } {
    const index = this.milestones.filter((milestone) => milestone <= steps).length;
    const since = steps - (index === 0 ? 0 : (this.milestones[index - 1] as number));
    return { scheduler: this.schedulers[index] as LRScheduler, since };
  }
}

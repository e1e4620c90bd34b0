import { checkChoice, checkInteger, checkNumber, checkOptions, OptionError } from "@nf/core";
import type { Optimizer } from "../optimizer.ts";
import { checkFraction } from "../options.ts";
import { checkOptimizer, perGroup } from "./scheduler.ts";

/** Options of {@link ReduceLROnPlateau}. */
export interface ReduceLROnPlateauOptions {
  /** Whether a lesser (`min`, default) or a greater (`max`) metric is better. */
  readonly mode?: "min" | "max";
  /** What the rate is multiplied by; default 0.1. */
  readonly factor?: number;
  /** How many steps in a row may be no better before the rate falls at the next such one; default 10. */
  readonly patience?: number;
  /** By how much a metric must be better to count; default 1e-4. */
  readonly threshold?: number;
  /** Whether `threshold` is a share of the best metric (`rel`, default) or a difference from it (`abs`). */
  readonly thresholdMode?: "rel" | "abs";
  /** Steps after a fall that are not counted; default 0. */
  readonly cooldown?: number;
  /** The least rate, one for all parameter groups or one for each; default 0. */
  readonly minLr?: number | readonly number[];
  /** A fall of no more than this is left out; default 1e-8. */
  readonly eps?: number;
}

/** Where a {@link ReduceLROnPlateau} stands; plain JSON, for checkpoints. */
export interface PlateauState {
  /** Calls of `step` so far. */
  readonly steps: number;
  /** The best metric so far; null before there was one. */
  readonly best: number | null;
  /** Steps in a row that were no better. */
  readonly badSteps: number;
  /** Steps that are still not counted after a fall. */
  readonly cooldownLeft: number;
  /** The groups' rates. */
  readonly lrs: readonly number[];
}

const OPTIONS: readonly (keyof ReduceLROnPlateauOptions)[] = [
  "mode",
  "factor",
  "patience",
  "threshold",
  "thresholdMode",
  "cooldown",
  "minLr",
  "eps",
];

/**
 * Lowers the rate where a metric has stopped to get better. Unlike the other schedules it depends on what is measured: call
 * `step(metric)` after each validation.
 *
 * @example
 * ```ts no-run
 * import { Linear } from "@nf/nn";
 * import { ReduceLROnPlateau, SGD } from "@nf/optim";
 *
 * const optimizer = new SGD(new Linear(2, 1).parameters(), { lr: 0.1 });
 * const schedule = new ReduceLROnPlateau(optimizer, { patience: 3 });
 * schedule.step(0.25); // the validation loss
 * ```
 */
export class ReduceLROnPlateau {
  readonly optimizer: Optimizer;
  private readonly options: Required<Omit<ReduceLROnPlateauOptions, "minLr">>;
  private readonly minLrs: readonly number[];
  private steps = 0;
  private best: number | null = null;
  private badSteps = 0;
  private cooldownLeft = 0;

  /** @throws OptionError for what is no optimiser, an unknown option or a value out of its domain. */
  constructor(optimizer: Optimizer, options: ReduceLROnPlateauOptions = {}) {
    const name = "ReduceLROnPlateau";
    checkOptimizer(name, optimizer);
    checkOptions(name, options, OPTIONS);
    const { mode = "min", factor = 0.1, patience = 10, threshold = 1e-4, thresholdMode = "rel" } = options;
    const { cooldown = 0, minLr = 0, eps = 1e-8 } = options;
    checkFraction(name, "factor", factor);
    this.options = {
      mode: checkChoice(name, "mode", mode, ["min", "max"]),
      factor,
      patience: checkInteger(name, "patience", patience, 0),
      threshold: checkNumber(name, "threshold", threshold, 0),
      thresholdMode: checkChoice(name, "thresholdMode", thresholdMode, ["rel", "abs"]),
      cooldown: checkInteger(name, "cooldown", cooldown, 0),
      eps: checkNumber(name, "eps", eps, 0),
    };
    this.minLrs = perGroup(name, "minLr", minLr, optimizer);
    for (const least of this.minLrs) checkNumber(name, "minLr", least, 0);
    this.optimizer = optimizer;
  }

  /**
   * Takes a metric into account. NaN is never better, nor is the infinity that is worst.
   *
   * @throws OptionError for what is no number.
   */
  step(metric: number): void {
    if (typeof metric !== "number")
      throw new OptionError("ReduceLROnPlateau step: the metric must be a number, like await loss.item().");
    this.steps++;
    if (this.isBetter(metric)) {
      // JSON has no infinities: the greatest number stands for one, so that a resumed run is the same.
      this.best = Math.min(Math.max(metric, -Number.MAX_VALUE), Number.MAX_VALUE);
      this.badSteps = 0;
    } else this.badSteps++;
    if (this.cooldownLeft > 0) {
      this.cooldownLeft--;
      this.badSteps = 0;
    }
    if (this.badSteps > this.options.patience) {
      this.reduce();
      this.cooldownLeft = this.options.cooldown;
      this.badSteps = 0;
    }
  }

  /** The rates of the groups, for the optimiser's next step. */
  getLastLr(): readonly number[] {
    return this.optimizer.paramGroups.map(({ lr }) => lr);
  }

  /** Where it stands. Its options are not part of it: give the same to the one that goes on. */
  stateDict(): PlateauState {
    const { steps, best, badSteps, cooldownLeft } = this;
    return { steps, best, badSteps, cooldownLeft, lrs: this.getLastLr() };
  }

  /**
   * Goes on where a state was taken.
   *
   * @throws OptionError for a state of another number of groups.
   */
  loadStateDict(state: PlateauState): void {
    const name = "ReduceLROnPlateau loadStateDict";
    const groups = this.optimizer.paramGroups;
    if (!Array.isArray(state?.lrs) || state.lrs.length !== groups.length) {
      throw new OptionError(
        `${name}: expected the state of a schedule over ${groups.length} parameter groups, got ${JSON.stringify(state) ?? String(state)}.`,
      );
    }
    const { best } = state;
    if (best !== null && typeof best !== "number")
      throw new OptionError(`${name}: best must be a number or null, got ${String(best)}.`);
    for (const lr of state.lrs) checkNumber(name, "lrs", lr, 0);
    this.steps = checkInteger(name, "steps", state.steps, 0);
    this.badSteps = checkInteger(name, "badSteps", state.badSteps, 0);
    this.cooldownLeft = checkInteger(name, "cooldownLeft", state.cooldownLeft, 0);
    this.best = best;
    for (const [index, group] of groups.entries()) group.lr = state.lrs[index] as number;
  }

  private isBetter(metric: number): boolean {
    const { best } = this;
    const { mode, threshold, thresholdMode } = this.options;
    if (best === null) return mode === "min" ? metric < Infinity : metric > -Infinity;
    const relative = thresholdMode === "rel";
    return mode === "min"
      ? metric < (relative ? best * (1 - threshold) : best - threshold)
      : metric > (relative ? best * (1 + threshold) : best + threshold);
  }

  private reduce(): void {
    for (const [index, group] of this.optimizer.paramGroups.entries()) {
      const lower = Math.max(group.lr * this.options.factor, this.minLrs[index] as number);
      if (group.lr - lower > this.options.eps) group.lr = lower;
    }
  }
}

import { checkInteger, checkNumber, OptionError } from "@nf/core";
import { Optimizer } from "../optimizer.ts";

/** Where a schedule stands; plain JSON, for checkpoints. */
export interface SchedulerState {
  /** Calls of `step()` so far. */
  readonly steps: number;
  /** Learning rate that each group had before any schedule. */
  readonly baseLrs: readonly number[];
}

/** Rates of groups before a schedule first changed them, which a second schedule begins from too. */
const initialLrs: WeakMap<object, number> = new WeakMap();

/**
 * Base class of the schedules: a rate for each step, from the rate that a group had before any schedule. Call `step()` after
 * each `optimizer.step()`, or after each epoch: a step of a schedule is what lies between two calls.
 */
export abstract class LRScheduler {
  readonly optimizer: Optimizer;
  private baseLrs: readonly number[];
  private steps = 0;

  /** @throws OptionError for what is no optimiser. */
  constructor(optimizer: Optimizer) {
    checkOptimizer(new.target.name, optimizer);
    this.optimizer = optimizer;
    this.baseLrs = optimizer.paramGroups.map((group) => {
      const base = initialLrs.get(group) ?? group.lr;
      initialLrs.set(group, base);
      return base;
    });
  }

  /**
   * The rate of a group after so many steps. It depends on nothing else, so a schedule can be looked at before it is run.
   *
   * @param base rate of the group before any schedule.
   * @param steps calls of `step()`, from 0.
   * @param group position of the group.
   */
  abstract rateAt(base: number, steps: number, group: number): number;

  /** The momentum (or `betas[0]`) of a group after so many steps, where the schedule sets that too. */
  momentumAt(_steps: number, _group: number): number | undefined {
    return undefined;
  }

  /** Sets the rates of the optimiser's next step. */
  step(): void {
    this.steps++;
    this.apply();
  }

  /** The rates of the groups, for the optimiser's next step. */
  getLastLr(): readonly number[] {
    return this.optimizer.paramGroups.map(({ lr }) => lr);
  }

  /** Where it stands. Its options are not part of it: give the same to the one that goes on. */
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
    for (const base of state.baseLrs) checkNumber(`${name} loadStateDict`, "baseLrs", base, 0);
    this.steps = state.steps;
    this.baseLrs = [...state.baseLrs];
    for (const [index, group] of this.optimizer.paramGroups.entries())
      initialLrs.set(group, this.baseLrs[index] as number);
    this.apply();
  }

  /** Sets rates and momenta. Subclasses call it at the end of their constructor, so that the first step has its rate. */
  protected apply(): void {
    for (const [index, group] of this.optimizer.paramGroups.entries()) {
      group.lr = this.rateAt(this.baseLrs[index] as number, this.steps, index);
      const momentum = this.momentumAt(this.steps, index);
      if (momentum !== undefined) setMomentum(group as object, momentum);
    }
  }
}

/** Refuses what is no optimiser. */
export function checkOptimizer(schedule: string, optimizer: Optimizer): void {
  if (optimizer instanceof Optimizer) return;
  throw new OptionError(
    `${schedule}: the first argument must be an optimiser, as in new ${schedule}(new Adam(…)).`,
  );
}

/** A value for each group of an optimiser, from one for all or a list. */
export function perGroup<T>(
  schedule: string,
  name: string,
  value: T | readonly T[],
  optimizer: Optimizer,
): readonly T[] {
  const groups = optimizer.paramGroups.length;
  if (!Array.isArray(value)) return new Array<T>(groups).fill(value as T);
  if (value.length !== groups)
    throw new OptionError(
      `${schedule}: ${name} must be one for all or a list of ${groups}, one a parameter group, got ${value.length}.`,
    );
  return value as readonly T[];
}

/** Whether a group has momentum: `momentum` itself, or the first of `betas`. */
export function hasMomentum(group: object): boolean {
  return "momentum" in group || "betas" in group;
}

function setMomentum(group: object & { momentum?: unknown; betas?: unknown }, momentum: number): void {
  if (Array.isArray(group.betas)) group.betas = [momentum, group.betas[1]];
  else group.momentum = momentum;
}

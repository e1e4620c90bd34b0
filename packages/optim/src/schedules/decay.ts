import { checkInteger, checkNumber, checkOptions, OptionError } from "@nf/core";
import type { Optimizer } from "../optimizer.ts";
import { LRScheduler, perGroup } from "./scheduler.ts";

/** Options of {@link StepLR}. */
export interface StepLROptions {
  /** Steps from one fall to the next. */
  readonly stepSize: number;
  /** What the rate is multiplied by at each fall; default 0.1. */
  readonly gamma?: number;
}

/** Multiplies the rate by `gamma` every `stepSize` steps. */
export class StepLR extends LRScheduler {
  readonly stepSize: number;
  readonly gamma: number;

  /** @throws OptionError for what is no optimiser, an unknown option or a value out of its domain. */
  constructor(optimizer: Optimizer, options: StepLROptions) {
    super(optimizer);
    checkOptions("StepLR", options, ["stepSize", "gamma"]);
    const { stepSize, gamma = 0.1 } = options ?? {};
    this.stepSize = checkInteger("StepLR", "stepSize", stepSize, 1);
    this.gamma = checkNumber("StepLR", "gamma", gamma, 0);
    this.apply();
  }

  override rateAt(base: number, steps: number): number {
    return base * this.gamma ** Math.floor(steps / this.stepSize);
  }
}

/** Options of {@link MultiStepLR}. */
export interface MultiStepLROptions {
  /** Steps at which the rate falls, in any order; one that is there twice counts twice. */
  readonly milestones: readonly number[];
  /** What the rate is multiplied by at each fall; default 0.1. */
  readonly gamma?: number;
}

/** Multiplies the rate by `gamma` at each milestone. */
export class MultiStepLR extends LRScheduler {
  readonly milestones: readonly number[];
  readonly gamma: number;

  /** @throws OptionError for what is no optimiser, an unknown option or a value out of its domain. */
  constructor(optimizer: Optimizer, options: MultiStepLROptions) {
    super(optimizer);
    checkOptions("MultiStepLR", options, ["milestones", "gamma"]);
    const { milestones, gamma = 0.1 } = options ?? {};
    this.milestones = checkMilestones("MultiStepLR", milestones);
    this.gamma = checkNumber("MultiStepLR", "gamma", gamma, 0);
    this.apply();
  }

  override rateAt(base: number, steps: number): number {
    return base * this.gamma ** this.milestones.filter((milestone) => milestone <= steps).length;
  }
}

/** Options of {@link ExponentialLR}. */
export interface ExponentialLROptions {
  /** What the rate is multiplied by at each step. */
  readonly gamma: number;
}

/** Multiplies the rate by `gamma` at each step. */
export class ExponentialLR extends LRScheduler {
  readonly gamma: number;

  /** @throws OptionError for what is no optimiser, an unknown option or a value out of its domain. */
  constructor(optimizer: Optimizer, options: ExponentialLROptions) {
    super(optimizer);
    checkOptions("ExponentialLR", options, ["gamma"]);
    this.gamma = checkNumber("ExponentialLR", "gamma", options?.gamma, 0);
    this.apply();
  }

  override rateAt(base: number, steps: number): number {
    return base * this.gamma ** steps;
  }
}

/** Options of {@link PolynomialLR}. */
export interface PolynomialLROptions {
  /** Steps until the rate is 0; default 5. */
  readonly totalIters?: number;
  /** Power of what is left; default 1, a straight line. */
  readonly power?: number;
}

/** The rate falls to 0 as a power of the share of steps that is left. */
export class PolynomialLR extends LRScheduler {
  readonly totalIters: number;
  readonly power: number;

  /** @throws OptionError for what is no optimiser, an unknown option or a value out of its domain. */
  constructor(optimizer: Optimizer, options: PolynomialLROptions = {}) {
    super(optimizer);
    checkOptions("PolynomialLR", options, ["totalIters", "power"]);
    const { totalIters = 5, power = 1 } = options;
    this.totalIters = checkInteger("PolynomialLR", "totalIters", totalIters, 1);
    this.power = checkNumber("PolynomialLR", "power", power, 0);
    this.apply();
  }

  override rateAt(base: number, steps: number): number {
    return base * (1 - Math.min(steps, this.totalIters) / this.totalIters) ** this.power;
  }
}

/** Options of {@link LinearLR}. */
export interface LinearLROptions {
  /** Share of the optimiser's own rate at the start; default 1/3. */
  readonly startFactor?: number;
  /** Share of it in the end; default 1. */
  readonly endFactor?: number;
  /** Steps from start to end; default 5. */
  readonly totalIters?: number;
}

/** The rate goes in a straight line from one share of the optimiser's own to another. */
export class LinearLR extends LRScheduler {
  readonly startFactor: number;
  readonly endFactor: number;
  readonly totalIters: number;

  /** @throws OptionError for what is no optimiser, an unknown option or a value out of its domain. */
  constructor(optimizer: Optimizer, options: LinearLROptions = {}) {
    super(optimizer);
    checkOptions("LinearLR", options, ["startFactor", "endFactor", "totalIters"]);
    const { startFactor = 1 / 3, endFactor = 1, totalIters = 5 } = options;
    this.startFactor = checkNumber("LinearLR", "startFactor", startFactor, 0, 1);
    this.endFactor = checkNumber("LinearLR", "endFactor", endFactor, 0, 1);
    this.totalIters = checkInteger("LinearLR", "totalIters", totalIters, 1);
    this.apply();
  }

  override rateAt(base: number, steps: number): number {
    const { startFactor, endFactor, totalIters } = this;
    return base * (startFactor + ((endFactor - startFactor) * Math.min(totalIters, steps)) / totalIters);
  }
}

/** Options of {@link ConstantLR}. */
export interface ConstantLROptions {
  /** Share of the optimiser's own rate in the first steps; default 1/3. */
  readonly factor?: number;
  /** How many steps these are; default 5. */
  readonly totalIters?: number;
}

/** A share of the optimiser's own rate for some steps, and then the rate itself. */
export class ConstantLR extends LRScheduler {
  readonly factor: number;
  readonly totalIters: number;

  /** @throws OptionError for what is no optimiser, an unknown option or a value out of its domain. */
  constructor(optimizer: Optimizer, options: ConstantLROptions = {}) {
    super(optimizer);
    checkOptions("ConstantLR", options, ["factor", "totalIters"]);
    const { factor = 1 / 3, totalIters = 5 } = options;
    this.factor = checkNumber("ConstantLR", "factor", factor, 0, 1);
    this.totalIters = checkInteger("ConstantLR", "totalIters", totalIters, 0);
    this.apply();
  }

  override rateAt(base: number, steps: number): number {
    return steps < this.totalIters ? base * this.factor : base;
  }
}

/** What the optimiser's own rate is multiplied by after so many steps. */
export type LrLambda = (steps: number) => number;

/** Options of {@link LambdaLR}. */
export interface LambdaLROptions {
  /** One for all parameter groups, or one for each. */
  readonly lrLambda: LrLambda | readonly LrLambda[];
}

/** The optimiser's own rate times what a function gives. The function is not part of the state. */
export class LambdaLR extends LRScheduler {
  private readonly lambdas: readonly LrLambda[];

  /** @throws OptionError for what is no optimiser, no function, or a list that is not one for each group. */
  constructor(optimizer: Optimizer, options: LambdaLROptions) {
    super(optimizer);
    checkOptions("LambdaLR", options, ["lrLambda"]);
    this.lambdas = perGroup("LambdaLR", "lrLambda", options?.lrLambda, optimizer);
    if (!this.lambdas.every((lambda) => typeof lambda === "function"))
      throw new OptionError("LambdaLR: lrLambda must be a function of the steps, or a list of them.");
    this.apply();
  }

  override rateAt(base: number, steps: number, group = 0): number {
    const factor = (this.lambdas[group] as LrLambda)(steps);
    return base * checkNumber("LambdaLR", "what lrLambda returns", factor);
  }
}

/** Milestones in ascending order. */
export function checkMilestones(schedule: string, milestones: readonly number[]): readonly number[] {
  if (!Array.isArray(milestones))
    throw new OptionError(`${schedule}: milestones must be a list of steps like [30, 60].`);
  for (const milestone of milestones) checkInteger(schedule, "each of milestones", milestone, 0);
  return milestones.toSorted((a, b) => a - b);
}

import { checkInteger, checkNumber, checkOptions } from "@nf/core";
import type { Optimizer } from "../optimizer.ts";
import { LRScheduler } from "./scheduler.ts";

/** Options of {@link CosineAnnealingLR}. */
export interface CosineAnnealingLROptions {
  /** Steps from the optimiser's own rate to the least. Afterwards it rises again, and so on. */
  readonly tMax: number;
  /** The least rate; default 0. */
  readonly etaMin?: number;
}

/**
 * Half a cosine from the optimiser's own rate down to `etaMin`. Loshchilov and Hutter, "SGDR: stochastic gradient descent with warm
 * restarts", 2016, without the restarts.
 */
export class CosineAnnealingLR extends LRScheduler {
  readonly tMax: number;
  readonly etaMin: number;

  /** @throws OptionError for what is no optimiser, an unknown option or a value out of its domain. */
  constructor(optimizer: Optimizer, options: CosineAnnealingLROptions) {
    super(optimizer);
    checkOptions("CosineAnnealingLR", options, ["tMax", "etaMin"]);
    const { tMax, etaMin = 0 } = options ?? {};
    this.tMax = checkInteger("CosineAnnealingLR", "tMax", tMax, 1);
    this.etaMin = checkNumber("CosineAnnealingLR", "etaMin", etaMin, 0);
    this.apply();
  }

  override rateAt(base: number, steps: number): number {
    return between(base, this.etaMin, steps / this.tMax);
  }
}

/** Options of {@link CosineAnnealingWarmRestarts}. */
export interface CosineAnnealingWarmRestartsOptions {
  /** Steps until the first restart. */
  readonly t0: number;
  /** By how much each stretch between restarts is longer than the one before; a whole number, default 1. */
  readonly tMult?: number;
  /** The least rate; default 0. */
  readonly etaMin?: number;
}

/**
 * Half a cosine from the optimiser's own rate down to `etaMin`, again and again. Loshchilov and Hutter, "SGDR: stochastic gradient
 * descent with warm restarts", 2016.
 */
export class CosineAnnealingWarmRestarts extends LRScheduler {
  readonly t0: number;
  readonly tMult: number;
  readonly etaMin: number;

  /** @throws OptionError for what is no optimiser, an unknown option or a value out of its domain. */
  constructor(optimizer: Optimizer, options: CosineAnnealingWarmRestartsOptions) {
    super(optimizer);
    const name = "CosineAnnealingWarmRestarts";
    checkOptions(name, options, ["t0", "tMult", "etaMin"]);
    const { t0, tMult = 1, etaMin = 0 } = options ?? {};
    this.t0 = checkInteger(name, "t0", t0, 1);
    this.tMult = checkInteger(name, "tMult", tMult, 1);
    this.etaMin = checkNumber(name, "etaMin", etaMin, 0);
    this.apply();
  }

  override rateAt(base: number, steps: number): number {
    let length = this.t0;
    let since = steps;
    if (this.tMult === 1) since %= length;
    while (since >= length) {
      since -= length;
      length *= this.tMult;
    }
    return between(base, this.etaMin, since / length);
  }
}

/** Half a cosine from `high` at 0 to `low` at 1. */
function between(high: number, low: number, share: number): number {
  return low + ((high - low) * (1 + Math.cos(Math.PI * share))) / 2;
}

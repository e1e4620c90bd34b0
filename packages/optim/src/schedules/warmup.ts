import { checkChoice, checkInteger, checkNumber, checkOptions } from "@nf/core";
import type { Optimizer } from "../optimizer.ts";
import { LRScheduler } from "./scheduler.ts";

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

  override rateAt(base: number, steps: number): number {
    const step = steps + 1;
    return base * Math.min(step / this.warmupSteps, Math.sqrt(this.warmupSteps / step));
  }
}

/** Options of {@link WarmupLR}. */
export interface WarmupLROptions {
  /** Steps in which the rate rises to the optimiser's own. */
  readonly warmupSteps: number;
  /** How it rises: in a straight line (default) or as half a cosine, which leaves and arrives gently. */
  readonly shape?: "linear" | "cosine";
  /** Share of the optimiser's own rate that it rises from; default 0, and the first step is above it. */
  readonly startFactor?: number;
}

/**
 * The rate rises to the optimiser's own, which it has from step `warmupSteps` on (counted from 1), and stays there. With
 * {@link SequentialLR} another schedule goes on from there.
 *
 * @example
 * ```ts no-run
 * import { Linear } from "@nf/nn";
 * import { AdamW, CosineAnnealingLR, SequentialLR, WarmupLR } from "@nf/optim";
 *
 * const optimizer = new AdamW(new Linear(2, 1).parameters(), { lr: 3e-4 });
 * const schedule = new SequentialLR(
 *   optimizer,
 *   [new WarmupLR(optimizer, { warmupSteps: 100 }), new CosineAnnealingLR(optimizer, { tMax: 900 })],
 *   { milestones: [100] },
 * );
 * ```
 */
export class WarmupLR extends LRScheduler {
  readonly warmupSteps: number;
  readonly shape: "linear" | "cosine";
  readonly startFactor: number;

  /** @throws OptionError for what is no optimiser, an unknown option or a value out of its domain. */
  constructor(optimizer: Optimizer, options: WarmupLROptions) {
    super(optimizer);
    checkOptions("WarmupLR", options, ["warmupSteps", "shape", "startFactor"]);
    const { warmupSteps, shape = "linear", startFactor = 0 } = options ?? {};
    this.warmupSteps = checkInteger("WarmupLR", "warmupSteps", warmupSteps, 1);
    this.shape = checkChoice("WarmupLR", "shape", shape, ["linear", "cosine"]);
    this.startFactor = checkNumber("WarmupLR", "startFactor", startFactor, 0, 1);
    this.apply();
  }

  override rateAt(base: number, steps: number): number {
    const done = Math.min(1, (steps + 1) / this.warmupSteps);
    const risen = this.shape === "linear" ? done : (1 - Math.cos(Math.PI * done)) / 2;
    return base * (this.startFactor + (1 - this.startFactor) * risen);
  }
}

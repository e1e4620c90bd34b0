import { scalar, type Update } from "@nf/core";
import type { Algorithm } from "./algorithm.ts";
import { Optimizer, type ParamGroups } from "./optimizer.ts";
import { checkBetas, checkSettings } from "./options.ts";
import { stepProgram, towards } from "./program.ts";
import { type PureOptimizer, pureOptimizer } from "./pure.ts";

/** Settings of {@link Lion}. */
export interface LionSettings {
  /** Size of every step; default 1e-4. A third to a tenth of what Adam takes. */
  lr: number;
  /** How much of the momentum counts in a step's direction, and how much of it is kept; default [0.9, 0.99]. */
  betas: readonly [number, number];
  /** Share of the parameter, times `lr`, that is taken off each step; default 0. Three to ten times what AdamW takes. */
  weightDecay: number;
  /** Climb instead of descend; default false. */
  maximize: boolean;
}

/** Options of {@link Lion} and {@link lion}. */
export type LionOptions = Readonly<Partial<LionSettings>>;

const { mul, sub } = scalar;

const STEP: Update = /* @__PURE__ */ stepProgram({
  name: "lion",
  state: ["p", "expAvg"],
  params: ["lr", "keep", "climb", "rest1", "rest2"],
  body(x) {
    const gradient = mul(x.g, x.climb);
    const direction = scalar.sign(towards(x.expAvg, gradient, x.rest1));
    return {
      p: sub(mul(x.p, x.keep), mul(direction, x.lr)),
      expAvg: towards(x.expAvg, gradient, x.rest2),
    };
  },
});

const LION: Algorithm<LionSettings> = {
  name: "Lion",
  defaults: { lr: 1e-4, betas: [0.9, 0.99], weightDecay: 0, maximize: false },
  check(settings) {
    checkSettings("Lion", settings, ["maximize"]);
    checkBetas("Lion", settings.betas);
  },
  slots: () => ["expAvg"],
  step({ lr, betas: [beta1, beta2], weightDecay, maximize }) {
    return { update: STEP, numbers: [lr, 1 - lr * weightDecay, maximize ? -1 : 1, 1 - beta1, 1 - beta2] };
  },
};

/**
 * Steps of one size in the direction of the sign of the momentum; it keeps half of what Adam does. Chen et al., "Symbolic
 * discovery of optimization algorithms", 2023.
 */
export class Lion extends Optimizer<LionSettings> {
  constructor(params: ParamGroups<LionSettings>, options: LionOptions = {}) {
    super(LION, params, options);
  }
}

/** {@link Lion} as pure functions. */
export function lion(options: LionOptions = {}): PureOptimizer {
  return pureOptimizer(LION, options);
}

import { scalar, type Update } from "@nf/core";
import type { Algorithm } from "./algorithm.ts";
import { Optimizer, type ParamGroups } from "./optimizer.ts";
import { checkBetas, checkSettings } from "./options.ts";
import { meanSquare, penalised, stepProgram, towards } from "./program.ts";
import { type PureOptimizer, pureOptimizer } from "./pure.ts";

/** Settings of {@link NAdam}. */
export interface NAdamSettings {
  /** Learning rate; default 2e-3. */
  lr: number;
  /** How much of the running means of the gradient and of its square is kept each step; default [0.9, 0.999]. */
  betas: readonly [number, number];
  /** Added to the root of the second moment, so that nothing is divided by zero; default 1e-8. */
  eps: number;
  /** L2 penalty added to the gradient, or with `decoupledWeightDecay` the share, times `lr`, taken off. Default 0. */
  weightDecay: number;
  /** How fast momentum rises from half of `betas[0]` to it; default 4e-3. */
  momentumDecay: number;
  /** Take weight decay straight off the parameters, as AdamW does; default false. */
  decoupledWeightDecay: boolean;
  /** Climb instead of descend; default false. */
  maximize: boolean;
}

/** Options of {@link NAdam} and {@link nadam}. */
export type NAdamOptions = Readonly<Partial<NAdamSettings>>;

const { add, div, mul, sqrt, sub } = scalar;

const STEP: Update = /* @__PURE__ */ stepProgram({
  name: "nadam",
  state: ["p", "expAvg", "expAvgSq"],
  params: [
    "gradientStep",
    "momentStep",
    "keep",
    "l2",
    "sign",
    "rest1",
    "beta2",
    "rest2",
    "correction2",
    "eps",
  ],
  body(x) {
    const gradient = penalised(x);
    const expAvg = towards(x.expAvg, gradient, x.rest1);
    const expAvgSq = meanSquare(x.expAvgSq, gradient, x.beta2, x.rest2);
    const denominator = add(sqrt(div(expAvgSq, x.correction2)), x.eps);
    const ahead = add(mul(gradient, x.gradientStep), mul(expAvg, x.momentStep));
    return { p: sub(mul(x.p, x.keep), div(ahead, denominator)), expAvg, expAvgSq };
  },
});

/** Momentum in a step, which rises. */
function momentumAt(step: number, beta1: number, momentumDecay: number): number {
  return beta1 * (1 - 0.5 * 0.96 ** (step * momentumDecay));
}

const NADAM: Algorithm<NAdamSettings> = {
  name: "NAdam",
  defaults: {
    lr: 2e-3,
    betas: [0.9, 0.999],
    eps: 1e-8,
    weightDecay: 0,
    momentumDecay: 4e-3,
    decoupledWeightDecay: false,
    maximize: false,
  },
  check(settings) {
    checkSettings("NAdam", settings, ["decoupledWeightDecay", "maximize"]);
    checkBetas("NAdam", settings.betas);
  },
  slots: () => ["expAvg", "expAvgSq"],
  /** The product of the momenta of all steps, which may have had other betas: PyTorch's `mu_product`. */
  carry: ({ betas, momentumDecay }, count, before = 1) => before * momentumAt(count, betas[0], momentumDecay),
  step(settings, count, _fresh, carried) {
    const { lr, eps, weightDecay, momentumDecay, decoupledWeightDecay, maximize } = settings;
    const [beta1, beta2] = settings.betas;
    const product = carried as number;
    const next = momentumAt(count + 1, beta1, momentumDecay);
    const numbers = [
      (lr * (1 - momentumAt(count, beta1, momentumDecay))) / (1 - product),
      (lr * next) / (1 - product * next),
      decoupledWeightDecay ? 1 - lr * weightDecay : 1,
      decoupledWeightDecay ? 0 : weightDecay,
      maximize ? -1 : 1,
      1 - beta1,
      beta2,
      1 - beta2,
      1 - beta2 ** count,
      eps,
    ];
    return { update: STEP, numbers };
  },
};

/**
 * Adam with Nesterov's momentum, which looks one step ahead. Dozat, "Incorporating Nesterov momentum into Adam", 2016.
 */
export class NAdam extends Optimizer<NAdamSettings> {
  constructor(params: ParamGroups<NAdamSettings>, options: NAdamOptions = {}) {
    super(NADAM, params, options);
  }
}

/** {@link NAdam} as pure functions. */
export function nadam(options: NAdamOptions = {}): PureOptimizer {
  return pureOptimizer(NADAM, options);
}

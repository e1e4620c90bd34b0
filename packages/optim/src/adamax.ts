import { scalar, type Update } from "@nf/core";
import type { Algorithm } from "./algorithm.ts";
import { Optimizer, type ParamGroups } from "./optimizer.ts";
import { checkBetas, checkSettings } from "./options.ts";
import { penalised, stepProgram, towards } from "./program.ts";
import { type PureOptimizer, pureOptimizer } from "./pure.ts";

/** Settings of {@link Adamax}. */
export interface AdamaxSettings {
  /** Learning rate; default 2e-3. */
  lr: number;
  /** How much of the running mean of the gradient and of its greatest size is kept each step; default [0.9, 0.999]. */
  betas: readonly [number, number];
  /** Added to the size of each gradient, so that nothing is divided by zero; default 1e-8. */
  eps: number;
  /** L2 penalty: this much of the parameter is added to its gradient; default 0. */
  weightDecay: number;
  /** Climb instead of descend; default false. */
  maximize: boolean;
}

/** Options of {@link Adamax} and {@link adamax}. */
export type AdamaxOptions = Readonly<Partial<AdamaxSettings>>;

const { abs, add, div, max, mul, sub } = scalar;

const STEP: Update = /* @__PURE__ */ stepProgram({
  name: "adamax",
  state: ["p", "expAvg", "expInf"],
  params: ["stepSize", "l2", "sign", "rest1", "beta2", "eps"],
  body(x) {
    const gradient = penalised(x);
    const expAvg = towards(x.expAvg, gradient, x.rest1);
    const expInf = max(mul(x.expInf, x.beta2), add(abs(gradient), x.eps));
    return { p: sub(x.p, mul(div(expAvg, expInf), x.stepSize)), expAvg, expInf };
  },
});

const ADAMAX: Algorithm<AdamaxSettings> = {
  name: "Adamax",
  defaults: { lr: 2e-3, betas: [0.9, 0.999], eps: 1e-8, weightDecay: 0, maximize: false },
  check(settings) {
    checkSettings("Adamax", settings, ["maximize"]);
    checkBetas("Adamax", settings.betas);
  },
  slots: () => ["expAvg", "expInf"],
  step({ lr, betas: [beta1, beta2], eps, weightDecay, maximize }, count) {
    const stepSize = lr / (1 - beta1 ** count);
    return { update: STEP, numbers: [stepSize, weightDecay, maximize ? -1 : 1, 1 - beta1, beta2, eps] };
  },
};

/**
 * Adam with the greatest size of the gradients, which fades, in the place of the root of their squares. Kingma and Ba, "Adam: a
 * method for stochastic optimization", 2014, section 7.1.
 */
export class Adamax extends Optimizer<AdamaxSettings> {
  constructor(params: ParamGroups<AdamaxSettings>, options: AdamaxOptions = {}) {
    super(ADAMAX, params, options);
  }
}

/** {@link Adamax} as pure functions. */
export function adamax(options: AdamaxOptions = {}): PureOptimizer {
  return pureOptimizer(ADAMAX, options);
}

import { scalar, type Update } from "@nf/core";
import type { Algorithm } from "./algorithm.ts";
import { Optimizer, type ParamGroups } from "./optimizer.ts";
import { checkSettings } from "./options.ts";
import { penalised, stepProgram } from "./program.ts";
import { type PureOptimizer, pureOptimizer } from "./pure.ts";

/** Settings of {@link Adagrad}. */
export interface AdagradSettings {
  /** Learning rate; default 1e-2. */
  lr: number;
  /** By how much of itself the rate has fallen after each step: step n runs at lr / (1 + (n - 1) lrDecay). Default 0. */
  lrDecay: number;
  /** L2 penalty: this much of the parameter is added to its gradient; default 0. */
  weightDecay: number;
  /** What the sums of squares start at; default 0. */
  initialAccumulatorValue: number;
  /** Added to the root of the sum, so that nothing is divided by zero; default 1e-10. */
  eps: number;
  /** Climb instead of descend; default false. */
  maximize: boolean;
}

/** Options of {@link Adagrad} and {@link adagrad}. */
export type AdagradOptions = Readonly<Partial<AdagradSettings>>;

const { add, div, mul, sqrt, sub } = scalar;

const STEP: Update = /* @__PURE__ */ stepProgram({
  name: "adagrad",
  state: ["p", "sum"],
  params: ["rate", "l2", "sign", "start", "eps"],
  body(x) {
    const gradient = penalised(x);
    const sum = add(add(x.sum, x.start), mul(gradient, gradient));
    return { p: sub(x.p, mul(div(gradient, add(sqrt(sum), x.eps)), x.rate)), sum };
  },
});

const ADAGRAD: Algorithm<AdagradSettings> = {
  name: "Adagrad",
  defaults: { lr: 1e-2, lrDecay: 0, weightDecay: 0, initialAccumulatorValue: 0, eps: 1e-10, maximize: false },
  check: (settings) => checkSettings("Adagrad", settings, ["maximize"]),
  slots: () => ["sum"],
  step({ lr, lrDecay, weightDecay, initialAccumulatorValue, eps, maximize }, count, fresh) {
    const rate = lr / (1 + (count - 1) * lrDecay);
    const start = fresh ? initialAccumulatorValue : 0;
    return { update: STEP, numbers: [rate, weightDecay, maximize ? -1 : 1, start, eps] };
  },
};

/**
 * Divides each gradient by the root of the sum of its squares so far, so that what moved much moves less. Duchi, Hazan and
 * Singer, "Adaptive subgradient methods for online learning and stochastic optimization", 2011.
 */
export class Adagrad extends Optimizer<AdagradSettings> {
  constructor(params: ParamGroups<AdagradSettings>, options: AdagradOptions = {}) {
    super(ADAGRAD, params, options);
  }
}

/** {@link Adagrad} as pure functions. */
export function adagrad(options: AdagradOptions = {}): PureOptimizer {
  return pureOptimizer(ADAGRAD, options);
}

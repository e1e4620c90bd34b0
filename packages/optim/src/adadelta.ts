import { scalar, type Update } from "@nf/core";
import type { Algorithm } from "./algorithm.ts";
import { Optimizer, type ParamGroups } from "./optimizer.ts";
import { checkFraction, checkSettings } from "./options.ts";
import { meanSquare, penalised, stepProgram } from "./program.ts";
import { type PureOptimizer, pureOptimizer } from "./pure.ts";

/** Settings of {@link Adadelta}. */
export interface AdadeltaSettings {
  /** Scales the steps, which have a size of their own; default 1. */
  lr: number;
  /** How much of the running means of squares is kept each step; default 0.9. */
  rho: number;
  /** Added to both means under their roots: it sets the first steps going. Default 1e-6. */
  eps: number;
  /** L2 penalty: this much of the parameter is added to its gradient; default 0. */
  weightDecay: number;
  /** Climb instead of descend; default false. */
  maximize: boolean;
}

/** Options of {@link Adadelta} and {@link adadelta}. */
export type AdadeltaOptions = Readonly<Partial<AdadeltaSettings>>;

const { add, div, mul, sqrt, sub } = scalar;

const STEP: Update = /* @__PURE__ */ stepProgram({
  name: "adadelta",
  state: ["p", "squareAvg", "accDelta"],
  params: ["lr", "l2", "sign", "rho", "rest", "eps"],
  body(x) {
    const gradient = penalised(x);
    const squareAvg = meanSquare(x.squareAvg, gradient, x.rho, x.rest);
    const delta = mul(div(sqrt(add(x.accDelta, x.eps)), sqrt(add(squareAvg, x.eps))), gradient);
    const accDelta = meanSquare(x.accDelta, delta, x.rho, x.rest);
    return { p: sub(x.p, mul(delta, x.lr)), squareAvg, accDelta };
  },
});

const ADADELTA: Algorithm<AdadeltaSettings> = {
  name: "Adadelta",
  defaults: { lr: 1, rho: 0.9, eps: 1e-6, weightDecay: 0, maximize: false },
  check(settings) {
    checkSettings("Adadelta", settings, ["maximize"]);
    checkFraction("Adadelta", "rho", settings.rho);
  },
  slots: () => ["squareAvg", "accDelta"],
  step({ lr, rho, eps, weightDecay, maximize }) {
    return { update: STEP, numbers: [lr, weightDecay, maximize ? -1 : 1, rho, 1 - rho, eps] };
  },
};

/**
 * Steps whose size is the root of the running mean of the squares of past steps over that of the gradients, so that it needs no
 * learning rate. Zeiler, "ADADELTA: an adaptive learning rate method", 2012.
 */
export class Adadelta extends Optimizer<AdadeltaSettings> {
  constructor(params: ParamGroups<AdadeltaSettings>, options: AdadeltaOptions = {}) {
    super(ADADELTA, params, options);
  }
}

/** {@link Adadelta} as pure functions. */
export function adadelta(options: AdadeltaOptions = {}): PureOptimizer {
  return pureOptimizer(ADADELTA, options);
}

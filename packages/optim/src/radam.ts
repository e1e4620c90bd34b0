import { scalar, type Update } from "@nf/core";
import type { Algorithm } from "./algorithm.ts";
import { Optimizer, type ParamGroups } from "./optimizer.ts";
import { checkBetas, checkSettings } from "./options.ts";
import { meanSquare, penalised, stepProgram, towards } from "./program.ts";
import { type PureOptimizer, pureOptimizer } from "./pure.ts";

/** Settings of {@link RAdam}. */
export interface RAdamSettings {
  /** Learning rate; default 1e-3. */
  lr: number;
  /** How much of the running means of the gradient and of its square is kept each step; default [0.9, 0.999]. */
  betas: readonly [number, number];
  /** Added to the root of the second moment, so that nothing is divided by zero; default 1e-8. */
  eps: number;
  /** L2 penalty added to the gradient, or with `decoupledWeightDecay` the share, times `lr`, taken off. Default 0. */
  weightDecay: number;
  /** Take weight decay straight off the parameters, as AdamW does; default false. */
  decoupledWeightDecay: boolean;
  /** Climb instead of descend; default false. */
  maximize: boolean;
}

/** Options of {@link RAdam} and {@link radam}. */
export type RAdamOptions = Readonly<Partial<RAdamSettings>>;

const { add, div, mul, sqrt, sub } = scalar;

const NUMBERS = ["stepSize", "keep", "l2", "sign", "rest1", "beta2", "rest2"] as const;

const PLAIN: Update = /* @__PURE__ */ stepProgram({
  name: "radamPlain",
  state: ["p", "expAvg", "expAvgSq"],
  params: NUMBERS,
  body(x) {
    const gradient = penalised(x);
    const expAvg = towards(x.expAvg, gradient, x.rest1);
    const expAvgSq = meanSquare(x.expAvgSq, gradient, x.beta2, x.rest2);
    return { p: sub(mul(x.p, x.keep), mul(expAvg, x.stepSize)), expAvg, expAvgSq };
  },
});

const ADAPTIVE: Update = /* @__PURE__ */ stepProgram({
  name: "radam",
  state: ["p", "expAvg", "expAvgSq"],
  params: [...NUMBERS, "eps"],
  body(x) {
    const gradient = penalised(x);
    const expAvg = towards(x.expAvg, gradient, x.rest1);
    const expAvgSq = meanSquare(x.expAvgSq, gradient, x.beta2, x.rest2);
    const direction = div(expAvg, add(sqrt(expAvgSq), x.eps));
    return { p: sub(mul(x.p, x.keep), mul(direction, x.stepSize)), expAvg, expAvgSq };
  },
});

/** Where the variance of the second moment can be told, by the paper's criterion. */
const LEAST_LENGTH = 5;

const RADAM: Algorithm<RAdamSettings> = {
  name: "RAdam",
  defaults: {
    lr: 1e-3,
    betas: [0.9, 0.999],
    eps: 1e-8,
    weightDecay: 0,
    decoupledWeightDecay: false,
    maximize: false,
  },
  check(settings) {
    checkSettings("RAdam", settings, ["decoupledWeightDecay", "maximize"]);
    checkBetas("RAdam", settings.betas);
  },
  slots: () => ["expAvg", "expAvgSq"],
  step({ lr, betas: [beta1, beta2], eps, weightDecay, decoupledWeightDecay, maximize }, count) {
    const keep = decoupledWeightDecay ? 1 - lr * weightDecay : 1;
    const l2 = decoupledWeightDecay ? 0 : weightDecay;
    const rest = [keep, l2, maximize ? -1 : 1, 1 - beta1, beta2, 1 - beta2];
    const stepSize = lr / (1 - beta1 ** count);
    const correction2 = 1 - beta2 ** count;
    // Length of the average: how many gradients the second moment stands for, in the end and so far.
    const longest = 2 / (1 - beta2) - 1;
    const length = longest - (2 * count * beta2 ** count) / correction2;
    if (length <= LEAST_LENGTH) return { update: PLAIN, numbers: [stepSize, ...rest] };
    const rectified = Math.sqrt(
      ((length - 4) * (length - 2) * longest) / ((longest - 4) * (longest - 2) * length),
    );
    return { update: ADAPTIVE, numbers: [stepSize * rectified * Math.sqrt(correction2), ...rest, eps] };
  },
};

/**
 * Adam that begins as momentum alone and comes to divide by the second moment as that becomes reliable. Liu et al., "On the
 * variance of the adaptive learning rate and beyond", 2019.
 */
export class RAdam extends Optimizer<RAdamSettings> {
  constructor(params: ParamGroups<RAdamSettings>, options: RAdamOptions = {}) {
    super(RADAM, params, options);
  }
}

/** {@link RAdam} as pure functions. */
export function radam(options: RAdamOptions = {}): PureOptimizer {
  return pureOptimizer(RADAM, options);
}

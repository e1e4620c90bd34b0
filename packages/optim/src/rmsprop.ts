import { type Expr, scalar, type Update } from "@nf/core";
import type { Algorithm } from "./algorithm.ts";
import { Optimizer, type ParamGroups } from "./optimizer.ts";
import { checkFraction, checkSettings } from "./options.ts";
import { meanSquare, penalised, stepProgram, towards } from "./program.ts";
import { type PureOptimizer, pureOptimizer } from "./pure.ts";

/** Settings of {@link RMSprop}. */
export interface RMSpropSettings {
  /** Learning rate; default 1e-2. */
  lr: number;
  /** How much of the running mean of the squares is kept each step; default 0.99. */
  alpha: number;
  /** Added to the root, so that nothing is divided by zero; default 1e-8. */
  eps: number;
  /** L2 penalty: this much of the parameter is added to its gradient; default 0. */
  weightDecay: number;
  /** Share of the last step's direction that is kept; default 0. */
  momentum: number;
  /** Divide by the deviation of the gradients from their running mean rather than by their size; default false. */
  centered: boolean;
  /** Climb instead of descend; default false. */
  maximize: boolean;
}

/** Options of {@link RMSprop} and {@link rmsprop}. */
export type RMSpropOptions = Readonly<Partial<RMSpropSettings>>;

const { add, div, mul, sqrt, sub } = scalar;

const NUMBERS = ["lr", "l2", "sign", "alpha", "rest", "eps"] as const;
type Names = (typeof NUMBERS)[number] | "p" | "g" | "squareAvg";

/** The new mean of squares, and the gradient in units of its root. Where the gradient's mean is given, around that. */
function scaled(x: Readonly<Record<Names, Expr>>, mean?: Expr): { squareAvg: Expr; direction: Expr } {
  const gradient = penalised(x);
  const squareAvg = meanSquare(x.squareAvg, gradient, x.alpha, x.rest);
  const spread = mean === undefined ? squareAvg : sub(squareAvg, mul(mean, mean));
  return { squareAvg, direction: div(gradient, add(sqrt(spread), x.eps)) };
}

const PLAIN: Update = /* @__PURE__ */ stepProgram({
  name: "rmsprop",
  state: ["p", "squareAvg"],
  params: NUMBERS,
  body(x) {
    const { squareAvg, direction } = scaled(x);
    return { p: sub(x.p, mul(direction, x.lr)), squareAvg };
  },
});

const MOMENTUM: Update = /* @__PURE__ */ stepProgram({
  name: "rmspropMomentum",
  state: ["p", "squareAvg", "momentumBuffer"],
  params: [...NUMBERS, "momentum"],
  body(x) {
    const { squareAvg, direction } = scaled(x);
    const momentumBuffer = add(mul(x.momentumBuffer, x.momentum), direction);
    return { p: sub(x.p, mul(momentumBuffer, x.lr)), squareAvg, momentumBuffer };
  },
});

const CENTERED: Update = /* @__PURE__ */ stepProgram({
  name: "rmspropCentered",
  state: ["p", "squareAvg", "gradAvg"],
  params: NUMBERS,
  body(x) {
    const gradAvg = towards(x.gradAvg, penalised(x), x.rest);
    const { squareAvg, direction } = scaled(x, gradAvg);
    return { p: sub(x.p, mul(direction, x.lr)), squareAvg, gradAvg };
  },
});

const CENTERED_MOMENTUM: Update = /* @__PURE__ */ stepProgram({
  name: "rmspropCenteredMomentum",
  state: ["p", "squareAvg", "gradAvg", "momentumBuffer"],
  params: [...NUMBERS, "momentum"],
  body(x) {
    const gradAvg = towards(x.gradAvg, penalised(x), x.rest);
    const { squareAvg, direction } = scaled(x, gradAvg);
    const momentumBuffer = add(mul(x.momentumBuffer, x.momentum), direction);
    return { p: sub(x.p, mul(momentumBuffer, x.lr)), squareAvg, gradAvg, momentumBuffer };
  },
});

const RMSPROP: Algorithm<RMSpropSettings> = {
  name: "RMSprop",
  defaults: {
    lr: 1e-2,
    alpha: 0.99,
    eps: 1e-8,
    weightDecay: 0,
    momentum: 0,
    centered: false,
    maximize: false,
  },
  check(settings) {
    checkSettings("RMSprop", settings, ["centered", "maximize"]);
    checkFraction("RMSprop", "alpha", settings.alpha);
  },
  slots: ({ momentum, centered }) => [
    "squareAvg",
    ...(centered ? ["gradAvg"] : []),
    ...(momentum > 0 ? ["momentumBuffer"] : []),
  ],
  step({ lr, alpha, eps, weightDecay, momentum, centered, maximize }) {
    const numbers = [lr, weightDecay, maximize ? -1 : 1, alpha, 1 - alpha, eps];
    if (momentum > 0)
      return { update: centered ? CENTERED_MOMENTUM : MOMENTUM, numbers: [...numbers, momentum] };
    return { update: centered ? CENTERED : PLAIN, numbers };
  },
};

/**
 * Divides each gradient by the root of the running mean of its squares. Tieleman and Hinton, "Neural networks for machine
 * learning", lecture 6e, 2012; centred: Graves, "Generating sequences with recurrent neural networks", 2013.
 */
export class RMSprop extends Optimizer<RMSpropSettings> {
  constructor(params: ParamGroups<RMSpropSettings>, options: RMSpropOptions = {}) {
    super(RMSPROP, params, options);
  }
}

/** {@link RMSprop} as pure functions. */
export function rmsprop(options: RMSpropOptions = {}): PureOptimizer {
  return pureOptimizer(RMSPROP, options);
}

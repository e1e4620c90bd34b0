import { type Expr, scalar, type Update } from "@nf/core";
import type { Algorithm, Step } from "./algorithm.ts";
import { Optimizer, type ParamGroups } from "./optimizer.ts";
import { checkBetas, checkSettings } from "./options.ts";
import { meanSquare, penalised, stepProgram, towards } from "./program.ts";
import { type PureOptimizer, pureOptimizer } from "./pure.ts";

/** Settings of {@link Adam} and {@link AdamW}. */
export interface AdamSettings {
  /** Learning rate; default 1e-3. */
  lr: number;
  /** How much of the running means of the gradient and of its square is kept each step; default [0.9, 0.999]. */
  betas: readonly [number, number];
  /** Added to the root of the second moment, so that nothing is divided by zero; default 1e-8. */
  eps: number;
  /**
   * Adam: L2 penalty added to the gradient, default 0. AdamW: share of the parameter, times `lr`, that is taken off
   * each step, default 0.01.
   */
  weightDecay: number;
  /** Divide by the greatest second moment seen so far. Reddi et al. 2018. Default false. */
  amsgrad: boolean;
  /** Climb instead of descend; default false. */
  maximize: boolean;
}

/** Options of {@link Adam}, {@link AdamW}, {@link adam} and {@link adamw}. */
export type AdamOptions = Readonly<Partial<AdamSettings>>;

const { add, div, max, mul, sqrt, sub } = scalar;

type Names = "p" | "g" | "expAvg" | "expAvgSq" | (typeof NUMBERS)[number];
const NUMBERS = ["stepSize", "keep", "l2", "sign", "rest1", "beta2", "rest2", "correction2", "eps"] as const;

/** The new moments. As in PyTorch, the first one moves towards the gradient (`lerp`). */
function moments(x: Readonly<Record<Names, Expr>>): { readonly expAvg: Expr; readonly expAvgSq: Expr } {
  const gradient = penalised(x);
  return {
    expAvg: towards(x.expAvg, gradient, x.rest1),
    expAvgSq: meanSquare(x.expAvgSq, gradient, x.beta2, x.rest2),
  };
}

/** The parameter after the step, `keep` of it left by decoupled weight decay. */
function moved(x: Readonly<Record<Names, Expr>>, expAvg: Expr, second: Expr): Expr {
  const denominator = add(div(sqrt(second), x.correction2), x.eps);
  return sub(mul(x.p, x.keep), mul(div(expAvg, denominator), x.stepSize));
}

const PLAIN: Update = /* @__PURE__ */ stepProgram({
  name: "adam",
  state: ["p", "expAvg", "expAvgSq"],
  params: NUMBERS,
  body(x) {
    const { expAvg, expAvgSq } = moments(x);
    return { p: moved(x, expAvg, expAvgSq), expAvg, expAvgSq };
  },
});

const AMSGRAD: Update = /* @__PURE__ */ stepProgram({
  name: "adamAmsgrad",
  state: ["p", "expAvg", "expAvgSq", "maxExpAvgSq"],
  params: NUMBERS,
  body(x) {
    const { expAvg, expAvgSq } = moments(x);
    const maxExpAvgSq = max(x.maxExpAvgSq, expAvgSq);
    return { p: moved(x, expAvg, maxExpAvgSq), expAvg, expAvgSq, maxExpAvgSq };
  },
});

/** Adam and AdamW are one algorithm; they differ in where the weight decay goes. */
function algorithm(name: string, decoupled: boolean): Algorithm<AdamSettings> {
  return {
    name,
    defaults: {
      lr: 1e-3,
      betas: [0.9, 0.999],
      eps: 1e-8,
      weightDecay: decoupled ? 0.01 : 0,
      amsgrad: false,
      maximize: false,
    },
    check(settings) {
      checkSettings(name, settings, ["amsgrad", "maximize"]);
      checkBetas(name, settings.betas);
    },
    slots: ({ amsgrad }) => (amsgrad ? ["expAvg", "expAvgSq", "maxExpAvgSq"] : ["expAvg", "expAvgSq"]),
    step({ lr, betas: [beta1, beta2], eps, weightDecay, amsgrad, maximize }, count): Step {
      const stepSize = lr / (1 - beta1 ** count);
      const correction2 = Math.sqrt(1 - beta2 ** count);
      const keep = decoupled ? 1 - lr * weightDecay : 1;
      const l2 = decoupled ? 0 : weightDecay;
      const sign = maximize ? -1 : 1;
      const numbers = [stepSize, keep, l2, sign, 1 - beta1, beta2, 1 - beta2, correction2, eps];
      return { update: amsgrad ? AMSGRAD : PLAIN, numbers };
    },
  };
}

const ADAM: Algorithm<AdamSettings> = /* @__PURE__ */ algorithm("Adam", false);
const ADAMW: Algorithm<AdamSettings> = /* @__PURE__ */ algorithm("AdamW", true);

/**
 * Steps in units of the gradient's running mean over the root of its running square, both corrected for their start at
 * zero. Weight decay is an L2 penalty in the gradient. Kingma and Ba, "Adam: a method for stochastic optimization", 2014.
 */
export class Adam extends Optimizer<AdamSettings> {
  constructor(params: ParamGroups<AdamSettings>, options: AdamOptions = {}) {
    super(ADAM, params, options);
  }
}

/**
 * {@link Adam} with weight decay taken straight off the parameters (default 0.01). Loshchilov and Hutter, "Decoupled
 * weight decay regularization", 2017.
 */
export class AdamW extends Optimizer<AdamSettings> {
  constructor(params: ParamGroups<AdamSettings>, options: AdamOptions = {}) {
    super(ADAMW, params, options);
  }
}

/** {@link Adam} as pure functions. */
export function adam(options: AdamOptions = {}): PureOptimizer {
  return pureOptimizer(ADAM, options);
}

/** {@link AdamW} as pure functions. */
export function adamw(options: AdamOptions = {}): PureOptimizer {
  return pureOptimizer(ADAMW, options);
}

import { OptionError, scalar, type Update } from "@nf/core";
import type { Algorithm, Step } from "./algorithm.ts";
import { Optimizer, type ParamGroups } from "./optimizer.ts";
import { checkSettings } from "./options.ts";
import { penalised, stepProgram } from "./program.ts";
import { type PureOptimizer, pureOptimizer } from "./pure.ts";

/** Settings of {@link SGD}. */
export interface SGDSettings {
  /** Learning rate; default 1e-3. */
  lr: number;
  /** Share of the last step's direction that is kept; default 0. */
  momentum: number;
  /** Share of a gradient that does not enter the momentum (the first one always does); default 0. */
  dampening: number;
  /** L2 penalty: this much of the parameter is added to its gradient; default 0. */
  weightDecay: number;
  /** Nesterov's momentum, which looks one step ahead; default false. Needs momentum, and no dampening. */
  nesterov: boolean;
  /** Climb instead of descend; default false. */
  maximize: boolean;
}

/** Options of {@link SGD} and {@link sgd}. */
export type SGDOptions = Readonly<Partial<SGDSettings>>;

const { add, mul, sub } = scalar;

const PLAIN: Update = /* @__PURE__ */ stepProgram({
  name: "sgd",
  state: ["p"],
  params: ["lr", "l2", "sign"],
  body: (x) => ({ p: sub(x.p, mul(penalised(x), x.lr)) }),
});

const MOMENTUM: Update = /* @__PURE__ */ stepProgram({
  name: "sgdMomentum",
  state: ["p", "momentumBuffer"],
  params: ["lr", "l2", "sign", "momentum", "share"],
  body(x) {
    const momentumBuffer = add(mul(x.momentumBuffer, x.momentum), mul(penalised(x), x.share));
    return { p: sub(x.p, mul(momentumBuffer, x.lr)), momentumBuffer };
  },
});

const NESTEROV: Update = /* @__PURE__ */ stepProgram({
  name: "sgdNesterov",
  state: ["p", "momentumBuffer"],
  params: ["lr", "l2", "sign", "momentum"],
  body(x) {
    const gradient = penalised(x);
    const momentumBuffer = add(mul(x.momentumBuffer, x.momentum), gradient);
    return { p: sub(x.p, mul(add(gradient, mul(momentumBuffer, x.momentum)), x.lr)), momentumBuffer };
  },
});

const SGD_ALGORITHM: Algorithm<SGDSettings> = {
  name: "SGD",
  defaults: { lr: 1e-3, momentum: 0, dampening: 0, weightDecay: 0, nesterov: false, maximize: false },
  check(settings) {
    checkSettings("SGD", settings, ["nesterov", "maximize"]);
    const { momentum, dampening, nesterov } = settings;
    if (nesterov && (momentum === 0 || dampening !== 0)) {
      throw new OptionError("SGD: nesterov needs a momentum above 0 and no dampening.");
    }
  },
  slots: ({ momentum }) => (momentum === 0 ? [] : ["momentumBuffer"]),
  step({ lr, momentum, dampening, weightDecay, nesterov, maximize }, _count, fresh): Step {
    const sign = maximize ? -1 : 1;
    if (momentum === 0) return { update: PLAIN, numbers: [lr, weightDecay, sign] };
    if (nesterov) return { update: NESTEROV, numbers: [lr, weightDecay, sign, momentum] };
    return { update: MOMENTUM, numbers: [lr, weightDecay, sign, momentum, fresh ? 1 : 1 - dampening] };
  },
};

/**
 * Stochastic gradient descent, with momentum if asked, by PyTorch's formula: `buffer = momentum * buffer + gradient`,
 * `parameter -= lr * buffer`. Sutskever et al., "On the importance of initialization and momentum", 2013.
 */
export class SGD extends Optimizer<SGDSettings> {
  constructor(params: ParamGroups<SGDSettings>, options: SGDOptions = {}) {
    super(SGD_ALGORITHM, params, options);
  }
}

/** {@link SGD} as pure functions. */
export function sgd(options: SGDOptions = {}): PureOptimizer {
  return pureOptimizer(SGD_ALGORITHM, options);
}

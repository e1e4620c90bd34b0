import {
  add,
  checkChoice,
  checkNumber,
  detach,
  div,
  exp,
  greater,
  klDiv,
  type LossOptions,
  log,
  maximum,
  mean,
  mul,
  type Reduction,
  ShapeError,
  smoothL1Loss,
  square,
  sub,
  sum,
  type Tensor,
  where,
} from "@nf/core";
import { checkInput, checkLayerOptions, shapeText } from "./check.ts";
import { Loss } from "./losses.ts";
import { Module } from "./module/module.ts";

/** Options of {@link SmoothL1Loss}. */
export interface SmoothL1LossOptions extends LossOptions {
  /** Where the loss turns from quadratic to linear; default 1. */
  readonly beta?: number;
}

/** Huber's loss divided by `beta`: quadratic near the target, the absolute difference less beta / 2 beyond. */
export class SmoothL1Loss extends Loss {
  readonly beta: number;

  constructor(options: SmoothL1LossOptions = {}) {
    super("SmoothL1Loss", options, ["beta"]);
    this.beta = checkNumber("SmoothL1Loss", "beta", options.beta ?? 1, 0);
  }

  override forward(input: Tensor, target: Tensor): Tensor {
    return smoothL1Loss(input, target, { beta: this.beta, reduction: this.reduction });
  }
}

/** Options of {@link KLDivLoss}. */
export interface KLDivLossOptions {
  /** `batchmean` divides the sum by the batch, which is the mathematical definition; default `mean`, over elements. */
  readonly reduction?: Reduction | "batchmean";
  /** Whether the target is given as logarithms too; default false. */
  readonly logTarget?: boolean;
}

/** Kullback-Leibler divergence of a target distribution from a prediction that is given as logarithms. */
export class KLDivLoss extends Module {
  readonly reduction: Reduction | "batchmean";
  readonly logTarget: boolean;

  constructor(options: KLDivLossOptions = {}) {
    super();
    checkLayerOptions("KLDivLoss", options, ["reduction", "logTarget"]);
    const choices = ["mean", "sum", "none", "batchmean"] as const;
    this.reduction = checkChoice("KLDivLoss", "reduction", options.reduction ?? "mean", choices);
    this.logTarget = options.logTarget ?? false;
  }

  override forward(logProbabilities: Tensor, target: Tensor): Tensor {
    const { reduction, logTarget } = this;
    return klDiv(logProbabilities, target, { reduction, logTarget });
  }
}

/** Losses of elements as one, as `reduction` says. */
export function reduced(loss: Tensor, reduction: Reduction): Tensor {
  return reduction === "none" ? loss : reduction === "sum" ? sum(loss) : mean(loss);
}

/**
 * Refuses tensors of different shapes: what broadcasts silently gives a loss of other pairs than were meant.
 * @throws DTypeError, ShapeError
 */
export function sameShapes(loss: { toString(): string }, input: Tensor, target: Tensor): void {
  checkInput(loss, input);
  checkInput(loss, target);
  if (input.rank !== target.rank || input.shape.some((size, axis) => size !== target.shape[axis])) {
    throw new ShapeError(
      `${loss}: both must have the same shape, got ${shapeText(input)} and ${shapeText(target)}. Use expand or reshape.`,
    );
  }
}

/** Options of {@link PoissonNLLLoss}. */
export interface PoissonNLLLossOptions extends LossOptions {
  /** Whether the input is the logarithm of the expected count; default true. */
  readonly logInput?: boolean;
  /** Whether Stirling's approximation of the constant term is added, for targets above 1; default false. */
  readonly full?: boolean;
  /** Added under the logarithm where the input is no logarithm; default 1e-8. */
  readonly eps?: number;
}

/** Negative log-likelihood of counts under Poisson distributions, whose expected values are predicted. */
export class PoissonNLLLoss extends Loss {
  readonly logInput: boolean;
  readonly full: boolean;
  readonly eps: number;

  constructor(options: PoissonNLLLossOptions = {}) {
    super("PoissonNLLLoss", options, ["logInput", "full", "eps"]);
    this.logInput = options.logInput ?? true;
    this.full = options.full ?? false;
    this.eps = checkNumber("PoissonNLLLoss", "eps", options.eps ?? 1e-8, 0);
  }

  override forward(input: Tensor, target: Tensor): Tensor {
    sameShapes(this, input, target);
    const { logInput, full, eps, reduction } = this;
    const loss = logInput
      ? sub(exp(input), mul(target, input))
      : sub(input, mul(target, log(add(input, eps))));
    return reduced(full ? add(loss, stirling(target)) : loss, reduction);
  }
}

/** log(n!) for n above 1, by Stirling: n log n - n + log(2 π n) / 2; 0 up to 1. */
function stirling(target: Tensor): Tensor {
  const large = greater(target, 1);
  const n = where(large, target, 1);
  const value = add(sub(mul(n, log(n)), n), mul(log(mul(n, 2 * Math.PI)), 0.5));
  return where(large, value, 0);
}

/** Options of {@link GaussianNLLLoss}. */
export interface GaussianNLLLossOptions extends LossOptions {
  /** Whether the constant log(2 π) / 2 is added; default false. */
  readonly full?: boolean;
  /** Least variance, for stability; default 1e-6. */
  readonly eps?: number;
}

/** Negative log-likelihood of targets under normal distributions, whose means and variances are predicted. */
export class GaussianNLLLoss extends Loss {
  readonly full: boolean;
  readonly eps: number;

  constructor(options: GaussianNLLLossOptions = {}) {
    super("GaussianNLLLoss", options, ["full", "eps"]);
    this.full = options.full ?? false;
    this.eps = checkNumber("GaussianNLLLoss", "eps", options.eps ?? 1e-6, 0);
  }

  /** @param variance not negative; of the input's shape, or with a last dimension of 1, or without its last dimension. */
  override forward(input: Tensor, target: Tensor, variance: Tensor): Tensor {
    sameShapes(this, input, target);
    checkInput(this, variance);
    const { full, eps, reduction } = this;
    const spread = this.fitted(input, variance);
    // Held at eps, but with the gradient of the variance itself, as in PyTorch.
    const held = add(spread, detach(sub(maximum(spread, eps), spread)));
    const loss = mul(add(log(held), div(square(sub(input, target)), held)), 0.5);
    return reduced(full ? add(loss, 0.5 * Math.log(2 * Math.PI)) : loss, reduction);
  }

  private fitted(input: Tensor, variance: Tensor): Tensor {
    const lead = input.shape.slice(0, -1);
    const leads = lead.every((size, axis) => size === variance.shape[axis]);
    if (leads && variance.rank === input.rank - 1) return variance.reshape([...lead, 1]);
    const last = variance.shape.at(-1);
    if (leads && variance.rank === input.rank && (last === 1 || last === input.shape.at(-1))) return variance;
    throw new ShapeError(
      `${this}: the variance ${shapeText(variance)} does not fit the input ${shapeText(input)}.`,
    );
  }
}

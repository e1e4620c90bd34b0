import { broadcastShapes, sameShape, showShape } from "../backend/geometry.ts";
import { OptionError, ShapeError } from "../errors.ts";
import type { Expr } from "../scalar/expr.ts";
import * as s from "../scalar/expr.ts";
import { Tensor } from "../tensor/tensor.ts";
import { softplusExpr } from "./activations.ts";
import { composite } from "./apply.ts";
import { div } from "./binary.ts";
import { callElementwise, type Elementwise, elementwise, type Operand } from "./elementwise.ts";
import { checkChoice, checkNumber, checkOptions, checkTensor } from "./options.ts";
import { mean, sum } from "./reduce.ts";

/** How the losses of single elements become one. */
export type Reduction = "mean" | "sum" | "none";

/** Options that every loss takes. */
export interface LossOptions {
  /** Default "mean". */
  readonly reduction?: Reduction;
}

/** Brings losses of elements together as the options say. */
export function reduceLoss(op: string, loss: Tensor, options: LossOptions): Tensor {
  const reduction = checkChoice(op, "reduction", options.reduction ?? "mean", ["mean", "sum", "none"]);
  return reduction === "none" ? loss : reduction === "sum" ? sum(loss) : mean(loss);
}

function elementLoss(
  op: string,
  definition: Elementwise,
  operands: readonly Operand[],
  options: LossOptions,
): Tensor {
  const [a, b] = operands as readonly [Tensor, Tensor];
  checkTensor(op, a);
  checkTensor(op, b);
  if (!sameShape(a.shape, b.shape)) {
    broadcastShapes(op, a.shape, b.shape);
    throw new ShapeError(
      `${op}: prediction ${showShape(a.shape)} and target ${showShape(b.shape)} must have the same shape. Use expand or reshape.`,
    );
  }
  const tensors = operands.filter((operand) => operand instanceof Tensor);
  return composite(tensors, () => reduceLoss(op, callElementwise(definition, operands), options));
}

function lossOf(name: string, body: (operands: readonly Expr[]) => Expr): Elementwise {
  return elementwise({ name, result: "float", body });
}

const square = (x: Expr): Expr => s.mul(x, x);
const MSE: Elementwise = /* @__PURE__ */ lossOf("mseLoss", ([x, y]) => square(s.sub(x as Expr, y as Expr)));
const L1: Elementwise = /* @__PURE__ */ lossOf("l1Loss", ([x, y]) => s.abs(s.sub(x as Expr, y as Expr)));
const HUBER: Elementwise = /* @__PURE__ */ lossOf("huberLoss", ([x, y, delta]) => {
  const difference = s.sub(x as Expr, y as Expr);
  const size = s.abs(difference);
  const d = delta as Expr;
  return s.select(s.lt(size, d), s.mul(square(difference), 0.5), s.mul(d, s.sub(size, s.mul(d, 0.5))));
});
const SMOOTH_L1: Elementwise = /* @__PURE__ */ lossOf("smoothL1Loss", ([x, y, beta]) => {
  const difference = s.sub(x as Expr, y as Expr);
  const size = s.abs(difference);
  const b = beta as Expr;
  return s.select(s.lt(size, b), s.div(s.mul(square(difference), 0.5), b), s.sub(size, s.mul(b, 0.5)));
});
// Logarithms are held at -100 or above, as in PyTorch, so that probabilities of exactly 0 and 1 stay finite.
const BCE: Elementwise = /* @__PURE__ */ lossOf("bce", ([x, y, weight]) => {
  const p = x as Expr;
  const t = y as Expr;
  const value = s.neg(
    s.add(s.mul(t, s.max(s.log(p), -100)), s.mul(s.sub(1, t), s.max(s.log1p(s.neg(p)), -100))),
  );
  const spread = s.max(s.mul(p, s.sub(1, p)), 1e-12);
  const logOdds = s.sub(s.max(s.log1p(s.neg(p)), -100), s.max(s.log(p), -100));
  return s.mul(weight as Expr, s.stated(value, [p, t], [s.div(s.sub(p, t), spread), logOdds]));
});
const BCE_LOGITS: Elementwise = /* @__PURE__ */ lossOf("bceWithLogits", ([x, y, weight, positiveWeight]) => {
  const t = y as Expr;
  const positive = s.mul(s.mul(positiveWeight as Expr, t), softplusExpr(s.neg(x as Expr)));
  return s.mul(weight as Expr, s.add(positive, s.mul(s.sub(1, t), softplusExpr(x as Expr))));
});
const KL: Elementwise = /* @__PURE__ */ lossOf("klDiv", ([x, y]) => {
  const t = y as Expr;
  // 0 log 0 is 0; a negative share has no logarithm.
  return s.select(s.eq(t, 0), s.mul(t, 0), s.mul(t, s.sub(s.log(t), x as Expr)));
});
const KL_LOG: Elementwise = /* @__PURE__ */ lossOf("klDiv", ([x, y]) =>
  s.mul(s.exp(y as Expr), s.sub(y as Expr, x as Expr)),
);

/** Squared difference of prediction and target. */
export function mseLoss(prediction: Tensor, target: Tensor, options: LossOptions = {}): Tensor {
  checkOptions("mseLoss", options, ["reduction"]);
  return elementLoss("mseLoss", MSE, [prediction, target], options);
}

/** Absolute difference of prediction and target. */
export function l1Loss(prediction: Tensor, target: Tensor, options: LossOptions = {}): Tensor {
  checkOptions("l1Loss", options, ["reduction"]);
  return elementLoss("l1Loss", L1, [prediction, target], options);
}

/** Squared (halved) within `delta` (default 1) of the target, linear beyond. Huber 1964. */
export function huberLoss(
  prediction: Tensor,
  target: Tensor,
  options: LossOptions & { readonly delta?: number } = {},
): Tensor {
  checkOptions("huberLoss", options, ["reduction", "delta"]);
  const delta = options.delta ?? 1;
  if (!(checkNumber("huberLoss", "delta", delta) > 0))
    throw new OptionError(`huberLoss: delta must be positive, got ${delta}.`);
  return elementLoss("huberLoss", HUBER, [prediction, target, delta], options);
}

/** Huber's loss divided by `beta` (default 1); with 0, the absolute difference. */
export function smoothL1Loss(
  prediction: Tensor,
  target: Tensor,
  options: LossOptions & { readonly beta?: number } = {},
): Tensor {
  checkOptions("smoothL1Loss", options, ["reduction", "beta"]);
  const beta = checkNumber("smoothL1Loss", "beta", options.beta ?? 1, 0);
  if (beta === 0) return elementLoss("smoothL1Loss", L1, [prediction, target], options);
  return elementLoss("smoothL1Loss", SMOOTH_L1, [prediction, target, beta], options);
}

/** Options of {@link bce} and {@link bceWithLogits}. */
export interface BinaryLossOptions extends LossOptions {
  /** Multiplies the loss of each element, before the reduction (whose mean still counts elements). Broadcasts; default 1. */
  readonly weight?: Operand;
}

/**
 * Cross-entropy of probabilities with binary targets: -(t log p + (1 - t) log(1 - p)). Predictions outside of 0 to 1 give
 * NaN; for logits there is {@link bceWithLogits}.
 */
export function bce(prediction: Tensor, target: Tensor, options: BinaryLossOptions = {}): Tensor {
  checkOptions("bce", options, ["reduction", "weight"]);
  return elementLoss(
    "bce",
    BCE,
    [prediction, target, weightFor("bce", "weight", target, options.weight)],
    options,
  );
}

/** Binary cross-entropy of logits, finite at ±1e4. `posWeight` multiplies the loss of positive targets, and broadcasts. */
export function bceWithLogits(
  logits: Tensor,
  target: Tensor,
  options: BinaryLossOptions & { readonly posWeight?: Operand } = {},
): Tensor {
  checkOptions("bceWithLogits", options, ["reduction", "weight", "posWeight"]);
  const weight = weightFor("bceWithLogits", "weight", target, options.weight);
  const posWeight = weightFor("bceWithLogits", "posWeight", target, options.posWeight);
  return elementLoss("bceWithLogits", BCE_LOGITS, [logits, target, weight, posWeight], options);
}

/** A weight that broadcasts to the target and not beyond, or the mean would be of other elements. */
function weightFor(op: string, name: string, target: Tensor, weight: Operand = 1): Operand {
  if (!(weight instanceof Tensor)) return checkNumber(op, name, weight);
  checkTensor(op, target);
  if (!sameShape(broadcastShapes(op, weight.shape, target.shape), target.shape)) {
    throw new ShapeError(
      `${op}: ${name} ${showShape(weight.shape)} must broadcast to the target's shape ${showShape(target.shape)}.`,
    );
  }
  return weight;
}

/**
 * Kullback-Leibler divergence of a target distribution from a prediction given as logarithms. With `logTarget` the
 * target is given as logarithms too. "batchmean" divides the sum by the first dimension, the mathematical definition.
 */
export function klDiv(
  prediction: Tensor,
  target: Tensor,
  options: { readonly reduction?: Reduction | "batchmean"; readonly logTarget?: boolean } = {},
): Tensor {
  checkOptions("klDiv", options, ["reduction", "logTarget"]);
  const definition = options.logTarget === true ? KL_LOG : KL;
  const { reduction = "mean" } = options;
  if (reduction !== "batchmean") return elementLoss("klDiv", definition, [prediction, target], { reduction });
  return composite([prediction, target], () =>
    div(
      elementLoss("klDiv", definition, [prediction, target], { reduction: "sum" }),
      prediction.shape[0] ?? 1,
    ),
  );
}

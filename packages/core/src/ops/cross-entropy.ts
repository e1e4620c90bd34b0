import { sameShape, showShape } from "../backend/geometry.ts";
import { sizeOf } from "../backend/view.ts";
import { isFloat } from "../dtype.ts";
import { DTypeError, OptionError, ShapeError } from "../errors.ts";
import type { Device } from "../runtime/device.ts";
import type { Tensor } from "../tensor/tensor.ts";
import { apply, composite, together } from "./apply.ts";
import { add, div, mul, notEqual, sub } from "./binary.ts";
import { runFused } from "./fused.ts";
import { checkedIndex, gather, oneHot } from "./index-ops.ts";
import { type LossOptions, reduceLoss } from "./losses.ts";
import type { Op } from "./op.ts";
import { checkChoice, checkInteger, checkNumber, checkOptions } from "./options.ts";
import { mean, sum } from "./reduce.ts";
import { castTo, where } from "./select.ts";
import { permute, reshape } from "./shape.ts";
import { logSoftmax, softmax } from "./softmax.ts";
import { neg } from "./unary.ts";
import { withUnitDims } from "./views.ts";

/** Options of the losses over classes. */
export interface ClassLossOptions extends LossOptions {
  /** Weight of each class, `[classes]`; the mean is then weighted. */
  readonly weight?: Tensor;
  /** Target index whose rows count nothing; default -100. */
  readonly ignoreIndex?: number;
}

/** Options of {@link crossEntropy}. */
export interface CrossEntropyOptions extends ClassLossOptions {
  /** Share of the target spread evenly over all classes, 0 (default) to 1. Szegedy et al. 2015. */
  readonly labelSmoothing?: number;
}

/** Values `[batch, classes, …]` (or `[classes]`) as rows of classes, and how to bring a row's result back. */
function classRows(
  op: string,
  x: Tensor,
): { readonly rows: Tensor; readonly shape: readonly number[]; readonly classes: number } {
  if (x.rank === 0) throw new ShapeError(`${op}: expected [batch, classes, …] or [classes], got a scalar.`);
  if (!isFloat(x.dtype))
    throw new DTypeError(`${op}: the prediction must be a float tensor, got ${x.dtype}.`);
  const axis = x.rank === 1 ? 0 : 1;
  const classes = x.shape[axis] as number;
  const shape = x.shape.filter((_, position) => position !== axis);
  if (x.rank === 2) return { rows: x, shape, classes };
  const order = [...shape.map((_, i) => (i < axis ? i : i + 1)), axis];
  return { rows: reshape(permute(x, order), [sizeOf(shape), classes]), shape, classes };
}

function checkTarget(op: string, x: Tensor, target: Tensor, shape: readonly number[]): void {
  if (!sameShape(target.shape, shape)) {
    throw new ShapeError(
      `${op}: for a prediction ${showShape(x.shape)} the target must hold class indices of shape ${showShape(shape)}, got ${showShape(target.shape)}.`,
    );
  }
}

/** The operands of a loss over classes, its weight among them. */
function checkOperands(
  op: string,
  x: Tensor,
  target: Tensor,
  { weight, ignoreIndex }: ClassLossOptions,
): readonly Tensor[] {
  if (ignoreIndex !== undefined) checkInteger(op, "ignoreIndex", ignoreIndex, -(2 ** 31), 2 ** 31 - 1);
  return together(op, weight === undefined ? [x, target] : [x, target, weight]);
}

/** Negative logarithm of the target class, given log-probabilities `[batch, classes, …]` and class indices `[batch, …]`. */
export function nllLoss(logProbabilities: Tensor, target: Tensor, options: ClassLossOptions = {}): Tensor {
  checkOptions("nllLoss", options, ["reduction", "weight", "ignoreIndex"]);
  return composite(checkOperands("nllLoss", logProbabilities, target, options), () => {
    const { rows, shape, classes } = classRows("nllLoss", logProbabilities);
    checkTarget("nllLoss", logProbabilities, target, shape);
    return weightedRows("nllLoss", rows, reshape(target, [-1]), classes, shape, options, 0);
  });
}

function checkWeight(op: string, weight: Tensor | undefined, classes: number): void {
  if (weight !== undefined && (weight.rank !== 1 || weight.size !== classes))
    throw new ShapeError(`${op}: weight must be [${classes}], got ${showShape(weight.shape)}.`);
}

/** Losses of rows of log-probabilities, with class weights, ignored rows and smoothing. */
function weightedRows(
  op: string,
  rows: Tensor,
  target: Tensor,
  classes: number,
  shape: readonly number[],
  options: ClassLossOptions,
  smoothing: number,
): Tensor {
  const ignore = options.ignoreIndex ?? -100;
  const { weight } = options;
  checkWeight(op, weight, classes);
  const counted = notEqual(target, ignore);
  const index = where(counted, checkedIndex(op, target, classes, ignore), 0);
  const column = withUnitDims(index, [rows.shape[0] as number, 1]);
  const rowWeight =
    weight === undefined
      ? castTo(counted, rows.dtype)
      : where(counted, gather(castTo(weight, rows.dtype), 0, index), 0);
  const picked = neg(reshape(gather(rows, 1, column), [-1]));
  // A row that does not count must not bring its infinities along.
  let loss = where(counted, mul(picked, rowWeight), 0);
  if (smoothing > 0) {
    const spread = neg(sum(weight === undefined ? rows : mul(rows, castTo(weight, rows.dtype)), { axis: 1 }));
    loss = add(mul(loss, 1 - smoothing), where(counted, mul(spread, smoothing / classes), 0));
  }
  const reduction = checkChoice(op, "reduction", options.reduction ?? "mean", ["mean", "sum", "none"]);
  if (reduction === "none") return reshape(loss, shape);
  return reduction === "sum" ? sum(loss) : div(sum(loss), sum(rowWeight));
}

interface CrossEntropyAttributes {
  readonly ignoreIndex: number;
  readonly labelSmoothing: number;
}

/** Loss of each row of logits `[rows, classes]` against a class index `[rows]`, without class weights. */
const CROSS_ENTROPY: Op<CrossEntropyAttributes> = {
  name: "crossEntropy",
  forward([logits, target], { ignoreIndex, labelSmoothing }, device) {
    const { shape, dtype } = logits as Tensor;
    const row = { shape: shape.slice(0, 1), dtype };
    const parts = { kernel: "crossEntropy", attributes: { pass: "forward" } } as const;
    return runFused(
      device,
      "crossEntropy",
      parts,
      [logits as Tensor, target as Tensor],
      [row, row],
      [ignoreIndex, labelSmoothing],
    );
  },
  decompose([logits, target], { ignoreIndex, labelSmoothing }) {
    const rows = logits as Tensor;
    const logs = logSoftmax(rows, { axis: 1 });
    const classes = rows.shape[1] as number;
    const options = { reduction: "none", ignoreIndex } as const;
    return [
      weightedRows(
        "crossEntropy",
        logs,
        target as Tensor,
        classes,
        rows.shape.slice(0, 1),
        options,
        labelSmoothing,
      ),
    ];
  },
  gradient: {
    save: ([logits, target], [, logSum]) => [logits as Tensor, target as Tensor, logSum as Tensor],
    vjp({ saved: [logits, target, logSum], gradients: [g], attributes, createGraph }) {
      const inputs = [g as Tensor, logits as Tensor, target as Tensor, logSum as Tensor];
      return [
        (createGraph ? gradientOf(inputs, attributes) : apply(CROSS_ENTROPY_GRAD, inputs, attributes))[0],
        undefined,
      ];
    },
  },
};

const CROSS_ENTROPY_GRAD: Op<CrossEntropyAttributes> = {
  name: "crossEntropyGrad",
  forward(inputs, { ignoreIndex, labelSmoothing }, device: Device) {
    const { shape, dtype } = inputs[1] as Tensor;
    const parts = { kernel: "crossEntropy", attributes: { pass: "backward" } } as const;
    return runFused(
      device,
      "crossEntropyGrad",
      parts,
      inputs,
      [{ shape, dtype }],
      [ignoreIndex, labelSmoothing],
    );
  },
  decompose: gradientOf,
};

/** (softmax(logits) - smoothed target) g, and 0 for rows that do not count. */
function gradientOf(
  [g, logits, target]: readonly Tensor[],
  { ignoreIndex, labelSmoothing }: CrossEntropyAttributes,
): readonly Tensor[] {
  const rows = logits as Tensor;
  const classes = rows.shape[1] as number;
  const counted = notEqual(target as Tensor, ignoreIndex);
  const hot = oneHot(where(counted, target as Tensor, 0), classes, { dtype: rows.dtype });
  const smoothed = labelSmoothing === 0 ? hot : add(mul(hot, 1 - labelSmoothing), labelSmoothing / classes);
  const scale = withUnitDims(where(counted, g as Tensor, 0), [rows.shape[0] as number, 1]);
  return [mul(sub(softmax(rows, { axis: 1 }), smoothed), scale)];
}

/**
 * Cross-entropy of logits `[batch, classes, …]` with class indices `[batch, …]` or class probabilities of the logits'
 * shape. Finite at ±1e4. Numbers go as in PyTorch: with "mean", class weights weigh the mean and ignored rows do not
 * count.
 */
export function crossEntropy(logits: Tensor, target: Tensor, options: CrossEntropyOptions = {}): Tensor {
  checkOptions("crossEntropy", options, ["reduction", "weight", "ignoreIndex", "labelSmoothing"]);
  const inputs = checkOperands("crossEntropy", logits, target, options);
  const smoothing = checkNumber("crossEntropy", "labelSmoothing", options.labelSmoothing ?? 0, 0, 1);
  return composite(inputs, () => {
    if (isFloat(target.dtype)) return withProbabilities(logits, target, options, smoothing);
    const { rows, shape, classes } = classRows("crossEntropy", logits);
    checkTarget("crossEntropy", logits, target, shape);
    const flat = reshape(target, [-1]);
    if (options.weight !== undefined) {
      return weightedRows(
        "crossEntropy",
        logSoftmax(rows, { axis: 1 }),
        flat,
        classes,
        shape,
        options,
        smoothing,
      );
    }
    const ignoreIndex = options.ignoreIndex ?? -100;
    const index = checkedIndex("crossEntropy", flat, classes, ignoreIndex);
    const loss = apply(CROSS_ENTROPY, [rows, index], { ignoreIndex, labelSmoothing: smoothing })[0] as Tensor;
    const reduction = checkChoice("crossEntropy", "reduction", options.reduction ?? "mean", [
      "mean",
      "sum",
      "none",
    ]);
    if (reduction === "none") return reshape(loss, shape);
    if (reduction === "sum") return sum(loss);
    const range = index.storage.range;
    if (range !== undefined && (ignoreIndex < range[0] || ignoreIndex > range[1])) return mean(loss);
    return div(sum(loss), castTo(sum(castTo(notEqual(index, ignoreIndex), "i32")), loss.dtype));
  });
}

function withProbabilities(
  logits: Tensor,
  target: Tensor,
  options: CrossEntropyOptions,
  smoothing: number,
): Tensor {
  if (!sameShape(target.shape, logits.shape)) {
    throw new ShapeError(
      `crossEntropy: the target must be integers, or of shape ${showShape(logits.shape)}, got ${showShape(target.shape)}.`,
    );
  }
  if (options.ignoreIndex !== undefined)
    throw new OptionError("crossEntropy: ignoreIndex goes with class indices, not with probabilities.");
  const { rows, shape, classes } = classRows("crossEntropy", logits);
  checkWeight("crossEntropy", options.weight, classes);
  const goal = classRows("crossEntropy", castTo(target, logits.dtype)).rows;
  const smoothed = smoothing === 0 ? goal : add(mul(goal, 1 - smoothing), smoothing / classes);
  const logs = logSoftmax(rows, { axis: 1 });
  const weighted = options.weight === undefined ? logs : mul(logs, castTo(options.weight, logs.dtype));
  const loss = neg(sum(mul(weighted, smoothed), { axis: 1 }));
  return reduceLoss("crossEntropy", reshape(loss, shape), options);
}

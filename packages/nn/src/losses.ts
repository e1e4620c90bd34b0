import {
  bce,
  bceWithLogits,
  type ClassLossOptions,
  type CrossEntropyOptions,
  checkChoice,
  checkInteger,
  checkNumber,
  crossEntropy,
  huberLoss,
  type LossOptions,
  l1Loss,
  mseLoss,
  nllLoss,
  type Reduction,
  type Tensor,
} from "@nf/core";
import { checkLayerOptions } from "./check.ts";
import { Module } from "./module/module.ts";

/** Options of {@link BCELoss}. */
export interface BCELossOptions extends LossOptions {
  /** Factor of the loss of each element, broadcast to the target; default 1. */
  readonly weight?: Tensor;
}

/** Options of {@link BCEWithLogitsLoss}. */
export interface BCEWithLogitsLossOptions extends BCELossOptions {
  /** Factor of the loss of positive targets, broadcast to the logits; default 1. */
  readonly posWeight?: Tensor;
}

/** Options of {@link HuberLoss}. */
export interface HuberLossOptions extends LossOptions {
  /** Where the loss turns from quadratic to linear; default 1. */
  readonly delta?: number;
}

/** What the losses share. */
export abstract class Loss extends Module {
  readonly reduction: Reduction;

  constructor(loss: string, options: LossOptions, allowed: readonly string[] = []) {
    super();
    checkLayerOptions(loss, options, ["reduction", ...allowed]);
    this.reduction = checkChoice(loss, "reduction", options.reduction ?? "mean", ["mean", "sum", "none"]);
  }
}

/** Losses over classes, with optional class weights as a buffer. */
abstract class ClassLoss extends Loss {
  /** `[classes]`, or null. */
  readonly weight: Tensor | null = null;
  readonly ignoreIndex: number;

  constructor(loss: string, options: ClassLossOptions, allowed: readonly string[] = []) {
    super(loss, options, ["weight", "ignoreIndex", ...allowed]);
    this.ignoreIndex = checkInteger(
      loss,
      "ignoreIndex",
      options.ignoreIndex ?? -100,
      -(2 ** 31),
      2 ** 31 - 1,
    );
    if (options.weight !== undefined) this.weight = this.registerBuffer("weight", options.weight);
  }

  /** Options for core's functions. */
  protected classOptions(): { weight?: Tensor; ignoreIndex: number; reduction: Reduction } {
    const { weight, ignoreIndex, reduction } = this;
    return { ignoreIndex, reduction, ...(weight !== null && { weight }) };
  }
}

/**
 * Cross-entropy of logits `[batch, classes, …]` with class indices `[batch, …]` (`i32`) or class probabilities
 * `[batch, classes, …]`. Contains the softmax.
 */
export class CrossEntropyLoss extends ClassLoss {
  readonly labelSmoothing: number;

  constructor(options: CrossEntropyOptions = {}) {
    super("CrossEntropyLoss", options, ["labelSmoothing"]);
    this.labelSmoothing = checkNumber(
      "CrossEntropyLoss",
      "labelSmoothing",
      options.labelSmoothing ?? 0,
      0,
      1,
    );
  }

  override forward(logits: Tensor, target: Tensor): Tensor {
    return crossEntropy(logits, target, { ...this.classOptions(), labelSmoothing: this.labelSmoothing });
  }
}

/** Negative log-likelihood: log-probabilities `[batch, classes, …]` and class indices `[batch, …]` (`i32`). */
export class NLLLoss extends ClassLoss {
  constructor(options: ClassLossOptions = {}) {
    super("NLLLoss", options);
  }

  override forward(logProbabilities: Tensor, target: Tensor): Tensor {
    return nllLoss(logProbabilities, target, this.classOptions());
  }
}

/** Squared difference to the target. */
export class MSELoss extends Loss {
  constructor(options: LossOptions = {}) {
    super("MSELoss", options);
  }

  override forward(input: Tensor, target: Tensor): Tensor {
    return mseLoss(input, target, { reduction: this.reduction });
  }
}

/** Absolute difference to the target. */
export class L1Loss extends Loss {
  constructor(options: LossOptions = {}) {
    super("L1Loss", options);
  }

  override forward(input: Tensor, target: Tensor): Tensor {
    return l1Loss(input, target, { reduction: this.reduction });
  }
}

/** Quadratic near the target and linear beyond `delta`. Huber, "Robust estimation of a location parameter", 1964. */
export class HuberLoss extends Loss {
  readonly delta: number;

  constructor(options: HuberLossOptions = {}) {
    super("HuberLoss", options, ["delta"]);
    this.delta = checkNumber("HuberLoss", "delta", options.delta ?? 1, 0);
  }

  override forward(input: Tensor, target: Tensor): Tensor {
    return huberLoss(input, target, { delta: this.delta, reduction: this.reduction });
  }
}

/** Binary cross-entropy of probabilities with targets from 0 to 1. */
export class BCELoss extends Loss {
  /** Factor of the loss of each element, or null. */
  readonly weight: Tensor | null = null;

  constructor(options: BCELossOptions = {}) {
    super("BCELoss", options, ["weight"]);
    if (options.weight !== undefined) this.weight = this.registerBuffer("weight", options.weight);
  }

  override forward(probabilities: Tensor, target: Tensor): Tensor {
    const { reduction, weight } = this;
    return bce(probabilities, target, { reduction, ...(weight !== null && { weight }) });
  }
}

/** Binary cross-entropy of logits, which it puts through a sigmoid itself: finite where {@link BCELoss} is not. */
export class BCEWithLogitsLoss extends Loss {
  /** Factor of the loss of each element, or null. */
  readonly weight: Tensor | null = null;
  /** Factor of the loss of positive targets, or null. */
  readonly posWeight: Tensor | null = null;

  constructor(options: BCEWithLogitsLossOptions = {}) {
    super("BCEWithLogitsLoss", options, ["weight", "posWeight"]);
    if (options.weight !== undefined) this.weight = this.registerBuffer("weight", options.weight);
    if (options.posWeight !== undefined) this.posWeight = this.registerBuffer("posWeight", options.posWeight);
  }

  override forward(logits: Tensor, target: Tensor): Tensor {
    const { reduction, weight, posWeight } = this;
    return bceWithLogits(logits, target, {
      reduction,
      ...(weight !== null && { weight }),
      ...(posWeight !== null && { posWeight }),
    });
  }
}

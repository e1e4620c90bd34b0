import { add, checkNumber, cosineSimilarity, norm, sub, type Tensor } from "@nf/core";
import { composite } from "@nf/core/op";
import { checkInput, checkLayerOptions } from "../check.ts";
import { Module } from "../module/module.ts";
import { axisOf } from "./axis.ts";

/** Options of {@link CosineSimilarity}. */
export interface CosineSimilarityOptions {
  /** Along which the vectors lie; default 1. */
  readonly axis?: number;
  /** Least length that a vector counts as; default 1e-8. */
  readonly eps?: number;
}

/** Cosine of the angle between two batches of vectors, which broadcast: `[batch, width, …]` to `[batch, …]`. */
export class CosineSimilarity extends Module {
  readonly axis: number;
  readonly eps: number;

  constructor(options: CosineSimilarityOptions = {}) {
    super();
    checkLayerOptions("CosineSimilarity", options, ["axis", "eps"]);
    this.axis = axisOf("CosineSimilarity", { axis: options.axis ?? 1 }, 1);
    this.eps = checkNumber("CosineSimilarity", "eps", options.eps ?? 1e-8, 0);
  }

  override forward(first: Tensor, second: Tensor): Tensor {
    checkInput(this, first);
    checkInput(this, second);
    return cosineSimilarity(first, second, { axis: this.axis, eps: this.eps });
  }
}

/** Options of {@link PairwiseDistance}. */
export interface PairwiseDistanceOptions {
  /** Norm of the difference; default 2. */
  readonly p?: number;
  /** Added to the difference, so that its norm has a slope everywhere; default 1e-6. */
  readonly eps?: number;
  /** Whether the last axis stays, with size 1; default false. */
  readonly keepDims?: boolean;
}

/** Distance between vectors along the last axis, which broadcast: `[…, width]` to `[…]`. */
export class PairwiseDistance extends Module {
  readonly p: number;
  readonly eps: number;
  readonly keepDims: boolean;

  constructor(options: PairwiseDistanceOptions = {}) {
    super();
    checkLayerOptions("PairwiseDistance", options, ["p", "eps", "keepDims"]);
    this.p = checkNumber("PairwiseDistance", "p", options.p ?? 2);
    this.eps = checkNumber("PairwiseDistance", "eps", options.eps ?? 1e-6);
    this.keepDims = options.keepDims ?? false;
  }

  override forward(first: Tensor, second: Tensor): Tensor {
    checkInput(this, first);
    checkInput(this, second);
    const { p, eps, keepDims } = this;
    return composite([first, second], () => norm(add(sub(first, second), eps), { p, axis: -1, keepDims }));
  }
}

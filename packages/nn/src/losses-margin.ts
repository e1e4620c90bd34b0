import {
  add,
  type CosineEmbeddingOptions,
  cast,
  checkNumber,
  cosineEmbeddingLoss,
  cumsum,
  equal,
  gather,
  indexSelect,
  type LossOptions,
  less,
  logicalAnd,
  logSigmoid,
  maximum,
  mean,
  mul,
  neg,
  OptionError,
  oneHot,
  relu,
  ShapeError,
  scatterAdd,
  softplus,
  square,
  sub,
  sum,
  type Tensor,
  type TripletOptions,
  tripletMarginLoss,
  unsqueeze,
  where,
  zerosLike,
} from "@nf/core";
import { composite } from "@nf/core/op";
import { checkInput, shapeText } from "./check.ts";
import { Loss } from "./losses.ts";
import { reduced, sameShapes } from "./losses-likelihood.ts";

/** Options of losses with a margin. */
export interface MarginLossOptions extends LossOptions {
  readonly margin?: number;
}

/** Brings vectors `[batch, width]` together where the target `[batch]` is 1, and apart where it is -1. */
export class CosineEmbeddingLoss extends Loss {
  /** Cosine that unlike vectors may have without loss; default 0. */
  readonly margin: number;

  constructor(options: CosineEmbeddingOptions = {}) {
    super("CosineEmbeddingLoss", options, ["margin"]);
    this.margin = checkNumber("CosineEmbeddingLoss", "margin", options.margin ?? 0, -1, 1);
  }

  override forward(first: Tensor, second: Tensor, target: Tensor): Tensor {
    return cosineEmbeddingLoss(first, second, target, { margin: this.margin, reduction: this.reduction });
  }
}

/** max(0, d(anchor, positive) - d(anchor, negative) + margin) over vectors along the last axis. Schroff et al. 2015. */
export class TripletMarginLoss extends Loss {
  readonly margin: number;
  /** Norm of the distance. */
  readonly p: number;
  readonly eps: number;
  /** Whether the negative is measured from the positive where that is nearer. */
  readonly swap: boolean;

  constructor(options: TripletOptions = {}) {
    super("TripletMarginLoss", options, ["margin", "p", "eps", "swap"]);
    const { margin = 1, p = 2, eps = 1e-6, swap = false } = options;
    if (checkNumber("TripletMarginLoss", "margin", margin, 0) === 0)
      throw new OptionError("TripletMarginLoss: margin must be above 0.");
    this.margin = margin;
    this.p = checkNumber("TripletMarginLoss", "p", p);
    this.eps = checkNumber("TripletMarginLoss", "eps", eps);
    this.swap = swap;
  }

  override forward(anchor: Tensor, positive: Tensor, negative: Tensor): Tensor {
    const { margin, p, eps, swap, reduction } = this;
    return tripletMarginLoss(anchor, positive, negative, { margin, p, eps, swap, reduction });
  }
}

/** max(0, -target (first - second) + margin): the first should be greater where the target is 1, less where it is -1. */
export class MarginRankingLoss extends Loss {
  /** Default 0. */
  readonly margin: number;

  constructor(options: MarginLossOptions = {}) {
    super("MarginRankingLoss", options, ["margin"]);
    this.margin = checkNumber("MarginRankingLoss", "margin", options.margin ?? 0);
  }

  override forward(first: Tensor, second: Tensor, target: Tensor): Tensor {
    sameShapes(this, first, second);
    sameShapes(this, first, target);
    return reduced(relu(add(mul(neg(target), sub(first, second)), this.margin)), this.reduction);
  }
}

/** The input (a distance) where the target is 1, max(0, margin - input) where it is -1. */
export class HingeEmbeddingLoss extends Loss {
  /** Default 1. */
  readonly margin: number;

  constructor(options: MarginLossOptions = {}) {
    super("HingeEmbeddingLoss", options, ["margin"]);
    this.margin = checkNumber("HingeEmbeddingLoss", "margin", options.margin ?? 1);
  }

  override forward(input: Tensor, target: Tensor): Tensor {
    sameShapes(this, input, target);
    const unlike = where(equal(target, 1), 0, relu(add(neg(input), this.margin)));
    const alike = where(equal(target, -1), 0, input);
    return reduced(add(unlike, alike), this.reduction);
  }
}

/** log(1 + e^(-target · input)) for targets 1 and -1. */
export class SoftMarginLoss extends Loss {
  constructor(options: LossOptions = {}) {
    super("SoftMarginLoss", options);
  }

  override forward(input: Tensor, target: Tensor): Tensor {
    sameShapes(this, input, target);
    return reduced(softplus(neg(mul(target, input))), this.reduction);
  }
}

/** Options of {@link MultiLabelSoftMarginLoss}. */
export interface MultiLabelSoftMarginLossOptions extends LossOptions {
  /** Factor of the loss of each class, `[classes]`; default 1. */
  readonly weight?: Tensor;
}

/** Binary cross-entropy of logits for each class `[…, classes]`, as a mean over classes; targets are 0 or 1. */
export class MultiLabelSoftMarginLoss extends Loss {
  /** `[classes]`, or null. */
  readonly weight: Tensor | null = null;

  constructor(options: MultiLabelSoftMarginLossOptions = {}) {
    super("MultiLabelSoftMarginLoss", options, ["weight"]);
    if (options.weight !== undefined) this.weight = this.registerBuffer("weight", options.weight);
  }

  override forward(input: Tensor, target: Tensor): Tensor {
    sameShapes(this, input, target);
    const { weight, reduction } = this;
    const present = mul(target, logSigmoid(input));
    const absent = mul(sub(1, target), logSigmoid(neg(input)));
    const loss = neg(add(present, absent));
    return reduced(mean(weight === null ? loss : mul(loss, weight), { axis: -1 }), reduction);
  }
}

/**
 * Hinge loss for several right classes: over all pairs of a right and a wrong class the sum of max(0, 1 - score of the right one +
 * score of the wrong one), divided by the number of classes. Scores `[batch, classes]`, right classes `[batch, classes]` (`i32`): those
 * before the first negative one of each row count.
 */
export class MultiLabelMarginLoss extends Loss {
  constructor(options: LossOptions = {}) {
    super("MultiLabelMarginLoss", options);
  }

  override forward(input: Tensor, target: Tensor): Tensor {
    sameShapes(this, input, target);
    if (input.rank !== 2) {
      throw new ShapeError(
        `${this}: expected scores and right classes [batch, classes], got ${shapeText(input)}. Make a batch of one: unsqueeze(x, 0).`,
      );
    }
    return composite([input, target], () => {
      const { dtype } = input;
      const ended = cumsum(cast(less(target, 0), "i32"), { axis: 1 });
      const counts = equal(ended, 0); //                                              [batch, entries]
      const named = maximum(target, 0);
      const right = scatterAdd(zerosLike(input), 1, named, cast(counts, dtype)); //   [batch, classes]
      const meets = logicalAnd(unsqueeze(counts, 2), unsqueeze(equal(right, 0), 1));
      const behind = add(sub(unsqueeze(input, 1), unsqueeze(gather(input, 1, named), 2)), 1);
      // Selected, not multiplied: scores that make no pair may be infinite.
      const pairs = relu(where(meets, behind, 0)); //                                 [batch, entries, classes]
      const each = mul(sum(pairs, { axis: [1, 2] }), 1 / (input.shape[1] as number));
      return reduced(each, this.reduction);
    });
  }
}

/** Options of {@link MultiMarginLoss}. */
export interface MultiMarginLossOptions extends LossOptions {
  /** Power of each shortfall, 1 (default) or 2. */
  readonly p?: 1 | 2;
  /** By how much the right class must be ahead; default 1. */
  readonly margin?: number;
  /** Factor of the loss of samples of each class, `[classes]`; default 1. */
  readonly weight?: Tensor;
}

/**
 * Hinge loss over classes: the mean over all wrong classes of max(0, margin - score of the right one + score)^p. Scores
 * `[batch, classes]`, right classes `[batch]` (`i32`).
 */
export class MultiMarginLoss extends Loss {
  readonly p: 1 | 2;
  readonly margin: number;
  /** `[classes]`, or null. */
  readonly weight: Tensor | null = null;

  constructor(options: MultiMarginLossOptions = {}) {
    super("MultiMarginLoss", options, ["p", "margin", "weight"]);
    const { p = 1, margin = 1, weight } = options;
    if (p !== 1 && p !== 2) throw new OptionError(`MultiMarginLoss: p must be 1 or 2, got ${String(p)}.`);
    this.p = p;
    this.margin = checkNumber("MultiMarginLoss", "margin", margin);
    if (weight !== undefined) this.weight = this.registerBuffer("weight", weight);
  }

  override forward(input: Tensor, target: Tensor): Tensor {
    checkInput(this, input);
    checkInput(this, target);
    if (input.rank !== 2 || target.rank !== 1 || target.shape[0] !== input.shape[0]) {
      throw new ShapeError(
        `${this}: expected scores [batch, classes] and classes [batch], got ${shapeText(input)} and ${shapeText(target)}.`,
      );
    }
    const { p, margin, weight, reduction } = this;
    const classes = input.shape[1] as number;
    if (weight !== null && (weight.rank !== 1 || weight.shape[0] !== classes)) {
      throw new ShapeError(
        `${this}: expected a weight of ${classes} classes, [${classes}], for scores ${shapeText(input)}, got ${shapeText(weight)}.`,
      );
    }
    const right = gather(input, 1, unsqueeze(target, 1)); //                  [batch, 1]
    const wrong = equal(oneHot(target, classes, { dtype: input.dtype }), 0);
    const short = relu(where(wrong, add(sub(input, right), margin), 0)); //   [batch, classes]
    const total = sum(p === 1 ? short : square(short), { axis: 1 });
    const each = mul(total, 1 / classes); //                                  [batch]
    return reduced(weight === null ? each : mul(each, indexSelect(weight, 0, target)), reduction);
  }
}

import { broadcastShapes, sameShape, showShape } from "../backend/geometry.ts";
import { DTypeError, OptionError, ShapeError } from "../errors.ts";
import type { Tensor } from "../tensor/tensor.ts";
import { relu } from "./activations.ts";
import { composite, together } from "./apply.ts";
import { add, div, equal, minimum, mul, sub } from "./binary.ts";
import { type LossOptions, reduceLoss } from "./losses.ts";
import { l2Normalize, type NormalizeOptions, norm } from "./norm.ts";
import { checkAxis, checkFloat, checkNumber, checkOptions } from "./options.ts";
import { expandTo } from "./programs.ts";
import { sum } from "./reduce.ts";
import { where } from "./select.ts";
import { neg, sqrt, square } from "./unary.ts";

function refuseBool(op: string, { dtype }: Tensor): void {
  if (dtype === "bool") throw new DTypeError(`${op}: takes numbers, got bool. Convert with x.cast("f32").`);
}

/**
 * Cosine of the angle between the vectors of a and b along an axis (default 1, PyTorch's). Both broadcast. Vectors
 * shorter than `eps` (default 1e-8) count as that long.
 */
export function cosineSimilarity(a: Tensor, b: Tensor, options: NormalizeOptions = {}): Tensor {
  for (const x of [a, b]) checkFloat("cosineSimilarity", x);
  checkOptions("cosineSimilarity", options, ["axis", "eps"]);
  const { eps = 1e-8 } = options;
  checkNumber("cosineSimilarity", "eps", eps, 0);
  const shape = broadcastShapes("cosineSimilarity", a.shape, b.shape);
  const axis = checkAxis("cosineSimilarity", options.axis ?? 1, shape.length);
  return composite(together("cosineSimilarity", [a, b]), () => {
    const [left, right] = [a, b].map((x) => l2Normalize(expandTo(x, shape), { axis, eps }));
    return sum(mul(left as Tensor, right as Tensor), { axis });
  });
}

/** Options of {@link cosineEmbeddingLoss}. */
export interface CosineEmbeddingOptions extends LossOptions {
  /** Cosine that unlike vectors may have without loss, -1 to 1; default 0. */
  readonly margin?: number;
}

// Keeps the root of PyTorch's loss away from 0.
const SQUARE_EPSILON = 1e-12;

/**
 * 1 - cos(a, b) where the target is 1, max(0, cos(a, b) - margin) where it is -1. Vectors `[batch, width]` with targets
 * `[batch]`, or `[width]` with a scalar target.
 */
export function cosineEmbeddingLoss(
  a: Tensor,
  b: Tensor,
  target: Tensor,
  options: CosineEmbeddingOptions = {},
): Tensor {
  const inputs = together("cosineEmbeddingLoss", [a, b, target]);
  for (const x of [a, b]) refuseBool("cosineEmbeddingLoss", x);
  checkOptions("cosineEmbeddingLoss", options, ["margin", "reduction"]);
  const { margin = 0 } = options;
  checkNumber("cosineEmbeddingLoss", "margin", margin, -1, 1);
  const fits =
    (a.rank === 1 || a.rank === 2) &&
    sameShape(a.shape, b.shape) &&
    sameShape(target.shape, a.shape.slice(0, -1));
  if (!fits) {
    throw new ShapeError(
      "cosineEmbeddingLoss: expected a and b [batch, width] and target [batch], or [width] and a scalar, got " +
        `${showShape(a.shape)}, ${showShape(b.shape)} and ${showShape(target.shape)}.`,
    );
  }
  return composite(inputs, () => {
    const along = { axis: -1 };
    const [left, right] = [a, b].map((x) => add(sum(square(x), along), SQUARE_EPSILON));
    const cosine = div(sum(mul(a, b), along), sqrt(mul(left as Tensor, right as Tensor)));
    const unlike = where(equal(target, -1), relu(sub(cosine, margin)), 0);
    return reduceLoss("cosineEmbeddingLoss", where(equal(target, 1), add(neg(cosine), 1), unlike), options);
  });
}

/** Options of {@link tripletMarginLoss}. */
export interface TripletOptions extends LossOptions {
  /** By how much the negative must be further away than the positive; default 1. */
  readonly margin?: number;
  /** Norm of the distance; default 2. */
  readonly p?: number;
  /** Added to differences, which keeps distances from 0; default 1e-6. */
  readonly eps?: number;
  /** Measure the negative from the positive where that is nearer; default false. Balntas et al. 2016. */
  readonly swap?: boolean;
}

/** max(0, d(anchor, positive) - d(anchor, negative) + margin) over vectors along the last axis. Schroff et al. 2015. */
export function tripletMarginLoss(
  anchor: Tensor,
  positive: Tensor,
  negative: Tensor,
  options: TripletOptions = {},
): Tensor {
  const inputs = together("tripletMarginLoss", [anchor, positive, negative]);
  for (const x of inputs) refuseBool("tripletMarginLoss", x);
  checkOptions("tripletMarginLoss", options, ["margin", "p", "eps", "swap", "reduction"]);
  const { margin = 1, p = 2, eps = 1e-6, swap = false } = options;
  if (checkNumber("tripletMarginLoss", "margin", margin, 0) === 0)
    throw new OptionError("tripletMarginLoss: margin must be above 0.");
  checkNumber("tripletMarginLoss", "eps", eps);
  checkNumber("tripletMarginLoss", "p", p);
  if (anchor.rank === 0) throw new ShapeError("tripletMarginLoss: takes vectors, got scalars.");
  for (const other of [positive, negative]) {
    if (!sameShape(anchor.shape, other.shape)) {
      throw new ShapeError(
        `tripletMarginLoss: all three must have one shape, got ${showShape(anchor.shape)}, ${showShape(positive.shape)} and ${showShape(negative.shape)}.`,
      );
    }
  }
  return composite(inputs, () => {
    const distance = (a: Tensor, b: Tensor): Tensor => norm(add(sub(a, b), eps), { p, axis: -1 });
    const far = distance(anchor, negative);
    const nearest = swap ? minimum(far, distance(positive, negative)) : far;
    const loss = relu(add(sub(distance(anchor, positive), nearest), margin));
    return reduceLoss("tripletMarginLoss", loss, options);
  });
}

import { checkNumber, type DType, ones, parameter, rmsNorm, type Tensor } from "@nf/core";
import { checkInput, checkLayerOptions } from "../check.ts";
import { fill } from "./fill.ts";
import { Layer, type Same } from "./layer.ts";
import { checkShape } from "./normalized-shape.ts";

/** Options of {@link RMSNorm}. */
export interface RMSNormOptions {
  /** Added under the root; default the spacing of the input's floats at 1: 2^-23, for f64 2^-52, as in PyTorch. */
  readonly eps?: number | null;
  /** Whether a learned factor follows; default true. */
  readonly elementwiseAffine?: boolean;
  /** dtype of the factor; default `f32`. */
  readonly dtype?: DType;
}

/**
 * Divides the trailing dimensions of each position by their root mean square, and applies a learned factor (from 1).
 * Zhang, Sennrich 2019, arXiv:1910.07467.
 */
export class RMSNorm extends Layer<unknown, Same> {
  /** Trailing sizes that are normalised together. */
  readonly normalizedShape: readonly number[];
  /** Added under the root; null: the spacing of the input's floats. */
  readonly eps: number | null;
  /** Of the normalised shape, or null without. */
  readonly weight: Tensor | null;

  constructor(normalizedShape: number | readonly number[], options: RMSNormOptions = {}) {
    super();
    checkLayerOptions("RMSNorm", options, ["eps", "elementwiseAffine", "dtype"]);
    const { eps = null, dtype = "f32" } = options;
    const shape = checkShape("RMSNorm", normalizedShape);
    this.normalizedShape = shape;
    this.eps = eps === null ? null : checkNumber("RMSNorm", "eps", eps, 0, Number.MAX_VALUE);
    const { elementwiseAffine: affine = true } = options;
    this.weight = affine ? parameter(ones(shape, { dtype })) : null;
  }

  override resetParameters(): void {
    if (this.weight !== null) fill(this.weight, 1);
  }

  override forward<K>(input: Tensor<K>): Tensor<K> {
    checkInput(this, input);
    const { normalizedShape, eps, weight } = this;
    return rmsNorm(input, {
      normalizedShape,
      ...(eps !== null && { eps }),
      ...(weight !== null && { weight }),
    });
  }

  protected override describe(): string {
    const { normalizedShape, eps, weight } = this;
    const shape =
      normalizedShape.length === 1 ? String(normalizedShape[0]) : `[${normalizedShape.join(", ")}]`;
    const options = [
      ...(eps === null ? [] : [`eps: ${eps}`]),
      ...(weight === null ? ["elementwiseAffine: false"] : []),
    ];
    return options.length === 0 ? shape : `${shape}, { ${options.join(", ")} }`;
  }
}

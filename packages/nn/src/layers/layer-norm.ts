import { checkNumber, type DType, layerNorm, ones, parameter, type Tensor, zeros } from "@nf/core";
import { checkInput, checkLayerOptions } from "../check.ts";
import { fill } from "./fill.ts";
import { Layer, type Same } from "./layer.ts";
import { checkShape } from "./normalized-shape.ts";

/** Options of {@link LayerNorm}. */
export interface LayerNormOptions {
  /** Added to the variance; default 1e-5. */
  readonly eps?: number;
  /** Whether a learned factor (and bias) follows; default true. */
  readonly elementwiseAffine?: boolean;
  /** Whether a bias is learned with the factor; default true. */
  readonly bias?: boolean;
  /** dtype of the parameters; default `f32`. */
  readonly dtype?: DType;
}

/**
 * Takes the mean off the trailing dimensions of each position, divides by their standard deviation, and applies a
 * learned factor (from 1) and bias (from 0). Ba, Kiros, Hinton 2016, arXiv:1607.06450.
 */
export class LayerNorm extends Layer<unknown, Same> {
  /** Trailing sizes that are normalised together. */
  readonly normalizedShape: readonly number[];
  readonly eps: number;
  /** Of the normalised shape, or null without. */
  readonly weight: Tensor | null;
  /** Of the normalised shape, or null without. */
  readonly bias: Tensor | null;

  constructor(normalizedShape: number | readonly number[], options: LayerNormOptions = {}) {
    super();
    checkLayerOptions("LayerNorm", options, ["eps", "elementwiseAffine", "bias", "dtype"]);
    const { eps = 1e-5, elementwiseAffine = true, bias = true, dtype = "f32" } = options;
    const shape = checkShape("LayerNorm", normalizedShape);
    this.normalizedShape = shape;
    this.eps = checkNumber("LayerNorm", "eps", eps, 0, Number.MAX_VALUE);
    this.weight = elementwiseAffine ? parameter(ones(shape, { dtype })) : null;
    this.bias = elementwiseAffine && bias ? parameter(zeros(shape, { dtype })) : null;
  }

  override resetParameters(): void {
    if (this.weight !== null) fill(this.weight, 1);
    if (this.bias !== null) fill(this.bias, 0);
  }

  override forward<K>(input: Tensor<K>): Tensor<K> {
    checkInput(this, input);
    const { normalizedShape, eps, weight, bias } = this;
    const affine = { ...(weight !== null && { weight }), ...(bias !== null && { bias }) };
    // A norm keeps the kind of what it is given.
    return layerNorm(input, { ...affine, normalizedShape, eps }) as Tensor<K>;
  }

  protected override describe(): string {
    const { normalizedShape, weight } = this;
    const shape =
      normalizedShape.length === 1 ? String(normalizedShape[0]) : `[${normalizedShape.join(", ")}]`;
    return `${shape}${weight === null ? ", { elementwiseAffine: false }" : ""}`;
  }
}

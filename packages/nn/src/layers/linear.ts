import {
  checkInteger,
  type DType,
  type Flat,
  type Generator,
  linear,
  parameter,
  ShapeError,
  type Tensor,
  zeros,
} from "@nf/core";
import { checkInput, checkLayerOptions, shapeText } from "../check.ts";
import { Layer } from "./layer.ts";
import { resetWeights } from "./reset.ts";

/** Options of {@link Linear}. */
export interface LinearOptions {
  /** Whether to add a learned bias; default true. */
  readonly bias?: boolean;
  /** Where the initial values come from; default the generator that `manualSeed` seeds. */
  readonly generator?: Generator;
  /** dtype of the parameters; default `f32`. */
  readonly dtype?: DType;
}

/**
 * Affine map `x W^T + b` of the last dimension: `[…, inFeatures]` to `[…, outFeatures]`. Weight
 * `[outFeatures, inFeatures]` and bias start uniform over ±1 / sqrt(inFeatures), as in PyTorch.
 */
export class Linear<const I extends number = number, const O extends number = number> extends Layer<
  Flat<I>,
  Flat<O>
> {
  readonly inFeatures: I;
  readonly outFeatures: O;
  /** `[outFeatures, inFeatures]`. */
  readonly weight: Tensor;
  /** `[outFeatures]`, or null without bias. */
  readonly bias: Tensor | null;

  constructor(inFeatures: I, outFeatures: O, options: LinearOptions = {}) {
    super();
    checkLayerOptions("Linear", options, ["bias", "generator", "dtype"]);
    checkInteger("Linear", "inFeatures", inFeatures, 1);
    checkInteger("Linear", "outFeatures", outFeatures, 1);
    const { generator, dtype = "f32" } = options;
    const { bias = true } = options;
    this.inFeatures = inFeatures;
    this.outFeatures = outFeatures;
    this.weight = parameter(zeros([outFeatures, inFeatures], { dtype }));
    this.bias = bias ? parameter(zeros([outFeatures], { dtype })) : null;
    this.resetParameters(generator);
  }

  override resetParameters(generator?: Generator): void {
    resetWeights(this.weight, this.bias, generator);
  }

  override forward(input: Tensor<Flat<I>>): Tensor<Flat<O>> {
    checkInput(this, input);
    const features = input.shape.at(-1);
    if (features !== this.inFeatures) {
      const advice =
        input.rank > 2
          ? "After a convolution or pooling layer, put a Flatten before it."
          : `Make its inFeatures ${features ?? "fit"}, or the layer before it give ${this.inFeatures}.`;
      throw new ShapeError(
        `${this}: expected ${this.inFeatures} features in the last dimension, got an input of shape ${shapeText(input)}. ${advice}`,
      );
    }
    return linear(input, this.weight, this.bias ?? undefined);
  }

  protected override describe(): string {
    return `${this.inFeatures}, ${this.outFeatures}${this.bias === null ? ", { bias: false }" : ""}`;
  }
}

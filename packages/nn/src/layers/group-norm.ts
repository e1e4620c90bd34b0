import {
  checkInteger,
  checkNumber,
  type DType,
  type Flat,
  groupNorm,
  OptionError,
  ones,
  parameter,
  ShapeError,
  type Spatial,
  type Tensor,
  zeros,
} from "@nf/core";
import { checkInput, checkLayerOptions, shapeText } from "../check.ts";
import { fill } from "./fill.ts";
import { Layer, type Same } from "./layer.ts";

/** Options of {@link GroupNorm}. */
export interface GroupNormLayerOptions {
  /** Added to the variance; default 1e-5. */
  readonly eps?: number;
  /** Whether a learned factor and bias of each channel follow; default true. */
  readonly affine?: boolean;
  /** dtype of the parameters; default `f32`. */
  readonly dtype?: DType;
}

/**
 * Cuts the channels of each sample `[batch, channels, …]` into groups, takes the mean off each, divides by its standard
 * deviation, and applies a learned factor (from 1) and bias (from 0) of each channel. Wu, He 2018, arXiv:1803.08494.
 */
export class GroupNorm<const C extends number = number> extends Layer<Spatial<number, C> | Flat<C>, Same> {
  readonly numGroups: number;
  readonly numChannels: C;
  readonly eps: number;
  /** `[numChannels]`, or null without. */
  readonly weight: Tensor | null;
  /** `[numChannels]`, or null without. */
  readonly bias: Tensor | null;

  /** @throws OptionError where the groups do not divide the channels. */
  constructor(numGroups: number, numChannels: C, options: GroupNormLayerOptions = {}) {
    super();
    checkLayerOptions("GroupNorm", options, ["eps", "affine", "dtype"]);
    const { eps = 1e-5, dtype = "f32" } = options;
    checkInteger("GroupNorm", "numGroups", numGroups, 1);
    checkInteger("GroupNorm", "numChannels", numChannels, 1);
    if (numChannels % numGroups !== 0) {
      throw new OptionError(
        `GroupNorm: numGroups must divide numChannels, got ${numGroups} groups for ${numChannels}.`,
      );
    }
    this.numGroups = numGroups;
    this.numChannels = numChannels;
    this.eps = checkNumber("GroupNorm", "eps", eps, 0, Number.MAX_VALUE);
    const { affine = true } = options;
    this.weight = affine ? parameter(ones([numChannels], { dtype })) : null;
    this.bias = affine ? parameter(zeros([numChannels], { dtype })) : null;
  }

  override resetParameters(): void {
    if (this.weight !== null) fill(this.weight, 1);
    if (this.bias !== null) fill(this.bias, 0);
  }

  override forward<N extends number>(input: Tensor<Spatial<N, C>>): Tensor<Spatial<N, C>>;
  override forward(input: Tensor<Flat<C>>): Tensor<Flat<C>>;
  override forward(input: Tensor): Tensor {
    checkInput(this, input);
    const { numGroups: groups, numChannels, eps, weight, bias } = this;
    if (input.rank < 2 || input.shape[1] !== numChannels) {
      throw new ShapeError(`${this}: expected an input [batch, ${numChannels}, …], got ${shapeText(input)}.`);
    }
    const affine = { ...(weight !== null && { weight }), ...(bias !== null && { bias }) };
    return groupNorm(input, { ...affine, groups, eps });
  }

  protected override describe(): string {
    const { numGroups, numChannels, eps, weight } = this;
    const options = [...(eps === 1e-5 ? [] : [`eps: ${eps}`]), ...(weight === null ? ["affine: false"] : [])];
    return `${numGroups}, ${numChannels}${options.length === 0 ? "" : `, { ${options.join(", ")} }`}`;
  }
}

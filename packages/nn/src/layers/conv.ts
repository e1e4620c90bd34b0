import {
  type ConvOptions,
  checkChoice,
  conv1d,
  conv2d,
  conv3d,
  OptionError,
  type Spatial,
  type Tensor,
} from "@nf/core";
import { checkLayerOptions, checkSpatial, compact, type PerDimension, perDimension } from "../check.ts";
import { described, KernelLayer, type KernelOptions } from "./conv-base.ts";

/** Options of the convolution layers: those of core's convolutions, and how the parameters are made. */
export interface ConvLayerOptions extends ConvOptions, KernelOptions {}

const OPTIONS = ["stride", "padding", "dilation", "groups", "bias", "generator", "dtype"] as const;

/** What the convolution layers share; `N` spatial dimensions. */
export abstract class Conv<N extends 1 | 2 | 3, I extends number, O extends number> extends KernelLayer<
  N,
  I,
  O
> {
  readonly padding: readonly number[] | "same" | "valid";

  constructor(
    dimensions: N,
    inChannels: I,
    outChannels: O,
    kernelSize: PerDimension,
    options: ConvLayerOptions,
  ) {
    const layer = `Conv${dimensions}d`;
    checkLayerOptions(layer, options, OPTIONS);
    const padding = checkPadding(layer, dimensions, options);
    super(layer, dimensions, inChannels, outChannels, kernelSize, options, false);
    this.padding = padding;
  }

  override forward(input: Tensor<Spatial<N, I>>): Tensor<Spatial<N, O>> {
    const { kernelSize, stride, padding, dilation, groups } = this;
    checkSpatial(this, input, kernelSize.length, this.inChannels);
    return this.convolve(input, this.bias ?? undefined, { stride, padding, dilation, groups });
  }

  /** The convolution of core for this number of dimensions. */
  protected abstract convolve(
    input: Tensor,
    bias: Tensor | undefined,
    options: ConvolveOptions,
  ): Tensor<Spatial<N, O>>;

  protected override describePadding(): readonly string[] {
    const { padding } = this;
    return typeof padding === "string" ? [`padding: "${padding}"`] : described("padding", padding, 0);
  }
}

/** Padding as a layer has it, which with `same` goes with a stride of 1. */
function checkPadding(
  layer: string,
  dimensions: number,
  { padding = 0, stride = 1 }: ConvLayerOptions,
): readonly number[] | "same" | "valid" {
  if (typeof padding !== "string") return perDimension(layer, "padding", padding, dimensions, 0);
  checkChoice(layer, "padding", padding, ["same", "valid"]);
  const steps = perDimension(layer, "stride", stride, dimensions, 1);
  if (padding === "same" && steps.some((step) => step !== 1))
    throw new OptionError(`${layer}: padding "same" needs stride 1, got ${compact(steps)}.`);
  return padding;
}

/** The settings of a layer, one number for each spatial dimension. */
export interface ConvolveOptions {
  readonly stride: readonly number[];
  readonly padding: readonly number[] | "same" | "valid";
  readonly dilation: readonly number[];
  readonly groups: number;
}

/** Convolution over signals: `[batch, inChannels, length]` to `[batch, outChannels, length']`. */
export class Conv1d<const I extends number = number, const O extends number = number> extends Conv<1, I, O> {
  constructor(inChannels: I, outChannels: O, kernelSize: PerDimension, options: ConvLayerOptions = {}) {
    super(1, inChannels, outChannels, kernelSize, options);
  }

  protected override convolve(
    input: Tensor,
    bias: Tensor | undefined,
    options: ConvolveOptions,
  ): Tensor<Spatial<1, O>> {
    return conv1d(input, this.weight, bias, options);
  }
}

/**
 * Convolution over images (cross-correlation, as everywhere in deep learning): `[batch, inChannels, height, width]` to
 * `[batch, outChannels, height', width']` with `height' = floor((height + 2 padding - dilation (kernel - 1) - 1) /
 * stride) + 1`. Weight and bias start uniform over ±1 / sqrt(inChannels / groups * kernel area), as in PyTorch.
 *
 * With as many groups as input channels it is a depthwise convolution: each channel has kernels of its own.
 *
 * @example
 * ```ts no-run
 * import { Conv2d, sequential } from "@nf/nn";
 *
 * const separable = sequential(new Conv2d(32, 32, 3, { padding: 1, groups: 32 }), new Conv2d(32, 64, 1));
 * ```
 */
export class Conv2d<const I extends number = number, const O extends number = number> extends Conv<2, I, O> {
  constructor(inChannels: I, outChannels: O, kernelSize: PerDimension, options: ConvLayerOptions = {}) {
    super(2, inChannels, outChannels, kernelSize, options);
  }

  protected override convolve(
    input: Tensor,
    bias: Tensor | undefined,
    options: ConvolveOptions,
  ): Tensor<Spatial<2, O>> {
    return conv2d(input, this.weight, bias, options);
  }
}

/** Convolution over volumes: `[batch, inChannels, depth, height, width]`, see {@link Conv2d}. */
export class Conv3d<const I extends number = number, const O extends number = number> extends Conv<3, I, O> {
  constructor(inChannels: I, outChannels: O, kernelSize: PerDimension, options: ConvLayerOptions = {}) {
    super(3, inChannels, outChannels, kernelSize, options);
  }

  protected override convolve(
    input: Tensor,
    bias: Tensor | undefined,
    options: ConvolveOptions,
  ): Tensor<Spatial<3, O>> {
    return conv3d(input, this.weight, bias, options);
  }
}

import {
  type ConvOptions,
  checkChoice,
  checkInteger,
  checkOptions,
  conv1d,
  conv2d,
  conv3d,
  type DType,
  type Generator,
  OptionError,
  parameter,
  type Spatial,
  type Tensor,
  zeros,
} from "@nf/core";
import { checkSpatial, compact, flag, type PerDimension, perDimension } from "../check.ts";
import { Layer } from "./layer.ts";
import { resetWeights } from "./reset.ts";

/** Options of the convolution layers: those of core's convolutions, and how the parameters are made. */
export interface ConvLayerOptions extends ConvOptions {
  /** Whether to add a learned bias per output channel; default true. */
  readonly bias?: boolean;
  /** Where the initial values come from; default the generator that `manualSeed` seeds. */
  readonly generator?: Generator;
  /** dtype of the parameters; default `f32`. */
  readonly dtype?: DType;
}

const OPTIONS = ["stride", "padding", "dilation", "groups", "bias", "generator", "dtype"] as const;

/** What the convolution layers share; `N` spatial dimensions. */
export abstract class Conv<N extends 1 | 2 | 3, I extends number, O extends number> extends Layer<
  Spatial<N, I>,
  Spatial<N, O>
> {
  readonly inChannels: I;
  readonly outChannels: O;
  readonly kernelSize: readonly number[];
  readonly stride: readonly number[];
  readonly padding: readonly number[] | "same" | "valid";
  readonly dilation: readonly number[];
  readonly groups: number;
  /** `[outChannels, inChannels / groups, …kernelSize]`. */
  readonly weight: Tensor;
  /** `[outChannels]`, or null without bias. */
  readonly bias: Tensor | null;

  constructor(
    dimensions: N,
    inChannels: I,
    outChannels: O,
    kernelSize: PerDimension,
    options: ConvLayerOptions,
  ) {
    super();
    const layer = `Conv${dimensions}d`;
    checkOptions(layer, options, OPTIONS);
    checkInteger(layer, "inChannels", inChannels, 1);
    checkInteger(layer, "outChannels", outChannels, 1);
    const { stride = 1, padding = 0, dilation = 1, groups = 1, generator, dtype = "f32" } = options;
    const bias = flag(layer, "bias", options.bias, true);
    checkInteger(layer, "groups", groups, 1);
    if (inChannels % groups !== 0 || outChannels % groups !== 0) {
      throw new OptionError(
        `${layer}: groups must divide inChannels and outChannels, got ${groups} groups for ${inChannels} and ${outChannels}.`,
      );
    }
    this.inChannels = inChannels;
    this.outChannels = outChannels;
    this.kernelSize = perDimension(layer, "kernelSize", kernelSize, dimensions, 1);
    this.stride = perDimension(layer, "stride", stride, dimensions, 1);
    checkPadding(layer, padding, this.stride);
    this.padding =
      typeof padding === "string" ? padding : perDimension(layer, "padding", padding, dimensions, 0);
    this.dilation = perDimension(layer, "dilation", dilation, dimensions, 1);
    this.groups = groups;
    this.weight = parameter(zeros([outChannels, inChannels / groups, ...this.kernelSize], { dtype }));
    this.bias = bias ? parameter(zeros([outChannels], { dtype })) : null;
    this.resetParameters(generator);
  }

  override resetParameters(generator?: Generator): void {
    resetWeights(this.weight, this.bias, generator);
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

  protected override describe(): string {
    const { inChannels, outChannels, kernelSize, stride, padding, dilation, groups, bias } = this;
    const options = [
      ...(stride.some((step) => step !== 1) ? [`stride: ${compact(stride)}`] : []),
      ...(typeof padding === "string" ? [`padding: "${padding}"`] : []),
      ...(typeof padding !== "string" && padding.some((width) => width !== 0)
        ? [`padding: ${compact(padding)}`]
        : []),
      ...(dilation.some((step) => step !== 1) ? [`dilation: ${compact(dilation)}`] : []),
      ...(groups === 1 ? [] : [`groups: ${groups}`]),
      ...(bias === null ? ["bias: false"] : []),
    ];
    const tail = options.length === 0 ? "" : `, { ${options.join(", ")} }`;
    return `${inChannels}, ${outChannels}, ${compact(kernelSize)}${tail}`;
  }
}

function checkPadding(layer: string, padding: ConvOptions["padding"], stride: readonly number[]): void {
  if (typeof padding !== "string") return;
  checkChoice(layer, "padding", padding, ["same", "valid"]);
  if (padding === "same" && stride.some((step) => step !== 1)) {
    throw new OptionError(`${layer}: padding "same" needs stride 1, got ${compact(stride)}.`);
  }
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

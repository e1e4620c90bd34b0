import {
  type ConvTransposeOptions,
  checkInteger,
  checkOptions,
  convTranspose1d,
  convTranspose2d,
  convTranspose3d,
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

/** Options of the transposed convolution layers: those of core's functions, and how the parameters are made. */
export interface ConvTransposeLayerOptions extends ConvTransposeOptions {
  /** Whether to add a learned bias per output channel; default true. */
  readonly bias?: boolean;
  /** Where the initial values come from; default the generator that `manualSeed` seeds. */
  readonly generator?: Generator;
  /** dtype of the parameters; default `f32`. */
  readonly dtype?: DType;
}

const OPTIONS = [
  "stride",
  "padding",
  "outputPadding",
  "dilation",
  "groups",
  "bias",
  "generator",
  "dtype",
] as const;

/** What the transposed convolution layers share; `N` spatial dimensions. */
export abstract class ConvTranspose<N extends 1 | 2 | 3, I extends number, O extends number> extends Layer<
  Spatial<N, I>,
  Spatial<N, O>
> {
  readonly inChannels: I;
  readonly outChannels: O;
  readonly kernelSize: readonly number[];
  readonly stride: readonly number[];
  readonly padding: readonly number[];
  readonly outputPadding: readonly number[];
  readonly dilation: readonly number[];
  readonly groups: number;
  /** `[inChannels, outChannels / groups, …kernelSize]`. */
  readonly weight: Tensor;
  /** `[outChannels]`, or null without bias. */
  readonly bias: Tensor | null;

  constructor(
    dimensions: N,
    inChannels: I,
    outChannels: O,
    kernelSize: PerDimension,
    options: ConvTransposeLayerOptions,
  ) {
    super();
    const layer = `ConvTranspose${dimensions}d`;
    checkOptions(layer, options, OPTIONS);
    checkInteger(layer, "inChannels", inChannels, 1);
    checkInteger(layer, "outChannels", outChannels, 1);
    const { groups = 1, generator, dtype = "f32" } = options;
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
    this.stride = perDimension(layer, "stride", options.stride ?? 1, dimensions, 1);
    this.padding = perDimension(layer, "padding", options.padding ?? 0, dimensions, 0);
    this.outputPadding = perDimension(layer, "outputPadding", options.outputPadding ?? 0, dimensions, 0);
    this.dilation = perDimension(layer, "dilation", options.dilation ?? 1, dimensions, 1);
    for (const [axis, amount] of this.outputPadding.entries()) {
      const limit = Math.max(this.stride[axis] ?? 1, this.dilation[axis] ?? 1);
      if (amount >= limit) {
        throw new OptionError(
          `${layer}: outputPadding must be less than stride or dilation (${limit}), got ${amount}.`,
        );
      }
    }
    this.groups = groups;
    this.weight = parameter(zeros([inChannels, outChannels / groups, ...this.kernelSize], { dtype }));
    this.bias = bias ? parameter(zeros([outChannels], { dtype })) : null;
    this.resetParameters(generator);
  }

  override resetParameters(generator?: Generator): void {
    resetWeights(this.weight, this.bias, generator);
  }

  override forward(input: Tensor<Spatial<N, I>>): Tensor<Spatial<N, O>> {
    const { kernelSize, stride, padding, outputPadding, dilation, groups, bias } = this;
    checkSpatial(this, input, kernelSize.length, this.inChannels);
    return this.spread(input, bias ?? undefined, { stride, padding, outputPadding, dilation, groups });
  }

  /** The transposed convolution of core for this number of dimensions. */
  protected abstract spread(
    input: Tensor,
    bias: Tensor | undefined,
    options: ConvTransposeOptions,
  ): Tensor<Spatial<N, O>>;

  protected override describe(): string {
    const { inChannels, outChannels, kernelSize, stride, padding, outputPadding, dilation, groups } = this;
    const list = (name: string, values: readonly number[], standard: number): readonly string[] =>
      values.every((value) => value === standard) ? [] : [`${name}: ${compact(values)}`];
    const options = [
      ...list("stride", stride, 1),
      ...list("padding", padding, 0),
      ...list("outputPadding", outputPadding, 0),
      ...list("dilation", dilation, 1),
      ...(groups === 1 ? [] : [`groups: ${groups}`]),
      ...(this.bias === null ? ["bias: false"] : []),
    ];
    const tail = options.length === 0 ? "" : `, { ${options.join(", ")} }`;
    return `${inChannels}, ${outChannels}, ${compact(kernelSize)}${tail}`;
  }
}

/** Transposed convolution over signals: `[batch, inChannels, length]` to `[batch, outChannels, length']`. */
export class ConvTranspose1d<
  const I extends number = number,
  const O extends number = number,
> extends ConvTranspose<1, I, O> {
  constructor(
    inChannels: I,
    outChannels: O,
    kernelSize: PerDimension,
    options: ConvTransposeLayerOptions = {},
  ) {
    super(1, inChannels, outChannels, kernelSize, options);
  }

  protected override spread(
    input: Tensor,
    bias: Tensor | undefined,
    options: ConvTransposeOptions,
  ): Tensor<Spatial<1, O>> {
    return convTranspose1d(input, this.weight, bias, options);
  }
}

/**
 * Transposed convolution over images, which enlarges: `[batch, inChannels, height, width]` to
 * `[batch, outChannels, height', width']` with `height' = (height - 1) stride - 2 padding + dilation (kernel - 1) +
 * outputPadding + 1`. Weight and bias start uniform over ±1 / sqrt(outChannels / groups * kernel area), as in PyTorch.
 */
export class ConvTranspose2d<
  const I extends number = number,
  const O extends number = number,
> extends ConvTranspose<2, I, O> {
  constructor(
    inChannels: I,
    outChannels: O,
    kernelSize: PerDimension,
    options: ConvTransposeLayerOptions = {},
  ) {
    super(2, inChannels, outChannels, kernelSize, options);
  }

  protected override spread(
    input: Tensor,
    bias: Tensor | undefined,
    options: ConvTransposeOptions,
  ): Tensor<Spatial<2, O>> {
    return convTranspose2d(input, this.weight, bias, options);
  }
}

/** Transposed convolution over volumes: `[batch, inChannels, depth, height, width]`, see {@link ConvTranspose2d}. */
export class ConvTranspose3d<
  const I extends number = number,
  const O extends number = number,
> extends ConvTranspose<3, I, O> {
  constructor(
    inChannels: I,
    outChannels: O,
    kernelSize: PerDimension,
    options: ConvTransposeLayerOptions = {},
  ) {
    super(3, inChannels, outChannels, kernelSize, options);
  }

  protected override spread(
    input: Tensor,
    bias: Tensor | undefined,
    options: ConvTransposeOptions,
  ): Tensor<Spatial<3, O>> {
    return convTranspose3d(input, this.weight, bias, options);
  }
}

import {
  type ConvTransposeOptions,
  checkOptions,
  convTranspose1d,
  convTranspose2d,
  convTranspose3d,
  OptionError,
  ShapeError,
  type Spatial,
  type Tensor,
} from "@nf/core";
import {
  checkLayerOptions,
  checkSpatial,
  type PerDimension,
  perDimension,
  shapeText,
  showList,
} from "../check.ts";
import { described, KernelLayer, type KernelOptions } from "./conv-base.ts";

/** Options of the transposed convolution layers: those of core's functions, and how the parameters are made. */
export interface ConvTransposeLayerOptions extends ConvTransposeOptions, KernelOptions {}

/** Options of a pass through a transposed convolution. */
export interface OutputSizeOptions {
  /**
   * Spatial sizes of the result, where a stride leaves several that a convolution would make this input of; in the place of
   * `outputPadding`.
   */
  readonly outputSize?: readonly number[];
}

const OPTIONS = [
  ...["stride", "padding", "outputPadding", "dilation", "groups"],
  ...["bias", "generator", "dtype"],
] as const;

/** What the transposed convolution layers share; `N` spatial dimensions. */
export abstract class ConvTranspose<
  N extends 1 | 2 | 3,
  I extends number,
  O extends number,
> extends KernelLayer<N, I, O> {
  readonly padding: readonly number[];
  readonly outputPadding: readonly number[];

  constructor(
    dimensions: N,
    inChannels: I,
    outChannels: O,
    kernelSize: PerDimension,
    options: ConvTransposeLayerOptions,
  ) {
    const layer = `ConvTranspose${dimensions}d`;
    checkLayerOptions(layer, options, OPTIONS);
    const setting = (name: "padding" | "outputPadding" | "stride" | "dilation", least: 0 | 1) =>
      perDimension(layer, name, options[name] ?? least, dimensions, least);
    const [padding, outputPadding] = [setting("padding", 0), setting("outputPadding", 0)];
    const [stride, dilation] = [setting("stride", 1), setting("dilation", 1)];
    for (const [axis, amount] of outputPadding.entries()) {
      const limit = Math.max(stride[axis] as number, dilation[axis] as number);
      if (amount >= limit) {
        throw new OptionError(
          `${layer}: outputPadding must be less than stride or dilation (${limit}), got ${amount}.`,
        );
      }
    }
    super(layer, dimensions, inChannels, outChannels, kernelSize, options, true);
    this.padding = padding;
    this.outputPadding = outputPadding;
  }

  /** @throws ShapeError where no convolution with these settings makes the input of `outputSize`. */
  override forward(input: Tensor<Spatial<N, I>>, options: OutputSizeOptions = {}): Tensor<Spatial<N, O>> {
    checkOptions(`ConvTranspose${this.kernelSize.length}d`, options, ["outputSize"]);
    const { kernelSize, stride, padding, dilation, groups, bias } = this;
    checkSpatial(this, input, kernelSize.length, this.inChannels);
    const { outputSize } = options;
    const outputPadding = outputSize === undefined ? this.outputPadding : this.missing(input, outputSize);
    return this.spread(input, bias ?? undefined, { stride, padding, outputPadding, dilation, groups });
  }

  /** What `outputSize` is larger by than the smallest possible result. */
  private missing(input: Tensor, outputSize: readonly number[]): readonly number[] {
    const { kernelSize, stride, padding, dilation } = this;
    const least = kernelSize.map((size, axis) => {
      const steps = Math.max(0, (input.shape[axis + 2] as number) - 1) * (stride[axis] as number);
      return steps - 2 * (padding[axis] as number) + (dilation[axis] as number) * (size - 1) + 1;
    });
    const found = least.map((size, axis) => {
      const asked = (outputSize as unknown[] | null)?.[axis];
      return typeof asked === "number" ? asked - size : Number.NaN;
    });
    const fits = found.every(
      (more, axis) => Number.isInteger(more) && more >= 0 && more < (stride[axis] as number),
    );
    if (!Array.isArray(outputSize) || outputSize.length !== least.length || !fits) {
      const most = least.map((size, axis) => size + (stride[axis] as number) - 1);
      throw new ShapeError(
        `${this}: outputSize must lie from [${least.join(", ")}] to [${most.join(", ")}] for an input of ${shapeText(input)}, ` +
          `got ${showList(outputSize)}.`,
      );
    }
    return found;
  }

  /** The transposed convolution of core for this number of dimensions. */
  protected abstract spread(
    input: Tensor,
    bias: Tensor | undefined,
    options: ConvTransposeOptions,
  ): Tensor<Spatial<N, O>>;

  protected override describePadding(): readonly string[] {
    return [...described("padding", this.padding, 0), ...described("outputPadding", this.outputPadding, 0)];
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

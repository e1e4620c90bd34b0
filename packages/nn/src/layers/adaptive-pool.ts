import {
  adaptiveAvgPool1d,
  adaptiveAvgPool2d,
  adaptiveMaxPool1d,
  adaptiveMaxPool2d,
  checkInteger,
  globalAvgPool,
  globalMaxPool,
  OptionError,
  reshape,
  ShapeError,
  type Spatial,
  type Tensor,
} from "@nf/core";
import { checkInput, checkSpatial, shapeText, showList } from "../check.ts";
import { type ChannelFeatures, Layer, type Same } from "./layer.ts";

/** A size for all spatial dimensions of a result, or one for each; null keeps the input's. */
export type AdaptiveSize = number | readonly (number | null)[];

/** What the adaptive pooling layers share: the size of the result is given, windows follow from it. */
abstract class AdaptivePool<N extends 1 | 2 | 3> extends Layer<Spatial<N>, Same> {
  /** Size of each spatial dimension of the result; null keeps the input's. */
  readonly outputSize: readonly (number | null)[];

  constructor(layer: string, dimensions: N, outputSize: AdaptiveSize) {
    super();
    const sizes =
      typeof outputSize === "number" ? new Array<number>(dimensions).fill(outputSize) : outputSize;
    if (!Array.isArray(sizes) || sizes.length !== dimensions) {
      throw new OptionError(
        `${layer}: outputSize must be a number or a list of ${dimensions}, got ${showList(outputSize)}.`,
      );
    }
    for (const size of sizes) if (size !== null) checkInteger(layer, "outputSize", size, 1);
    this.outputSize = [...sizes];
  }

  /** Checks an input, and says how large its result is. */
  protected sizesFor(input: Tensor): readonly number[] {
    checkSpatial(this, input, this.outputSize.length);
    return this.outputSize.map((size, axis) => size ?? (input.shape[axis + 2] as number));
  }

  protected override describe(): string {
    const { outputSize } = this;
    return outputSize.every((size) => size === outputSize[0])
      ? String(outputSize[0])
      : `[${outputSize.join(", ")}]`;
  }
}

/** Mean over windows of a signal, as many as `outputSize`: `[batch, channels, length]` to `[batch, channels, outputSize]`. */
export class AdaptiveAvgPool1d extends AdaptivePool<1> {
  constructor(outputSize: AdaptiveSize) {
    super("AdaptiveAvgPool1d", 1, outputSize);
  }

  override forward<C extends number>(input: Tensor<Spatial<1, C>>): Tensor<Spatial<1, C>> {
    return adaptiveAvgPool1d(input, { outputSize: this.sizesFor(input) });
  }
}

/** Mean over windows of an image, so that the result has `outputSize`; with 1, one value a channel. */
export class AdaptiveAvgPool2d extends AdaptivePool<2> {
  constructor(outputSize: AdaptiveSize) {
    super("AdaptiveAvgPool2d", 2, outputSize);
  }

  override forward<C extends number>(input: Tensor<Spatial<2, C>>): Tensor<Spatial<2, C>> {
    return adaptiveAvgPool2d(input, { outputSize: this.sizesFor(input) });
  }
}

/**
 * Pools volumes with a function for images. Windows are boxes: their mean (or greatest element) is that over depth of those
 * over height and width.
 */
function overVolumes(pool: typeof adaptiveAvgPool2d, x: Tensor, sizes: readonly number[]): Tensor {
  const [batch, channels, depth] = x.shape as [number, number, number];
  const [toDepth, toHeight, toWidth] = sizes as [number, number, number];
  const planes = reshape(x, [batch, channels * depth, ...x.shape.slice(3)]);
  const flat = pool(planes, { outputSize: [toHeight, toWidth] }); //          [batch, channels * depth, height', width']
  const area = toHeight * toWidth;
  const lines = pool(reshape(flat, [batch, channels, depth, area]), { outputSize: [toDepth, area] });
  return reshape(lines, [batch, channels, ...sizes]);
}

/** Mean over windows of a volume, so that the result has `outputSize`. */
export class AdaptiveAvgPool3d extends AdaptivePool<3> {
  constructor(outputSize: AdaptiveSize) {
    super("AdaptiveAvgPool3d", 3, outputSize);
  }

  override forward<C extends number>(input: Tensor<Spatial<3, C>>): Tensor<Spatial<3, C>> {
    return overVolumes(adaptiveAvgPool2d, input, this.sizesFor(input));
  }
}

/** Greatest element of windows of a signal, as many as `outputSize`. */
export class AdaptiveMaxPool1d extends AdaptivePool<1> {
  constructor(outputSize: AdaptiveSize) {
    super("AdaptiveMaxPool1d", 1, outputSize);
  }

  override forward<C extends number>(input: Tensor<Spatial<1, C>>): Tensor<Spatial<1, C>> {
    return adaptiveMaxPool1d(input, { outputSize: this.sizesFor(input) });
  }
}

/** Greatest element of windows of an image, so that the result has `outputSize`. */
export class AdaptiveMaxPool2d extends AdaptivePool<2> {
  constructor(outputSize: AdaptiveSize) {
    super("AdaptiveMaxPool2d", 2, outputSize);
  }

  override forward<C extends number>(input: Tensor<Spatial<2, C>>): Tensor<Spatial<2, C>> {
    return adaptiveMaxPool2d(input, { outputSize: this.sizesFor(input) });
  }
}

/** Greatest element of windows of a volume, so that the result has `outputSize`. */
export class AdaptiveMaxPool3d extends AdaptivePool<3> {
  constructor(outputSize: AdaptiveSize) {
    super("AdaptiveMaxPool3d", 3, outputSize);
  }

  override forward<C extends number>(input: Tensor<Spatial<3, C>>): Tensor<Spatial<3, C>> {
    return overVolumes(adaptiveMaxPool2d, input, this.sizesFor(input));
  }
}

/** What the global pooling layers share. */
abstract class GlobalPool extends Layer<Spatial<number>, ChannelFeatures> {
  protected checked(input: Tensor): Tensor {
    checkInput(this, input);
    if (input.rank >= 3) return input;
    throw new ShapeError(`${this}: expected an input [batch, channels, …spatial], got ${shapeText(input)}.`);
  }
}

/**
 * Mean over all spatial dimensions: `[batch, channels, …]` to `[batch, channels]`. PyTorch writes it as
 * `AdaptiveAvgPool2d(1)` and `Flatten()`. Lin, Chen, Yan 2013, arXiv:1312.4400.
 */
export class GlobalAvgPool extends GlobalPool {
  override forward(input: Tensor<Spatial<number>>): Tensor {
    return globalAvgPool(this.checked(input));
  }
}

/** Greatest element over all spatial dimensions: `[batch, channels, …]` to `[batch, channels]`. */
export class GlobalMaxPool extends GlobalPool {
  override forward(input: Tensor<Spatial<number>>): Tensor {
    return globalMaxPool(this.checked(input));
  }
}

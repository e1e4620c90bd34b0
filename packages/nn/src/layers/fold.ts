import {
  checkInteger,
  fold,
  permute,
  reshape,
  ShapeError,
  type Spatial,
  type Tensor,
  type UnfoldOptions,
  unfold,
} from "@nf/core";
import {
  checkLayerOptions,
  checkSpatial,
  compact,
  type PerDimension,
  perDimension,
  shapeText,
} from "../check.ts";
import { Layer, type Same } from "./layer.ts";

/** Options of {@link Unfold} and {@link Fold}; numbers count for height and width. */
export type FoldLayerOptions = Omit<UnfoldOptions, "kernelSize">;

/** The windows that both go over. */
abstract class Windows<In, Out> extends Layer<In, Out> {
  readonly kernelSize: readonly number[];
  readonly dilation: readonly number[];
  readonly padding: readonly number[];
  readonly stride: readonly number[];

  constructor(layer: string, kernelSize: PerDimension, options: FoldLayerOptions) {
    checkLayerOptions(layer, options, ["dilation", "padding", "stride"]);
    super();
    this.kernelSize = perDimension(layer, "kernelSize", kernelSize, 2, 1);
    this.dilation = perDimension(layer, "dilation", options.dilation ?? 1, 2, 1);
    this.padding = perDimension(layer, "padding", options.padding ?? 0, 2, 0);
    this.stride = perDimension(layer, "stride", options.stride ?? 1, 2, 1);
  }

  protected override describe(): string {
    const { kernelSize, dilation, padding, stride } = this;
    const options = [
      ...(dilation.some((step) => step !== 1) ? [`dilation: ${compact(dilation)}`] : []),
      ...(padding.some((width) => width !== 0) ? [`padding: ${compact(padding)}`] : []),
      ...(stride.some((step) => step !== 1) ? [`stride: ${compact(stride)}`] : []),
    ];
    return `${compact(kernelSize)}${options.length === 0 ? "" : `, { ${options.join(", ")} }`}`;
  }
}

/** The windows of images `[batch, channels, height, width]` as columns: `[batch, channels · kernel area, windows]`, row by row. */
export class Unfold extends Windows<Spatial<2>, Spatial<1>> {
  constructor(kernelSize: PerDimension, options: FoldLayerOptions = {}) {
    super("Unfold", kernelSize, options);
  }

  override forward(input: Tensor<Spatial<2>>): Tensor<Spatial<1>> {
    const { kernelSize, dilation, padding, stride } = this;
    checkSpatial(this, input, 2);
    return unfold(input, { kernelSize, dilation, padding, stride });
  }
}

/** The reverse of {@link Unfold}: columns `[batch, channels · kernel area, windows]` added up at their places in images of `outputSize`. */
export class Fold extends Windows<Spatial<1>, Spatial<2>> {
  /** Height and width. */
  readonly outputSize: readonly number[];

  constructor(outputSize: PerDimension, kernelSize: PerDimension, options: FoldLayerOptions = {}) {
    super("Fold", kernelSize, options);
    this.outputSize = perDimension("Fold", "outputSize", outputSize, 2, 1);
  }

  override forward(input: Tensor<Spatial<1>>): Tensor<Spatial<2>> {
    const { outputSize, kernelSize, dilation, padding, stride } = this;
    checkSpatial(this, input, 1);
    return fold(input, { outputSize, kernelSize, dilation, padding, stride });
  }

  protected override describe(): string {
    return `${compact(this.outputSize)}, ${super.describe()}`;
  }
}

/** Takes channels from each of `groups` in turn, so that groups of convolutions meet: Zhang et al. 2017, arXiv:1707.01083. */
export class ChannelShuffle extends Layer<Spatial<number>, Same> {
  readonly groups: number;

  constructor(groups: number) {
    super();
    this.groups = checkInteger("ChannelShuffle", "groups", groups, 1);
  }

  /** @throws ShapeError where the channels are no multiple of `groups`. */
  override forward<N extends number, C extends number>(input: Tensor<Spatial<N, C>>): Tensor<Spatial<N, C>> {
    checkSpatial(this, input, Math.max(1, input?.rank - 2));
    const { groups } = this;
    const [batch, channels, ...sizes] = input.shape as readonly [number, number, ...number[]];
    if (channels % groups !== 0) {
      throw new ShapeError(
        `${this}: the channels must be a multiple of ${groups}, got ${channels} in ${shapeText(input)}.`,
      );
    }
    const apart = reshape(input, [batch, groups, channels / groups, ...sizes]);
    return reshape(permute(apart, [0, 2, 1, ...sizes.map((_, axis) => axis + 3)]), input.shape);
  }

  protected override describe(): string {
    return String(this.groups);
  }
}

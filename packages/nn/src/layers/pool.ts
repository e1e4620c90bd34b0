import {
  type AvgPoolOptions,
  avgPool1d,
  avgPool2d,
  avgPool3d,
  type MaxPoolOptions,
  maxPool1d,
  maxPool2d,
  maxPool3d,
  type Spatial,
  type Tensor,
} from "@nf/core";
import { checkLayerOptions, checkSpatial, compact, type PerDimension, perDimension } from "../check.ts";
import { Layer, type Same } from "./layer.ts";

/** Options of max pooling layers. */
export type MaxPoolLayerOptions = Omit<MaxPoolOptions, "kernelSize">;

/** Options of mean pooling layers. */
export type AvgPoolLayerOptions = Omit<AvgPoolOptions, "kernelSize">;

const MAX_OPTIONS = ["stride", "padding", "dilation", "ceilMode"] as const;
const AVG_OPTIONS = ["stride", "padding", "ceilMode", "countIncludePad"] as const;

/** What the pooling layers share: windows over `N` spatial dimensions; channels stay. */
abstract class Pool<N extends 1 | 2 | 3> extends Layer<Spatial<N>, Same> {
  readonly kernelSize: readonly number[];
  readonly stride: readonly number[];
  readonly padding: readonly number[];
  readonly ceilMode: boolean;

  constructor(
    layer: string,
    dimensions: N,
    kernelSize: PerDimension,
    options: MaxPoolLayerOptions | AvgPoolLayerOptions,
  ) {
    super();
    this.kernelSize = perDimension(layer, "kernelSize", kernelSize, dimensions, 1);
    this.stride = perDimension(layer, "stride", options.stride ?? this.kernelSize, dimensions, 1);
    this.padding = perDimension(layer, "padding", options.padding ?? 0, dimensions, 0);
    this.ceilMode = options.ceilMode ?? false;
  }

  protected override describe(): string {
    const { kernelSize, stride, padding } = this;
    const options = [
      ...(stride.some((step, axis) => step !== kernelSize[axis]) ? [`stride: ${compact(stride)}`] : []),
      ...(padding.some((width) => width !== 0) ? [`padding: ${compact(padding)}`] : []),
    ];
    return options.length === 0 ? compact(kernelSize) : `${compact(kernelSize)}, { ${options.join(", ")} }`;
  }
}

/** Greatest element of each window of a signal: `[batch, channels, length]` to `[batch, channels, length']`. */
export class MaxPool1d extends Pool<1> {
  readonly dilation: readonly number[];

  constructor(kernelSize: PerDimension, options: MaxPoolLayerOptions = {}) {
    checkLayerOptions("MaxPool1d", options, MAX_OPTIONS);
    super("MaxPool1d", 1, kernelSize, options);
    this.dilation = perDimension("MaxPool1d", "dilation", options.dilation ?? 1, 1, 1);
  }

  override forward<C extends number>(input: Tensor<Spatial<1, C>>): Tensor<Spatial<1, C>> {
    const { kernelSize, stride, padding, dilation, ceilMode } = this;
    checkSpatial(this, input, 1);
    return maxPool1d(input, { kernelSize, stride, padding, dilation, ceilMode });
  }
}

/** Greatest element of each window of an image: `[batch, channels, height, width]` to `[…, height', width']`. */
export class MaxPool2d extends Pool<2> {
  readonly dilation: readonly number[];

  constructor(kernelSize: PerDimension, options: MaxPoolLayerOptions = {}) {
    checkLayerOptions("MaxPool2d", options, MAX_OPTIONS);
    super("MaxPool2d", 2, kernelSize, options);
    this.dilation = perDimension("MaxPool2d", "dilation", options.dilation ?? 1, 2, 1);
  }

  override forward<C extends number>(input: Tensor<Spatial<2, C>>): Tensor<Spatial<2, C>> {
    const { kernelSize, stride, padding, dilation, ceilMode } = this;
    checkSpatial(this, input, 2);
    return maxPool2d(input, { kernelSize, stride, padding, dilation, ceilMode });
  }
}

/** Greatest element of each window of a volume: `[batch, channels, depth, height, width]` to `[…, depth', height', width']`. */
export class MaxPool3d extends Pool<3> {
  readonly dilation: readonly number[];

  constructor(kernelSize: PerDimension, options: MaxPoolLayerOptions = {}) {
    checkLayerOptions("MaxPool3d", options, MAX_OPTIONS);
    super("MaxPool3d", 3, kernelSize, options);
    this.dilation = perDimension("MaxPool3d", "dilation", options.dilation ?? 1, 3, 1);
  }

  override forward<C extends number>(input: Tensor<Spatial<3, C>>): Tensor<Spatial<3, C>> {
    const { kernelSize, stride, padding, dilation, ceilMode } = this;
    checkSpatial(this, input, 3);
    return maxPool3d(input, { kernelSize, stride, padding, dilation, ceilMode });
  }
}

/** Mean of each window of a signal: `[batch, channels, length]` to `[batch, channels, length']`. */
export class AvgPool1d extends Pool<1> {
  readonly countIncludePad: boolean;

  constructor(kernelSize: PerDimension, options: AvgPoolLayerOptions = {}) {
    checkLayerOptions("AvgPool1d", options, AVG_OPTIONS);
    super("AvgPool1d", 1, kernelSize, options);
    this.countIncludePad = options.countIncludePad ?? true;
  }

  override forward<C extends number>(input: Tensor<Spatial<1, C>>): Tensor<Spatial<1, C>> {
    const { kernelSize, stride, padding, ceilMode, countIncludePad } = this;
    checkSpatial(this, input, 1);
    return avgPool1d(input, { kernelSize, stride, padding, ceilMode, countIncludePad });
  }
}

/** Mean of each window of an image: `[batch, channels, height, width]` to `[…, height', width']`. */
export class AvgPool2d extends Pool<2> {
  readonly countIncludePad: boolean;

  constructor(kernelSize: PerDimension, options: AvgPoolLayerOptions = {}) {
    checkLayerOptions("AvgPool2d", options, AVG_OPTIONS);
    super("AvgPool2d", 2, kernelSize, options);
    this.countIncludePad = options.countIncludePad ?? true;
  }

  override forward<C extends number>(input: Tensor<Spatial<2, C>>): Tensor<Spatial<2, C>> {
    const { kernelSize, stride, padding, ceilMode, countIncludePad } = this;
    checkSpatial(this, input, 2);
    return avgPool2d(input, { kernelSize, stride, padding, ceilMode, countIncludePad });
  }
}

/** Mean of each window of a volume: `[batch, channels, depth, height, width]` to `[…, depth', height', width']`. */
export class AvgPool3d extends Pool<3> {
  readonly countIncludePad: boolean;

  constructor(kernelSize: PerDimension, options: AvgPoolLayerOptions = {}) {
    checkLayerOptions("AvgPool3d", options, AVG_OPTIONS);
    super("AvgPool3d", 3, kernelSize, options);
    this.countIncludePad = options.countIncludePad ?? true;
  }

  override forward<C extends number>(input: Tensor<Spatial<3, C>>): Tensor<Spatial<3, C>> {
    const { kernelSize, stride, padding, ceilMode, countIncludePad } = this;
    checkSpatial(this, input, 3);
    return avgPool3d(input, { kernelSize, stride, padding, ceilMode, countIncludePad });
  }
}

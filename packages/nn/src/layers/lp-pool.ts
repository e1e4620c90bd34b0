import {
  type AvgPoolOptions,
  avgPool1d,
  avgPool2d,
  avgPool3d,
  checkNumber,
  equal,
  mul,
  OptionError,
  pow,
  type Spatial,
  type Tensor,
  where,
} from "@nf/core";
import { composite } from "@nf/core/op";
import { checkLayerOptions, checkSpatial, compact, type PerDimension, perDimension } from "../check.ts";
import { Layer, type Same } from "./layer.ts";

/** Options of {@link LPPool2d}. */
export interface LPPoolOptions {
  /** Step between windows; default the kernel's size. */
  readonly stride?: PerDimension;
  /** Whether a last window that reaches over the end counts; default false. */
  readonly ceilMode?: boolean;
}

/** What the power-mean pooling layers share. */
abstract class LPPool<N extends 1 | 2 | 3> extends Layer<Spatial<N>, Same> {
  readonly normType: number;
  readonly kernelSize: readonly number[];
  readonly stride: readonly number[];
  readonly ceilMode: boolean;

  constructor(dimensions: N, normType: number, kernelSize: PerDimension, options: LPPoolOptions) {
    const layer = `LPPool${dimensions}d`;
    checkLayerOptions(layer, options, ["stride", "ceilMode"]);
    super();
    this.normType = checkNumber(layer, "normType", normType);
    if (normType === 0 || !Number.isFinite(normType))
      throw new OptionError(`${layer}: normType must be a finite number other than 0, got ${normType}.`);
    this.kernelSize = perDimension(layer, "kernelSize", kernelSize, dimensions, 1);
    this.stride = perDimension(layer, "stride", options.stride ?? this.kernelSize, dimensions, 1);
    this.ceilMode = options.ceilMode ?? false;
  }

  override forward<C extends number>(input: Tensor<Spatial<N, C>>): Tensor<Spatial<N, C>> {
    const { kernelSize, stride, ceilMode, normType } = this;
    checkSpatial(this, input, kernelSize.length);
    return composite([input], () => {
      const mean = this.means(pow(input, normType), { kernelSize, stride, ceilMode });
      const total = mul(
        mean,
        kernelSize.reduce((product, size) => product * size, 1),
      );
      // The root of 0 has no slope; its gradient is 0. Negative powers have sums of 0 where all of a window is infinite.
      const none = equal(total, 0);
      return where(none, normType > 0 ? 0 : Infinity, pow(where(none, 1, total), 1 / normType));
    });
  }

  /** Mean pooling of core for this number of dimensions. */
  protected abstract means(input: Tensor, options: AvgPoolOptions): Tensor;

  protected override describe(): string {
    const { normType, kernelSize, stride, ceilMode } = this;
    const options = [
      ...(stride.some((step, axis) => step !== kernelSize[axis]) ? [`stride: ${compact(stride)}`] : []),
      ...(ceilMode ? ["ceilMode: true"] : []),
    ];
    return `${normType}, ${compact(kernelSize)}${options.length === 0 ? "" : `, { ${options.join(", ")} }`}`;
  }
}

/** (Σ x^p)^(1/p) over each window of a signal, see {@link LPPool2d}. */
export class LPPool1d extends LPPool<1> {
  constructor(normType: number, kernelSize: PerDimension, options: LPPoolOptions = {}) {
    super(1, normType, kernelSize, options);
  }

  protected override means(input: Tensor, options: AvgPoolOptions): Tensor {
    return avgPool1d(input, options);
  }
}

/**
 * (Σ x^p)^(1/p) over each window of an image, with `normType` p: 1 gives sums, large ones come near the greatest element. The gradient
 * is 0 where the sum is 0; odd powers of windows that sum to less than 0 have no root, and give NaN, as in PyTorch.
 */
export class LPPool2d extends LPPool<2> {
  constructor(normType: number, kernelSize: PerDimension, options: LPPoolOptions = {}) {
    super(2, normType, kernelSize, options);
  }

  protected override means(input: Tensor, options: AvgPoolOptions): Tensor {
    return avgPool2d(input, options);
  }
}

/** (Σ x^p)^(1/p) over each window of a volume, see {@link LPPool2d}. */
export class LPPool3d extends LPPool<3> {
  constructor(normType: number, kernelSize: PerDimension, options: LPPoolOptions = {}) {
    super(3, normType, kernelSize, options);
  }

  protected override means(input: Tensor, options: AvgPoolOptions): Tensor {
    return avgPool3d(input, options);
  }
}

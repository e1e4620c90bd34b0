import {
  abs,
  add,
  checkInteger,
  checkNumber,
  clip,
  type DType,
  div,
  elu,
  full,
  type Generator,
  greater,
  hardSigmoid,
  hardSwish,
  leakyRelu,
  lessEqual,
  mul,
  OptionError,
  parameter,
  rand,
  relu6,
  reshape,
  ShapeError,
  selu,
  sign,
  sub,
  type Tensor,
  where,
} from "@nf/core";
import { checkInput, checkLayerOptions, shapeText } from "../check.ts";
import { fill } from "./fill.ts";
import { Layer, type Same } from "./layer.ts";

/** min(max(x, 0), 6). */
export class ReLU6 extends Layer<unknown, Same> {
  override forward<K>(input: Tensor<K>): Tensor<K> {
    return relu6(input);
  }
}

/** Options of {@link ELU} and {@link CELU}. */
export interface ELUOptions {
  /** Minus the value far below 0; default 1. */
  readonly alpha?: number;
}

/** x above 0, alpha (e^x - 1) below. Clevert et al. 2015, arXiv:1511.07289. */
export class ELU extends Layer<unknown, Same> {
  readonly alpha: number;

  constructor(options: ELUOptions = {}) {
    super();
    checkLayerOptions("ELU", options, ["alpha"]);
    this.alpha = checkNumber("ELU", "alpha", options.alpha ?? 1);
  }

  override forward<K>(input: Tensor<K>): Tensor<K> {
    return elu(input, { alpha: this.alpha });
  }

  protected override describe(): string {
    return this.alpha === 1 ? "" : `{ alpha: ${this.alpha} }`;
  }
}

/** x above 0, alpha (e^(x / alpha) - 1) below: its slope has no step at 0. Barron 2017, arXiv:1704.07483. */
export class CELU extends Layer<unknown, Same> {
  readonly alpha: number;

  /** @throws OptionError for an alpha of 0, which nothing can be divided by. */
  constructor(options: ELUOptions = {}) {
    super();
    checkLayerOptions("CELU", options, ["alpha"]);
    this.alpha = checkNumber("CELU", "alpha", options.alpha ?? 1);
    if (this.alpha === 0) throw new OptionError("CELU: alpha must not be 0. Take ReLU.");
  }

  override forward<K>(input: Tensor<K>): Tensor<K> {
    const { alpha } = this;
    checkInput(this, input);
    return alpha === 1 ? elu(input) : (mul(elu(div(input, alpha)), alpha) as Tensor<K>);
  }

  protected override describe(): string {
    return this.alpha === 1 ? "" : `{ alpha: ${this.alpha} }`;
  }
}

/** Scaled exponential linear unit, its two constants fixed. Klambauer et al. 2017, arXiv:1706.02515. */
export class SELU extends Layer<unknown, Same> {
  override forward<K>(input: Tensor<K>): Tensor<K> {
    return selu(input);
  }
}

/** min(max(x + 3, 0), 6) / 6. */
export class Hardsigmoid extends Layer<unknown, Same> {
  override forward<K>(input: Tensor<K>): Tensor<K> {
    return hardSigmoid(input);
  }
}

/** x · min(max(x + 3, 0), 6) / 6. Howard et al. 2019, arXiv:1905.02244. */
export class Hardswish extends Layer<unknown, Same> {
  override forward<K>(input: Tensor<K>): Tensor<K> {
    return hardSwish(input);
  }
}

/** Options of {@link Hardtanh}. */
export interface HardtanhOptions {
  /** Default -1. */
  readonly minVal?: number;
  /** Default 1. */
  readonly maxVal?: number;
}

/** x within `minVal` and `maxVal`, the nearer of the two outside. */
export class Hardtanh extends Layer<unknown, Same> {
  readonly minVal: number;
  readonly maxVal: number;

  /** @throws OptionError where minVal is not below maxVal. */
  constructor(options: HardtanhOptions = {}) {
    super();
    checkLayerOptions("Hardtanh", options, ["minVal", "maxVal"]);
    this.minVal = checkNumber("Hardtanh", "minVal", options.minVal ?? -1);
    this.maxVal = checkNumber("Hardtanh", "maxVal", options.maxVal ?? 1);
    if (this.minVal >= this.maxVal)
      throw new OptionError(`Hardtanh: minVal must be below maxVal, got ${this.minVal} and ${this.maxVal}.`);
  }

  override forward<K>(input: Tensor<K>): Tensor<K> {
    return clip(input, { min: this.minVal, max: this.maxVal });
  }

  protected override describe(): string {
    return this.minVal === -1 && this.maxVal === 1
      ? ""
      : `{ minVal: ${this.minVal}, maxVal: ${this.maxVal} }`;
  }
}

/** Options of {@link Hardshrink} and {@link Softshrink}. */
export interface ShrinkOptions {
  /** What lies within ± this becomes 0; default 0.5. */
  readonly lambd?: number;
}

/** 0 within ±lambd, x outside. */
export class Hardshrink extends Layer<unknown, Same> {
  readonly lambd: number;

  constructor(options: ShrinkOptions = {}) {
    super();
    checkLayerOptions("Hardshrink", options, ["lambd"]);
    this.lambd = checkNumber("Hardshrink", "lambd", options.lambd ?? 0.5, 0);
  }

  override forward<K>(input: Tensor<K>): Tensor<K> {
    checkInput(this, input);
    return where(greater(abs(input), this.lambd), input, mul(input, 0));
  }

  protected override describe(): string {
    return this.lambd === 0.5 ? "" : `{ lambd: ${this.lambd} }`;
  }
}

/** 0 within ±lambd, outside x brought nearer to 0 by lambd. */
export class Softshrink extends Layer<unknown, Same> {
  readonly lambd: number;

  constructor(options: ShrinkOptions = {}) {
    super();
    checkLayerOptions("Softshrink", options, ["lambd"]);
    this.lambd = checkNumber("Softshrink", "lambd", options.lambd ?? 0.5, 0);
  }

  override forward<K>(input: Tensor<K>): Tensor<K> {
    checkInput(this, input);
    const nearer = sub(input, mul(sign(input), this.lambd));
    return where(greater(abs(input), this.lambd), nearer, mul(input, 0));
  }

  protected override describe(): string {
    return this.lambd === 0.5 ? "" : `{ lambd: ${this.lambd} }`;
  }
}

/** x above `threshold`, `value` elsewhere. */
export class Threshold extends Layer<unknown, Same> {
  readonly threshold: number;
  readonly value: number;

  constructor(threshold: number, value: number) {
    super();
    this.threshold = checkNumber("Threshold", "threshold", threshold);
    this.value = checkNumber("Threshold", "value", value);
  }

  override forward<K>(input: Tensor<K>): Tensor<K> {
    checkInput(this, input);
    return where(lessEqual(input, this.threshold), this.value, input);
  }

  protected override describe(): string {
    return `${this.threshold}, ${this.value}`;
  }
}

/** Options of {@link RReLU}. */
export interface RReLUOptions {
  /** Least slope; default 1/8. */
  readonly lower?: number;
  /** Greatest slope; default 1/3. */
  readonly upper?: number;
  /** Where the slopes come from; default the generator that `manualSeed` seeds. */
  readonly generator?: Generator;
}

/**
 * x above 0, below x times a slope: in training a random one for each element, uniform from `lower` to `upper`, in
 * evaluation their mean. Xu et al. 2015, arXiv:1505.00853.
 */
export class RReLU extends Layer<unknown, Same> {
  readonly lower: number;
  readonly upper: number;
  readonly generator: Generator | undefined;

  /** @throws OptionError where lower is above upper. */
  constructor(options: RReLUOptions = {}) {
    super();
    checkLayerOptions("RReLU", options, ["lower", "upper", "generator"]);
    this.lower = checkNumber("RReLU", "lower", options.lower ?? 1 / 8);
    this.upper = checkNumber("RReLU", "upper", options.upper ?? 1 / 3);
    if (this.lower > this.upper)
      throw new OptionError(`RReLU: lower must not be above upper, got ${this.lower} and ${this.upper}.`);
    this.generator = options.generator;
  }

  override forward<K>(input: Tensor<K>): Tensor<K> {
    checkInput(this, input);
    const { lower, upper, generator, training } = this;
    if (!training) return leakyRelu(input, { negativeSlope: (lower + upper) / 2 });
    const { shape, dtype, backend } = input;
    const draws = rand(shape, { dtype, backend, ...(generator !== undefined && { generator }) });
    const slopes = add(mul(draws, upper - lower), lower);
    return where(greater(input, 0), input, mul(input, slopes));
  }

  protected override describe(): string {
    return `{ lower: ${this.lower}, upper: ${this.upper} }`;
  }
}

/** Options of {@link PReLU}. */
export interface PReLUOptions {
  /** Slopes to learn: 1 for all elements (default), or one a channel. */
  readonly numParameters?: number;
  /** What the slopes start from; default 0.25. */
  readonly init?: number;
  /** dtype of the slopes; default `f32`. */
  readonly dtype?: DType;
}

/**
 * x above 0, below x times a learned slope: one for all, or one for each channel (dimension 1). He et al. 2015,
 * arXiv:1502.01852.
 */
export class PReLU extends Layer<unknown, Same> {
  readonly numParameters: number;
  readonly init: number;
  /** `[numParameters]`. */
  readonly weight: Tensor;

  constructor(options: PReLUOptions = {}) {
    super();
    checkLayerOptions("PReLU", options, ["numParameters", "init", "dtype"]);
    const { numParameters = 1, init = 0.25, dtype = "f32" } = options;
    this.numParameters = checkInteger("PReLU", "numParameters", numParameters, 1);
    this.init = checkNumber("PReLU", "init", init);
    this.weight = parameter(full([numParameters], init, { dtype }));
  }

  override resetParameters(): void {
    fill(this.weight, this.init);
  }

  /** @throws ShapeError where there are several slopes, and not as many channels. */
  override forward<K>(input: Tensor<K>): Tensor<K> {
    checkInput(this, input);
    const { numParameters, weight } = this;
    const channels = input.rank < 2 ? 1 : input.shape[1];
    if (numParameters !== 1 && numParameters !== channels) {
      throw new ShapeError(
        `${this}: expected ${numParameters} channels in dimension 1, one a slope, got an input of shape ${shapeText(input)}.`,
      );
    }
    const slopes =
      numParameters === 1 ? weight : reshape(weight, [numParameters, ...input.shape.slice(2).map(() => 1)]);
    // Only what is below 0 meets a slope: 0 times an infinite x would make its gradient NaN.
    return where(greater(input, 0), input, mul(where(greater(input, 0), 0, input), slopes));
  }

  protected override describe(): string {
    const { numParameters, init } = this;
    const options = [
      ...(numParameters === 1 ? [] : [`numParameters: ${numParameters}`]),
      ...(init === 0.25 ? [] : [`init: ${init}`]),
    ];
    return options.length === 0 ? "" : `{ ${options.join(", ")} }`;
  }
}

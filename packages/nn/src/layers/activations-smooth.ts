import {
  checkNumber,
  glu,
  greater,
  logSigmoid,
  mish,
  mul,
  neg,
  OptionError,
  type SoftmaxOptions,
  type Spatial,
  softmax,
  softplus,
  softsign,
  sub,
  type Tensor,
  tanh,
  where,
} from "@nf/core";
import { checkInput, checkLayerOptions, checkSpatial } from "../check.ts";
import { axisOf } from "./axis.ts";
import { Layer, type Same } from "./layer.ts";

/** x · tanh(log(1 + e^x)). Misra 2019, arXiv:1908.08681. */
export class Mish extends Layer<unknown, Same> {
  override forward<K>(input: Tensor<K>): Tensor<K> {
    return mish(input);
  }
}

/** log(1 / (1 + e^-x)), computed without overflow. */
export class LogSigmoid extends Layer<unknown, Same> {
  override forward<K>(input: Tensor<K>): Tensor<K> {
    return logSigmoid(input);
  }
}

/** x / (1 + |x|). */
export class Softsign extends Layer<unknown, Same> {
  override forward<K>(input: Tensor<K>): Tensor<K> {
    return softsign(input);
  }
}

/** x - tanh(x). */
export class Tanhshrink extends Layer<unknown, Same> {
  override forward<K>(input: Tensor<K>): Tensor<K> {
    checkInput(this, input);
    return sub(input, tanh(input));
  }
}

/** Options of {@link Softplus}. */
export interface SoftplusOptions {
  /** How sharp the bend is; default 1. */
  readonly beta?: number;
  /** Where `beta * x` is above it, the result is x; default 20. */
  readonly threshold?: number;
}

/** log(1 + e^(beta x)) / beta: a smooth ReLU. */
export class Softplus extends Layer<unknown, Same> {
  readonly beta: number;
  readonly threshold: number;

  /** @throws OptionError for a beta of 0, which nothing can be divided by. */
  constructor(options: SoftplusOptions = {}) {
    super();
    checkLayerOptions("Softplus", options, ["beta", "threshold"]);
    this.beta = checkNumber("Softplus", "beta", options.beta ?? 1);
    this.threshold = checkNumber("Softplus", "threshold", options.threshold ?? 20);
    if (this.beta === 0) throw new OptionError("Softplus: beta must not be 0.");
  }

  override forward<K>(input: Tensor<K>): Tensor<K> {
    const { beta, threshold } = this;
    const smooth = softplus(input, { beta });
    // Above 20 the bend is below the resolution of f32 (and core's function does not overflow): nothing to choose.
    if (threshold === 20 && input.dtype !== "f64") return smooth;
    return where(greater(beta === 1 ? input : mul(input, beta), threshold), input, smooth);
  }

  protected override describe(): string {
    const options = [
      ...(this.beta === 1 ? [] : [`beta: ${this.beta}`]),
      ...(this.threshold === 20 ? [] : [`threshold: ${this.threshold}`]),
    ];
    return options.length === 0 ? "" : `{ ${options.join(", ")} }`;
  }
}

/** Softmax of -x along an axis (default the last): the least element gets the greatest share. */
export class Softmin extends Layer<unknown, Same> {
  readonly axis: number;

  constructor(options: SoftmaxOptions = {}) {
    super();
    this.axis = axisOf("Softmin", options, -1);
  }

  override forward<K>(input: Tensor<K>): Tensor<K> {
    checkInput(this, input);
    return softmax(neg(input), { axis: this.axis });
  }

  protected override describe(): string {
    return `{ axis: ${this.axis} }`;
  }
}

/** Softmax over the channels of each place of an image `[batch, channels, height, width]`. */
export class Softmax2d extends Layer<Spatial<2>, Same> {
  override forward<C extends number>(input: Tensor<Spatial<2, C>>): Tensor<Spatial<2, C>> {
    checkSpatial(this, input, 2);
    return softmax(input, { axis: 1 });
  }
}

/** Gated linear unit: the first half of an axis (default the last) times the sigmoid of the second. Dauphin et al. 2016. */
export class GLU extends Layer {
  readonly axis: number;

  constructor(options: SoftmaxOptions = {}) {
    super();
    this.axis = axisOf("GLU", options, -1);
  }

  /** @throws ShapeError for an axis of odd size. */
  override forward(input: Tensor): Tensor {
    checkInput(this, input);
    return glu(input, { axis: this.axis });
  }

  protected override describe(): string {
    return this.axis === -1 ? "" : `{ axis: ${this.axis} }`;
  }
}

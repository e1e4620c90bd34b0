import {
  checkChoice,
  checkNumber,
  gelu,
  leakyRelu,
  logSoftmax,
  relu,
  type SoftmaxOptions,
  sigmoid,
  silu,
  softmax,
  type Tensor,
  tanh,
} from "@nf/core";
import { checkLayerOptions } from "../check.ts";
import { axisOf } from "./axis.ts";
import { Layer, type Same } from "./layer.ts";

/** The input itself; keeps a place in a `sequential`. */
export class Identity extends Layer<unknown, Same> {
  override forward<K>(input: Tensor<K>): Tensor<K> {
    return input;
  }
}

/** max(x, 0); NaN stays NaN. */
export class ReLU extends Layer<unknown, Same> {
  override forward<K>(input: Tensor<K>): Tensor<K> {
    return relu(input);
  }
}

/** Hyperbolic tangent. */
export class Tanh extends Layer<unknown, Same> {
  override forward<K>(input: Tensor<K>): Tensor<K> {
    return tanh(input);
  }
}

/** Logistic function 1 / (1 + e^-x). */
export class Sigmoid extends Layer<unknown, Same> {
  override forward<K>(input: Tensor<K>): Tensor<K> {
    return sigmoid(input);
  }
}

/** x * sigmoid(x), also called swish. */
export class SiLU extends Layer<unknown, Same> {
  override forward<K>(input: Tensor<K>): Tensor<K> {
    return silu(input);
  }
}

/** Options of {@link GELU}. */
export interface GELUOptions {
  /** `none` (default): with the error function. `tanh`: the approximation that GPT-2 uses. */
  readonly approximate?: "none" | "tanh";
}

/** x * Φ(x), Φ the normal distribution function. Hendrycks and Gimpel, "Gaussian error linear units", 2016. */
export class GELU extends Layer<unknown, Same> {
  readonly approximate: "none" | "tanh";

  constructor(options: GELUOptions = {}) {
    super();
    checkLayerOptions("GELU", options, ["approximate"]);
    this.approximate = checkChoice("GELU", "approximate", options.approximate ?? "none", ["none", "tanh"]);
  }

  override forward<K>(input: Tensor<K>): Tensor<K> {
    return gelu(input, { approximate: this.approximate });
  }

  protected override describe(): string {
    return this.approximate === "none" ? "" : `{ approximate: "${this.approximate}" }`;
  }
}

/** Options of {@link LeakyReLU}. */
export interface LeakyReLUOptions {
  /** Factor of negative values; default 0.01. */
  readonly negativeSlope?: number;
}

/** x above 0, negativeSlope * x below. */
export class LeakyReLU extends Layer<unknown, Same> {
  readonly negativeSlope: number;

  constructor(options: LeakyReLUOptions = {}) {
    super();
    checkLayerOptions("LeakyReLU", options, ["negativeSlope"]);
    this.negativeSlope = checkNumber("LeakyReLU", "negativeSlope", options.negativeSlope ?? 0.01);
  }

  override forward<K>(input: Tensor<K>): Tensor<K> {
    return leakyRelu(input, { negativeSlope: this.negativeSlope });
  }

  protected override describe(): string {
    return `{ negativeSlope: ${this.negativeSlope} }`;
  }
}

/** Turns scores into probabilities along an axis. Before a cross-entropy loss, leave it out. */
export class Softmax extends Layer<unknown, Same> {
  readonly axis: number;

  constructor(options: SoftmaxOptions = {}) {
    super();
    this.axis = axisOf("Softmax", options, -1);
  }

  override forward<K>(input: Tensor<K>): Tensor<K> {
    return softmax(input, { axis: this.axis });
  }

  protected override describe(): string {
    return `{ axis: ${this.axis} }`;
  }
}

/** Logarithm of the softmax, computed without overflow. */
export class LogSoftmax extends Layer<unknown, Same> {
  readonly axis: number;

  constructor(options: SoftmaxOptions = {}) {
    super();
    this.axis = axisOf("LogSoftmax", options, -1);
  }

  override forward<K>(input: Tensor<K>): Tensor<K> {
    return logSoftmax(input, { axis: this.axis });
  }

  protected override describe(): string {
    return `{ axis: ${this.axis} }`;
  }
}

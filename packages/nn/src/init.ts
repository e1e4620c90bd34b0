import {
  add,
  assign,
  checkChoice,
  checkNumber,
  checkOptions,
  mul,
  noGrad,
  OptionError,
  rand,
  ShapeError,
  type Tensor,
} from "@nf/core";
import { COMMON, type InitOptions, normal, sampling } from "./initialisers/common.ts";

export { type InitOptions, type NormalOptions, normal } from "./initialisers/common.ts";
export { type OrthogonalOptions, orthogonal } from "./initialisers/orthogonal.ts";
export {
  type ConstantOptions,
  constant,
  type DiracOptions,
  dirac,
  eye,
  ones,
  type SparseOptions,
  sparse,
  zeros,
} from "./initialisers/structured.ts";
export { type TruncatedNormalOptions, truncatedNormal } from "./initialisers/truncated.ts";

/*
 * Initial values. Each initialiser gives a fresh tensor; `into` writes one over a parameter:
 * `init.into(layer.weight, init.xavierUniform)`.
 */

/** Options of {@link uniform}: the interval `[low, high)`, default `[0, 1)`. */
export interface UniformOptions extends InitOptions {
  readonly low?: number;
  readonly high?: number;
}

/** Options of the Xavier initialisers. */
export interface XavierOptions extends InitOptions {
  /** Factor for the nonlinearity that follows, see {@link calculateGain}; default 1. */
  readonly gain?: number;
}

/** Options of {@link biasUniform}. */
export interface BiasOptions extends InitOptions {
  /** Shape of the weight that the bias goes with: `[out, in, …kernel]`. */
  readonly weightShape: readonly number[];
}

/** Nonlinearities that {@link calculateGain} knows. */
export type Nonlinearity =
  | "linear"
  | `conv${1 | 2 | 3}d`
  | `convTranspose${1 | 2 | 3}d`
  | "sigmoid"
  | "tanh"
  | "relu"
  | "leakyRelu"
  | "selu";

/** Options of the Kaiming (He) initialisers. */
export interface KaimingOptions extends InitOptions {
  /** Keep the variance of the forward pass (`fanIn`, default) or of the backward pass (`fanOut`). */
  readonly mode?: "fanIn" | "fanOut";
  /** What follows the layer; default `leakyRelu`. */
  readonly nonlinearity?: Nonlinearity;
  /** Slope of the leaky ReLU below 0; default 0, which is a ReLU. */
  readonly a?: number;
}

/**
 * Writes an initialiser's values over a parameter, in the parameter's shape and dtype.
 *
 * @example
 * ```ts no-run
 * import { init, Linear } from "@nf/nn";
 *
 * const layer = new Linear(256, 120);
 * init.into(layer.weight, init.xavierUniform, { gain: init.calculateGain("tanh") });
 * ```
 */
export function into(
  parameter: Tensor,
  initialiser: (shape: readonly number[], options?: InitOptions) => Tensor,
): void;
export function into<O extends InitOptions | undefined>(
  parameter: Tensor,
  initialiser: (shape: readonly number[], options: O) => Tensor,
  // What the initialiser takes alone says what O is: `{ std }` by itself would be no InitOptions.
  options: NonNullable<NoInfer<O>>,
): void;
export function into(
  parameter: Tensor,
  initialiser: (shape: readonly number[], options: InitOptions) => Tensor,
  options: InitOptions = {},
): void {
  noGrad(() =>
    assign(
      parameter,
      initialiser(parameter.shape, { dtype: parameter.dtype, backend: parameter.backend, ...options }),
    ),
  );
}

/** Uniform over `[low, high)`. */
export function uniform(shape: readonly number[], options: UniformOptions = {}): Tensor {
  checkOptions("init.uniform", options, [...COMMON, "low", "high"]);
  const { low = 0, high = 1 } = options;
  checkNumber("init.uniform", "low", low);
  checkNumber("init.uniform", "high", high);
  return noGrad(() => add(mul(rand(shape, sampling(options)), high - low), low));
}

/**
 * Uniform over ±gain * sqrt(6 / (fanIn + fanOut)). Glorot and Bengio, "Understanding the difficulty of training deep
 * feedforward neural networks", 2010.
 */
export function xavierUniform(shape: readonly number[], options: XavierOptions = {}): Tensor {
  checkOptions("init.xavierUniform", options, [...COMMON, "gain"]);
  return symmetric(shape, Math.sqrt(3) * xavierStd(shape, options), options);
}

/** Normal with standard deviation gain * sqrt(2 / (fanIn + fanOut)); see {@link xavierUniform}. */
export function xavierNormal(shape: readonly number[], options: XavierOptions = {}): Tensor {
  checkOptions("init.xavierNormal", options, [...COMMON, "gain"]);
  return normal(shape, { ...sampling(options), std: xavierStd(shape, options) });
}

/**
 * Uniform over ±gain * sqrt(3 / fan). He et al., "Delving deep into rectifiers", 2015. With `a: Math.sqrt(5)` the
 * bound is 1 / sqrt(fanIn): PyTorch's default for linear and convolution weights.
 */
export function kaimingUniform(shape: readonly number[], options: KaimingOptions = {}): Tensor {
  checkOptions("init.kaimingUniform", options, [...COMMON, "mode", "nonlinearity", "a"]);
  return symmetric(shape, Math.sqrt(3) * kaimingStd(shape, options), options);
}

/** Normal with standard deviation gain / sqrt(fan); see {@link kaimingUniform}. */
export function kaimingNormal(shape: readonly number[], options: KaimingOptions = {}): Tensor {
  checkOptions("init.kaimingNormal", options, [...COMMON, "mode", "nonlinearity", "a"]);
  return normal(shape, { ...sampling(options), std: kaimingStd(shape, options) });
}

/** He's initialisation by its author's name: {@link kaimingUniform}. */
export const heUniform: typeof kaimingUniform = kaimingUniform;

/** He's initialisation by its author's name: {@link kaimingNormal}. */
export const heNormal: typeof kaimingNormal = kaimingNormal;

/** Uniform over ±1 / sqrt(fanIn): PyTorch's default for the bias of a linear or convolution layer. */
export function biasUniform(shape: readonly number[], options: BiasOptions): Tensor {
  checkOptions("init.biasUniform", options, [...COMMON, "weightShape"]);
  return symmetric(shape, 1 / Math.sqrt(fans(options.weightShape).fanIn), options);
}

/** Factor by which a nonlinearity shrinks the standard deviation, to be multiplied back. `a` is the leaky slope. */
export function calculateGain(nonlinearity: Nonlinearity, a = 0.01): number {
  switch (nonlinearity) {
    case "linear":
    case "conv1d":
    case "conv2d":
    case "conv3d":
    case "convTranspose1d":
    case "convTranspose2d":
    case "convTranspose3d":
    case "sigmoid":
      return 1;
    case "tanh":
      return 5 / 3;
    case "relu":
      return Math.SQRT2;
    case "leakyRelu":
      return Math.sqrt(2 / (1 + a * a));
    case "selu":
      return 3 / 4;
    default:
      throw new OptionError(
        `init.calculateGain: unknown nonlinearity ${JSON.stringify(nonlinearity)}. ` +
          "Choose linear, conv1d to conv3d, convTranspose1d to convTranspose3d, sigmoid, tanh, relu, leakyRelu or selu.",
      );
  }
}

/**
 * Connections into and out of one unit of a weight `[out, in, …kernel]`.
 * @throws ShapeError for fewer than two dimensions.
 */
export function fans(shape: readonly number[]): { readonly fanIn: number; readonly fanOut: number } {
  const [outputs, inputs, ...kernel] = shape;
  if (outputs === undefined || inputs === undefined) {
    throw new ShapeError(
      `init.fans: fan in and fan out need a weight of at least 2 dimensions [out, in, …], got [${shape.join(", ")}]. ` +
        "Initialise biases with init.biasUniform or zeros.",
    );
  }
  const field = kernel.reduce((product, size) => product * size, 1);
  return { fanIn: inputs * field, fanOut: outputs * field };
}

function xavierStd(shape: readonly number[], { gain = 1 }: XavierOptions): number {
  const { fanIn, fanOut } = fans(shape);
  return gain * Math.sqrt(2 / (fanIn + fanOut));
}

function kaimingStd(shape: readonly number[], options: KaimingOptions): number {
  const { mode = "fanIn", nonlinearity = "leakyRelu", a = 0 } = options;
  checkChoice("init.kaiming", "mode", mode, ["fanIn", "fanOut"]);
  return calculateGain(nonlinearity, a) / Math.sqrt(fans(shape)[mode]);
}

function symmetric(shape: readonly number[], bound: number, options: InitOptions): Tensor {
  return uniform(shape, { ...sampling(options), low: -bound, high: bound });
}

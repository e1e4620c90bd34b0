import {
  add,
  type Backend,
  checkNumber,
  checkOptions,
  type DType,
  type Generator,
  mul,
  noGrad,
  type RandomOptions,
  randn,
  type Tensor,
} from "@nf/core";

/** Options of all initialisers. */
export interface InitOptions {
  /** Where the random numbers come from; default the generator that `manualSeed` seeds. */
  readonly generator?: Generator | undefined;
  /** A float dtype; default `f32`. */
  readonly dtype?: DType | undefined;
  /** Where the tensor lives; default the backend in use. */
  readonly backend?: Backend | undefined;
}

/** Names that all initialisers take. */
export const COMMON: readonly string[] = ["generator", "dtype", "backend"];

/** Options of {@link normal}: default mean 0 and standard deviation 1. */
export interface NormalOptions extends InitOptions {
  readonly mean?: number;
  readonly std?: number;
}

/** Normal. */
export function normal(shape: readonly number[], options: NormalOptions = {}): Tensor {
  checkOptions("init.normal", options, [...COMMON, "mean", "std"]);
  const { mean = 0, std = 1 } = options;
  checkNumber("init.normal", "mean", mean);
  checkNumber("init.normal", "std", std);
  return noGrad(() => add(mul(randn(shape, sampling(options)), std), mean));
}

/** The options that core's random creators take, without those that are undefined. */
export function sampling({ generator, dtype, backend }: InitOptions): RandomOptions {
  return {
    ...(generator !== undefined && { generator }),
    ...(dtype !== undefined && { dtype }),
    ...(backend !== undefined && { backend }),
  };
}

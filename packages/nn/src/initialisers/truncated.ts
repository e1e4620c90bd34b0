import {
  add,
  checkNumber,
  checkOptions,
  clip,
  less,
  log,
  mul,
  neg,
  noGrad,
  OptionError,
  rand,
  special,
  sqrt,
  sub,
  type Tensor,
  where,
} from "@nf/core";
import { COMMON, type InitOptions, sampling } from "./common.ts";

/** Options of {@link truncatedNormal}. */
export interface TruncatedNormalOptions extends InitOptions {
  /** Mean before values are left out; default 0. */
  readonly mean?: number;
  /** Standard deviation before values are left out; default 1. */
  readonly std?: number;
  /** Least value; default -2. */
  readonly low?: number;
  /** Greatest value; default 2. */
  readonly high?: number;
}

/**
 * Normal, drawn from what lies in `[low, high]`; the bounds are values, not numbers of standard deviations, as in PyTorch.
 *
 * @throws OptionError for bounds between which f32 has hardly a value, as far out in a tail.
 */
export function truncatedNormal(shape: readonly number[], options: TruncatedNormalOptions = {}): Tensor {
  const name = "init.truncatedNormal";
  checkOptions(name, options, [...COMMON, "mean", "std", "low", "high"]);
  const { mean = 0, std = 1, low = -2, high = 2 } = options;
  checkNumber(name, "mean", mean);
  checkNumber(name, "std", std, Number.MIN_VALUE, Number.MAX_VALUE);
  if (!(low < high)) throw new OptionError(`${name}: low must be less than high, got ${low} and ${high}.`);
  // The distribution function at the bounds, from -1 to 1; what is drawn between them goes through its inverse.
  const [from, to] = [low, high].map((bound) => special.erf((bound - mean) / std / Math.SQRT2)) as [
    number,
    number,
  ];
  // In a tail the distribution function is nearly ±1, of which f32 has steps of 2^-24.
  if (!(to - from >= RESOLVED * Math.max(Math.abs(from), Math.abs(to)))) {
    throw new OptionError(
      `${name}: f32 cannot resolve what lies in [${low}, ${high}] of a normal distribution around ${mean} of standard deviation ` +
        `${std}. Take bounds nearer to the mean, or init.uniform where they are close together.`,
    );
  }
  return noGrad(() => {
    // Rounding may give 1 itself, whose inverse is not finite.
    const drawn = clip(add(mul(rand(shape, sampling(options)), to - from), from), {
      min: -BELOW_ONE,
      max: BELOW_ONE,
    });
    return clip(add(mul(erfInverse(drawn), std * Math.SQRT2), mean), { min: low, max: high });
  });
}

/** How much of the distribution function, for its size, has a thousand f32 in it. */
const RESOLVED = 2 ** -14;
/** The greatest f32 below 1. */
const BELOW_ONE = 1 - 2 ** -24;
const MIDDLE = [
  2.81022636e-8, 3.43273939e-7, -3.5233877e-6, -4.39150654e-6, 0.00021858087, -0.00125372503, -0.00417768164,
  0.246640727, 1.50140941,
];
const TAILS = [
  -0.000200214257, 0.000100950558, 0.00134934322, -0.00367342844, 0.00573950773, -0.0076224613, 0.00943887047,
  1.00167406, 2.83297682,
];

/** The inverse of erf to single precision. Giles, "Approximating the erfinv function", 2010. */
function erfInverse(x: Tensor): Tensor {
  const w = neg(log(mul(sub(1, x), add(1, x))));
  const polynomial = (coefficients: readonly number[], at: Tensor): Tensor => {
    const [first = 0, second = 0, ...others] = coefficients;
    return others.reduce((value, next) => add(mul(value, at), next), add(mul(at, first), second));
  };
  const middle = polynomial(MIDDLE, sub(w, 2.5));
  const tails = polynomial(TAILS, sub(sqrt(w), 3));
  return mul(x, where(less(w, 5), middle, tails));
}

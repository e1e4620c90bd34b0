import { OptionError } from "../errors.ts";
import type { Tensor } from "../tensor/tensor.ts";
import { composite } from "./apply.ts";
import { mul } from "./binary.ts";
import { fullLike } from "./create.ts";
import { checkOptions } from "./options.ts";
import { bernoulli, type Generator } from "./random.ts";

/** Options of {@link dropout}. */
export interface DropoutOptions {
  /** Probability that an element is dropped; default 0.5. */
  readonly p?: number;
  /** Off, x passes unchanged; default true. */
  readonly training?: boolean;
  /** Source of randomness; default the one `manualSeed` seeds. */
  readonly generator?: Generator;
}

/** Sets elements to 0 with probability p and scales the rest by 1 / (1 - p). Srivastava et al. 2014. */
export function dropout<K>(x: Tensor<K>, options: DropoutOptions = {}): Tensor<K> {
  checkOptions("dropout", options, ["p", "training", "generator"]);
  const { p = 0.5, training = true, generator } = options;
  if (!(p >= 0 && p <= 1)) throw new OptionError(`dropout: p must lie between 0 and 1, got ${p}.`);
  if (!training || p === 0) return x;
  return composite([x], () => {
    if (p === 1) return mul(x, fullLike(x, 0));
    const mask = bernoulli(x.shape, 1 - p, {
      dtype: x.dtype,
      backend: x.backend,
      ...(generator && { generator }),
    });
    return mul(mul(x, mask), 1 / (1 - p));
  });
}

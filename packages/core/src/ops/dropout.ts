import type { Shape } from "../backend/view.ts";
import type { Tensor } from "../tensor/tensor.ts";
import { composite } from "./apply.ts";
import { mul } from "./binary.ts";
import { fullLike } from "./create.ts";
import { checkFloat, checkNumber, checkOptions } from "./options.ts";
import { bernoulli, type Generator, sourceOf } from "./random.ts";
import { ownResult } from "./views.ts";
import { checkSpatial } from "./windows.ts";

/** Options of {@link dropout} and its forms for channels. */
export interface DropoutOptions {
  /** Probability that an element is dropped; default 0.5. */
  readonly p?: number;
  /** Off, x passes unchanged; default true. */
  readonly training?: boolean;
  /** Source of randomness; default the one `manualSeed` seeds. */
  readonly generator?: Generator;
}

/** x times a mask of random zeros and a scale; the mask has `shape`, which broadcasts to x's. */
function dropped<K>(op: string, x: Tensor<K>, shape: Shape, options: DropoutOptions): Tensor<K> {
  checkOptions(op, options, ["p", "training", "generator"]);
  const { p = 0.5, training = true } = options;
  checkNumber(op, "p", p, 0, 1);
  const generator = sourceOf(op, options);
  if (!training || p === 0) return ownResult(x, x);
  return composite([x], () => {
    if (p === 1) return mul(x, fullLike(x, 0));
    const mask = bernoulli(shape, 1 - p, {
      dtype: x.dtype,
      backend: x.backend,
      generator,
    });
    return mul(mul(x, mask), 1 / (1 - p));
  });
}

/** Sets elements to 0 with probability p and scales the rest by 1 / (1 - p). Srivastava et al. 2014. */
export function dropout<K>(x: Tensor<K>, options: DropoutOptions = {}): Tensor<K> {
  checkFloat("dropout", x);
  return dropped("dropout", x, x.shape, options);
}

function droppedChannels<K>(op: string, x: Tensor<K>, rank: number, options: DropoutOptions): Tensor<K> {
  checkSpatial(op, x, rank);
  checkFloat(op, x);
  const mask = x.shape.map((size, axis) => (axis < 2 ? size : 1));
  return dropped(op, x, mask, options);
}

/** {@link dropout} of whole channels of x `[batch, channels, length]`. Tompson et al. 2015. */
export function dropout1d<K>(x: Tensor<K>, options: DropoutOptions = {}): Tensor<K> {
  return droppedChannels("dropout1d", x, 1, options);
}

/** {@link dropout} of whole channels of x `[batch, channels, height, width]`. Tompson et al. 2015. */
export function dropout2d<K>(x: Tensor<K>, options: DropoutOptions = {}): Tensor<K> {
  return droppedChannels("dropout2d", x, 2, options);
}

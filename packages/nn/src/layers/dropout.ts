import { checkOptions, dropout, type Generator, OptionError, type Tensor } from "@nf/core";
import { show } from "../check.ts";
import { Layer, type Same } from "./layer.ts";

/** Options of {@link Dropout}. */
export interface DropoutOptions {
  /** Where the masks come from; default the generator that `manualSeed` seeds. */
  readonly generator?: Generator;
}

/**
 * In training, sets each element to 0 with probability `p` and scales the others by 1 / (1 - p); otherwise passes the
 * input on. Srivastava et al., "Dropout", 2014.
 */
export class Dropout extends Layer<unknown, Same> {
  /** Probability of an element to be dropped. */
  readonly p: number;
  readonly generator: Generator | undefined;

  constructor(p = 0.5, options: DropoutOptions = {}) {
    super();
    checkOptions("Dropout", options, ["generator"]);
    if (typeof p !== "number" || !(p >= 0 && p <= 1))
      throw new OptionError(`Dropout: p is a probability from 0 to 1, got ${show(p)}.`);
    this.p = p;
    this.generator = options.generator;
  }

  override forward<K>(input: Tensor<K>): Tensor<K> {
    const { p, training, generator } = this;
    return dropout(input, { p, training, ...(generator !== undefined && { generator }) });
  }

  protected override describe(): string {
    return String(this.p);
  }
}

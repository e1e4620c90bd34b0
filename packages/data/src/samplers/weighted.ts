import { checkInteger, checkOptions, type Generator, OptionError } from "@nf/core";
import { generatorFor, uniform } from "../order.ts";
import { requireList } from "./classes.ts";
import { checkFlag, fingerprint, type Sampler } from "./sampler.ts";

/** Sets the draws apart from other uses of the same seed: "weig". */
const WEIGHT_KEY = 0x77656967;

/** Options of {@link WeightedRandomSampler}. */
export interface WeightedRandomSamplerOptions {
  /** Items in an epoch. Default as many as there are weights; without replacement at most those above 0. */
  samples?: number;
  /** Whether an item can come again. Default true. */
  replacement?: boolean;
  /** Default 0. */
  seed?: number;
}

/**
 * Draws items with probabilities in proportion to their weights, to balance classes for example: the weight of an item is
 * then one over the number of items of its class. Without replacement an item that was drawn is out, and the next is drawn
 * in proportion among those left. Nothing but additions and comparisons decides, so the order is the same everywhere.
 */
export class WeightedRandomSampler implements Sampler {
  readonly length: number;
  readonly key: string;
  readonly #weights: Float64Array;
  readonly #replacement: boolean;
  readonly #seed: number;

  /**
   * @param weights one for each item of the dataset: finite, at least 0, not all 0.
   * @throws OptionError for other weights, or more samples than can be drawn.
   */
  constructor(weights: ArrayLike<number>, options: WeightedRandomSamplerOptions = {}) {
    checkOptions("WeightedRandomSampler", options, ["samples", "replacement", "seed"]);
    requireList("WeightedRandomSampler", "weights", weights);
    const { samples = weights.length, replacement = true, seed = 0 } = options;
    this.#weights = Float64Array.from(weights);
    const wrong = this.#weights.findIndex((weight) => !Number.isFinite(weight) || weight < 0);
    if (wrong >= 0) {
      throw new OptionError(
        `WeightedRandomSampler: weights must be finite and at least 0, got ${weights[wrong]} for item ${wrong}.`,
      );
    }
    const possible = this.#weights.filter((weight) => weight > 0).length;
    const total = this.#weights.reduce((sum, weight) => sum + weight, 0);
    if (possible === 0 || !Number.isFinite(total)) {
      throw new OptionError(`WeightedRandomSampler: weights must have a finite sum above 0, got ${total}.`);
    }
    this.#replacement = checkFlag("WeightedRandomSampler", "replacement", replacement);
    this.#seed = checkInteger("WeightedRandomSampler", "seed", seed, 0);
    this.length = checkInteger("WeightedRandomSampler", "samples", samples, 0);
    if (!replacement && samples > possible) {
      throw new OptionError(
        `WeightedRandomSampler: ${samples} samples without replacement need as many weights above 0, got ${possible}.`,
      );
    }
    this.key = `weighted ${fingerprint(this.#weights)}, ${samples} ${replacement ? "with" : "without"} replacement, seed ${seed}`;
  }

  indices(epoch: number): Int32Array {
    const generator = generatorFor(this.#seed, WEIGHT_KEY, epoch);
    const tree = new SumTree(this.#weights);
    return Int32Array.from({ length: this.length }, () => {
      const index = tree.draw(generator);
      if (!this.#replacement) tree.remove(index);
      return index;
    });
  }
}

/** Sums of weights in a binary tree. Sums are always made from their two parts, so a subtree without weights has 0. */
class SumTree {
  /** Leaves in the second half; the parent of node i is i / 2. */
  readonly #sums: Float64Array;
  readonly #leaves: number;

  constructor(weights: Float64Array) {
    this.#leaves = 2 ** Math.ceil(Math.log2(Math.max(1, weights.length)));
    this.#sums = new Float64Array(2 * this.#leaves);
    this.#sums.set(weights, this.#leaves);
    for (let node = this.#leaves - 1; node > 0; node--) this.#add(node);
  }

  draw(generator: Generator): number {
    let left = uniform(generator) * this.#sum(1);
    let node = 1;
    while (node < this.#leaves) {
      const first = this.#sum(2 * node);
      // Rounding may leave a number beyond the last weight: it never leads where there is none.
      const goesRight = left >= first && this.#sum(2 * node + 1) > 0;
      if (goesRight) left -= first;
      node = 2 * node + (goesRight ? 1 : 0);
    }
    return node - this.#leaves;
  }

  remove(index: number): void {
    let node = index + this.#leaves;
    this.#sums[node] = 0;
    for (node >>= 1; node > 0; node >>= 1) this.#add(node);
  }

  #add(node: number): void {
    this.#sums[node] = this.#sum(2 * node) + this.#sum(2 * node + 1);
  }

  #sum(node: number): number {
    return this.#sums[node] as number;
  }
}

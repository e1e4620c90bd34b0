import { checkInteger, checkOptions, OptionError } from "@nf/core";
import { kindOf } from "../ndarray.ts";
import { checkFlag, type Sampler } from "./sampler.ts";

/** Decides which items go into which batch of an epoch; see {@link Sampler}. */
export interface BatchSource {
  /** Batches in an epoch. */
  readonly length: number;
  /** What its batches depend on, as text: a loader refuses a state that was saved with another. */
  readonly key: string;
  /** The batches of an epoch in their order. */
  batches(epoch: number): readonly (readonly number[])[];
}

/** Options of {@link BatchSampler}. */
export interface BatchSamplerOptions {
  /** Items in a batch. */
  batchSize: number;
  /** Leave out a last batch that is not full. Default false. */
  dropLast?: boolean;
}

/** The items of a sampler in batches of equal size. */
export class BatchSampler implements BatchSource {
  readonly key: string;
  readonly #sampler: Sampler;
  readonly #batchSize: number;
  readonly #dropLast: boolean;

  constructor(sampler: Sampler, options: BatchSamplerOptions) {
    checkOptions("BatchSampler", options, ["batchSize", "dropLast"]);
    if (typeof sampler?.indices !== "function") {
      throw new OptionError(
        `BatchSampler: expected a sampler, an object with length, key and indices(epoch), got ${kindOf(sampler)}.`,
      );
    }
    this.#sampler = sampler;
    this.#batchSize = checkInteger("BatchSampler", "batchSize", options.batchSize, 1);
    this.#dropLast = checkFlag("BatchSampler", "dropLast", options.dropLast ?? false);
    this.key = `${sampler.key}, batches of ${this.#batchSize}${this.#dropLast ? ", full ones" : ""}`;
  }

  get length(): number {
    const batches = this.#sampler.length / this.#batchSize;
    return this.#dropLast ? Math.floor(batches) : Math.ceil(batches);
  }

  batches(epoch: number): number[][] {
    const indices = this.#sampler.indices(epoch);
    return Array.from({ length: this.length }, (_, batch) => {
      return Array.from(indices.subarray(batch * this.#batchSize, (batch + 1) * this.#batchSize));
    });
  }
}

import { DataError } from "./errors.ts";
import { kindOf } from "./ndarray.ts";
import { epochOrder } from "./order.ts";
import type { BatchSource } from "./samplers/batch.ts";
import type { Sampler } from "./samplers/sampler.ts";

/** What decides the batches of an epoch over a dataset that is asked by number. */
export interface Planned {
  /** Items of the dataset. */
  readonly items: number;
  /** Batches that the loader says an epoch has. */
  readonly length: number;
  readonly batchSize: number;
  readonly shuffle: boolean;
  readonly seed: number;
  readonly sampler: Sampler | undefined;
  readonly batchSampler: BatchSource | undefined;
}

/**
 * Says which items each batch of an epoch has. All of a sampler's answer is looked at before the first batch: one that does
 * not keep its word would otherwise show as other items than it chose, or none.
 *
 * @throws DataError for a sampler that gives another number of items or batches than its length, a batch without items, or
 *   an index that the dataset does not have.
 */
export function planEpoch(planned: Planned, epoch: number): (batch: number) => readonly number[] {
  const { items, length, batchSize, shuffle, seed, sampler, batchSampler } = planned;
  if (batchSampler !== undefined) {
    const batches = batchSampler.batches(epoch);
    checkLength("batchSampler", "batches", batches, length, epoch);
    batches.forEach((indices, batch) => {
      checkIndices(`batch ${batch} of batchSampler.batches(${epoch})`, indices, items);
      if (indices.length === 0) {
        throw new DataError(
          `DataLoader: batch ${batch} of batchSampler.batches(${epoch}) is empty. A batch needs at least one item; leave an ` +
            "empty one out, and count length without it.",
        );
      }
    });
    return (batch) => Array.from(batches[batch] as readonly number[]);
  }
  let order: ArrayLike<number> | undefined;
  if (sampler !== undefined) {
    order = sampler.indices(epoch);
    checkLength("sampler", "indices", order, sampler.length, epoch);
    checkIndices(`sampler.indices(${epoch})`, order, items);
  } else if (shuffle) order = epochOrder(items, seed, epoch);
  const total = order?.length ?? items;
  return (batch) => {
    const start = batch * batchSize;
    const count = Math.min(batchSize, total - start);
    return Array.from({ length: count }, (_, i) =>
      order === undefined ? start + i : (order[start + i] as number),
    );
  };
}

function isList(value: unknown): value is ArrayLike<unknown> {
  return Array.isArray(value) || value instanceof Int32Array || value instanceof Uint32Array;
}

function checkLength(option: string, method: string, list: unknown, length: number, epoch: number): void {
  if (!isList(list)) {
    throw new DataError(
      `DataLoader: ${option}.${method}(${epoch}) must give an array at once, got ${kindOf(list)}. What takes time belongs ` +
        "before the loader is made.",
    );
  }
  if (list.length !== length) {
    throw new DataError(
      `DataLoader: ${option}.length says ${length}, and ${option}.${method}(${epoch}) gives ${list.length}. Both must be ` +
        "the same in every epoch.",
    );
  }
}

function checkIndices(what: string, indices: unknown, items: number): void {
  if (!isList(indices))
    throw new DataError(`DataLoader: ${what} must be an array of indices, got ${kindOf(indices)}.`);
  for (let place = 0; place < indices.length; place++) {
    const index = indices[place];
    if (typeof index === "number" && Number.isInteger(index) && index >= 0 && index < items) continue;
    throw new DataError(
      `DataLoader: ${what} has ${String(index)} at place ${place}; expected a whole number from 0 to ${items - 1}, as the ` +
        `dataset has ${items} items.`,
    );
  }
}

import { type Generator, permutation } from "@nf/core";
import type { Pair } from "./task.ts";

/** Batches that are filled together, so that each holds sequences of similar length. */
const POOL = 50;

/**
 * One epoch of batches: all pairs in random order, those of a pool sorted by length, and the batches shuffled again. Padding is
 * then a few percent, and which sentences meet differs from epoch to epoch.
 */
export function bucketed(
  pairs: readonly Pair[],
  size: number,
  generator: Generator,
): readonly (readonly Pair[])[] {
  const shuffled = [...permutation(pairs.length, generator)].map((index) => pairs[index] as Pair);
  const batches: (readonly Pair[])[] = [];
  for (let start = 0; start < shuffled.length; start += POOL * size) {
    const pool = shuffled.slice(start, start + POOL * size).sort((a, b) => lengthOf(a) - lengthOf(b));
    for (let first = 0; first < pool.length; first += size) batches.push(pool.slice(first, first + size));
  }
  return [...permutation(batches.length, generator)].map((index) => batches[index] as readonly Pair[]);
}

function lengthOf({ source, target }: Pair): number {
  return Math.max(source.length, target.length) + (source.length + target.length) / 1000;
}

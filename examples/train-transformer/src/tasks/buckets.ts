import { type Generator, permutation } from "@nf/core";
import type { Pair } from "./task.ts";

/** Batches that are filled together, so that each holds sequences of similar length. */
const POOL = 50;
/** Tokens of a sequence that is neither long nor short: a batch has room for so many times its size on either side. */
const USUAL = 16;

/**
 * One epoch of batches: all pairs in random order, those of a pool sorted by length, and the batches shuffled again. Padding is
 * then a few percent, and which sentences meet differs from epoch to epoch.
 *
 * Batches have about equally many tokens, not pairs: `size` pairs of 16 tokens, half as many of 32. Each step then asks for
 * blocks of the same sizes, and takes those of the step before.
 */
export function bucketed(
  pairs: readonly Pair[],
  size: number,
  generator: Generator,
): readonly (readonly Pair[])[] {
  const shuffled = [...permutation(pairs.length, generator)].map((index) => pairs[index] as Pair);
  const batches: (readonly Pair[])[] = [];
  for (let start = 0; start < shuffled.length; start += POOL * size) {
    const pool = shuffled.slice(start, start + POOL * size).sort(byWidth);
    let batch: Pair[] = [];
    for (const pair of pool) {
      // Sorted, so that the newcomer is as wide as the batch will be.
      if (batch.length > 0 && (batch.length + 1) * width(pair) > size * USUAL) {
        batches.push(batch);
        batch = [];
      }
      batch.push(pair);
    }
    batches.push(batch);
  }
  return [...permutation(batches.length, generator)].map((index) => batches[index] as readonly Pair[]);
}

/** Positions that a pair takes on its longer side; targets have an end or a begin besides their tokens. */
function width({ source, target }: Pair): number {
  return Math.max(source.length, target.length + 1);
}

function byWidth(a: Pair, b: Pair): number {
  return width(a) - width(b) || a.source.length + a.target.length - b.source.length - b.target.length;
}

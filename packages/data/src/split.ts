import { checkInteger, checkNumber, checkOptions, Generator, OptionError, permutation } from "@nf/core";
import { type Dataset, requireDataset, subset } from "./dataset.ts";
import { kindOf } from "./ndarray.ts";
import { byClass } from "./samplers/classes.ts";

/**
 * Splits a dataset at random into parts that do not overlap, as PyTorch's `random_split`.
 *
 * @param lengths numbers of items that add up to the dataset's length, or fractions that add up to 1 (parts are rounded
 *   down, what is left goes to the first parts in turn).
 * @throws OptionError if they do not add up.
 */
export function randomSplit<Item>(
  dataset: Dataset<Item>,
  lengths: readonly number[],
  options: { seed?: number } = {},
): Dataset<Item>[] {
  checkOptions("randomSplit", options, ["seed"]);
  requireDataset("randomSplit", dataset);
  if (!Array.isArray(lengths)) {
    throw new OptionError(
      `randomSplit: lengths must be an array, such as [0.8, 0.2], got ${kindOf(lengths)}.`,
    );
  }
  const counts = partLengths(dataset.length, lengths);
  const order = permutation(dataset.length, new Generator(options.seed ?? 0));
  let start = 0;
  return counts.map((count) => {
    const part = subset(dataset, order.subarray(start, start + count));
    start += count;
    return part;
  });
}

function partLengths(total: number, lengths: readonly number[]): number[] {
  const sum = lengths.reduce((a, b) => a + b, 0);
  const legal = lengths.every((length) => Number.isFinite(length) && length >= 0);
  if (legal && lengths.every(Number.isInteger) && sum === total) return [...lengths];
  if (!legal || Math.abs(sum - 1) > 1e-9) {
    throw new OptionError(
      `randomSplit: lengths must be counts that add up to ${total}, or fractions that add up to 1; got ${lengths.join(", ")}.`,
    );
  }
  const counts = lengths.map((fraction) => Math.floor(total * fraction));
  const left = total - counts.reduce((a, b) => a + b, 0);
  return counts.map((count, part) => count + (part < left ? 1 : 0));
}

/** The two parts of {@link trainTestSplit}. */
export interface TrainTest<Item> {
  readonly train: Dataset<Item>;
  readonly test: Dataset<Item>;
}

/** Options of {@link trainTestSplit}. */
export interface TrainTestSplitOptions {
  /** Part that goes to the test set, above 0 and below 1, or a whole number of items. Default 0.25. */
  testSize?: number;
  /** Class of each item: both parts then have the classes in the dataset's proportions. Default: purely at random. */
  stratify?: ArrayLike<number | string>;
  /** Default 0. */
  seed?: number;
}

/**
 * Splits a dataset at random into one to train on and one to test on, the same for the same seed, both in random order.
 * With `stratify` the test items of each class are its share rounded, so that they add up to the size of the test set.
 *
 * @throws OptionError for a size that leaves a part empty, or labels that are not one for each item.
 */
export function trainTestSplit<Item>(
  dataset: Dataset<Item>,
  options: TrainTestSplitOptions = {},
): TrainTest<Item> {
  checkOptions("trainTestSplit", options, ["testSize", "stratify", "seed"]);
  requireDataset("trainTestSplit", dataset);
  const { testSize = 0.25, stratify, seed = 0 } = options;
  checkInteger("trainTestSplit", "seed", seed, 0);
  checkNumber("trainTestSplit", "testSize", testSize, 0);
  const { length } = dataset;
  const count = testSize < 1 ? Math.round(testSize * length) : testSize;
  if (!Number.isInteger(count) || count < 1 || count >= length) {
    throw new OptionError(
      `trainTestSplit: testSize must leave something on both sides of ${length} items: a part between 0 and 1, or a ` +
        `number of items from 1 to ${length - 1}; got ${testSize}, which is ${count} items.`,
    );
  }
  const generator = new Generator(seed);
  const order = permutation(length, generator);
  if (stratify === undefined) {
    return { test: subset(dataset, order.subarray(0, count)), train: subset(dataset, order.subarray(count)) };
  }
  const classes = byClass("trainTestSplit: stratify", stratify, length);
  const quota = shares(
    classes.members.map((members) => (members.length * count) / length),
    count,
  );
  const test: number[] = [];
  const train: number[] = [];
  for (const index of order) {
    const of = classes.ofItem[index] as number;
    const left = quota[of] as number;
    if (left > 0) test.push(index);
    else train.push(index);
    quota[of] = left - 1;
  }
  return { train: subset(dataset, train), test: subset(dataset, test) };
}

/** Whole numbers that add up to `total`, each its share rounded down or up; the largest remainders are rounded up. */
function shares(exact: readonly number[], total: number): number[] {
  const counts = exact.map(Math.floor);
  const left = total - counts.reduce((a, b) => a + b, 0);
  const byRemainder = exact
    .map((share, place) => ({ place, remainder: share - Math.floor(share) }))
    .sort((a, b) => b.remainder - a.remainder || a.place - b.place);
  for (const { place } of byRemainder.slice(0, left)) counts[place] = (counts[place] as number) + 1;
  return counts;
}

import { checkOptions, OptionError } from "@nf/core";
import { type Dataset, isDataset, provenance } from "./dataset.ts";
import { DataError } from "./errors.ts";
import { kindOf } from "./ndarray.ts";

/**
 * Items that come one after the other, without numbers to ask for them by: a file read line by line, a server's answers,
 * a simulation. Made by {@link iterableDataset}; a {@link DataLoader} takes it as it takes a {@link Dataset}.
 */
export interface IterableDataset<Item> extends AsyncIterable<Item> {
  /** Short name for logs and result files. */
  readonly name?: string;
  /** Where the data comes from, and what it must not be used for. */
  readonly source?: string;
  /** The items of one epoch, from the first. Iterating over the dataset itself is epoch 0. */
  epoch(epoch: number): AsyncIterable<Item>;
}

/** Anything that gives items in turn. */
export type Items<Item> = Iterable<Item> | AsyncIterable<Item>;

/** Options of {@link iterableDataset}. */
export interface IterableDatasetOptions {
  /** Short name for logs and result files. */
  name?: string;
  /** Where the data comes from. */
  source?: string;
}

/**
 * A dataset of what an iterable or async iterable gives, or of what a function returns for an epoch's number, which is
 * called anew for each. A {@link Dataset} is gone through in its order. Nothing is read before it is asked for.
 *
 * @example
 * ```ts no-run
 * import { iterableDataset } from "@nf/data";
 * const squares = iterableDataset(function* (epoch: number) {
 *   for (let i = 0; i < 100; i++) yield (i + epoch) ** 2;
 * });
 * ```
 * @throws OptionError for anything else.
 * @throws DataError, when iterated, if an iterator that can be gone through only once is begun a second time.
 */
export function iterableDataset<Item>(
  items: Dataset<Item> | Items<Item> | ((epoch: number) => Items<Item>),
  options: IterableDatasetOptions = {},
): IterableDataset<Item> {
  checkOptions("iterableDataset", options, ["name", "source"]);
  if (typeof items === "function") return ofEpochs(items, options);
  if (isDataset(items)) {
    const dataset = items as Dataset<Item>;
    return ofEpochs((epoch) => inOrder(dataset, epoch), { ...provenance(dataset), ...provenance(options) });
  }
  if (isIterableDataset(items)) {
    const dataset = items as IterableDataset<Item>;
    return ofEpochs((epoch) => dataset.epoch(epoch), { ...provenance(dataset), ...provenance(options) });
  }
  if (!isItems(items)) {
    throw new OptionError(
      `iterableDataset: expected an iterable, an async iterable, a dataset, or a function that returns one, got ${kindOf(items)}.`,
    );
  }
  const source = items as Items<Item>;
  let begun = false;
  return ofEpochs(() => {
    if (begun && isOneShot(source)) {
      throw new DataError(
        "iterableDataset: its iterator can be gone through only once, and was begun before. Pass a function that returns " +
          "a new one for each epoch.",
      );
    }
    begun = true;
    return source;
  }, options);
}

/** @param start called when an epoch is begun, not before. */
export function ofEpochs<Item>(
  start: (epoch: number) => Items<Item>,
  of: { readonly name?: string; readonly source?: string },
): IterableDataset<Item> {
  const epoch = (number: number): AsyncIterable<Item> => ({
    async *[Symbol.asyncIterator]() {
      yield* start(number);
    },
  });
  return { ...provenance(of), epoch, [Symbol.asyncIterator]: () => epoch(0)[Symbol.asyncIterator]() };
}

/** A dataset of either kind, or any iterable, as an iterable dataset. */
export function asIterable<Item>(items: Dataset<Item> | Items<Item>): IterableDataset<Item> {
  return isIterableDataset(items) ? (items as IterableDataset<Item>) : iterableDataset(items);
}

/** Whether a value is an {@link IterableDataset}. */
export function isIterableDataset(value: unknown): value is IterableDataset<unknown> {
  return isItems(value) && "epoch" in value && typeof value.epoch === "function";
}

/** Whether a value is an object that can be iterated over. */
export function isItems(value: unknown): value is Items<unknown> {
  return (
    typeof value === "object" && value !== null && (Symbol.iterator in value || Symbol.asyncIterator in value)
  );
}

async function* inOrder<Item>(dataset: Dataset<Item>, epoch: number): AsyncGenerator<Item> {
  for (let index = 0; index < dataset.length; index++) yield await dataset.get(index, epoch);
}

/** An iterator that is its own iterable, as generators are. Looking makes none begin. */
function isOneShot(items: Items<unknown>): boolean {
  return "next" in items && typeof items.next === "function";
}

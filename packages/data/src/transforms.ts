import { checkInteger, checkOptions, OptionError } from "@nf/core";
import { type AnyDataset, checkIndex, type Dataset, isDataset, provenance, subset } from "./dataset.ts";
import { asIterable, type Items, type IterableDataset, isItems, ofEpochs } from "./iterable.ts";
import { kindOf } from "./ndarray.ts";
import { below, epochOrder, generatorFor } from "./order.ts";
import { checkFlag } from "./samplers/sampler.ts";

/** Sets the draws of shuffle buffers apart from other uses of the same seed: "buff". */
const BUFFER_KEY = 0x62756666;

/** A dataset by number or in turn: each function here takes both, and gives the kind it was given unless it says so. */
type Either<Item> = Dataset<Item> | Items<Item>;

/**
 * The dataset whose items are `fn(item, index, epoch)`, computed each time one is asked for. In an iterable dataset
 * `index` counts the items of an epoch.
 */
export function mapDataset<Item, Out>(
  dataset: Dataset<Item>,
  fn: (item: Item, index: number, epoch: number) => Out | Promise<Out>,
): Dataset<Out>;
export function mapDataset<Item, Out>(
  dataset: Items<Item>,
  fn: (item: Item, index: number, epoch: number) => Out | Promise<Out>,
): IterableDataset<Out>;
export function mapDataset<Item, Out>(
  dataset: Either<Item>,
  fn: (item: Item, index: number, epoch: number) => Out | Promise<Out>,
): Dataset<Out> | IterableDataset<Out> {
  requireFunction("mapDataset", "fn", fn);
  if (!byNumber("mapDataset", dataset)) {
    return derived(dataset, async function* (items, epoch) {
      let index = 0;
      for await (const item of items) yield await fn(item, index++, epoch);
    });
  }
  return {
    ...provenance(dataset),
    length: dataset.length,
    get: (index, epoch = 0) => {
      const item = dataset.get(index, epoch);
      return item instanceof Promise ? item.then((value) => fn(value, index, epoch)) : fn(item, index, epoch);
    },
  };
}

/** The items for which `keep` says true. Nobody knows how many before looking, so the result is iterable. */
export function filterDataset<Item>(
  dataset: Either<Item>,
  keep: (item: Item, index: number) => boolean | Promise<boolean>,
): IterableDataset<Item> {
  requireFunction("filterDataset", "keep", keep);
  byNumber("filterDataset", dataset);
  return derived(dataset, async function* (items) {
    let index = 0;
    for await (const item of items) if (await keep(item, index++)) yield item;
  });
}

/**
 * Groups of `size` items, as arrays; with `dropLast` without a last group that is not full. `mapDataset(…, collate)`
 * stacks each.
 */
export function batchDataset<Item>(
  dataset: Dataset<Item>,
  size: number,
  options?: { dropLast?: boolean },
): Dataset<Item[]>;
export function batchDataset<Item>(
  dataset: Items<Item>,
  size: number,
  options?: { dropLast?: boolean },
): IterableDataset<Item[]>;
export function batchDataset<Item>(
  dataset: Either<Item>,
  size: number,
  options: { dropLast?: boolean } = {},
): Dataset<Item[]> | IterableDataset<Item[]> {
  checkOptions("batchDataset", options, ["dropLast"]);
  checkInteger("batchDataset", "size", size, 1);
  const dropLast = checkFlag("batchDataset", "dropLast", options.dropLast ?? false);
  if (!byNumber("batchDataset", dataset)) return derived(dataset, (items) => groups(items, size, dropLast));
  const length = dropLast ? Math.floor(dataset.length / size) : Math.ceil(dataset.length / size);
  return {
    ...provenance(dataset),
    length,
    get: (index, epoch) => {
      checkIndex("batchDataset", index, length);
      const start = index * size;
      const count = Math.min(size, dataset.length - start);
      return Promise.all(Array.from({ length: count }, (_, i) => dataset.get(start + i, epoch)));
    },
  };
}

/** Items in groups of `size`, the last one shorter if need be. */
export async function* groups<Item>(
  items: Items<Item>,
  size: number,
  dropLast: boolean,
): AsyncGenerator<Item[]> {
  let group: Item[] = [];
  for await (const item of items) {
    group.push(item);
    if (group.length < size) continue;
    yield group;
    group = [];
  }
  if (group.length > 0 && !dropLast) yield group;
}

/**
 * The items in random order. A {@link Dataset} is permuted once; a {@link DataLoader} with `shuffle` gives every epoch an
 * order of its own. An iterable dataset goes through a buffer of `buffer` items, out of which they are drawn at random,
 * another way in each epoch: an item comes at most `buffer - 1` places early.
 *
 * @param options `seed` (default 0), and for an iterable dataset `buffer`.
 */
export function shuffleDataset<Item>(dataset: Dataset<Item>, options?: { seed?: number }): Dataset<Item>;
export function shuffleDataset<Item>(
  dataset: Items<Item>,
  options: { buffer: number; seed?: number },
): IterableDataset<Item>;
export function shuffleDataset<Item>(
  dataset: Either<Item>,
  options: { buffer?: number; seed?: number } = {},
): Dataset<Item> | IterableDataset<Item> {
  const numbered = byNumber("shuffleDataset", dataset);
  checkOptions("shuffleDataset", options, numbered ? ["seed"] : ["buffer", "seed"]);
  const { buffer, seed = 0 } = options;
  checkInteger("shuffleDataset", "seed", seed, 0);
  if (numbered) return subset(dataset, epochOrder(dataset.length, seed, 0));
  if (buffer === undefined) {
    throw new OptionError("shuffleDataset: an iterable dataset needs a buffer, as in { buffer: 1000 }.");
  }
  checkInteger("shuffleDataset", "buffer", buffer, 1);
  return derived(dataset, async function* (items, epoch) {
    const generator = generatorFor(seed, BUFFER_KEY, epoch);
    const held: Item[] = [];
    for await (const item of items) {
      held.push(item);
      if (held.length === buffer) yield takeOut(held, below(generator, held.length));
    }
    while (held.length > 0) yield takeOut(held, below(generator, held.length));
  });
}

/** Takes an item out; the last one comes into its place. */
function takeOut<Item>(held: Item[], place: number): Item {
  const last = held.pop() as Item;
  if (place === held.length) return last;
  const taken = held[place] as Item;
  held[place] = last;
  return taken;
}

/** What {@link zipDatasets} pairs up: one item of each dataset. */
export type Zipped<Datasets extends readonly unknown[]> = {
  -readonly [Key in keyof Datasets]: Datasets[Key] extends { get(index: number, epoch?: number): infer Item }
    ? Awaited<Item>
    : Datasets[Key] extends Items<infer Item>
      ? Item
      : never;
};

/** Items of several datasets side by side, as tuples, as many as the shortest has; iterable unless all have numbers. */
export function zipDatasets<const Datasets extends readonly AnyDataset[]>(
  datasets: Datasets,
): Dataset<Zipped<Datasets>>;
export function zipDatasets<const Datasets extends readonly (AnyDataset | Items<unknown>)[]>(
  datasets: Datasets,
): IterableDataset<Zipped<Datasets>>;
export function zipDatasets(
  datasets: readonly (AnyDataset | Items<unknown>)[],
): Dataset<unknown[]> | IterableDataset<unknown[]> {
  if (!Array.isArray(datasets) || datasets.length === 0) {
    throw new OptionError("zipDatasets: expected a list of datasets, as in zipDatasets([images, labels]).");
  }
  const all = datasets.map((dataset) => dataset as Either<unknown>);
  const numbered = all.filter((dataset) => byNumber("zipDatasets", dataset));
  if (numbered.length < all.length) {
    const parts = all.map((dataset) => asIterable(dataset));
    return ofEpochs((epoch) => sideBySide(parts.map((part) => part.epoch(epoch))), {});
  }
  const length = Math.min(...numbered.map((dataset) => dataset.length));
  return {
    length,
    get: (index, epoch) => {
      checkIndex("zipDatasets", index, length);
      return Promise.all(numbered.map((dataset) => dataset.get(index, epoch)));
    },
  };
}

async function* sideBySide(parts: readonly AsyncIterable<unknown>[]): AsyncGenerator<unknown[]> {
  const iterators = parts.map((part) => part[Symbol.asyncIterator]());
  try {
    for (;;) {
      const row: unknown[] = [];
      for (const iterator of iterators) {
        const next = await iterator.next();
        if (next.done) return;
        row.push(next.value);
      }
      yield row;
    }
  } finally {
    for (const iterator of iterators) await iterator.return?.();
  }
}

/** The first `count` items, or all if there are fewer; of an iterable dataset no more are read. */
export function takeDataset<Item>(dataset: Dataset<Item>, count: number): Dataset<Item>;
export function takeDataset<Item>(dataset: Items<Item>, count: number): IterableDataset<Item>;
export function takeDataset<Item>(
  dataset: Either<Item>,
  count: number,
): Dataset<Item> | IterableDataset<Item> {
  checkInteger("takeDataset", "count", count, 0);
  if (byNumber("takeDataset", dataset))
    return subset(
      dataset,
      Int32Array.from({ length: Math.min(count, dataset.length) }, (_, index) => index),
    );
  return derived(dataset, async function* (items) {
    let left = count;
    if (left === 0) return;
    for await (const item of items) {
      yield item;
      if (--left === 0) return;
    }
  });
}

/**
 * The dataset `count` times over; an iterable one without end when `count` is left out. Each time is an epoch of its own
 * for what lies below: a shuffle buffer or an augmentation differs from one to the next.
 */
export function repeatDataset<Item>(dataset: Dataset<Item>, count: number): Dataset<Item>;
export function repeatDataset<Item>(dataset: Items<Item>, count?: number): IterableDataset<Item>;
export function repeatDataset<Item>(
  dataset: Either<Item>,
  count: number = Number.POSITIVE_INFINITY,
): Dataset<Item> | IterableDataset<Item> {
  const numbered = byNumber("repeatDataset", dataset);
  if (numbered || count !== Number.POSITIVE_INFINITY) checkInteger("repeatDataset", "count", count, 0);
  if (!numbered) {
    const below = asIterable(dataset);
    return ofEpochs(async function* (epoch) {
      const first = count === Number.POSITIVE_INFINITY ? epoch : epoch * count;
      for (let round = 0; round < count; round++) {
        let items = 0;
        for await (const item of below.epoch(first + round)) {
          items++;
          yield item;
        }
        // Without an item in a round, going on could go on for ever.
        if (items === 0) return;
      }
    }, below);
  }
  const length = dataset.length * count;
  return {
    ...provenance(dataset),
    length,
    get: (index, epoch = 0) => {
      checkIndex("repeatDataset", index, length);
      const round = Math.floor(index / dataset.length);
      return dataset.get(index % dataset.length, epoch * count + round);
    },
  };
}

/** An iterable dataset made of another's items, epoch by epoch. */
function derived<Item, Out>(
  dataset: Either<Item>,
  change: (items: AsyncIterable<Item>, epoch: number) => AsyncIterable<Out>,
): IterableDataset<Out> {
  const items = asIterable(dataset);
  return ofEpochs((epoch) => change(items.epoch(epoch), epoch), items);
}

function byNumber<Item>(op: string, dataset: Either<Item>): dataset is Dataset<Item> {
  if (isDataset(dataset)) return true;
  if (isItems(dataset)) return false;
  throw new OptionError(`${op}: expected a dataset or something to iterate over, got ${kindOf(dataset)}.`);
}

function requireFunction(op: string, name: string, value: unknown): void {
  if (typeof value === "function") return;
  throw new OptionError(`${op}: ${name} must be a function of an item, got ${kindOf(value)}.`);
}

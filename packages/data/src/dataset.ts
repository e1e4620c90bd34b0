import { checkOptions, Generator, IndexError, OptionError, permutation, type Tensor } from "@nf/core";
import type { Collated } from "./collate.ts";
import { DataError } from "./errors.ts";
import {
  asNdArray,
  checkFits,
  isTypedArray,
  kindOf,
  NdArray,
  type TypedArray,
  tensorStorage,
} from "./ndarray.ts";

/**
 * Anything with a length and items. An item is a number, string, typed array or {@link NdArray}, or an array or plain
 * object of them; all items of a dataset have one form.
 */
export interface Dataset<Item> {
  /** Number of items. */
  readonly length: number;
  /** Short name for logs and result files. */
  readonly name?: string;
  /** Where the data comes from, and what it must not be used for. */
  readonly source?: string;
  /** Item number `index`, at once or as a promise. */
  get(index: number): Item | Promise<Item>;
  /** Items stacked as {@link collate} would, for datasets that can do it faster than one by one. */
  getBatch?(indices: readonly number[]): Collated<Item> | Promise<Collated<Item>>;
}

/** Columns of an {@link ArrayDataset}: first dimensions are the items. */
export type Columns = Readonly<Record<string, NdArray | TypedArray>>;

/** One row of every column. */
export type Row<C extends Columns> = { readonly [Key in keyof C]: NdArray };

/**
 * A dataset in host memory: named columns of equal length.
 *
 * @example
 * ```ts no-run
 * import { ArrayDataset, NdArray } from "@nf/data";
 * const dataset = new ArrayDataset({
 *   x: new NdArray(Float32Array.of(0, 0, 0, 1, 1, 0, 1, 1), [4, 2]),
 *   y: Int32Array.of(0, 1, 1, 0),
 * });
 * ```
 */
export class ArrayDataset<C extends Columns> implements Dataset<Row<C>> {
  readonly length: number;
  readonly columns: { readonly [Key in keyof C]: NdArray };

  /** @throws DataError if there is no column, or columns differ in length or have none. */
  constructor(columns: C) {
    const entries = Object.entries(columns).map(([key, column]): [string, NdArray] => {
      if (!(column instanceof NdArray) && !isTypedArray(column)) {
        throw new DataError(
          `ArrayDataset: column ${key} must be a typed array or an NdArray, got ${kindOf(column)}.`,
        );
      }
      return [key, asNdArray(column)];
    });
    const lengths = entries.map(([key, { shape }]) => `${key} [${shape.join(", ")}]`).join(", ");
    const length = entries[0]?.[1].shape[0];
    if (length === undefined || entries.some(([, { shape }]) => shape[0] !== length)) {
      throw new DataError(
        `ArrayDataset: columns need one common first dimension, got ${lengths || "no columns"}.`,
      );
    }
    this.length = length;
    this.columns = Object.fromEntries(entries) as { readonly [Key in keyof C]: NdArray };
  }

  /** Views of one row; a one-dimensional column gives a scalar. */
  get(index: number): Row<C> {
    checkIndex("ArrayDataset", index, this.length);
    return this.#mapColumns(({ data, shape }) => {
      const rowShape = shape.slice(1);
      const size = data.length / this.length;
      return new NdArray(data.subarray(index * size, (index + 1) * size), rowShape);
    });
  }

  getBatch(indices: readonly number[]): Collated<Row<C>> {
    for (const index of indices) checkIndex("ArrayDataset", index, this.length);
    return this.#mapColumns(({ data, shape }) => {
      const size = data.length / this.length;
      const values = tensorStorage(data, size * indices.length);
      indices.forEach((index, position) => {
        const row = data.subarray(index * size, (index + 1) * size);
        if (row instanceof Uint32Array) checkFits(row);
        values.set(row, position * size);
      });
      return new NdArray(values, [indices.length, ...shape.slice(1)]);
    }) as Collated<Row<C>>;
  }

  #mapColumns(fn: (column: NdArray) => NdArray): Row<C> {
    return Object.fromEntries(
      Object.entries(this.columns).map(([key, column]) => [key, fn(column)]),
    ) as Row<C>;
  }
}

/** A dataset of the values of tensors, read once now (so they may be disposed of afterwards); rows along axis 0. */
export async function tensorDataset<Key extends string>(
  tensors: Readonly<Record<Key, Tensor>>,
): Promise<ArrayDataset<Readonly<Record<Key, NdArray>>>> {
  const entries = Object.entries<Tensor>(tensors);
  const columns = await Promise.all(
    entries.map(async ([key, x]) => [key, new NdArray(await x.data(), x.shape)] as const),
  );
  return new ArrayDataset(Object.fromEntries(columns) as Record<Key, NdArray>);
}

/** The dataset whose items are `fn(item, index)`, computed each time one is asked for. */
export function mapDataset<Item, Out>(
  dataset: Dataset<Item>,
  fn: (item: Item, index: number) => Out | Promise<Out>,
): Dataset<Out> {
  return {
    ...provenance(dataset),
    length: dataset.length,
    get: (index) => {
      const item = dataset.get(index);
      return item instanceof Promise ? item.then((value) => fn(value, index)) : fn(item, index);
    },
  };
}

/** The items of `dataset` at `indices`, in that order. @throws IndexError if one is out of range. */
export function subset<Item>(dataset: Dataset<Item>, indices: ArrayLike<number>): Dataset<Item> {
  const chosen = Array.from(indices);
  for (const index of chosen) checkIndex("subset", index, dataset.length);
  const original = (index: number): number => {
    checkIndex("subset", index, chosen.length);
    return chosen[index] as number;
  };
  const result: Dataset<Item> = {
    ...provenance(dataset),
    length: chosen.length,
    get: (index) => dataset.get(original(index)),
  };
  const { getBatch } = dataset;
  if (getBatch === undefined) return result;
  return { ...result, getBatch: (batch) => getBatch.call(dataset, batch.map(original)) };
}

/** The items of several datasets, one after the other. */
export function concatDatasets<Item>(datasets: readonly Dataset<Item>[]): Dataset<Item> {
  const length = datasets.reduce((sum, dataset) => sum + dataset.length, 0);
  return {
    length,
    get: (index) => {
      checkIndex("concatDatasets", index, length);
      let position = index;
      for (const dataset of datasets) {
        if (position < dataset.length) return dataset.get(position);
        position -= dataset.length;
      }
      throw new IndexError(`concatDatasets: a dataset became shorter; item ${index} is gone.`);
    },
  };
}

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

function provenance(dataset: Dataset<unknown>): { name?: string; source?: string } {
  const { name, source } = dataset;
  return { ...(name !== undefined && { name }), ...(source !== undefined && { source }) };
}

/** @throws IndexError unless `index` is an integer from 0 to `length - 1`. */
export function checkIndex(op: string, index: number, length: number): void {
  if (!Number.isInteger(index) || index < 0 || index >= length) {
    throw new IndexError(
      `${op}: index ${index} is outside the dataset's ${length} items (0 to ${length - 1}).`,
    );
  }
}

import { IndexError, OptionError, type Tensor } from "@nf/core";
import { type Collated, checkRows, interleave } from "./collate.ts";
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
  /**
   * Item number `index`, at once or as a promise. The loader says which epoch it is for (0 when left out): random
   * changes depend on seed, epoch and index alone, so that they are the same in any order of asking.
   */
  get(index: number, epoch?: number): Item | Promise<Item>;
  /** Items stacked as {@link collate} would, for datasets that can do it faster than one by one. */
  getBatch?(indices: readonly number[], epoch?: number): Collated<Item> | Promise<Collated<Item>>;
}

/** A {@link Dataset} of whatever items, where they are only passed on. */
export interface AnyDataset {
  readonly length: number;
  readonly name?: string;
  readonly source?: string;
  get(index: number, epoch?: number): unknown;
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

/** The items of `dataset` at `indices`, in that order. @throws IndexError if one is out of range. */
export function subset<Item>(dataset: Dataset<Item>, indices: ArrayLike<number>): Dataset<Item> {
  requireDataset("subset", dataset);
  const chosen = Array.from(indices);
  for (const index of chosen) checkIndex("subset", index, dataset.length);
  const original = (index: number): number => {
    checkIndex("subset", index, chosen.length);
    return chosen[index] as number;
  };
  const result: Dataset<Item> = {
    ...provenance(dataset),
    length: chosen.length,
    get: (index, epoch) => dataset.get(original(index), epoch),
  };
  const { getBatch } = dataset;
  if (getBatch === undefined) return result;
  return { ...result, getBatch: (batch, epoch) => getBatch.call(dataset, batch.map(original), epoch) };
}

/** The items of several datasets, one after the other; batches come from their own `getBatch` where all of them have one. */
export function concatDatasets<Item>(datasets: readonly Dataset<Item>[]): Dataset<Item> {
  if (!Array.isArray(datasets)) {
    throw new OptionError(
      `concatDatasets: expected a list of datasets, as in concatDatasets([first, second]), got ${kindOf(datasets)}.`,
    );
  }
  for (const dataset of datasets) requireDataset("concatDatasets", dataset);
  const length = datasets.reduce((sum, dataset) => sum + dataset.length, 0);
  const placeOf = (index: number): readonly [dataset: number, position: number] => {
    checkIndex("concatDatasets", index, length);
    let position = index;
    for (const [number, dataset] of datasets.entries()) {
      if (position < dataset.length) return [number, position];
      position -= dataset.length;
    }
    throw new IndexError(`concatDatasets: a dataset became shorter; item ${index} is gone.`);
  };
  const result: Dataset<Item> = {
    length,
    get: (index, epoch) => {
      const [number, position] = placeOf(index);
      return (datasets[number] as Dataset<Item>).get(position, epoch);
    },
  };
  if (datasets.length === 0 || datasets.some(({ getBatch }) => getBatch === undefined)) return result;
  return {
    ...result,
    async getBatch(indices, epoch) {
      const found = indices.map(placeOf);
      const parts = datasets.map(async (dataset, number) => {
        const places = found.flatMap(([one], place) => (one === number ? [place] : []));
        if (places.length === 0) return [];
        const positions = places.map((place) => (found[place] as readonly [number, number])[1]);
        const batch: unknown = await dataset.getBatch?.(positions, epoch);
        checkRows(batch, places.length);
        return [{ batch, places }];
      });
      const [first, ...more] = (await Promise.all(parts)).flat();
      if (first === undefined) throw new DataError("concatDatasets: there are no items to stack.");
      return (
        more.length === 0 ? first.batch : interleave([first, ...more], indices.length)
      ) as Collated<Item>;
    },
  };
}

/** Name and source of what a dataset is made from, as far as it has any. */
export function provenance(of: { readonly name?: string; readonly source?: string }): {
  name?: string;
  source?: string;
} {
  const { name, source } = of;
  return { ...(name !== undefined && { name }), ...(source !== undefined && { source }) };
}

/** Whether a value is a {@link Dataset}: it has a length and `get`. */
export function isDataset(value: unknown): value is Dataset<unknown> {
  if (typeof value !== "object" || value === null || !("length" in value) || !("get" in value)) return false;
  return Number.isSafeInteger(value.length) && typeof value.get === "function";
}

/** @throws OptionError unless a value is a {@link Dataset}. */
export function requireDataset(op: string, value: unknown): void {
  if (isDataset(value)) return;
  throw new OptionError(
    `${op}: expected a dataset, an object with a length and get(index), got ${kindOf(value)}. ArrayDataset makes one of arrays.`,
  );
}

/** @throws IndexError unless `index` is an integer from 0 to `length - 1`. */
export function checkIndex(op: string, index: number, length: number): void {
  if (!Number.isInteger(index) || index < 0 || index >= length) {
    throw new IndexError(
      `${op}: index ${index} is outside the dataset's ${length} items (0 to ${length - 1}).`,
    );
  }
}

import { DataError } from "./errors.ts";
import {
  asNdArray,
  checkFits,
  isFloating,
  isTypedArray,
  kindOf,
  NdArray,
  type TypedArray,
  tensorStorage,
} from "./ndarray.ts";

/**
 * What stacking items gives, on the host: a number, typed array or {@link NdArray} in the item becomes one
 * {@link NdArray} with a leading batch dimension, strings become an array of strings, arrays and objects keep their form.
 */
export type Collated<Item> = Item extends number | TypedArray | NdArray
  ? NdArray
  : Item extends string
    ? readonly string[]
    : Item extends object
      ? { readonly [Key in keyof Item]: Collated<Item[Key]> }
      : never;

/**
 * Stacks items of one form into a batch on the host: what a {@link DataLoader} does unless it is given a `collate`.
 * Numbers become `f32` (an integer label is written {@link int32}`(label)` in the item), arrays keep their family
 * (floats `f32`, integers `i32`), strings stay strings.
 *
 * @throws DataError if the items differ in form or shape, or hold something that is no data.
 */
export function collate<Item>(items: readonly Item[]): Collated<Item> {
  if (items.length === 0) throw new DataError("collate: there are no items to stack.");
  return stack(items, "") as Collated<Item>;
}

function stack(items: readonly unknown[], path: string): unknown {
  const [first] = items;
  if (typeof first === "number") return stackNumbers(items, path);
  if (typeof first === "string") {
    return items.map((item, index) =>
      typeof item === "string" ? item : refuseForm(first, item, index, path),
    );
  }
  if (first instanceof NdArray || isTypedArray(first)) return stackArrays(asNdArray(first), items, path);
  if (Array.isArray(first)) {
    const rows = items.map((item, index) =>
      isArray(item) && item.length === first.length ? item : refuseForm(first, item, index, path),
    );
    return first.map((_, position) =>
      stack(
        rows.map((row) => row[position]),
        `${path}[${position}]`,
      ),
    );
  }
  if (isRecord(first)) {
    const keys = Object.keys(first);
    const rows = items.map((item, index) =>
      isRecord(item) && keys.every((key) => Object.hasOwn(item, key))
        ? item
        : refuseForm(first, item, index, path),
    );
    return Object.fromEntries(
      keys.map((key) => [
        key,
        stack(
          rows.map((row) => row[key]),
          `${path}.${key}`,
        ),
      ]),
    );
  }
  throw new DataError(
    `collate: item${path} is ${kindOf(first)}. Items are numbers, strings, typed arrays, NdArrays, and arrays or ` +
      "plain objects of them; for anything else give the DataLoader a collate function.",
  );
}

function stackNumbers(items: readonly unknown[], path: string): NdArray {
  const values = Float32Array.from(items, (item, index) =>
    typeof item === "number" ? item : refuseForm(items[0], item, index, path),
  );
  return new NdArray(values, [items.length]);
}

function stackArrays(first: NdArray, items: readonly unknown[], path: string): NdArray {
  const size = first.data.length;
  const values = tensorStorage(first.data, size * items.length);
  items.forEach((item, index) => {
    const array =
      item instanceof NdArray || isTypedArray(item) ? asNdArray(item) : refuseForm(first, item, index, path);
    if (
      array.shape.length !== first.shape.length ||
      array.shape.some((length, axis) => length !== first.shape[axis])
    ) {
      throw new DataError(
        `collate: item${path} of the batch's element ${index} has shape [${array.shape.join(", ")}], the first has ` +
          `[${first.shape.join(", ")}]. Give the DataLoader a collate function that pads or crops them.`,
      );
    }
    if (array.data instanceof Uint32Array) checkFits(array.data);
    values.set(array.data, index * size);
  });
  return new NdArray(values, [items.length, ...first.shape]);
}

/** A part of a batch, and where its rows stand in the whole. */
export interface BatchPart {
  readonly batch: unknown;
  readonly places: readonly number[];
}

/**
 * Refuses a part of a batch that has another number of rows than items were asked for.
 * @throws DataError
 */
export function checkRows(batch: unknown, count: number, path = ""): void {
  const rows = batch instanceof NdArray ? batch.shape[0] : isStrings(batch) ? batch.length : count;
  if (rows !== count) {
    const got = rows === undefined ? "one value for all of them" : `${rows} rows`;
    throw new DataError(
      `concatDatasets: getBatch of one dataset was asked for ${count} items, and batch${path} has ${got}. Give one row for each item.`,
    );
  }
  if (batch instanceof NdArray || isStrings(batch)) return;
  if (isArray(batch))
    for (const [position, one] of batch.entries()) checkRows(one, count, `${path}[${position}]`);
  else if (isRecord(batch))
    for (const [key, one] of Object.entries(batch)) checkRows(one, count, `${path}.${key}`);
}

/**
 * One batch of parts that were stacked apart from each other, each row at its place. {@link checkRows} has seen each part.
 * @throws DataError if they differ in form or shape.
 */
export function interleave(parts: readonly BatchPart[], count: number, path = ""): unknown {
  const [first, ...others] = parts.map(({ batch }) => batch);
  const wrong = others.find((other) => formOf(other) !== formOf(first));
  if (wrong !== undefined) {
    throw new DataError(
      `concatDatasets: batch${path} of one dataset is ${formOf(wrong)}, that of the first is ${formOf(first)}. All items have one form.`,
    );
  }
  const inside = (key: string | number, name: string): unknown =>
    interleave(
      parts.map(({ batch, places }) => ({ batch: Reflect.get(batch as object, key), places })),
      count,
      path + name,
    );
  if (first instanceof NdArray) {
    const rowShape = first.shape.slice(1);
    const size = rowShape.reduce((product, length) => product * length, 1);
    const values = tensorStorage(first.data, size * count);
    for (const { batch, places } of parts) {
      const { data } = batch as NdArray;
      if (data instanceof Uint32Array) checkFits(data);
      for (const [row, place] of places.entries())
        values.set(data.subarray(row * size, (row + 1) * size), place * size);
    }
    return new NdArray(values, [count, ...rowShape]);
  }
  if (isStrings(first)) {
    const whole = new Array<string>(count);
    for (const { batch, places } of parts)
      for (const [row, place] of places.entries()) whole[place] = (batch as readonly string[])[row] as string;
    return whole;
  }
  if (isArray(first)) return first.map((_, position) => inside(position, `[${position}]`));
  if (isRecord(first))
    return Object.fromEntries(Object.keys(first).map((key) => [key, inside(key, `.${key}`)]));
  throw new DataError(
    `concatDatasets: batch${path} is ${kindOf(first)}; getBatch gives NdArrays, lists of strings, and arrays or objects of them.`,
  );
}

/** Strings of a batch, one a row: an array of anything else is a form of its own. */
function isStrings(value: unknown): value is readonly string[] {
  return isArray(value) && value.length > 0 && value.every((one) => typeof one === "string");
}

/** What parts of a batch must have in common, in words. */
function formOf(value: unknown): string {
  if (value instanceof NdArray)
    return `${isFloating(value.data) ? "floats" : "integers"} with rows of [${value.shape.slice(1).join(", ")}]`;
  return isStrings(value) ? "strings" : describe(value);
}

function refuseForm(first: unknown, item: unknown, index: number, path: string): never {
  throw new DataError(
    `collate: item${path} of the batch's element ${index} is ${describe(item)}, the first is ${describe(first)}. ` +
      "All items of a dataset have one form.",
  );
}

function describe(value: unknown): string {
  if (isArray(value)) return `an array of ${value.length}`;
  if (isRecord(value)) return `an object with ${Object.keys(value).join(", ") || "no keys"}`;
  return kindOf(value);
}

function isArray(value: unknown): value is readonly unknown[] {
  return Array.isArray(value);
}

/** An object literal: anything else (a Map, a Date, a tensor) is no container of data. */
export function isRecord(value: unknown): value is Record<string, unknown> {
  if (typeof value !== "object" || value === null) return false;
  const prototype: unknown = Object.getPrototypeOf(value);
  return prototype === Object.prototype || prototype === null;
}

import { checkInteger, checkNumber, checkOptions, OptionError } from "@nf/core";
import { type Collated, collate, isRecord } from "./collate.ts";
import { DataError } from "./errors.ts";
import {
  asNdArray,
  isFloating,
  isTypedArray,
  kindOf,
  NdArray,
  type TypedArray,
  tensorStorage,
  toTensorValues,
} from "./ndarray.ts";

/** Options of {@link padSequences}. */
export interface PadOptions {
  /** What fills the places that a sequence does not reach. Default 0; for tokens, the padding's id, which `i32` must hold. */
  value?: number;
  /** Length that all get; longer sequences are refused, or cut with `truncate`. Default that of the longest. */
  length?: number;
  /** Round the length up to a multiple of this, so that fewer different shapes come up. Default 1. */
  multipleOf?: number;
  /** Cut sequences to `length`, at the end that is padded otherwise. Default false. */
  truncate?: boolean;
  /** Where the padding goes. Default `"right"`, behind the sequence. */
  side?: "right" | "left";
}

/** Sequences of different lengths as one array; see {@link padSequences}. */
export interface Padded {
  /** Shape [batch, length, …]: the sequences, filled up. Floats `f32`, integers `i32`. */
  readonly values: NdArray;
  /** Shape [batch], `i32`: how many places of each are its own. */
  readonly lengths: NdArray<Int32Array>;
  /** Shape [batch, length], `i32`: 1 where a place is the sequence's own, 0 where it is padding. */
  readonly mask: NdArray<Int32Array>;
}

const OPTIONS = ["value", "length", "multipleOf", "truncate", "side"];

/**
 * Brings sequences of different lengths into one array, with their lengths and a mask. Sequences are typed arrays, lists
 * of integers (token ids), or {@link NdArray}s that differ in their first dimension alone.
 *
 * @throws OptionError for a `value` that sequences of integers cannot hold.
 * @throws DataError for none, for sequences that differ in more than length, or longer than `length`.
 */
export function padSequences(
  sequences: readonly (NdArray | TypedArray | readonly number[])[],
  options: PadOptions = {},
): Padded {
  checkOptions("padSequences", options, OPTIONS);
  const { value = 0, multipleOf = 1, truncate = false, side = "right" } = options;
  checkNumber("padSequences", "value", value);
  checkInteger("padSequences", "multipleOf", multipleOf, 1);
  if (options.length !== undefined) checkInteger("padSequences", "length", options.length, 0);
  if (typeof truncate !== "boolean" || (truncate && options.length === undefined))
    throw new OptionError("padSequences: truncate is true or false, and true needs a length to cut to.");
  if (side !== "right" && side !== "left")
    throw new OptionError(`padSequences: side must be "right" or "left", got ${String(side)}.`);
  if (!Array.isArray(sequences)) {
    throw new DataError(
      `padSequences: expected a list of sequences, as in padSequences([[1, 2], [3]]), got ${kindOf(sequences)}.`,
    );
  }
  const arrays = sequences.map(asSequence);
  const [first] = arrays;
  if (first === undefined) throw new DataError("padSequences: there is no sequence.");
  const inner = first.shape.slice(1);
  const floating = isFloating(first.data);
  if (!floating && (value | 0) !== value) {
    throw new OptionError(
      `padSequences: value ${value} does not fit sequences of integers, which become i32. Give a whole number from -2147483648 ` +
        "to 2147483647, or sequences as Float32Array.",
    );
  }
  arrays.forEach(({ shape, data }, index) => {
    if (shape.length === 0 || shape.slice(1).join() !== inner.join() || isFloating(data) !== floating) {
      throw new DataError(
        `padSequences: sequence ${index} is of shape [${shape.join(", ")}] (${data.constructor.name}), the first of ` +
          `[${first.shape.join(", ")}] (${first.data.constructor.name}). They may differ in their first dimension alone.`,
      );
    }
  });

  const longest = arrays.reduce((most, { shape }) => Math.max(most, shape[0] ?? 0), 0);
  if (options.length !== undefined && longest > options.length && !truncate) {
    throw new DataError(
      `padSequences: a sequence has ${longest} places, more than the length ${options.length}. Set truncate: true to cut ` +
        "it, or leave the length out.",
    );
  }
  const length = Math.ceil((options.length ?? longest) / multipleOf) * multipleOf;
  const size = inner.reduce((product, axis) => product * axis, 1);
  const values = tensorStorage(first.data, arrays.length * length * size).fill(value);
  const lengths = new Int32Array(arrays.length);
  const mask = new Int32Array(arrays.length * length);
  arrays.forEach(({ shape, data }, row) => {
    const own = Math.min(shape[0] ?? 0, options.length ?? longest);
    const cut = side === "left" ? (shape[0] ?? 0) - own : 0;
    const start = row * length + (side === "left" ? length - own : 0);
    values.set(toTensorValues(data).subarray(cut * size, (cut + own) * size), start * size);
    mask.fill(1, start, start + own);
    lengths[row] = own;
  });
  return {
    values: new NdArray(values, [arrays.length, length, ...inner]),
    lengths: new NdArray(lengths, [arrays.length]),
    mask: new NdArray(mask, [arrays.length, length]),
  };
}

/** What {@link collatePadded} makes of items: the padded columns, the others stacked. */
export type CollatedPadded<Item, Key extends keyof Item> = {
  readonly [Name in keyof Item]: Name extends Key ? Padded : Collated<Item[Name]>;
};

/**
 * A collate function for items with sequences of different lengths: the columns that are named become {@link Padded},
 * each with options of its own, the others are stacked as ever.
 *
 * @example
 * ```ts no-run
 * import { collatePadded, DataLoader, type Dataset, int32, type NdArray } from "@nf/data";
 * declare const sentences: Dataset<{ ids: Int32Array; label: NdArray }>;
 * const loader = new DataLoader(sentences, { batchSize: 32, collate: collatePadded({ ids: { value: 0 } }) });
 * for await (const { ids, label } of loader) console.log(ids.values.shape, ids.mask.shape, label.shape);
 * ```
 */
export function collatePadded<Key extends string>(
  columns: Readonly<Record<Key, PadOptions>>,
): <Item extends Readonly<Record<Key, NdArray | TypedArray | readonly number[]>>>(
  items: readonly Item[],
) => CollatedPadded<Item, Key & keyof Item> {
  const names = isRecord(columns) ? (Object.keys(columns) as Key[]) : [];
  if (names.length === 0) {
    throw new OptionError(
      "collatePadded: name the columns with sequences, as in collatePadded({ ids: { value: 0 } }).",
    );
  }
  for (const name of names) checkOptions(`collatePadded: ${name}`, columns[name], OPTIONS);
  return <Item extends Readonly<Record<Key, NdArray | TypedArray | readonly number[]>>>(
    items: readonly Item[],
  ) => {
    const padded = names.map((name) => {
      const sequences = items.map((item, index) => {
        if (isRecord(item) && Object.hasOwn(item, name)) return item[name];
        throw new DataError(`collatePadded: element ${index} of the batch has no column ${name}.`);
      });
      return [name, padSequences(sequences, columns[name])] as const;
    });
    const others = items.map((item) =>
      Object.fromEntries(Object.entries(item).filter(([key]) => !Object.hasOwn(columns, key))),
    );
    const stacked: object = Object.keys(others[0] ?? {}).length > 0 ? collate(others) : {};
    return { ...stacked, ...Object.fromEntries(padded) } as CollatedPadded<Item, Key & keyof Item>;
  };
}

function asSequence(sequence: NdArray | TypedArray | readonly number[], index: number): NdArray {
  if (sequence instanceof NdArray || isTypedArray(sequence)) return asNdArray(sequence);
  if (!Array.isArray(sequence) || !sequence.every((one) => (one | 0) === one)) {
    throw new DataError(
      `padSequences: sequence ${index} is ${kindOf(sequence)}. Expected a typed array, an NdArray or a list of integers.`,
    );
  }
  return new NdArray(Int32Array.from(sequence), [sequence.length]);
}

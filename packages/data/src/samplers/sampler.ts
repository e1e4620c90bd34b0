import { checkInteger, checkOptions, OptionError } from "@nf/core";
import { below, epochOrder, generatorFor } from "../order.ts";
import { byClass, type Classes, requireList } from "./classes.ts";

/** Sets the draws apart from other uses of the same seed: "draw", "stra". */
const DRAW_KEY = 0x64726177;
const STRATA_KEY = 0x73747261;

/**
 * Decides which items an epoch has, and in which order. What it gives depends on the epoch's number and its own options
 * alone, so that a loader can resume in the middle of any epoch.
 */
export interface Sampler {
  /** Items in an epoch. */
  readonly length: number;
  /** What its orders depend on, as text: a loader refuses a state that was saved with another. */
  readonly key: string;
  /** The items of an epoch in their order, as indices into the dataset. */
  indices(epoch: number): Int32Array;
}

/** The items in the dataset's own order. */
export class SequentialSampler implements Sampler {
  readonly length: number;
  readonly key: string;

  /** @param length items of the dataset. */
  constructor(length: number) {
    this.length = checkInteger("SequentialSampler", "length", length, 0);
    this.key = `sequential of ${length}`;
  }

  indices(_epoch: number): Int32Array {
    return Int32Array.from({ length: this.length }, (_, index) => index);
  }
}

/** Options of {@link RandomSampler}. */
export interface RandomSamplerOptions {
  /** Default 0. */
  seed?: number;
  /** Draw each item anew from all of them, so that some come twice and others not at all. Default false. */
  replacement?: boolean;
  /** Items in an epoch. Default the dataset's length; without replacement at most that. */
  samples?: number;
}

/** Every item once in random order, or, with `replacement`, any item at every draw. */
export class RandomSampler implements Sampler {
  readonly length: number;
  readonly key: string;
  readonly #items: number;
  readonly #seed: number;
  readonly #replacement: boolean;

  /** @param items items of the dataset. @throws OptionError for more samples than items without replacement. */
  constructor(items: number, options: RandomSamplerOptions = {}) {
    checkOptions("RandomSampler", options, ["seed", "replacement", "samples"]);
    const { seed = 0, replacement = false, samples = items } = options;
    this.#items = checkInteger("RandomSampler", "items", items, 0);
    this.#seed = checkInteger("RandomSampler", "seed", seed, 0);
    this.#replacement = checkFlag("RandomSampler", "replacement", replacement);
    this.length = checkInteger("RandomSampler", "samples", samples, 0, replacement ? undefined : items);
    if (items === 0 && samples > 0) throw new OptionError("RandomSampler: there is no item to draw.");
    this.key = `random of ${items}, ${samples} ${replacement ? "with" : "without"} replacement, seed ${seed}`;
  }

  indices(epoch: number): Int32Array {
    if (!this.#replacement) return epochOrder(this.#items, this.#seed, epoch).subarray(0, this.length);
    const generator = generatorFor(this.#seed, DRAW_KEY, epoch);
    return Int32Array.from({ length: this.length }, () => below(generator, this.#items));
  }
}

/** Options of {@link StratifiedSampler}. */
export interface StratifiedSamplerOptions {
  /** Default 0. */
  seed?: number;
}

/**
 * Every item once, in an order in which the classes are spread evenly: any batch has the classes in the dataset's
 * proportions, to within rounding. Within a class, and between classes, the order is random in every epoch.
 */
export class StratifiedSampler implements Sampler {
  readonly length: number;
  readonly key: string;
  readonly #classes: Classes;
  readonly #seed: number;

  /** @param labels class of each item of the dataset. */
  constructor(labels: ArrayLike<number | string>, options: StratifiedSamplerOptions = {}) {
    checkOptions("StratifiedSampler", options, ["seed"]);
    const { seed = 0 } = options;
    this.#seed = checkInteger("StratifiedSampler", "seed", seed, 0);
    requireList("StratifiedSampler", "labels", labels);
    this.length = labels.length;
    this.#classes = byClass("StratifiedSampler", labels, labels.length);
    this.key = `stratified ${fingerprint(this.#classes.ofItem)}, seed ${seed}`;
  }

  indices(epoch: number): Int32Array {
    const order = epochOrder(this.length, this.#seed, epoch);
    const generator = generatorFor(this.#seed, STRATA_KEY, epoch);
    const { members, ofItem } = this.#classes;
    // Items of a class lie at equal distances from 0 to 1, beginning anywhere in the first of them.
    const begin = members.map(() => below(generator, 2 ** 30) / 2 ** 30);
    const seen = members.map(() => 0);
    const placed = Array.from(order, (index) => {
      const of = ofItem[index] as number;
      const number = seen[of] as number;
      seen[of] = number + 1;
      return { index, of, at: (number + (begin[of] as number)) / (members[of] as readonly number[]).length };
    });
    return Int32Array.from(
      placed.sort((a, b) => a.at - b.at || a.of - b.of),
      ({ index }) => index,
    );
  }
}

/** 64 bits that differ between arrays that differ, for {@link Sampler.key}. */
export function fingerprint(values: Int32Array | Float64Array): string {
  const bytes = new Uint8Array(values.buffer, values.byteOffset, values.byteLength);
  // FNV-1a, twice from different beginnings: it tells mistakes apart, not attacks.
  let first = 0x811c9dc5;
  let second = 0x01000193;
  for (const byte of bytes) {
    first = Math.imul(first ^ byte, 0x01000193);
    second = Math.imul(second ^ byte, 0x85ebca6b);
  }
  const hex = (word: number): string => (word >>> 0).toString(16).padStart(8, "0");
  return `${values.length}:${hex(first)}${hex(second)}`;
}

/** @throws OptionError for anything but true and false. */
export function checkFlag(op: string, name: string, value: boolean): boolean {
  if (typeof value === "boolean") return value;
  throw new OptionError(`${op}: ${name} must be true or false, got ${String(value)}.`);
}

import { Generator, permutation } from "@nf/core";
import {
  type BatchSource,
  type Dataset,
  type NdArray,
  padSequences,
  RandomSampler,
  type TextDataset,
  TextTokenizer,
  trainTestSplit,
} from "@nf/data";

/** A review as ids of its words. */
export interface Review {
  /** Its place in its set. */
  readonly number: number;
  readonly text: string;
  readonly ids: Int32Array;
  /** 1 for a good one, 0 for a bad one. */
  readonly label: number;
}

/** Reviews in three parts that do not overlap. */
export interface Reviews {
  readonly tokenizer: TextTokenizer;
  readonly train: readonly Review[];
  /** A part of the training set, to choose with. */
  readonly validation: readonly Review[];
  readonly test: readonly Review[];
}

/** What is made of texts. */
export interface ReviewOptions {
  /** Most words of the vocabulary; the rarest are unknown. */
  readonly vocabulary: number;
  /** Most words of a review that are read. */
  readonly words: number;
  /** Share of the training set that is validated with. */
  readonly validation: number;
  readonly seed: number;
}

/** Line breaks of the pages that the reviews were on. */
const BREAKS = /<br\s*\/?>/g;

/** The texts as ids. The vocabulary is made of those that are trained on alone. */
export function prepare(
  texts: { readonly train: TextDataset; readonly test: TextDataset },
  { vocabulary, words, validation, seed }: ReviewOptions,
): Reviews {
  const { train, test } = texts;
  const all: Dataset<number> = { length: train.length, get: (index) => index };
  const parts = trainTestSplit(all, { testSize: validation, stratify: train.labels, seed });
  const trained = indicesOf(parts.train);
  const tokenizer = TextTokenizer.train(
    trained.map((index) => plain(train.texts[index] as string)),
    { level: "word", lowercase: true, maxSize: vocabulary },
  );
  const reviews = ({ texts, labels }: TextDataset, indices: readonly number[]): readonly Review[] =>
    indices.map((index, number) => {
      const text = plain(texts[index] as string);
      const ids = Int32Array.from(headAndTail(tokenizer.encode(text), words));
      return { number, text, ids, label: labels[index] as number };
    });
  return {
    tokenizer,
    train: reviews(train, trained),
    validation: reviews(train, indicesOf(parts.test)),
    test: reviews(
      test,
      test.texts.map((_, index) => index),
    ),
  };
}

function plain(text: string): string {
  return text.replace(BREAKS, " ");
}

function indicesOf({ length, get }: Dataset<number>): readonly number[] {
  return Array.from({ length }, (_, index) => get(index) as number);
}

/** The beginning and the end of what is too long, half of each: a review says what it thinks at both. */
export function headAndTail<T>(list: readonly T[], most: number): readonly T[] {
  if (list.length <= most) return list;
  const head = Math.floor(most / 2);
  return [...list.slice(0, head), ...list.slice(list.length - (most - head))];
}

/** A batch on the host. */
export interface HostBatch {
  /** `[batch, words]` */
  readonly ids: NdArray;
  /** Words of each: numbers, for the LSTM has to know them before it runs. */
  readonly lengths: readonly number[];
  /** Places in their set. */
  readonly numbers: readonly number[];
  /** `[batch]` */
  readonly labels: Int32Array;
}

/** Reviews of different lengths as one batch. */
export function collateReviews(reviews: readonly Review[]): HostBatch {
  const { values, lengths } = padSequences(
    reviews.map(({ ids }) => ids),
    { multipleOf: 8 },
  );
  return {
    ids: values,
    lengths: Array.from(lengths.data),
    numbers: reviews.map(({ number }) => number),
    labels: Int32Array.from(reviews, ({ label }) => label),
  };
}

/** Batches that are filled together, so that each holds reviews of similar length. */
const POOL = 32;

/**
 * Batches of reviews of similar length: all in random order, those of a pool sorted by length, and the batches in random order again.
 * Padding is then a few percent, and which reviews meet differs from epoch to epoch.
 */
export class LengthBuckets implements BatchSource {
  readonly length: number;
  readonly key: string;
  readonly #sampler: RandomSampler;
  readonly #lengths: readonly number[];
  readonly #batchSize: number;
  readonly #seed: number;

  constructor(lengths: readonly number[], { batchSize, seed }: { batchSize: number; seed: number }) {
    this.#sampler = new RandomSampler(lengths.length, { seed });
    this.#lengths = lengths;
    this.#batchSize = batchSize;
    this.#seed = seed;
    this.length = Math.ceil(lengths.length / batchSize);
    this.key = `${this.#sampler.key}, by length in batches of ${batchSize}`;
  }

  batches(epoch: number): number[][] {
    const order = Array.from(this.#sampler.indices(epoch));
    const lengthOf = (index: number): number => this.#lengths[index] as number;
    const batches: number[][] = [];
    for (let start = 0; start < order.length; start += POOL * this.#batchSize) {
      const pool = order.slice(start, start + POOL * this.#batchSize);
      pool.sort((a, b) => lengthOf(a) - lengthOf(b));
      for (let first = 0; first < pool.length; first += this.#batchSize)
        batches.push(pool.slice(first, first + this.#batchSize));
    }
    const shuffled = permutation(batches.length, new Generator(this.#seed + 2 ** 20 * (epoch + 1)));
    return Array.from(shuffled, (index) => batches[index] as number[]);
  }
}

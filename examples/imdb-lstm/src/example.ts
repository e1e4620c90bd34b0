import { crossEntropy, noGrad, softmax } from "@nf/core";
import { DataLoader, type TextDataset } from "@nf/data";
import { imdb, type LoadOptions } from "@nf/data/node";
import { AdamW, OneCycleLR } from "@nf/optim";
import { accuracy, fit } from "@nf/train";
import {
  downloadOption,
  type ExampleSpec,
  fetched,
  loading,
  Option,
  positiveNumber,
  table,
  UsageError,
  wholeNumber,
} from "@nf-examples/shared";
import { collateReviews, LengthBuckets, prepare, type Review } from "./data.ts";
import { Sentiment } from "./model.ts";

/** Options of its own. */
export interface Options {
  readonly batch: number;
  readonly lr: number;
  readonly vocabulary: number;
  readonly words: number;
  readonly embedding: number;
  readonly hidden: number;
  readonly bidirectional: boolean;
  readonly dropout: number;
  readonly download: boolean;
  readonly limit?: number;
}

/** Reviews to train and to test with. */
export interface Texts {
  readonly train: TextDataset;
  readonly test: TextDataset;
}

/** Share of the training set that is validated with. */
const VALIDATED = 0.1;
/** Reviews of the test that are read at once. */
const AT_ONCE = 256;
const SHOWN = 3;

/** Batches of reviews of similar length, in another order in each epoch. */
function batches(reviews: readonly Review[], batchSize: number, seed: number) {
  const lengths = reviews.map(({ ids }) => ids.length);
  return new DataLoader(
    { length: reviews.length, get: (index: number) => reviews[index] as Review },
    { batchSampler: new LengthBuckets(lengths, { batchSize, seed }), collate: collateReviews },
  );
}

/** The probability of each review to be a good one, in the reviews' order. */
export async function readReviews(model: Sentiment, reviews: readonly Review[]): Promise<Float32Array> {
  const good = new Float32Array(reviews.length);
  for await (const { ids, lengths, numbers } of batches(reviews, AT_ONCE, 0)) {
    const probabilities = noGrad(() => softmax(model.forward(ids, lengths), { axis: -1 }));
    const values = await probabilities.data();
    for (const [row, number] of numbers.entries()) good[number] = Number(values[2 * row + 1]);
  }
  return good;
}

/** The first so many reviews of each class. */
function firstOf<T extends Pick<Review, "label">>(
  reviews: readonly T[],
  limit: number | undefined,
): readonly T[] {
  if (limit === undefined) return reviews;
  return [0, 1].flatMap((label) =>
    reviews.filter((one) => one.label === label).slice(0, Math.ceil(limit / 2)),
  );
}

/** The example; tests give it texts of their own. */
export function imdbLstm(load: (options: LoadOptions) => Promise<Texts>): ExampleSpec<Options> {
  return {
    name: "imdb-lstm",
    description: "Tells good reviews of films from bad ones with an LSTM.",
    epochs: 2,
    options: [
      new Option("--batch <n>", "reviews a step").default(64).argParser(wholeNumber(1, 10_000)),
      new Option("--lr <x>", "highest learning rate").default(0.003).argParser(positiveNumber),
      new Option("--vocabulary <n>", "words that are known")
        .default(15_000)
        .argParser(wholeNumber(3, 1_000_000)),
      new Option("--words <n>", "words that are read of a review, half at its beginning and half at its end")
        .default(256)
        .argParser(wholeNumber(2, 10_000)),
      new Option("--embedding <n>", "features of a word").default(64).argParser(wholeNumber(1, 4096)),
      new Option("--hidden <n>", "states of the LSTM").default(64).argParser(wholeNumber(1, 4096)),
      new Option("--bidirectional", "a second LSTM reads from the end").default(false, "forwards alone"),
      new Option("--dropout <x>", "share of the features that are dropped in training")
        .default(0.5)
        .argParser(share),
      downloadOption("the reviews (84 MB)"),
      new Option("--limit <n>", "train and test on so many reviews only").argParser(
        wholeNumber(2, 1_000_000),
      ),
    ],
    async run({ options, signal, note, callbacks }) {
      const { epochs, batch, lr, seed, limit, words, vocabulary, download } = options;
      const texts = await fetched(load(loading(download, { note, signal })));
      const began = performance.now();
      const reviews = prepare(texts, { vocabulary, words, validation: VALIDATED, seed });
      const [train, validation, test] = [reviews.train, reviews.validation, reviews.test].map((part) =>
        firstOf(part, limit),
      ) as [readonly Review[], readonly Review[], readonly Review[]];
      const model = new Sentiment({ ...options, words: reviews.tokenizer.vocabularySize });
      const parameters = model.parameters().reduce((sum, { size }) => sum + size, 0);
      note(
        `${train.length} reviews to train, ${validation.length} to validate, ${test.length} to test, read in ` +
          `${((performance.now() - began) / 1000).toFixed(1)} s; ${parameters.toLocaleString("en")} parameters`,
      );

      const data = batches(train, batch, seed);
      const optimizer = new AdamW(model.parameters(), { lr, weightDecay: 0.01 });
      const { history, seconds } = await fit(model, {
        data,
        forward: (model, { ids, lengths }) => model.forward(ids, lengths),
        loss: (logits, { labels }) => crossEntropy(logits, labels),
        metrics: { accuracy: (logits, { labels }) => accuracy(logits, labels) },
        validation: batches(validation, AT_ONCE, seed),
        optimizer,
        schedule: new OneCycleLR(optimizer, {
          maxLr: lr,
          totalSteps: epochs * data.length,
          pctStart: 0.1,
          cycleMomentum: false,
        }),
        clipGradNorm: 1,
        // The best epoch of those that there are, by reviews that are neither trained on nor tested.
        earlyStopping: { metric: "accuracy", mode: "max", patience: epochs },
        epochs,
        signal,
        callbacks: callbacks({ title: "An LSTM on reviews of films", items: "reviews" }),
      });
      const validated = history.map(({ validation }) => validation?.accuracy ?? 0);
      if (validated.length === 0) return undefined;
      const epochLines = table([
        ["epoch", "train loss", "accuracy", "validation loss", "accuracy", "seconds"],
        ...history.map(({ epoch, train, validation, seconds }) => [
          String(epoch),
          train.loss.toFixed(4),
          percent(train.accuracy),
          validation?.loss.toFixed(4) ?? "",
          percent(validation?.accuracy),
          seconds.toFixed(1),
        ]),
      ]);
      const validationAccuracy = Math.max(...validated);
      if (signal.aborted) return { figures: { validationAccuracy, parameters, seconds }, lines: epochLines };

      note("testing");
      const start = performance.now();
      const result = verdicts(test, await readReviews(model, renumbered(test)));
      const testSeconds = (performance.now() - start) / 1000;
      return {
        figures: { ...result, validationAccuracy, parameters, tested: test.length, seconds, testSeconds },
        lines: [
          ...epochLines,
          "",
          ...table([
            ["test set", "said bad", "said good"],
            ...result.confusion.map((row, label) => [label === 1 ? "good" : "bad", ...row.map(String)]),
          ]),
          "",
          ...result.samples.map(
            ({ said, label, text }) => `${(100 * said).toFixed(0).padStart(3)} % good, is ${label}: ${text}`,
          ),
          "",
          `${percent(result.accuracy)} of ${test.length} test reviews right, after ${seconds.toFixed(1)} s of training`,
          `log and curves in ${options.out}`,
        ],
      };
    },
  };
}

/** The example with the published reviews. */
export const example: ExampleSpec<Options> = imdbLstm(imdb);

/** How a test came out. */
export interface Verdicts {
  readonly accuracy: number;
  /** Reviews by what they are (bad, good) and what was said of them. */
  readonly confusion: readonly (readonly number[])[];
  /** The surest of those that are right, and of those that are wrong. */
  readonly samples: readonly { readonly said: number; readonly label: string; readonly text: string }[];
}

/** @param good the probability of each review to be a good one. */
export function verdicts(reviews: readonly Review[], good: ArrayLike<number>): Verdicts {
  const counts = [
    [0, 0],
    [0, 0],
  ];
  for (const [i, { label }] of reviews.entries()) {
    const row = counts[label] as number[];
    const said = (good[i] as number) >= 0.5 ? 1 : 0;
    row[said] = (row[said] as number) + 1;
  }
  const right = (counts[0]?.[0] ?? 0) + (counts[1]?.[1] ?? 0);
  const sure = (i: number): number => Math.abs((good[i] as number) - 0.5);
  const order = reviews.map((_, i) => i).sort((a, b) => sure(b) - sure(a));
  const isRight = (i: number): boolean => (good[i] as number) >= 0.5 === (reviews[i]?.label === 1);
  const chosen = [true, false].flatMap((wanted) =>
    order.filter((i) => isRight(i) === wanted).slice(0, SHOWN),
  );
  const samples = chosen.map((i) => {
    const { text, label } = reviews[i] as Review;
    return {
      said: good[i] as number,
      label: label === 1 ? "good" : "bad",
      text: `${text.slice(0, 90).trim()}…`,
    };
  });
  return { accuracy: right / reviews.length, confusion: counts, samples };
}

function renumbered(reviews: readonly Review[]): readonly Review[] {
  return reviews.map((review, number) => ({ ...review, number }));
}

function percent(value: number | undefined): string {
  return value === undefined ? "" : `${(100 * value).toFixed(2)} %`;
}

function share(text: string): number {
  const value = text.trim() === "" ? Number.NaN : Number(text);
  if (value >= 0 && value < 1) return value;
  throw new UsageError(`--dropout must be a number from 0 to below 1, got ${text}.`);
}

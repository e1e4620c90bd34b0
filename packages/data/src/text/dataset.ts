import { checkOptions } from "@nf/core";
import { checkIndex, type Dataset } from "../dataset.ts";
import { DataError } from "../errors.ts";
import { NdArray } from "../ndarray.ts";

/** A text and its class. */
export interface LabelledText {
  readonly text: string;
  /** Scalar, `i32`. */
  readonly label: NdArray;
}

/** What a {@link TextDataset} is made of. */
export interface TextDatasetInit {
  readonly texts: readonly string[];
  /** Class of each text. */
  readonly labels: Uint8Array;
  /** Names of the classes. */
  readonly classes: readonly string[];
  readonly name: string;
  readonly source: string;
}

/** Texts with classes. A batch has `text`, an array of strings, and `label` of shape [batch]. */
export class TextDataset implements Dataset<LabelledText> {
  readonly length: number;
  readonly name: string;
  readonly source: string;
  readonly classes: readonly string[];
  readonly texts: readonly string[];
  readonly labels: Uint8Array;

  /** @throws DataError if texts, labels and classes do not fit together. */
  constructor(init: TextDatasetInit) {
    checkOptions("TextDataset", init, ["texts", "labels", "classes", "name", "source"]);
    const { texts, labels, classes, name, source } = init;
    if (texts.length !== labels.length)
      throw new DataError(`${name}: there are ${texts.length} texts and ${labels.length} labels.`);
    const wrong = labels.findIndex((label) => label >= classes.length);
    if (wrong >= 0) {
      throw new DataError(
        `${name}: label ${labels[wrong]} of text ${wrong} is none of the ${classes.length} classes.`,
      );
    }
    this.length = texts.length;
    this.texts = texts;
    this.labels = labels;
    this.classes = Object.freeze([...classes]);
    this.name = name;
    this.source = source;
  }

  get(index: number): LabelledText {
    checkIndex(this.name, index, this.length);
    return {
      text: this.texts[index] as string,
      label: new NdArray(Int32Array.of(this.labels[index] as number), []),
    };
  }

  /** Number of texts of each class. */
  classCounts(): number[] {
    const counts = this.classes.map(() => 0);
    for (const label of this.labels) counts[label] = (counts[label] as number) + 1;
    return counts;
  }
}

/** A sentence and its translation. */
export interface SentencePair {
  readonly source: string;
  readonly target: string;
}

/** Sentences in two languages, line by line; items are {@link SentencePair}s. */
export class ParallelDataset implements Dataset<SentencePair> {
  readonly length: number;
  readonly name: string;
  readonly source: string;
  readonly sources: readonly string[];
  readonly targets: readonly string[];

  /** @throws DataError unless there are as many sentences on both sides. */
  constructor(init: {
    readonly sources: readonly string[];
    readonly targets: readonly string[];
    readonly name: string;
    readonly source: string;
  }) {
    const { sources, targets, name, source } = init;
    if (sources.length !== targets.length) {
      throw new DataError(
        `${name}: there are ${sources.length} sentences on one side and ${targets.length} on the other. The files do not ` +
          "belong together, or one is truncated.",
      );
    }
    this.length = sources.length;
    this.sources = sources;
    this.targets = targets;
    this.name = name;
    this.source = source;
  }

  get(index: number): SentencePair {
    checkIndex(this.name, index, this.length);
    return { source: this.sources[index] as string, target: this.targets[index] as string };
  }
}

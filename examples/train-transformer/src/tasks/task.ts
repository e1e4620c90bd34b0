import type { Transformer } from "@nf/models";

/** Ids that every vocabulary begins with: padding, begin and end, as transformerConfig has them. */
export const SPECIAL = { pad: 0, bos: 1, eos: 2 } as const;

/** A source and what it is to become, as ids without begin and end. */
export interface Pair {
  readonly source: readonly number[];
  readonly target: readonly number[];
}

/** What a test found. */
export interface Evaluation {
  /** What the figure is, for people. */
  readonly metric: "exact match" | "BLEU";
  /** Exact match from 0 to 1, BLEU from 0 to 100. */
  readonly value: number;
  /** Sequences that were tested. */
  readonly tested: number;
  readonly samples: readonly Sample[];
}

/** One of the sequences that were tested. */
export interface Sample {
  readonly source: string;
  readonly reference: string;
  readonly output: string;
}

/** Something to learn. */
export interface Task {
  readonly sourceVocabSize: number;
  readonly targetVocabSize: number;
  /** Longest sequence, with begin and end. */
  readonly maxPositions: number;
  /** Training batches without end. */
  batches(size: number): Iterator<readonly Pair[]>;
  /** Pairs that are not trained on, to watch the loss of. */
  readonly validation: readonly Pair[];
  /** Decodes the test set, or the first `limit` of it. */
  evaluate(
    model: Transformer,
    options: { readonly beams: number; readonly limit: number },
  ): Promise<Evaluation>;
}

import { concat, div, fromData, max, sum, type Tensor, type Tokens, unsqueeze, where } from "@nf/core";
import { Dropout, Embedding, init, Linear, LSTM, Module } from "@nf/nn";

/** Sizes of a {@link Sentiment}. */
export interface SentimentOptions {
  /** Ids that there are. */
  readonly words: number;
  readonly embedding: number;
  /** States of the LSTM in each direction. */
  readonly hidden: number;
  readonly bidirectional: boolean;
  readonly dropout: number;
}

/**
 * Tells good reviews from bad ones: words as learned vectors, an LSTM over them, the greatest and the mean of each of its states over
 * the words of the review, and a linear layer on them.
 */
export class Sentiment extends Module {
  readonly embedding: Embedding;
  readonly dropout: Dropout;
  readonly lstm: LSTM;
  readonly head: Linear;

  constructor({ words, embedding, hidden, bidirectional, dropout }: SentimentOptions) {
    super();
    this.embedding = new Embedding(words, embedding);
    // Vectors of rare words are hardly trained: as long as those of frequent ones become, they would be noise.
    init.into(this.embedding.weight, (shape, options) => init.normal(shape, { ...options, std: 0.1 }));
    this.dropout = new Dropout(dropout);
    this.lstm = new LSTM(embedding, hidden, { bidirectional });
    this.head = new Linear(2 * hidden * (bidirectional ? 2 : 1), 2);
  }

  /**
   * @param ids `[batch, words]`, padded behind.
   * @param lengths words of each review.
   * @returns logits of bad and good, `[batch, 2]`.
   */
  forward(ids: Tensor<Tokens>, lengths: readonly number[]): Tensor {
    const [batch, words] = ids.shape as readonly [number, number];
    const { backend } = ids;
    const vectors = this.dropout.forward(this.embedding.forward(ids.transpose()));
    const [states] = this.lstm.forward(vectors, undefined, { lengths }); //      [words, batch, states]
    const real = Uint8Array.from({ length: words * batch }, (_, i) =>
      Math.floor(i / batch) < (lengths[i % batch] as number) ? 1 : 0,
    );
    const mask = fromData(real, [words, batch, 1], { dtype: "bool", backend });
    // States are between -1 and 1, and 0 behind the end of a review.
    const greatest = max(where(mask, states, -1), { axis: 0 });
    const counts = unsqueeze(fromData(Float32Array.from(lengths), [batch], { backend }), 1);
    const mean = div(sum(states, { axis: 0 }), counts);
    return this.head.forward(this.dropout.forward(concat([greatest, mean], 1)));
  }
}

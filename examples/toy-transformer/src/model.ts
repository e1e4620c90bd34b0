import { add, slice, type Tensor, type Tokens } from "@nf/core";
import {
  Embedding,
  FeedForward,
  init,
  LayerNorm,
  Linear,
  Module,
  ModuleList,
  MultiheadAttention,
  SinusoidalPositions,
} from "@nf/nn";
import { QUESTION, SYMBOLS, TOKENS } from "./data.ts";

/** Sizes of an {@link Adder}. */
export interface AdderOptions {
  readonly width: number;
  readonly feedForward: number;
  readonly blocks: number;
}

/** Single-head attention to what came before and a feed-forward, each added to what came in and with a norm before it. */
export class Block extends Module {
  readonly attentionNorm: LayerNorm;
  readonly attention: MultiheadAttention;
  readonly feedForwardNorm: LayerNorm;
  readonly feedForward: FeedForward;

  constructor({ width, feedForward }: AdderOptions) {
    super();
    this.attentionNorm = new LayerNorm(width);
    this.attention = new MultiheadAttention(width, 1);
    this.feedForwardNorm = new LayerNorm(width);
    this.feedForward = new FeedForward(width, feedForward);
  }

  /** `[batch, tokens, width]` to the same. */
  forward(x: Tensor): Tensor {
    const query = this.attentionNorm.forward(x);
    const y = add(x, this.attention.forward(query, query, query, { causal: true }));
    return add(y, this.feedForward.forward(this.feedForwardNorm.forward(y)));
  }

  /** How much each token takes of each, `[batch, 1, tokens, tokens]`. */
  weights(x: Tensor): Tensor {
    const query = this.attentionNorm.forward(x);
    return this.attention.attentionWeights(query, query, { causal: true });
  }
}

/** Adds two numbers: embeddings, sinusoidal positions, blocks, and at each token from the `=` on ten logits for the digit that follows. */
export class Adder extends Module {
  readonly embedding: Embedding;
  readonly positions: SinusoidalPositions;
  readonly blocks: ModuleList<Block>;
  readonly norm: LayerNorm;
  readonly head: Linear;

  constructor(options: AdderOptions) {
    super();
    this.embedding = new Embedding(SYMBOLS.length, options.width);
    // Attention has to find places first: what stands at them begins smaller than the waves that say where.
    init.into(this.embedding.weight, (shape, more) => init.normal(shape, { ...more, std: 0.4 }));
    this.positions = new SinusoidalPositions(TOKENS, options.width);
    this.blocks = new ModuleList(Array.from({ length: options.blocks }, () => new Block(options)));
    this.norm = new LayerNorm(options.width);
    this.head = new Linear(options.width, 10);
  }

  /** A question and n digits of its answer, `[batch, QUESTION + n]`, to logits of the first n + 1 digits, `[batch, n + 1, 10]`. */
  forward(tokens: Tensor<Tokens>): Tensor {
    let x = this.embed(tokens);
    for (const block of this.blocks) x = block.forward(x);
    return this.head.forward(this.norm.forward(slice(x, null, [QUESTION - 1, tokens.shape[1] as number])));
  }

  /** The attention of each block, `[batch, 1, tokens, tokens]`. */
  attention(tokens: Tensor<Tokens>): readonly Tensor[] {
    let x = this.embed(tokens);
    return Array.from(this.blocks, (block) => {
      const weights = block.weights(x);
      x = block.forward(x);
      return weights;
    });
  }

  private embed(tokens: Tensor<Tokens>): Tensor {
    return this.positions.forward(this.embedding.forward(tokens));
  }
}

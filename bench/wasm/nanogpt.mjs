import {
  add,
  embedding,
  gelu,
  layerNorm,
  ones,
  parameter,
  reshape,
  scaledDotProductAttention,
  slice,
  swapAxes,
  zeros,
} from "@nf/core";
import { Linear, Module } from "@nf/nn";

/** Normalises the last dimension, with a learned factor and a learned summand. */
class LayerNorm extends Module {
  constructor(width) {
    super();
    this.weight = parameter(ones([width]));
    this.bias = parameter(zeros([width]));
  }
  forward(x) {
    return layerNorm(x, { weight: this.weight, bias: this.bias });
  }
}

/** Causal self-attention of several heads, without biases. */
class Attention extends Module {
  constructor(width, heads) {
    super();
    this.heads = heads;
    this.inputs = new Linear(width, 3 * width, { bias: false });
    this.output = new Linear(width, width, { bias: false });
  }
  forward(x) {
    const [batch, tokens, width] = x.shape;
    const all = this.inputs.forward(x);
    const [q, k, v] = [0, 1, 2].map((i) => {
      const part = slice(all, null, null, [i * width, (i + 1) * width]);
      return swapAxes(reshape(part, [batch, tokens, this.heads, width / this.heads]), 1, 2);
    });
    const mixed = scaledDotProductAttention(q, k, v, { causal: true });
    return this.output.forward(reshape(swapAxes(mixed, 1, 2), [batch, tokens, width]));
  }
}

class Block extends Module {
  constructor(width, heads) {
    super();
    this.norm1 = new LayerNorm(width);
    this.attention = new Attention(width, heads);
    this.norm2 = new LayerNorm(width);
    this.widen = new Linear(width, 4 * width);
    this.narrow = new Linear(4 * width, width);
  }
  forward(x) {
    const h = add(x, this.attention.forward(this.norm1.forward(x)));
    return add(h, this.narrow.forward(gelu(this.widen.forward(this.norm2.forward(h)))));
  }
}

/** A GPT of 626,625 parameters for vocab 65, 128 tokens, width 128, 3 blocks: `[batch, tokens]` to `[batch · tokens, vocab]`. */
export class NanoGpt extends Module {
  constructor({ vocab, tokens, width, heads, blocks }) {
    super();
    this.width = width;
    this.embed = parameter(zeros([vocab, width]));
    this.position = parameter(zeros([tokens, width]));
    this.blocks = Array.from({ length: blocks }, () => new Block(width, heads));
    this.norm = new LayerNorm(width);
    this.head = new Linear(width, vocab);
  }
  forward(tokens) {
    let h = add(embedding(this.embed, tokens), this.position);
    for (const block of this.blocks) h = block.forward(h);
    return this.head.forward(reshape(this.norm.forward(h), [-1, this.width]));
  }
}

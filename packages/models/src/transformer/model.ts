import {
  add,
  checkNumber,
  checkOptions,
  crossEntropy,
  type Generator,
  indexSelect,
  linear,
  mul,
  noGrad,
  notEqual,
  reshape,
  ShapeError,
  slice,
  type Tensor,
} from "@nf/core";
import {
  Dropout,
  Embedding,
  type ExpertRouting,
  FeedForward,
  init,
  type KeysValues,
  LayerNorm,
  Linear,
  MixtureOfExperts,
  Module,
  MultiheadAttention,
  SinusoidalPositions,
} from "@nf/nn";
import type { TransformerConfig } from "./config.ts";

/** Options of {@link Transformer}. */
export interface TransformerOptions {
  /** Where initial weights and the masks of dropout come from; default the generator that `manualSeed` seeds. */
  readonly generator?: Generator;
}

/** Options of {@link Transformer.loss}. */
export interface TransformerLossOptions {
  /** Share of the target spread evenly over all tokens; default 0, in the paper 0.1. */
  readonly labelSmoothing?: number;
}

/** What a decoder has computed of its sequences, one row each, for the next tokens: made by {@link Transformer.start}. */
export interface DecoderState {
  /** Tokens so far. */
  readonly length: number;
  /** Which source positions count, bool `[rows, source]`, or null without padding. */
  readonly sourceMask: Tensor | null;
  /** Of each layer, keys and values of the source, `[rows, nhead, source, dModel / nhead]`. */
  readonly cross: readonly KeysValues[];
  /** Of each layer, keys and values of the tokens so far; empty before the first. */
  readonly self: readonly KeysValues[];
}

/** What the layers of one pass share. */
interface Pass {
  /** Which source positions count, bool `[batch, source]`. */
  readonly sourceMask: Tensor | undefined;
  /** Which target positions count, bool `[batch, target]`. */
  readonly targetMask?: Tensor | undefined;
  /** Where mixtures of experts leave their load-balancing losses. */
  readonly balance: Tensor[];
}

/**
 * Encoder and decoder of "Attention Is All You Need", from tokens to logits. Vaswani et al. 2017, arXiv:1706.03762.
 *
 * @example
 * ```ts no-run
 * import { tensor } from "@nf/core";
 * import { Transformer, transformerConfig } from "@nf/models";
 *
 * const config = transformerConfig({ sourceVocabSize: 20, targetVocabSize: 20, dModel: 64, nhead: 4, dimFeedforward: 128 });
 * const model = new Transformer(config);
 * const source = tensor([[5, 6, 7, 0]], { dtype: "i32" }); // padded with 0
 * const target = tensor([[1, 7, 6, 5, 2]], { dtype: "i32" }); // from bos to eos
 * model.loss(source, target, { labelSmoothing: 0.1 }).backward();
 * ```
 */
export class Transformer extends Module {
  readonly config: TransformerConfig;
  readonly sourceEmbedding: TokenEmbedding;
  /** The source's where `tiedEmbeddings`. */
  readonly targetEmbedding: TokenEmbedding;
  readonly positions: SinusoidalPositions;
  readonly encoder: readonly TransformerEncoderLayer[];
  /** After the last encoder layer, or null. */
  readonly encoderNorm: LayerNorm | null;
  readonly decoder: readonly TransformerDecoderLayer[];
  /** After the last decoder layer, or null. */
  readonly decoderNorm: LayerNorm | null;
  /** From the residual stream to logits, or null where that is the target's embedding (`tiedOutput`). */
  readonly head: Linear | null;

  constructor(config: TransformerConfig, options: TransformerOptions = {}) {
    super();
    checkOptions("Transformer", options, ["generator"]);
    const { sourceVocabSize, targetVocabSize, dModel, layerNormEps: eps, finalNorm } = config;
    const { numEncoderLayers, numDecoderLayers } = config;
    this.config = config;
    this.sourceEmbedding = new TokenEmbedding(sourceVocabSize, dModel, options);
    this.targetEmbedding = config.tiedEmbeddings
      ? this.sourceEmbedding
      : new TokenEmbedding(targetVocabSize, dModel, options);
    this.positions = new SinusoidalPositions(config.maxPositions, dModel, {
      ...options,
      dropout: config.dropout,
    });
    this.encoder = Array.from(
      { length: numEncoderLayers },
      () => new TransformerEncoderLayer(config, options),
    );
    this.encoderNorm = finalNorm ? new LayerNorm(dModel, { eps }) : null;
    this.decoder = Array.from(
      { length: numDecoderLayers },
      () => new TransformerDecoderLayer(config, options),
    );
    this.decoderNorm = finalNorm ? new LayerNorm(dModel, { eps }) : null;
    this.head = config.tiedOutput ? null : new Linear(dModel, targetVocabSize, { ...options, bias: false });
  }

  /**
   * Logits of the token after each position of the target: source `[batch, source]` and target `[batch, target]`, integers
   * padded with `padId` on either side, to `[batch, target, targetVocabSize]`.
   */
  forward(source: Tensor, target: Tensor): Tensor {
    return this.run(source, target, {
      sourceMask: this.maskOf(source),
      targetMask: this.maskOf(target),
      balance: [],
    });
  }

  /**
   * Mean cross-entropy of the tokens of the target after the first, in nats, padding left out; with experts, plus their
   * load-balancing losses times their weight. Each target goes from `bosId` to `eosId` and is padded on the right.
   */
  loss(source: Tensor, target: Tensor, options: TransformerLossOptions = {}): Tensor {
    checkOptions("Transformer.loss", options, ["labelSmoothing"]);
    const { labelSmoothing = 0 } = options;
    checkNumber("Transformer.loss", "labelSmoothing", labelSmoothing, 0, 1);
    const { padId, experts, targetVocabSize } = this.config;
    const balance: Tensor[] = [];
    const wanted = slice(target, null, [1, target.shape[1] as number]); //   [batch, target - 1]
    // The last token of a target is only an input where the batch has longer ones, and counts as little as padding.
    const pass: Pass = { sourceMask: this.maskOf(source), targetMask: this.maskOf(wanted), balance };
    const logits = this.run(source, slice(target, null, [0, -1]), pass); //  [batch, target - 1, targetVocabSize]
    const loss = crossEntropy(reshape(logits, [-1, targetVocabSize]), reshape(wanted, [-1]), {
      labelSmoothing,
      ...(padId !== null && { ignoreIndex: padId }),
    });
    if (experts === null) return loss;
    return balance.reduce((total, one) => add(total, mul(one, experts.balance)), loss);
  }

  /** The encoder alone: `[batch, source]` to `[batch, source, dModel]`. */
  encode(source: Tensor): Tensor {
    return this.encoded(source, { sourceMask: this.maskOf(source), balance: [] });
  }

  /** Encodes sources `[rows, source]` for {@link step}. No gradient is recorded. */
  start(source: Tensor): DecoderState {
    return noGrad(() => {
      const sourceMask = this.maskOf(source);
      const memory = this.encoded(source, { sourceMask, balance: [] });
      const cross = this.decoder.map((layer) => layer.crossAttention.project(memory, memory));
      return { length: 0, sourceMask: sourceMask ?? null, cross, self: [] };
    });
  }

  /**
   * Goes on by tokens `[rows, n]`: logits after the last of them, `[rows, targetVocabSize]`, and the state after them. The state
   * that was given stays as it is; what does not change is shared with it. No gradient is recorded.
   */
  step(tokens: Tensor, state: DecoderState): { readonly logits: Tensor; readonly state: DecoderState } {
    return noGrad(() => {
      const pass: Pass = { sourceMask: state.sourceMask ?? undefined, balance: [] };
      const { x, self } = this.decoded(tokens, state.cross, pass, state);
      const last = slice(x, null, -1); //                                  [rows, dModel]
      const length = state.length + (tokens.shape[1] as number);
      return { logits: this.logits(last), state: { ...state, length, self } };
    });
  }

  /**
   * Rows of a state, in any order and any number of times. `sources: false` leaves the parts that depend on the source alone,
   * where each row stays with its source and only their tokens change places.
   */
  select(state: DecoderState, rows: Tensor, options: { readonly sources?: boolean } = {}): DecoderState {
    checkOptions("Transformer.select", options, ["sources"]);
    const { sources = true } = options;
    const pick = (x: Tensor): Tensor => indexSelect(x, 0, rows);
    const picked = ({ keys, values }: KeysValues): KeysValues => ({ keys: pick(keys), values: pick(values) });
    return noGrad(() => ({
      length: state.length,
      sourceMask: sources && state.sourceMask !== null ? pick(state.sourceMask) : state.sourceMask,
      cross: sources ? state.cross.map(picked) : state.cross,
      self: state.self.map(picked),
    }));
  }

  private run(source: Tensor, target: Tensor, pass: Pass): Tensor {
    const memory = this.encoded(source, pass); //                          [batch, source, dModel]
    const cross = this.decoder.map((layer) => layer.crossAttention.project(memory, memory));
    return this.logits(this.decoded(target, cross, pass).x);
  }

  private encoded(source: Tensor, pass: Pass): Tensor {
    checkTokens("source", source);
    let x = this.positions.forward(this.sourceEmbedding.forward(source)); // [batch, source, dModel]
    for (const layer of this.encoder) x = layer.forward(x, pass);
    return this.encoderNorm?.forward(x) ?? x;
  }

  private decoded(
    target: Tensor,
    cross: readonly KeysValues[],
    pass: Pass,
    past?: DecoderState,
  ): { readonly x: Tensor; readonly self: readonly KeysValues[] } {
    checkTokens("target", target);
    let x = this.positions.forward(this.targetEmbedding.forward(target), past?.length); // [batch, target, dModel]
    const self: KeysValues[] = [];
    for (const [i, layer] of this.decoder.entries()) {
      const result = layer.forward(x, cross[i] as KeysValues, pass, past?.self[i]);
      x = result.x;
      self.push(result.self);
    }
    return { x: this.decoderNorm?.forward(x) ?? x, self };
  }

  /** `[…, dModel]` to `[…, targetVocabSize]`. */
  private logits(x: Tensor): Tensor {
    return this.head?.forward(x) ?? linear(x, this.targetEmbedding.weight);
  }

  /** Which tokens are no padding, bool `[batch, positions]`. */
  private maskOf(tokens: Tensor): Tensor | undefined {
    const { padId } = this.config;
    return padId === null ? undefined : notEqual(tokens, padId);
  }
}

/** Rows of a table times √dModel: they start with variance 1 / dModel, so that they serve as an output layer too. */
export class TokenEmbedding extends Embedding {
  override resetParameters(generator?: Generator): void {
    init.into(this.weight, init.normal, { std: 1 / Math.sqrt(this.embeddingDim), generator });
    this.clearPadding();
  }

  /** `[batch, positions]` to `[batch, positions, dModel]`. */
  override forward(tokens: Tensor): Tensor {
    return mul(super.forward(tokens), Math.sqrt(this.embeddingDim));
  }
}

/** Self-attention and feed-forward, each with a residual sum and a norm. */
export class TransformerEncoderLayer extends Module {
  readonly selfAttention: MultiheadAttention;
  readonly feedForward: FeedForward | MixtureOfExperts;
  readonly residuals: readonly [TransformerResidual, TransformerResidual];

  constructor(config: TransformerConfig, options: TransformerOptions) {
    super();
    this.selfAttention = attention(config, options);
    this.feedForward = feedForward(config, options);
    this.residuals = [new TransformerResidual(config, options), new TransformerResidual(config, options)];
  }

  /** `[batch, source, dModel]` to the same. */
  forward(x: Tensor, { sourceMask, balance }: Pass): Tensor {
    const [attended, last] = this.residuals;
    const masks = keyMask(sourceMask);
    const y = attended.forward(x, (h) => this.selfAttention.forward(h, h, h, masks));
    return last.forward(y, (h) => fed(this.feedForward, h, { mask: sourceMask, balance }));
  }
}

/** Causal self-attention, attention to the source, and feed-forward, each with a residual sum and a norm. */
export class TransformerDecoderLayer extends Module {
  readonly selfAttention: MultiheadAttention;
  readonly crossAttention: MultiheadAttention;
  readonly feedForward: FeedForward | MixtureOfExperts;
  readonly residuals: readonly [TransformerResidual, TransformerResidual, TransformerResidual];

  constructor(config: TransformerConfig, options: TransformerOptions) {
    super();
    this.selfAttention = attention(config, options);
    this.crossAttention = attention(config, options);
    this.feedForward = feedForward(config, options);
    this.residuals = [
      new TransformerResidual(config, options),
      new TransformerResidual(config, options),
      new TransformerResidual(config, options),
    ];
  }

  /**
   * `[batch, target, dModel]` to the same, and keys and values of all tokens so far.
   *
   * @param cross keys and values of the source.
   * @param past keys and values of the tokens before these.
   */
  forward(
    x: Tensor,
    cross: KeysValues,
    { sourceMask, targetMask, balance }: Pass,
    past?: KeysValues,
  ): { readonly x: Tensor; readonly self: KeysValues } {
    const [attended, looked, last] = this.residuals;
    const { selfAttention, crossAttention } = this;
    let self: KeysValues = cross;
    const y = attended.forward(x, (h) => {
      self = selfAttention.extend(past, h, h);
      return selfAttention.attend(h, self, { ...keyMask(targetMask), causal: true });
    });
    const z = looked.forward(y, (h) => crossAttention.attend(h, cross, keyMask(sourceMask)));
    return { x: last.forward(z, (h) => fed(this.feedForward, h, { mask: targetMask, balance })), self };
  }
}

/** x + dropout(sublayer(norm(x))) with the norm first, else norm(x + dropout(sublayer(x))). */
export class TransformerResidual extends Module {
  readonly norm: LayerNorm;
  readonly dropout: Dropout;
  private readonly normFirst: boolean;

  constructor(
    { dModel, layerNormEps, dropout, normFirst }: TransformerConfig,
    options: TransformerOptions = {},
  ) {
    super();
    this.norm = new LayerNorm(dModel, { eps: layerNormEps });
    this.dropout = new Dropout(dropout, options);
    this.normFirst = normFirst;
  }

  /** `[batch, positions, dModel]` to the same. */
  forward(x: Tensor, sublayer: (x: Tensor) => Tensor): Tensor {
    return this.normFirst
      ? add(x, this.dropout.forward(sublayer(this.norm.forward(x))))
      : this.norm.forward(add(x, this.dropout.forward(sublayer(x))));
  }
}

function attention(config: TransformerConfig, options: TransformerOptions): MultiheadAttention {
  return new MultiheadAttention(config.dModel, config.nhead, {
    ...options,
    dropout: config.attentionDropout,
  });
}

/** The feed-forward of a layer, which experts take note of. */
function fed(layer: FeedForward | MixtureOfExperts, x: Tensor, routing: ExpertRouting): Tensor {
  return layer instanceof MixtureOfExperts ? layer.forward(x, routing) : layer.forward(x as Tensor<never>);
}

function feedForward(config: TransformerConfig, options: TransformerOptions): FeedForward | MixtureOfExperts {
  const { dModel, dimFeedforward, activation, experts } = config;
  if (experts === null) return new FeedForward(dModel, dimFeedforward, { ...options, activation });
  const { count, topK } = experts;
  return new MixtureOfExperts(dModel, dimFeedforward, { ...options, activation, count, topK });
}

function keyMask(mask: Tensor | undefined): { readonly keyMask?: Tensor } {
  return mask === undefined ? {} : { keyMask: mask };
}

function checkTokens(name: string, tokens: Tensor): void {
  if (tokens.rank === 2 && tokens.size > 0) return;
  throw new ShapeError(
    `Transformer: the ${name} must be [batch, positions] with at least one position, got [${tokens.shape.join(", ")}].`,
  );
}

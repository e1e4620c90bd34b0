import {
  add,
  assign,
  checkChoice,
  checkInteger,
  checkNumber,
  checkOptions,
  embedding,
  full,
  type Generator,
  gelu,
  linear,
  NanoFluxError,
  noGrad,
  parameter,
  permute,
  relu,
  reshape,
  ShapeError,
  scaledDotProductAttention,
  slice,
  type Tensor,
  zeros,
} from "@nf/core";
import { Dropout, init, LayerNorm, Module } from "@nf/nn";
import type { GptCache, GptLayerCache } from "./cache.ts";

/** Which linear maps add a bias. */
export interface GptBiases {
  /** Queries, keys and values, and what attention gives back. */
  readonly attention: boolean;
  /** Both maps of the feed-forward. */
  readonly mlp: boolean;
  /** The head; never where it is the embedding. */
  readonly head: boolean;
}

/** What stands between the two maps of the feed-forward: GELU by the error function or by GPT-2's tanh formula, or ReLU. */
export type GptActivation = "gelu" | "geluTanh" | "relu";

/** Sizes and choices of a GPT; {@link gptConfig} fills in what is left out. */
export interface GptConfig {
  /** Number of tokens. */
  readonly vocabSize: number;
  /** Positions that the model sees at a time. */
  readonly maxPositions: number;
  /** Width of the residual stream. */
  readonly hiddenSize: number;
  /** Width inside the feed-forward. Default `4 * hiddenSize`. */
  readonly intermediateSize: number;
  /** Number of blocks. */
  readonly layers: number;
  /** Heads of attention, each `hiddenSize / heads` wide. */
  readonly heads: number;
  /** Default `gelu`. */
  readonly activation: GptActivation;
  /** Added to the variance in layer norms. Default 1e-5. */
  readonly normEps: number;
  /** Whether the head is the embedding. Default false. */
  readonly tiedHead: boolean;
  /** Default: those of the feed-forward and the head. */
  readonly biases: GptBiases;
  /** Probability in training that a value is dropped: of the sum of embeddings, of attention's weights, of each block's summands. Default 0. */
  readonly dropout: number;
}

/** What {@link gptConfig} takes: sizes without a default, and the rest where it differs from it. */
export type GptSettings = Pick<GptConfig, "vocabSize" | "maxPositions" | "hiddenSize" | "layers" | "heads"> &
  Partial<GptConfig>;

/** nanoGPT on the 65 characters of tinyshakespeare: 626,625 parameters. */
export const NANOGPT: {
  readonly vocabSize: 65;
  readonly maxPositions: 128;
  readonly hiddenSize: 128;
  readonly intermediateSize: 512;
  readonly layers: 3;
  readonly heads: 4;
} = { vocabSize: 65, maxPositions: 128, hiddenSize: 128, intermediateSize: 512, layers: 3, heads: 4 };

/** Options of {@link Gpt}. */
export interface GptOptions {
  /** Where initial weights and the masks of dropout come from; default the generator that `manualSeed` seeds. */
  readonly generator?: Generator;
  /** Whether initial weights are drawn; default true. Without, all matrices are 0 until weights are loaded. */
  readonly draw?: boolean;
}

const SIZES = ["vocabSize", "maxPositions", "hiddenSize", "intermediateSize", "layers", "heads"] as const;
const BIASES = ["attention", "mlp", "head"] as const;
const SETTINGS = [...SIZES, "activation", "normEps", "tiedHead", "biases", "dropout"] as const;

/** A configuration that no GPT can be made from; lists everything that is wrong with it. */
export class GptConfigError extends NanoFluxError {
  readonly problems: readonly string[];

  constructor(source: string, problems: readonly string[]) {
    super("NF_DATA", `${source}: ${problems.length === 1 ? problems[0] : `\n  ${problems.join("\n  ")}`}`);
    this.problems = problems;
  }
}

/**
 * A checked configuration.
 *
 * @throws OptionError for an unknown setting or a value out of its domain, GptConfigError for values that do not fit each
 * other
 *
 * @example
 * ```ts no-run
 * import { gptConfig, NANOGPT } from "@nf/models";
 *
 * const config = gptConfig({ ...NANOGPT, dropout: 0.1 });
 * ```
 */
export function gptConfig(settings: GptSettings): GptConfig {
  const op = "gptConfig";
  checkOptions(op, settings, SETTINGS);
  const { vocabSize, maxPositions, hiddenSize, layers, heads, tiedHead = false } = settings;
  const config: GptConfig = {
    vocabSize,
    maxPositions,
    hiddenSize,
    intermediateSize: settings.intermediateSize ?? 4 * hiddenSize,
    layers,
    heads,
    activation: settings.activation ?? "gelu",
    normEps: settings.normEps ?? 1e-5,
    tiedHead,
    biases: settings.biases ?? { attention: false, mlp: true, head: !tiedHead },
    dropout: settings.dropout ?? 0,
  };
  for (const name of SIZES) checkInteger(op, name, config[name], 1);
  checkChoice(op, "activation", config.activation, ["gelu", "geluTanh", "relu"]);
  checkNumber(op, "normEps", config.normEps, 0);
  checkNumber(op, "dropout", config.dropout, 0, 1);
  checkOptions(`${op}: biases`, config.biases, BIASES);
  const problems: string[] = [];
  for (const [name, value] of Object.entries({ tiedHead, ...config.biases })) {
    if (typeof value !== "boolean") problems.push(`${name} must be true or false, got ${String(value)}.`);
  }
  if (Object.keys(config.biases).length < BIASES.length)
    problems.push(`biases must say true or false for each of ${BIASES.join(", ")}.`);
  if (hiddenSize % heads !== 0)
    problems.push(`hiddenSize (${hiddenSize}) must be a multiple of heads (${heads}).`);
  if (tiedHead && config.biases.head)
    problems.push("a tied head has no bias: biases.head must be false with tiedHead.");
  if (problems.length > 0) throw new GptConfigError(op, problems);
  return config;
}

/** Number of weights and biases of a model, those of a tied head once. */
export function gptParameters(config: GptConfig): number {
  const { vocabSize, maxPositions, hiddenSize: width, intermediateSize: wide, layers } = config;
  const { tiedHead, biases } = config;
  const attention = 4 * width * width + (biases.attention ? 4 * width : 0);
  const feedForward = 2 * width * wide + (biases.mlp ? wide + width : 0);
  const norm = 2 * width;
  const head = (tiedHead ? 0 : vocabSize * width) + (biases.head ? vocabSize : 0);
  return (vocabSize + maxPositions) * width + layers * (attention + feedForward + 2 * norm) + norm + head;
}

/** Standard deviation of initial matrices, as GPT-2 was trained from. */
const INITIAL_STD = 0.02;

/**
 * A decoder of GPT-2's family: learned positions, layer norms in front, causal attention, a feed-forward with GELU. Radford
 * et al. 2019, "Language models are unsupervised multitask learners". With the defaults and {@link NANOGPT} it is nanoGPT,
 * without biases in attention and with a head of its own.
 *
 * @example
 * ```ts no-run
 * import { Gpt, NANOGPT } from "@nf/models";
 * import { inspect } from "@nf/nn";
 *
 * console.log(inspect(new Gpt(NANOGPT), [NANOGPT.maxPositions], { dtype: "i32" }));
 * ```
 */
export class Gpt extends Module {
  readonly config: GptConfig;
  /** `[vocabSize, hiddenSize]`. */
  readonly embedding: GptEmbedding;
  /** `[maxPositions, hiddenSize]`. */
  readonly position: GptPosition;
  readonly dropout: Dropout;
  readonly blocks: readonly GptBlock[];
  readonly norm: LayerNorm;
  /** `[vocabSize, hiddenSize]`, or null where it is the embedding. */
  readonly head: GptLinear | null;

  constructor(settings: GptSettings, options: GptOptions = {}) {
    super();
    checkOptions("Gpt", options, ["generator", "draw"]);
    const { generator, draw: drawn = true } = options;
    const config = gptConfig(settings);
    const { vocabSize, maxPositions, hiddenSize, layers, tiedHead, biases, dropout } = config;
    this.config = config;
    this.embedding = new GptEmbedding(vocabSize, hiddenSize);
    this.position = new GptPosition(maxPositions, hiddenSize);
    this.dropout = dropoutOf(dropout, generator);
    this.blocks = Array.from({ length: layers }, () => new GptBlock(config, generator));
    this.norm = new LayerNorm(hiddenSize, { eps: config.normEps });
    this.head = tiedHead ? null : new GptLinear(hiddenSize, vocabSize, biases.head, INITIAL_STD);
    if (drawn) for (const module of this.modules()) module.resetParameters(generator);
  }

  /** Logits of the token after each position: tokens (integers) `[batch, positions]` to `[batch, positions, vocabSize]`. */
  forward(tokens: Tensor): Tensor {
    return this.logits(this.hidden(tokens));
  }

  /**
   * The residual stream after the last norm: `[batch, positions]` to `[batch, positions, hiddenSize]`. With a cache the
   * tokens go on where it ends, batch is 1, and it is to be called without gradients.
   */
  hidden(tokens: Tensor, cache?: GptCache): Tensor {
    this.checkTokens(tokens, cache);
    const first = cache?.length ?? 0;
    const sum = add(this.embedding.forward(tokens), this.position.forward(tokens, first));
    let x = this.dropout.forward(sum); //                              [batch, positions, hiddenSize]
    for (const [layer, block] of this.blocks.entries()) x = block.forward(x, cache?.layers[layer]);
    cache?.advance(tokens.shape[1] as number);
    return this.norm.forward(x);
  }

  /** Logits of the residual stream: `[…, hiddenSize]` to `[…, vocabSize]`. */
  logits(hidden: Tensor): Tensor {
    return this.head === null ? linear(hidden, this.embedding.weight) : this.head.forward(hidden);
  }

  private checkTokens(tokens: Tensor, cache: GptCache | undefined): void {
    const room = this.config.maxPositions - (cache?.length ?? 0);
    const [batch, positions = 0] = tokens.shape;
    const fits = tokens.rank === 2 && tokens.size > 0 && positions <= room;
    if (fits && (cache === undefined || batch === 1)) return;
    throw new ShapeError(
      `Gpt: expected tokens [${cache === undefined ? "batch" : 1}, positions] with 1 to ${room} positions, got [${tokens.shape.join(", ")}].`,
    );
  }
}

/** One block: x + attention(norm(x)), then that + feedForward(norm(that)). */
export class GptBlock extends Module {
  readonly attentionNorm: LayerNorm;
  readonly attention: GptAttention;
  readonly feedForwardNorm: LayerNorm;
  readonly feedForward: GptFeedForward;

  constructor(config: GptConfig, generator?: Generator) {
    super();
    const { hiddenSize, normEps } = config;
    this.attentionNorm = new LayerNorm(hiddenSize, { eps: normEps });
    this.attention = new GptAttention(config, generator);
    this.feedForwardNorm = new LayerNorm(hiddenSize, { eps: normEps });
    this.feedForward = new GptFeedForward(config, generator);
  }

  /** `[batch, positions, hiddenSize]` to the same. */
  forward(x: Tensor, cache?: GptLayerCache): Tensor {
    const h = add(x, this.attention.forward(this.attentionNorm.forward(x), cache));
    return add(h, this.feedForward.forward(this.feedForwardNorm.forward(h)));
  }
}

/** Causal attention of several heads. */
export class GptAttention extends Module {
  readonly qkv: GptQkv;
  /** `[hiddenSize, hiddenSize]`. */
  readonly out: GptLinear;
  readonly dropout: Dropout;
  private readonly heads: number;
  private readonly generator: Generator | undefined;

  constructor({ hiddenSize, heads, layers, biases, dropout }: GptConfig, generator?: Generator) {
    super();
    this.qkv = new GptQkv(hiddenSize, biases.attention);
    this.out = new GptLinear(hiddenSize, hiddenSize, biases.attention, summandStd(layers));
    this.dropout = dropoutOf(dropout, generator);
    this.heads = heads;
    this.generator = generator;
  }

  /** `[batch, positions, hiddenSize]` to the same. */
  forward(x: Tensor, cache?: GptLayerCache): Tensor {
    const { heads, generator, training } = this;
    const [batch, positions, hiddenSize] = x.shape as [number, number, number];
    const byHead = (part: Tensor): Tensor =>
      permute(reshape(part, [batch, positions, heads, -1]), [0, 2, 1, 3]);
    const parts = this.qkv.forward(x);
    const q = byHead(parts[0]); //                                     [batch, heads, positions, headDim]
    let k = byHead(parts[1]);
    let v = byHead(parts[2]);
    // One query, the newest, sees all keys that are there.
    if (cache !== undefined) [k, v] = cache.extend(k, v); //           [1, heads, keys, headDim]
    const mixed = scaledDotProductAttention(q, k, v, {
      causal: positions > 1,
      dropout: training ? this.dropout.p : 0,
      ...(generator !== undefined && { generator }),
    }); //                                                             [batch, heads, positions, headDim]
    const joined = reshape(permute(mixed, [0, 2, 1, 3]), [batch, positions, hiddenSize]);
    return this.dropout.forward(this.out.forward(joined));
  }
}

/**
 * Queries, keys and values. Their weights lie in one matrix, as in GPT-2; the products are three: cut out of one, their
 * gradients would have to be put together again at the size of the activations.
 */
export class GptQkv extends Module {
  /** `[3 * hiddenSize, hiddenSize]`, queries first. */
  readonly weight: Tensor;
  /** `[3 * hiddenSize]`, or null without. */
  readonly bias: Tensor | null;

  constructor(hiddenSize: number, bias: boolean) {
    super();
    this.weight = parameter(zeros([3 * hiddenSize, hiddenSize]));
    this.bias = bias ? parameter(zeros([3 * hiddenSize])) : null;
  }

  override resetParameters(generator?: Generator): void {
    draw(this.weight, INITIAL_STD, generator);
    if (this.bias !== null) fill(this.bias, 0);
  }

  /** `[…, hiddenSize]` to three of the same. */
  forward(x: Tensor): readonly [q: Tensor, k: Tensor, v: Tensor] {
    const { weight, bias } = this;
    const size = weight.shape[1] as number;
    const part = (i: number): Tensor => {
      const rows = [i * size, (i + 1) * size] as const;
      return linear(x, slice(weight, rows), bias === null ? undefined : slice(bias, rows));
    };
    return [part(0), part(1), part(2)];
  }
}

/** down(activation(up(x))). */
export class GptFeedForward extends Module {
  /** `[intermediateSize, hiddenSize]`. */
  readonly up: GptLinear;
  /** `[hiddenSize, intermediateSize]`. */
  readonly down: GptLinear;
  readonly dropout: Dropout;
  private readonly activation: GptActivation;

  constructor(config: GptConfig, generator?: Generator) {
    super();
    const { hiddenSize, intermediateSize, layers, biases, dropout, activation } = config;
    this.up = new GptLinear(hiddenSize, intermediateSize, biases.mlp, INITIAL_STD);
    this.down = new GptLinear(intermediateSize, hiddenSize, biases.mlp, summandStd(layers));
    this.dropout = dropoutOf(dropout, generator);
    this.activation = activation;
  }

  /** `[…, hiddenSize]` to the same. */
  forward(x: Tensor): Tensor {
    const wide = this.up.forward(x); //                                […, intermediateSize]
    return this.dropout.forward(this.down.forward(ACTIVATIONS[this.activation](wide)));
  }
}

const ACTIVATIONS: Readonly<Record<GptActivation, (x: Tensor) => Tensor>> = {
  gelu: (x) => gelu(x),
  geluTanh: (x) => gelu(x, { approximate: "tanh" }),
  relu,
};

/** A vector for each token. */
export class GptEmbedding extends Module {
  /** `[vocabSize, hiddenSize]`. */
  readonly weight: Tensor;

  constructor(vocabSize: number, hiddenSize: number) {
    super();
    this.weight = parameter(zeros([vocabSize, hiddenSize]));
  }

  override resetParameters(generator?: Generator): void {
    draw(this.weight, INITIAL_STD, generator);
  }

  /** Integers `[…]` to `[…, hiddenSize]`. */
  forward(tokens: Tensor): Tensor {
    return embedding(this.weight, tokens);
  }
}

/** A vector for each position. */
export class GptPosition extends Module {
  /** `[maxPositions, hiddenSize]`. */
  readonly weight: Tensor;

  constructor(maxPositions: number, hiddenSize: number) {
    super();
    this.weight = parameter(zeros([maxPositions, hiddenSize]));
  }

  override resetParameters(generator?: Generator): void {
    draw(this.weight, INITIAL_STD, generator);
  }

  /** The vectors of the positions of tokens `[batch, positions]`, from `first` on: `[positions, hiddenSize]`. */
  forward(tokens: Tensor, first = 0): Tensor {
    return slice(this.weight, [first, first + (tokens.shape[1] as number)]);
  }
}

/** x Wᵀ + b, drawn as GPT-2 draws: normal weights, biases 0. */
export class GptLinear extends Module {
  /** `[outFeatures, inFeatures]`. */
  readonly weight: Tensor;
  /** `[outFeatures]`, or null without. */
  readonly bias: Tensor | null;
  private readonly std: number;

  constructor(inFeatures: number, outFeatures: number, bias: boolean, std: number) {
    super();
    this.weight = parameter(zeros([outFeatures, inFeatures]));
    this.bias = bias ? parameter(zeros([outFeatures])) : null;
    this.std = std;
  }

  override resetParameters(generator?: Generator): void {
    draw(this.weight, this.std, generator);
    if (this.bias !== null) fill(this.bias, 0);
  }

  /** `[…, inFeatures]` to `[…, outFeatures]`. */
  forward(x: Tensor): Tensor {
    return linear(x, this.weight, this.bias ?? undefined);
  }

  protected override describe(): string {
    const [outFeatures, inFeatures] = this.weight.shape;
    return `${inFeatures}, ${outFeatures}`;
  }
}

/** Two maps of each layer add to the residual stream; drawn smaller, their sum keeps its scale at any depth. */
function summandStd(layers: number): number {
  return INITIAL_STD / Math.sqrt(2 * layers);
}

function dropoutOf(p: number, generator: Generator | undefined): Dropout {
  return new Dropout(p, generator === undefined ? {} : { generator });
}

function draw(x: Tensor, std: number, generator: Generator | undefined): void {
  init.into(x, init.normal, { std, ...(generator !== undefined && { generator }) });
}

function fill(x: Tensor, value: number): void {
  noGrad(() => assign(x, full([], value, { backend: x.backend, dtype: x.dtype })));
}

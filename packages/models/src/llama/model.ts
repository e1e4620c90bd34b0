import {
  add,
  assign,
  type Backend,
  cast,
  checkOptions,
  dequantize,
  embedding,
  full,
  type Generator,
  linear,
  mul,
  noGrad,
  parameter,
  permute,
  type QuantizedFormat,
  type QuantizedTensor,
  quantizedMatmul,
  type RopeOptions,
  type RopeTables,
  reshape,
  rmsNorm,
  rope,
  ropeTables,
  type Shape,
  ShapeError,
  scaledDotProductAttention,
  silu,
  slice,
  Tensor,
  triuMask,
  zeros,
} from "@nf/core";
import { init, Module } from "@nf/nn";
import type { KVCache } from "./cache.ts";
import type { LlamaConfig } from "./config.ts";
import { joinedOf, joinFor, type LlamaWeight } from "./joined.ts";

export type { LlamaWeight } from "./joined.ts";

/** Options of {@link Llama}. */
export interface LlamaOptions {
  /** Weights by the names of {@link llamaTensors}, which the model takes over; default random ones. */
  readonly weights?: ReadonlyMap<string, LlamaWeight>;
  /**
   * Matrices whose rows some of the weights are, by the names of their layer (`blocks.0.attention.qkv`,
   * `blocks.0.feedForward.gateUp`): with a cache, each is read in one product. The model takes them over; default none.
   */
  readonly joined?: ReadonlyMap<string, LlamaWeight>;
  /** Where random weights come from; default the generator that `manualSeed` seeds. */
  readonly generator?: Generator;
}

/** What all blocks share about the positions they compute. */
export interface LlamaPositions {
  readonly tables: RopeTables;
  /** Position of the first token. */
  readonly offset: number;
  readonly cache: KVCache | undefined;
  /** Masks of sliding windows, by their length. */
  readonly masks: Map<number, Tensor>;
}

/** Gives the weight of a name and shape. */
export type LlamaSource = (name: string, shape: Shape) => LlamaWeight;

/** Standard deviation of initial matrices, as the family was trained from. */
const INITIAL_STD = 0.02;

/**
 * A decoder of the Llama family (Llama, Mistral, Qwen2): RMS norms in front, rotary positions, grouped heads, SwiGLU.
 * Touvron et al. 2023, arXiv:2302.13971 and 2307.09288; Ainslie et al. 2023, arXiv:2305.13245 (grouped heads).
 */
export class Llama extends Module {
  readonly config: LlamaConfig;
  /** `[vocabSize, hiddenSize]`. */
  readonly embedding: Projection;
  readonly blocks: readonly LlamaBlock[];
  /** `[hiddenSize]`. */
  readonly norm: Tensor;
  /** `[vocabSize, hiddenSize]`, or null where it is the embedding. */
  readonly head: Projection | null;

  constructor(config: LlamaConfig, options: LlamaOptions = {}) {
    super();
    checkOptions("Llama", options, ["weights", "joined", "generator"]);
    const { weights, joined, generator } = options;
    const { vocabSize, hiddenSize, layers } = config;
    const source: LlamaSource = weights === undefined ? blank : (name, shape) => taken(weights, name, shape);
    this.config = config;
    this.embedding = new Projection(source, "embedding", hiddenSize, vocabSize, false);
    this.blocks = Array.from({ length: layers }, (_, layer) => new LlamaBlock(source, config, layer, joined));
    this.norm = vector(source, "norm", hiddenSize);
    this.head = config.tiedHead ? null : new Projection(source, "head", hiddenSize, vocabSize, false);
    if (weights === undefined) for (const module of this.modules()) module.resetParameters(generator);
  }

  override resetParameters(): void {
    fill(this.norm, 1);
  }

  /**
   * Logits of the token after each position: tokens (integers) `[batch, positions]` to `[batch, positions, vocabSize]`.
   * With a cache the tokens go on where it ends, batch is 1, and no gradient is recorded.
   */
  forward(tokens: Tensor, cache?: KVCache): Tensor {
    return cache === undefined
      ? this.logits(this.hidden(tokens))
      : noGrad(() => this.logits(this.hidden(tokens, cache)));
  }

  /** The residual stream after the last norm: `[batch, positions]` to `[batch, positions, hiddenSize]`. */
  hidden(tokens: Tensor, cache?: KVCache): Tensor {
    checkTokens(tokens, cache);
    return cache === undefined ? this.run(tokens) : noGrad(() => this.run(tokens, cache));
  }

  /** Logits of the residual stream: `[…, hiddenSize]` to `[…, vocabSize]`. */
  logits(hidden: Tensor): Tensor {
    return (this.head ?? this.embedding).forward(hidden);
  }

  /** Weights that lay together are moved one by one, and each is read in a product of its own then. */
  override async to(backend: Backend): Promise<this> {
    await super.to(backend);
    for (const { attention, feedForward } of this.blocks) {
      joinedOf(attention)?.of([attention.q, attention.k, attention.v]);
      joinedOf(feedForward)?.of([feedForward.gate, feedForward.up]);
    }
    return this;
  }

  override dispose(): void {
    super.dispose();
    for (const { attention, feedForward } of this.blocks)
      for (const layer of [attention, feedForward]) joinedOf(layer)?.dispose();
  }

  private run(tokens: Tensor, cache?: KVCache): Tensor {
    const { headDim, ropeBase, ropeScaling, normEps } = this.config;
    const count = tokens.shape[1] as number;
    cache?.reserve(count);
    const rotation = { base: ropeBase, ...(ropeScaling !== null && { scaling: ropeScaling }) };
    const positions: LlamaPositions = {
      tables: cache?.tables ?? ropeTables(count, headDim, { ...rotation, backend: tokens.backend }),
      offset: cache?.length ?? 0,
      cache,
      masks: new Map(),
    };
    let x = this.embedding.rows(tokens); //                            [batch, positions, hiddenSize]
    for (const block of this.blocks) x = block.forward(x, positions);
    cache?.advance(count);
    return rmsNorm(x, { weight: this.norm, eps: normEps });
  }
}

/** One layer: x + attention(norm(x)), then that + feedForward(norm(that)). */
export class LlamaBlock extends Module {
  readonly attention: LlamaAttention;
  readonly feedForward: LlamaFeedForward;
  /** `[hiddenSize]`. */
  readonly attentionNorm: Tensor;
  /** `[hiddenSize]`. */
  readonly feedForwardNorm: Tensor;
  private readonly eps: number;

  constructor(source: LlamaSource, config: LlamaConfig, layer: number, joined?: LlamaOptions["joined"]) {
    super();
    const name = `blocks.${layer}`;
    this.attention = new LlamaAttention(source, config, layer, joined?.get(`${name}.attention.qkv`));
    const gateUp = joined?.get(`${name}.feedForward.gateUp`);
    this.feedForward = new LlamaFeedForward(source, config, `${name}.feedForward`, gateUp);
    this.attentionNorm = vector(source, `${name}.attentionNorm`, config.hiddenSize);
    this.feedForwardNorm = vector(source, `${name}.feedForwardNorm`, config.hiddenSize);
    this.eps = config.normEps;
  }

  override resetParameters(): void {
    fill(this.attentionNorm, 1);
    fill(this.feedForwardNorm, 1);
  }

  /** `[batch, positions, hiddenSize]` to the same. */
  forward(x: Tensor, positions: LlamaPositions): Tensor {
    const { eps } = this;
    const h = add(x, this.attention.forward(rmsNorm(x, { weight: this.attentionNorm, eps }), positions));
    const cached = positions.cache !== undefined;
    return add(h, this.feedForward.forward(rmsNorm(h, { weight: this.feedForwardNorm, eps }), cached));
  }
}

/** Causal attention with rotary positions, whose heads share keys and values in groups. */
export class LlamaAttention extends Module {
  /** `[heads * headDim, hiddenSize]`. */
  readonly q: Projection;
  /** `[kvHeads * headDim, hiddenSize]`. */
  readonly k: Projection;
  /** `[kvHeads * headDim, hiddenSize]`. */
  readonly v: Projection;
  /** `[hiddenSize, heads * headDim]`. */
  readonly out: Projection;
  private readonly config: LlamaConfig;
  private readonly layer: number;

  constructor(source: LlamaSource, config: LlamaConfig, layer: number, joined?: LlamaWeight) {
    super();
    const { hiddenSize, heads, kvHeads, headDim, biases } = config;
    const name = `blocks.${layer}.attention`;
    this.q = new Projection(source, `${name}.q`, hiddenSize, heads * headDim, biases.qkv);
    this.k = new Projection(source, `${name}.k`, hiddenSize, kvHeads * headDim, biases.qkv);
    this.v = new Projection(source, `${name}.v`, hiddenSize, kvHeads * headDim, biases.qkv);
    this.out = new Projection(source, `${name}.out`, heads * headDim, hiddenSize, biases.out);
    joinFor(this, joined);
    this.config = config;
    this.layer = layer;
  }

  /** `[batch, positions, hiddenSize]` to the same. */
  forward(x: Tensor, { tables, offset, cache, masks }: LlamaPositions): Tensor {
    const { heads, headDim, ropeInterleaved: interleaved } = this.config;
    const [batch, count] = x.shape as [number, number, number];
    const window = this.config.windows[this.layer] ?? null;
    const parts = this.project(x, { tables, offset, interleaved }, cache !== undefined);
    const [q] = parts; //                                              [batch, heads, positions, headDim]
    let [, k, v] = parts; //                                           [batch, kvHeads, positions, headDim]
    if (cache !== undefined) [k, v] = cache.extend(this.layer, k, v, window); // [1, kvHeads, keys, headDim]
    const mask = window === null || count === 1 ? undefined : windowMask(masks, count, k, window);
    // One query, the newest, sees all keys that are there.
    const options = { causal: count > 1, ...(mask !== undefined && { mask }) };
    const mixed = scaledDotProductAttention(q, k, v, options); //      [batch, heads, positions, headDim]
    // Of one position, the elements lie in either order alike.
    const joint = count === 1 ? mixed : permute(mixed, [0, 2, 1, 3]);
    return this.out.forward(reshape(joint, [batch, count, heads * headDim]));
  }

  /** Queries and keys, turned, and values. */
  private project(x: Tensor, turn: RopeOptions, cached: boolean): readonly [q: Tensor, k: Tensor, v: Tensor] {
    const { heads, kvHeads } = this.config;
    const maps = [this.q, this.k, this.v] as const;
    const joined = cached ? joinedOf(this) : undefined;
    const whole = this.q.bias === null ? joined?.product(x, maps) : undefined;
    if (whole !== undefined) {
      const all = split(whole, heads + 2 * kvHeads);
      const turned = rope(slice(all, null, [0, heads + kvHeads]), turn);
      return [
        slice(turned, null, [0, heads]),
        slice(turned, null, [heads, heads + kvHeads]),
        slice(all, null, [heads + kvHeads, heads + 2 * kvHeads]),
      ];
    }
    const [q, k, v] = (joined?.forward(x, maps) ?? maps.map((map) => map.forward(x))) as [
      Tensor,
      Tensor,
      Tensor,
    ];
    return [rope(split(q, heads), turn), rope(split(k, kvHeads), turn), split(v, kvHeads)];
  }
}

/** SwiGLU: down(silu(gate(x)) * up(x)). Shazeer 2020, arXiv:2002.05202. */
export class LlamaFeedForward extends Module {
  /** `[intermediateSize, hiddenSize]`. */
  readonly gate: Projection;
  /** `[intermediateSize, hiddenSize]`. */
  readonly up: Projection;
  /** `[hiddenSize, intermediateSize]`. */
  readonly down: Projection;

  constructor(source: LlamaSource, config: LlamaConfig, name: string, joined?: LlamaWeight) {
    super();
    const { hiddenSize, intermediateSize, biases } = config;
    this.gate = new Projection(source, `${name}.gate`, hiddenSize, intermediateSize, biases.mlp);
    this.up = new Projection(source, `${name}.up`, hiddenSize, intermediateSize, biases.mlp);
    this.down = new Projection(source, `${name}.down`, intermediateSize, hiddenSize, biases.mlp);
    joinFor(this, joined);
  }

  /** `[…, hiddenSize]` to the same; `cached` where it goes on from a cache, and no gradient is recorded. */
  forward(x: Tensor, cached = false): Tensor {
    const maps = [this.gate, this.up] as const;
    const together = cached ? joinedOf(this)?.forward(x, maps) : undefined;
    const [gate, up] = (together ?? maps.map((map) => map.forward(x))) as [Tensor, Tensor];
    return this.down.forward(mul(silu(gate), up));
  }
}

/** A matrix as a linear map and as a table of rows, whatever it is stored in; results are f32. */
export class Projection extends Module {
  /** Rows and columns of the matrix: `[outFeatures, inFeatures]`. */
  readonly shape: readonly [number, number];
  /** `[outFeatures, inFeatures]`, or null where it is quantised. */
  readonly weight: Tensor | null;
  /** Blocks of the quantised matrix, u8 `[outFeatures, bytes of a row]`, or null. */
  readonly bytes: Tensor | null;
  /** How the blocks are to be read, or null. */
  readonly format: QuantizedFormat | null;
  /** `[outFeatures]`, or null without. */
  readonly bias: Tensor | null;

  /** @internal */
  constructor(source: LlamaSource, name: string, inFeatures: number, outFeatures: number, bias: boolean) {
    super();
    const shape = [outFeatures, inFeatures] as const;
    const weight = source(`${name}.weight`, shape);
    const plain = weight instanceof Tensor;
    this.shape = shape;
    this.weight = plain ? parameter(weight) : null;
    this.bytes = plain ? null : this.registerBuffer("bytes", weight.bytes);
    this.format = plain ? null : weight.format;
    this.bias = bias ? vector(source, `${name}.bias`, outFeatures) : null;
  }

  override resetParameters(generator?: Generator): void {
    if (this.weight !== null) {
      init.into(this.weight, init.normal, {
        std: INITIAL_STD,
        ...(generator !== undefined && { generator }),
      });
    }
    if (this.bias !== null) fill(this.bias, 0);
  }

  /** x Wᵀ + bias: `[…, inFeatures]` to `[…, outFeatures]`. */
  forward(x: Tensor): Tensor {
    const { weight, bias } = this;
    if (weight !== null) return linear(x, weight, bias ?? undefined);
    const product = quantizedMatmul(x, this.quantized());
    return bias === null ? product : add(product, bias);
  }

  /** Rows of the matrix: integers `[…]` to `[…, inFeatures]`. */
  rows(index: Tensor): Tensor {
    if (this.weight !== null) return cast(embedding(this.weight, index), "f32");
    const { format, bytes } = this.quantized();
    const shape = [...index.shape, this.shape[1]];
    return dequantize({ format, shape, bytes: reshape(embedding(bytes, index), [index.size, -1]) });
  }

  private quantized(): QuantizedTensor {
    return { format: this.format as QuantizedFormat, shape: this.shape, bytes: this.bytes as Tensor };
  }
}

/** `[batch, positions, heads * headDim]` to `[batch, heads, positions, headDim]`. */
function split(x: Tensor, heads: number): Tensor {
  const [batch, positions] = x.shape as [number, number, number];
  if (positions === 1) return reshape(x, [batch, heads, 1, -1]);
  return permute(reshape(x, [batch, positions, heads, -1]), [0, 2, 1, 3]);
}

/** Which of the keys each of the last `count` positions has inside its window, `[count, keys]`; made once a call. */
function windowMask(
  masks: Map<number, Tensor>,
  count: number,
  k: Tensor,
  window: number,
): Tensor | undefined {
  const keys = k.shape[2] as number;
  if (keys <= window) return undefined;
  const known = masks.get(window) ?? triuMask(count, keys, keys - count - window + 1, { backend: k.backend });
  masks.set(window, known);
  return known;
}

function checkTokens(tokens: Tensor, cache: KVCache | undefined): void {
  if (tokens.rank === 2 && tokens.size > 0 && (cache === undefined || tokens.shape[0] === 1)) return;
  throw new ShapeError(
    `Llama: expected tokens [${cache === undefined ? "batch" : 1}, positions] with at least one position, got [${tokens.shape.join(", ")}].`,
  );
}

function fill(x: Tensor, value: number): void {
  noGrad(() => assign(x, full([], value, { backend: x.backend, dtype: x.dtype })));
}

/** Where random weights are drawn into. */
const blank: LlamaSource = (_name, shape) => zeros(shape);

function vector(source: LlamaSource, name: string, size: number): Tensor {
  const weight = source(name, [size]);
  if (!(weight instanceof Tensor))
    throw new ShapeError(`Llama: ${name} is a vector and cannot be quantised.`);
  return parameter(weight);
}

function taken(weights: ReadonlyMap<string, LlamaWeight>, name: string, shape: Shape): LlamaWeight {
  const weight = weights.get(name);
  if (weight === undefined)
    throw new ShapeError(`Llama: the weights have no "${name}" of shape [${shape.join(", ")}].`);
  if (weight.shape.length !== shape.length || weight.shape.some((size, axis) => size !== shape[axis])) {
    throw new ShapeError(
      `Llama: "${name}" must have the shape [${shape.join(", ")}], got [${weight.shape.join(", ")}].`,
    );
  }
  return weight;
}

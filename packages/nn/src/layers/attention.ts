import {
  checkInteger,
  checkNumber,
  checkOptions,
  type DType,
  type Generator,
  linear,
  logicalAnd,
  OptionError,
  parameter,
  permute,
  reshape,
  ShapeError,
  scaledDotProductAttention,
  slice,
  type Tensor,
  unsqueeze,
  zeros,
} from "@nf/core";
import { checkInput, shapeText } from "../check.ts";
import { into, xavierUniform } from "../init.ts";
import { Module } from "../module/module.ts";
import { fill } from "./fill.ts";
import { Linear } from "./linear.ts";

/** Options of {@link MultiheadAttention}. */
export interface MultiheadAttentionOptions {
  /** Probability that a weight is dropped in training; default 0. It goes without the fused kernel of a backend. */
  readonly dropout?: number;
  /** Whether the projections add a learned bias; default true. */
  readonly bias?: boolean;
  /** Where the initial values and the dropout come from; default the generator that `manualSeed` seeds. */
  readonly generator?: Generator;
  /** dtype of the parameters; default `f32`. */
  readonly dtype?: DType;
}

/** Which keys the queries may attend to. */
export interface AttentionMasks {
  /** Which keys count, bool `[batch, keys]`: false for padding. PyTorch's `key_padding_mask` says the opposite. */
  readonly keyMask?: Tensor;
  /**
   * Which key a query may attend to (bool), or what is added to the scores (float): broadcasts to
   * `[batch, heads, queries, keys]`.
   */
  readonly mask?: Tensor;
  /** Whether a query attends to no later key; the last query meets the last key. Default false. */
  readonly causal?: boolean;
}

/** Keys and values by heads, each `[batch, heads, keys, headDim]`. */
export interface KeysValues {
  readonly keys: Tensor;
  readonly values: Tensor;
}

/**
 * Attention by several heads, each over its own projection of queries, keys and values. Queries
 * `[batch, queries, embedDim]`, keys and values `[batch, keys, embedDim]`, result as the queries. The joint weight of
 * the projections starts Xavier-uniform and the biases 0, as in PyTorch. Vaswani et al. 2017, arXiv:1706.03762.
 *
 * @example
 * ```ts no-run
 * import { randn } from "@nf/core";
 * import { MultiheadAttention } from "@nf/nn";
 *
 * const attention = new MultiheadAttention(64, 4);
 * const x = randn([2, 10, 64]);
 * const y = attention.forward(x, x, x, { causal: true }); // [2, 10, 64]
 * ```
 */
export class MultiheadAttention extends Module {
  readonly embedDim: number;
  readonly numHeads: number;
  readonly dropout: number;
  readonly generator: Generator | undefined;
  /** Projections of queries, keys and values, one below the other: `[3 * embedDim, embedDim]`. */
  readonly inProjWeight: Tensor;
  /** `[3 * embedDim]`, or null without bias. */
  readonly inProjBias: Tensor | null;
  /** From the heads, side by side, to the result. */
  readonly outProj: Linear;

  constructor(embedDim: number, numHeads: number, options: MultiheadAttentionOptions = {}) {
    super();
    checkOptions("MultiheadAttention", options, ["dropout", "bias", "generator", "dtype"]);
    checkInteger("MultiheadAttention", "embedDim", embedDim, 1);
    checkInteger("MultiheadAttention", "numHeads", numHeads, 1);
    if (embedDim % numHeads !== 0) {
      throw new OptionError(
        `MultiheadAttention: embedDim must be a multiple of numHeads, got ${embedDim} and ${numHeads}.`,
      );
    }
    const { dropout = 0, bias = true, generator, dtype = "f32" } = options;
    this.embedDim = embedDim;
    this.numHeads = numHeads;
    this.dropout = checkNumber("MultiheadAttention", "dropout", dropout, 0, 1);
    this.generator = generator;
    this.inProjWeight = parameter(zeros([3 * embedDim, embedDim], { dtype }));
    this.inProjBias = bias ? parameter(zeros([3 * embedDim], { dtype })) : null;
    this.outProj = new Linear(embedDim, embedDim, {
      bias,
      dtype,
      ...(generator !== undefined && { generator }),
    });
    if (this.outProj.bias !== null) fill(this.outProj.bias, 0);
    this.resetParameters(generator);
  }

  override resetParameters(generator?: Generator): void {
    into(this.inProjWeight, xavierUniform, { generator });
    if (this.inProjBias !== null) fill(this.inProjBias, 0);
  }

  /** What each query gathers from the values. */
  forward(query: Tensor, key: Tensor, value: Tensor, masks: AttentionMasks = {}): Tensor {
    return this.attend(query, this.project(key, value), masks);
  }

  /** Keys and values by heads: what a decoder keeps, so that it need not be computed again. */
  project(key: Tensor, value: Tensor): KeysValues {
    return { keys: this.heads(key, 1), values: this.heads(value, 2) };
  }

  /** {@link forward} for keys and values that {@link project} has made. */
  attend(query: Tensor, { keys, values }: KeysValues, masks: AttentionMasks = {}): Tensor {
    checkOptions("MultiheadAttention", masks, ["keyMask", "mask", "causal"]);
    const { embedDim, dropout, training, generator } = this;
    const q = this.heads(query, 0); //                                       [batch, heads, queries, headDim]
    const mask = this.combined(masks, keys);
    const mixed = scaledDotProductAttention(q, keys, values, {
      causal: masks.causal ?? false,
      ...(mask !== undefined && { mask }),
      ...(training && dropout > 0 && { dropout, ...(generator !== undefined && { generator }) }),
    }); //                                                                   [batch, heads, queries, headDim]
    const [batch, , queries] = mixed.shape as [number, number, number];
    return this.outProj.forward(reshape(permute(mixed, [0, 2, 1, 3]), [batch, queries, embedDim]));
  }

  protected override describe(): string {
    const { embedDim, numHeads, dropout, inProjBias } = this;
    const options = [
      ...(dropout > 0 ? [`dropout: ${dropout}`] : []),
      ...(inProjBias === null ? ["bias: false"] : []),
    ];
    return `${embedDim}, ${numHeads}${options.length === 0 ? "" : `, { ${options.join(", ")} }`}`;
  }

  /** The projection at a place of the joint weight, by heads: `[batch, n, embedDim]` to `[batch, heads, n, headDim]`. */
  private heads(x: Tensor, place: 0 | 1 | 2): Tensor {
    checkInput(this, x);
    const { embedDim, numHeads, inProjWeight, inProjBias } = this;
    if (x.rank !== 3 || x.shape[2] !== embedDim) {
      throw new ShapeError(
        `${this}: ${["query", "key", "value"][place]} must be [batch, positions, ${embedDim}], got ${shapeText(x)}.`,
      );
    }
    const [batch, positions] = x.shape as [number, number, number];
    const rows: [number, number] = [place * embedDim, (place + 1) * embedDim];
    const bias = inProjBias === null ? undefined : slice(inProjBias, rows);
    const y = linear(x, slice(inProjWeight, rows), bias);
    return permute(reshape(y, [batch, positions, numHeads, embedDim / numHeads]), [0, 2, 1, 3]);
  }

  /** Both masks as one, or none. */
  private combined({ keyMask, mask }: AttentionMasks, keys: Tensor): Tensor | undefined {
    if (keyMask === undefined) return mask;
    checkInput(this, keyMask);
    const [batch, , count] = keys.shape as [number, number, number];
    if (
      keyMask.dtype !== "bool" ||
      keyMask.rank !== 2 ||
      keyMask.shape[0] !== batch ||
      keyMask.shape[1] !== count
    ) {
      throw new ShapeError(
        `${this}: keyMask must be bool [${batch}, ${count}], got ${keyMask.dtype} ${shapeText(keyMask)}. It is true where a key counts.`,
      );
    }
    const spread = unsqueeze(unsqueeze(keyMask, 1), 1); //                   [batch, 1, 1, keys]
    if (mask === undefined) return spread;
    if (mask.dtype === "bool") return logicalAnd(spread, mask);
    throw new OptionError(
      `${this}: a mask of floats that are added does not go together with keyMask. Put -Infinity for the padding into it.`,
    );
  }
}

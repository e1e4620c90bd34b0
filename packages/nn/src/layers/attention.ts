import {
  checkInteger,
  checkNumber,
  checkOptions,
  concat,
  type DType,
  expand,
  eye,
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
  squeeze,
  type Tensor,
  unsqueeze,
  zeros,
} from "@nf/core";
import { composite } from "@nf/core/op";
import { checkInput, checkLayerOptions, shapeText } from "../check.ts";
import { into, xavierUniform } from "../init.ts";
import { Module } from "../module/module.ts";
import type { Slot } from "../module/slots.ts";
import { fill } from "./fill.ts";
import { Linear } from "./linear.ts";
import { underscored } from "./names.ts";

/** Options of {@link MultiheadAttention}. */
export interface MultiheadAttentionOptions {
  /** Probability that a weight is dropped in training; default 0. It goes without the fused kernel of a backend. */
  readonly dropout?: number;
  /** Features of the keys that come in; default `embedDim`. */
  readonly kdim?: number;
  /** Features of the values that come in; default `embedDim`. */
  readonly vdim?: number;
  /**
   * Heads of keys and values, a divisor of `numHeads`: each serves several heads of queries. Default `numHeads`. Ainslie et al. 2023,
   * arXiv:2305.13245. PyTorch's layer has no such option.
   */
  readonly numKvHeads?: number;
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

/** Keys and values by heads, each `[batch, kvHeads, keys, headDim]`. */
export interface KeysValues {
  readonly keys: Tensor;
  readonly values: Tensor;
}

/**
 * Attention by several heads, each over its own projection of queries, keys and values. Queries
 * `[batch, queries, embedDim]`, keys and values `[batch, keys, …]`, result as the queries; all without the batch too. Weights
 * start Xavier-uniform and the biases 0, and names in a state dict are PyTorch's (`in_proj_weight`, `out_proj.weight`). Vaswani
 * et al. 2017, arXiv:1706.03762.
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
  readonly numKvHeads: number;
  readonly kdim: number;
  readonly vdim: number;
  readonly dropout: number;
  readonly generator: Generator | undefined;
  /** Projections of queries, keys and values, one below the other: `[embedDim + 2 * kvWidth, embedDim]`; null with `kdim` or `vdim` of their own. */
  readonly inProjWeight: Tensor | null;
  /** With `kdim` or `vdim`, the projection of queries, `[embedDim, embedDim]`. */
  readonly qProjWeight: Tensor | null;
  /** `[kvWidth, kdim]` */
  readonly kProjWeight: Tensor | null;
  /** `[kvWidth, vdim]` */
  readonly vProjWeight: Tensor | null;
  /** `[embedDim + 2 * kvWidth]`, or null without bias. */
  readonly inProjBias: Tensor | null;
  /** From the heads, side by side, to the result. */
  readonly outProj: Linear;

  constructor(embedDim: number, numHeads: number, options: MultiheadAttentionOptions = {}) {
    super();
    checkLayerOptions("MultiheadAttention", options, [
      ...["dropout", "kdim", "vdim", "numKvHeads"],
      ...["bias", "generator", "dtype"],
    ]);
    const { kdim = embedDim, vdim = embedDim, numKvHeads = numHeads } = options;
    for (const [name, value] of Object.entries({ embedDim, numHeads, kdim, vdim, numKvHeads }))
      checkInteger("MultiheadAttention", name, value, 1);
    checkDivides("embedDim", embedDim, "numHeads", numHeads);
    checkDivides("numHeads", numHeads, "numKvHeads", numKvHeads);
    const { dropout = 0, generator, dtype = "f32" } = options;
    const { bias = true } = options;
    this.embedDim = embedDim;
    this.numHeads = numHeads;
    this.numKvHeads = numKvHeads;
    this.kdim = kdim;
    this.vdim = vdim;
    this.dropout = checkNumber("MultiheadAttention", "dropout", dropout, 0, 1);
    this.generator = generator;
    const make = (...shape: number[]): Tensor => parameter(zeros(shape, { dtype }));
    const kv = this.kvWidth;
    const joint = kdim === embedDim && vdim === embedDim;
    this.inProjWeight = joint ? make(embedDim + 2 * kv, embedDim) : null;
    this.qProjWeight = joint ? null : make(embedDim, embedDim);
    this.kProjWeight = joint ? null : make(kv, kdim);
    this.vProjWeight = joint ? null : make(kv, vdim);
    this.inProjBias = bias ? make(embedDim + 2 * kv) : null;
    this.outProj = new Linear(embedDim, embedDim, {
      bias,
      dtype,
      ...(generator !== undefined && { generator }),
    });
    this.resetParameters(generator);
  }

  override resetParameters(generator?: Generator): void {
    for (const weight of [this.inProjWeight, this.qProjWeight, this.kProjWeight, this.vProjWeight])
      if (weight !== null) into(weight, xavierUniform, { generator });
    for (const bias of [this.inProjBias, this.outProj.bias]) if (bias !== null) fill(bias, 0);
  }

  /** @internal */
  override slots(): readonly Slot<Module>[] {
    return underscored(super.slots());
  }

  /** What each query gathers from the values. */
  forward(query: Tensor, key: Tensor, value: Tensor, masks: AttentionMasks = {}): Tensor {
    checkInput(this, query);
    if (query.rank !== 2) return this.attend(query, this.project(key, value), masks);
    for (const one of [key, value]) checkInput(this, one);
    const [q, k, v] = [query, key, value].map((one) => unsqueeze(one, 0)) as [Tensor, Tensor, Tensor];
    return squeeze(this.attend(q, this.project(k, v), masks), 0);
  }

  /** Keys and values by heads: what a decoder keeps, so that it need not be computed again. */
  project(key: Tensor, value: Tensor): KeysValues {
    return { keys: this.heads(key, 1), values: this.heads(value, 2) };
  }

  /** {@link project} behind what was kept of earlier positions: a cache that grows. What was given stays as it is. */
  extend(past: KeysValues | undefined, key: Tensor, value: Tensor): KeysValues {
    const fresh = this.project(key, value);
    if (past === undefined) return fresh;
    return {
      keys: concat([past.keys, fresh.keys], 2),
      values: concat([past.values, fresh.values], 2),
    };
  }

  /** {@link forward} for keys and values that {@link project} or {@link extend} has made. */
  attend(query: Tensor, { keys, values }: KeysValues, masks: AttentionMasks = {}): Tensor {
    checkOptions("MultiheadAttention", masks, ["keyMask", "mask", "causal"]);
    checkInput(this, query);
    // outProj may be looked at by hooks, so its input is no temporary of the composite.
    return this.outProj.forward(composite([query, keys, values], () => this.mix(query, keys, values, masks)));
  }

  /** What the heads gather, side by side: `[batch, queries, embedDim]`. */
  private mix(query: Tensor, keys: Tensor, values: Tensor, masks: AttentionMasks): Tensor {
    const { embedDim, dropout, training, generator } = this;
    const q = this.heads(query, 0); //                                       [batch, heads, queries, headDim]
    const mask = this.combined(masks, keys);
    const mixed = scaledDotProductAttention(q, keys, values, {
      causal: masks.causal ?? false,
      ...(mask !== undefined && { mask }),
      ...(training && dropout > 0 && { dropout, ...(generator !== undefined && { generator }) }),
    }); //                                                                   [batch, heads, queries, headDim]
    const [batch, , queries] = mixed.shape as [number, number, number];
    return reshape(permute(mixed, [0, 2, 1, 3]), [batch, queries, embedDim]);
  }

  /**
   * How much each query takes of each value, `[batch, heads, queries, keys]`, rows summing to 1: for a look at what a model attends to.
   * {@link forward} does not compute it by itself.
   */
  attentionWeights(query: Tensor, key: Tensor, masks: AttentionMasks = {}): Tensor {
    checkOptions("MultiheadAttention", masks, ["keyMask", "mask", "causal"]);
    for (const one of [query, key]) checkInput(this, one);
    return composite([query, key], () => {
      const keys = this.heads(key, 1);
      const [batch, , count] = keys.shape as [number, number, number];
      const mask = this.combined(masks, keys);
      // Values that tell the keys apart: what each query gathers of them is its weights.
      const { dtype, backend } = keys;
      const values = expand(eye(count, count, { dtype, backend }), [batch, this.numKvHeads, count, count]);
      return scaledDotProductAttention(this.heads(query, 0), keys, values, {
        causal: masks.causal ?? false,
        ...(mask !== undefined && { mask }),
      });
    });
  }

  protected override describe(): string {
    const { embedDim, numHeads, numKvHeads, kdim, vdim, dropout, inProjBias } = this;
    const options = [
      ...(dropout > 0 ? [`dropout: ${dropout}`] : []),
      ...(kdim === embedDim ? [] : [`kdim: ${kdim}`]),
      ...(vdim === embedDim ? [] : [`vdim: ${vdim}`]),
      ...(numKvHeads === numHeads ? [] : [`numKvHeads: ${numKvHeads}`]),
      ...(inProjBias === null ? ["bias: false"] : []),
    ];
    return `${embedDim}, ${numHeads}${options.length === 0 ? "" : `, { ${options.join(", ")} }`}`;
  }

  /** Features of all heads of keys, and of values. */
  private get kvWidth(): number {
    return (this.embedDim / this.numHeads) * this.numKvHeads;
  }

  /** The projection at a place of the joint weight, by heads: `[batch, n, …]` to `[batch, heads, n, headDim]`. */
  private heads(x: Tensor, place: 0 | 1 | 2): Tensor {
    checkInput(this, x);
    const { embedDim, numHeads, numKvHeads, kvWidth, inProjWeight, inProjBias } = this;
    const features = [embedDim, this.kdim, this.vdim][place] as number;
    if (x.rank !== 3 || x.shape[2] !== features) {
      throw new ShapeError(
        `${this}: ${["query", "key", "value"][place]} must be [batch, positions, ${features}], got ${shapeText(x)}.`,
      );
    }
    const [batch, positions] = x.shape as [number, number, number];
    const start = place === 0 ? 0 : embedDim + (place - 1) * kvWidth;
    const rows: [number, number] = [start, start + (place === 0 ? embedDim : kvWidth)];
    const own = [this.qProjWeight, this.kProjWeight, this.vProjWeight][place] as Tensor | null;
    const weight = own ?? slice(inProjWeight as Tensor, rows);
    const y = linear(x, weight, inProjBias === null ? undefined : slice(inProjBias, rows));
    const heads = place === 0 ? numHeads : numKvHeads;
    return permute(reshape(y, [batch, positions, heads, embedDim / numHeads]), [0, 2, 1, 3]);
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

function checkDivides(name: string, value: number, by: string, divisor: number): void {
  if (value % divisor === 0) return;
  throw new OptionError(
    `MultiheadAttention: ${name} must be a multiple of ${by}, got ${value} and ${divisor}.`,
  );
}

import {
  checkChoice,
  checkInteger,
  type DType,
  type Flat,
  type Generator,
  gelu,
  mul,
  relu,
  silu,
  type Tensor,
} from "@nf/core";
import { checkLayerOptions } from "../check.ts";
import type { Module } from "../module/module.ts";
import type { Slot } from "../module/slots.ts";
import { Dropout } from "./dropout.ts";
import { Layer } from "./layer.ts";
import { Linear } from "./linear.ts";
import { underscored } from "./names.ts";

/** Nonlinearities of {@link FeedForward} and of experts. */
export type FeedForwardActivation = "relu" | "gelu" | "silu";

const ACTIVATIONS = { relu, gelu, silu } as const;

/** @internal A nonlinearity by its name, refused where there is none. */
export function activationOf(layer: string, name: FeedForwardActivation): <K>(x: Tensor<K>) => Tensor<K> {
  checkChoice(layer, "activation", name, ["relu", "gelu", "silu"]);
  return (x) => ACTIVATIONS[name](x);
}

/** Options of {@link SwiGLU}. */
export interface SwiGLUOptions {
  /** Whether the maps add learned biases; default false. */
  readonly bias?: boolean;
  /** Where the initial values come from; default the generator that `manualSeed` seeds. */
  readonly generator?: Generator;
  /** dtype of the parameters; default `f32`. */
  readonly dtype?: DType;
}

/** Options of {@link FeedForward}. */
export interface FeedForwardOptions {
  /** Default `relu`. */
  readonly activation?: FeedForwardActivation;
  /** Probability of an element between the maps to be dropped in training; default 0. */
  readonly dropout?: number;
  /** Whether the maps add learned biases; default true. */
  readonly bias?: boolean;
  /** Where the initial values and the dropout come from; default the generator that `manualSeed` seeds. */
  readonly generator?: Generator;
  /** dtype of the parameters; default `f32`. */
  readonly dtype?: DType;
}

/** linear2(dropout(activation(linear1(x)))), the same at each position: `[…, dModel]` to the same. The feed-forward of a transformer. */
export class FeedForward<const F extends number = number> extends Layer<Flat<F>, Flat<F>> {
  readonly activation: FeedForwardActivation;
  readonly linear1: Linear<F, number>;
  readonly dropout: Dropout;
  readonly linear2: Linear<number, F>;

  constructor(dModel: F, dimFeedforward: number, options: FeedForwardOptions = {}) {
    super();
    checkLayerOptions("FeedForward", options, ["activation", "dropout", "bias", "generator", "dtype"]);
    checkInteger("FeedForward", "dModel", dModel, 1);
    checkInteger("FeedForward", "dimFeedforward", dimFeedforward, 1);
    const { activation = "relu", dropout = 0, ...linear } = options;
    activationOf("FeedForward", activation);
    this.activation = activation;
    this.linear1 = new Linear(dModel, dimFeedforward, linear);
    this.dropout = new Dropout(
      dropout,
      linear.generator === undefined ? {} : { generator: linear.generator },
    );
    this.linear2 = new Linear(dimFeedforward, dModel, linear);
  }

  override forward(input: Tensor<Flat<F>>): Tensor<Flat<F>> {
    const inner = activationOf("FeedForward", this.activation)(this.linear1.forward(input));
    return this.linear2.forward(this.dropout.forward(inner));
  }

  protected override describe(): string {
    const { linear1, activation } = this;
    const options = activation === "relu" ? "" : `, { activation: "${activation}" }`;
    return `${linear1.inFeatures}, ${linear1.outFeatures}${options}`;
  }
}

/**
 * down(silu(gate(x)) * up(x)), the same at each position: `[…, dModel]` to the same. The feed-forward of Llama; names in a state dict are those of its
 * checkpoints (`gate_proj.weight`, `up_proj.weight`, `down_proj.weight`). Shazeer 2020, arXiv:2002.05202.
 */
export class SwiGLU<const F extends number = number> extends Layer<Flat<F>, Flat<F>> {
  readonly gateProj: Linear<F, number>;
  readonly upProj: Linear<F, number>;
  readonly downProj: Linear<number, F>;

  constructor(dModel: F, dimFeedforward: number, options: SwiGLUOptions = {}) {
    super();
    checkLayerOptions("SwiGLU", options, ["bias", "generator", "dtype"]);
    checkInteger("SwiGLU", "dModel", dModel, 1);
    checkInteger("SwiGLU", "dimFeedforward", dimFeedforward, 1);
    const linear = { ...options, bias: options.bias ?? false };
    this.gateProj = new Linear(dModel, dimFeedforward, linear);
    this.upProj = new Linear(dModel, dimFeedforward, linear);
    this.downProj = new Linear(dimFeedforward, dModel, linear);
  }

  /** @internal */
  override slots(): readonly Slot<Module>[] {
    return underscored(super.slots());
  }

  override forward(input: Tensor<Flat<F>>): Tensor<Flat<F>> {
    return this.downProj.forward(mul(silu(this.gateProj.forward(input)), this.upProj.forward(input)));
  }

  protected override describe(): string {
    return `${this.gateProj.inFeatures}, ${this.gateProj.outFeatures}`;
  }
}

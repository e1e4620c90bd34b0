import {
  add,
  cast,
  checkInteger,
  type DType,
  div,
  einsum,
  type Generator,
  matmul,
  maximum,
  mul,
  OptionError,
  oneHot,
  parameter,
  reshape,
  ShapeError,
  softmax,
  stopGradient,
  sum,
  type Tensor,
  topk,
  where,
  zeros,
} from "@nf/core";
import { composite } from "@nf/core/op";
import { checkInput, checkLayerOptions, shapeText } from "../check.ts";
import { into, uniform } from "../init.ts";
import { Module } from "../module/module.ts";
import { activationOf, type FeedForwardActivation } from "./feed-forward.ts";
import { Linear } from "./linear.ts";

/** Options of {@link MixtureOfExperts}. */
export interface MixtureOfExpertsOptions {
  /** Feed-forwards that the gate chooses from. */
  readonly count: number;
  /** How many of them each position gets; default 2, or 1 where there is only one. */
  readonly topK?: number;
  /** Default `relu`. */
  readonly activation?: FeedForwardActivation;
  /** Where the initial values come from; default the generator that `manualSeed` seeds. */
  readonly generator?: Generator;
  /** dtype of the parameters; default `f32`. */
  readonly dtype?: DType;
}

/** What a mixture of experts is told about a pass, and where it leaves its loss. */
export interface ExpertRouting {
  /** Which positions count, bool `[batch, positions]`: the load is balanced over these. */
  readonly mask?: Tensor | undefined;
  /** Load-balancing losses of the layers, scalars. */
  readonly balance: Tensor[];
}

/** How positions are given to experts. */
export interface ExpertGates {
  /** Weight of each expert, 0 for those not chosen; rows sum to 1: `[positions, count]`. */
  readonly weights: Tensor;
  /** Probability of each expert before the choice: `[positions, count]`. */
  readonly probabilities: Tensor;
  /** 1 where an expert is chosen: `[positions, count]`. */
  readonly chosen: Tensor;
}

const LAST = { axis: -1 } as const;

/**
 * A feed-forward that each position gets from `topK` of `count` experts, weighted by a gate. It is computed densely: all experts
 * for all positions, those not chosen with weight 0, so that shapes do not depend on the choice. Shazeer et al. 2017,
 * arXiv:1701.06538; the load-balancing loss is that of Fedus et al. 2021, arXiv:2101.03961.
 */
export class MixtureOfExperts extends Module {
  readonly count: number;
  readonly topK: number;
  /** From a position to a score of each expert; `[count, dModel]`, without bias. */
  readonly gate: Linear;
  /** First maps of the experts, `[count, dModel, dimFeedforward]`. */
  readonly up: Tensor;
  /** `[count, 1, dimFeedforward]`. */
  readonly upBias: Tensor;
  /** Second maps of the experts, `[count, dimFeedforward, dModel]`. */
  readonly down: Tensor;
  /** `[count, 1, dModel]`. */
  readonly downBias: Tensor;
  readonly activation: FeedForwardActivation;

  constructor(dModel: number, dimFeedforward: number, options: MixtureOfExpertsOptions) {
    super();
    if (options === undefined || options === null)
      throw new OptionError("MixtureOfExperts: count is missing. Pass it, as in { count: 4 }.");
    checkLayerOptions("MixtureOfExperts", options, ["count", "topK", "activation", "generator", "dtype"]);
    const {
      count,
      topK = Math.min(2, options.count),
      activation = "relu",
      generator,
      dtype = "f32",
    } = options;
    for (const [name, value] of Object.entries({ dModel, dimFeedforward, count }))
      checkInteger("MixtureOfExperts", name, value, 1);
    checkInteger("MixtureOfExperts", "topK", topK, 1, count);
    activationOf("MixtureOfExperts", activation);
    this.count = count;
    this.topK = topK;
    this.activation = activation;
    this.gate = new Linear(dModel, count, {
      bias: false,
      dtype,
      ...(generator !== undefined && { generator }),
    });
    const make = (...shape: number[]): Tensor => parameter(zeros(shape, { dtype }));
    this.up = make(count, dModel, dimFeedforward);
    this.upBias = make(count, 1, dimFeedforward);
    this.down = make(count, dimFeedforward, dModel);
    this.downBias = make(count, 1, dModel);
    this.resetParameters(generator);
  }

  /** Each expert starts as the two linear layers of a feed-forward do. */
  override resetParameters(generator?: Generator): void {
    const pairs = [
      [this.up, this.upBias],
      [this.down, this.downBias],
    ] as const;
    for (const [weight, bias] of pairs) {
      const high = 1 / Math.sqrt(weight.shape[1] as number);
      for (const one of [weight, bias]) into(one, uniform, { low: -high, high, generator });
    }
  }

  /** `[batch, positions, dModel]` to the same. */
  forward(x: Tensor, routing?: ExpertRouting): Tensor {
    checkInput(this, x);
    const [, dModel] = this.up.shape as readonly [number, number, number];
    if (x.rank !== 3 || x.shape[2] !== dModel)
      throw new ShapeError(`${this}: expected [batch, positions, ${dModel}], got ${shapeText(x)}.`);
    const rows = reshape(x, [-1, dModel]); //                              [n, dModel]
    const gates = this.route(rows);
    routing?.balance.push(this.balanceLoss(gates, routing.mask));
    const activation = activationOf("MixtureOfExperts", this.activation);
    const inner = activation(add(matmul(rows, this.up), this.upBias)); // [count, n, dimFeedforward]
    const outer = add(matmul(inner, this.down), this.downBias); //         [count, n, dModel]
    return reshape(einsum("nc,cnd->nd", gates.weights, outer), x.shape);
  }

  /** Chooses the experts of positions `[n, dModel]`. */
  route(rows: Tensor): ExpertGates {
    const scores = this.gate.forward(rows); //                             [n, count]
    const { indices } = topk(scores, { k: this.topK }); //                 [n, topK]
    const chosen = cast(sum(oneHot(indices, this.count), { axis: 1 }), rows.dtype); // [n, count]
    const weights = softmax(where(cast(chosen, "bool"), scores, -Infinity), LAST);
    return { weights, probabilities: softmax(scores, LAST), chosen };
  }

  /**
   * count · Σ over experts of (share of the choices that fell on it · its mean probability): 1 where the load is even, up to
   * `count / topK` where it is not. The shares count as constants.
   */
  balanceLoss({ probabilities, chosen }: ExpertGates, mask?: Tensor): Tensor {
    return composite([probabilities, chosen], () => this.balance(probabilities, chosen, mask));
  }

  private balance(probabilities: Tensor, chosen: Tensor, mask: Tensor | undefined): Tensor {
    const n = probabilities.shape[0] as number;
    const counts = mask === undefined ? undefined : reshape(cast(mask, probabilities.dtype), [n, 1]);
    const positions = counts === undefined ? n : maximum(sum(counts), 1);
    const average = (x: Tensor): Tensor =>
      div(sum(counts === undefined ? x : mul(x, counts), { axis: 0 }), positions); // [count]
    const load = div(average(stopGradient(chosen)), this.topK);
    return mul(sum(mul(load, average(probabilities))), this.count);
  }

  protected override describe(): string {
    const [, dModel, dimFeedforward] = this.up.shape;
    return `${dModel}, ${dimFeedforward}, { count: ${this.count}, topK: ${this.topK} }`;
  }
}

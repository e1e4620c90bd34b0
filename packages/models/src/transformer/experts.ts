import {
  add,
  cast,
  div,
  einsum,
  type Generator,
  matmul,
  maximum,
  mul,
  oneHot,
  parameter,
  reshape,
  softmax,
  stopGradient,
  sum,
  type Tensor,
  topk,
  where,
  zeros,
} from "@nf/core";
import { GELU, init, Linear, Module, ReLU } from "@nf/nn";
import type { TransformerConfig, TransformerExperts } from "./config.ts";

/** What a mixture of experts is told about a pass, and where it leaves its loss. */
export interface ExpertRouting {
  /** Which positions count, bool `[batch, positions]`: the load is balanced over these. */
  readonly mask: Tensor | undefined;
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
  readonly activation: ReLU | GELU;

  constructor(
    config: Pick<TransformerConfig, "dModel" | "dimFeedforward" | "activation"> & {
      readonly experts: Required<TransformerExperts>;
    },
    options: { readonly generator?: Generator } = {},
  ) {
    super();
    const { dModel, dimFeedforward } = config;
    const { count, topK } = config.experts;
    this.count = count;
    this.topK = topK;
    this.gate = new Linear(dModel, count, { ...options, bias: false });
    this.up = parameter(zeros([count, dModel, dimFeedforward]));
    this.upBias = parameter(zeros([count, 1, dimFeedforward]));
    this.down = parameter(zeros([count, dimFeedforward, dModel]));
    this.downBias = parameter(zeros([count, 1, dModel]));
    this.activation = config.activation === "relu" ? new ReLU() : new GELU();
    this.resetParameters(options.generator);
  }

  /** Each expert starts as the two linear layers of a feed-forward do. */
  override resetParameters(generator?: Generator): void {
    const pairs = [
      [this.up, this.upBias],
      [this.down, this.downBias],
    ] as const;
    for (const [weight, bias] of pairs) {
      const high = 1 / Math.sqrt(weight.shape[1] as number);
      for (const one of [weight, bias]) init.into(one, init.uniform, { low: -high, high, generator });
    }
  }

  /** `[batch, positions, dModel]` to the same. */
  forward(x: Tensor, routing?: ExpertRouting): Tensor {
    const rows = reshape(x, [-1, x.shape[2] as number]); //                [n, dModel]
    const gates = this.route(rows);
    routing?.balance.push(this.balanceLoss(gates, routing.mask));
    const inner = this.activation.forward(add(matmul(rows, this.up), this.upBias)); // [count, n, dimFeedforward]
    const outer = add(matmul(inner, this.down), this.downBias); //         [count, n, dModel]
    return reshape(einsum("nc,cnd->nd", gates.weights, outer), x.shape);
  }

  /** Chooses the experts of positions `[n, dModel]`. */
  route(rows: Tensor): ExpertGates {
    const scores = this.gate.forward(rows); //                             [n, count]
    const { indices } = topk(scores, { k: this.topK }); //                 [n, topK]
    const chosen = cast(sum(oneHot(indices, this.count), { axis: 1 }), "f32"); // [n, count]
    const weights = softmax(where(cast(chosen, "bool"), scores, -Infinity), LAST);
    return { weights, probabilities: softmax(scores, LAST), chosen };
  }

  /**
   * count · Σ over experts of (share of the choices that fell on it · its mean probability): 1 where the load is even, up to
   * `count / topK` where it is not. The shares count as constants.
   */
  balanceLoss({ probabilities, chosen }: ExpertGates, mask?: Tensor): Tensor {
    const n = probabilities.shape[0] as number;
    const counts = mask === undefined ? undefined : reshape(cast(mask, "f32"), [n, 1]);
    const positions = counts === undefined ? n : maximum(sum(counts), 1);
    const average = (x: Tensor): Tensor =>
      div(sum(counts === undefined ? x : mul(x, counts), { axis: 0 }), positions); // [count]
    const load = div(average(stopGradient(chosen)), this.topK);
    return mul(sum(mul(load, average(probabilities))), this.count);
  }
}

import type { ValueType } from "../autograd/tape.ts";
import { gradientsEnabled } from "../autograd/tape.ts";
import { broadcastShapes, sameShape, showShape } from "../backend/geometry.ts";
import type { Shape } from "../backend/view.ts";
import { DTYPES, isFloat, promoteTypes } from "../dtype.ts";
import { DTypeError, ShapeError } from "../errors.ts";
import type { Device } from "../runtime/device.ts";
import type { Tensor } from "../tensor/tensor.ts";
import { apply, composite, together } from "./apply.ts";
import { add, div, equal, mul, sub } from "./binary.ts";
import { trilMask } from "./create.ts";
import { dropout } from "./dropout.ts";
import { runFused } from "./fused.ts";
import { matmul } from "./matmul.ts";
import type { Op } from "./op.ts";
import { checkFloat, checkNumber, checkOptions } from "./options.ts";
import { expandTo, filled } from "./programs.ts";
import { checkGenerator, type Generator } from "./random.ts";
import { max, sum } from "./reduce.ts";
import { castTo, where } from "./select.ts";
import { reshape, transpose } from "./shape.ts";
import { exp } from "./unary.ts";
import { detach } from "./views.ts";

/** Options of {@link scaledDotProductAttention}. */
export interface AttentionOptions {
  /**
   * Which keys a query may attend to (bool), or what is added to the scores (float). Broadcasts to `[batch, heads,
   * queries, keys]`.
   */
  readonly mask?: Tensor;
  /** Whether a query attends to no later key; the last query meets the last key. Default false. */
  readonly causal?: boolean;
  /** Factor of the scores; default 1 / √headDim. */
  readonly scale?: number;
  /** Probability that a weight is dropped; default 0. */
  readonly dropout?: number;
  /** Source of randomness of the dropout; default the one `manualSeed` seeds. */
  readonly generator?: Generator;
}

interface AttentionAttributes {
  readonly causal: boolean;
  readonly mask: boolean;
  readonly scale: number;
}

/** Queries, keys and values as they meet in products, in the dtype that they are computed in. */
interface Folded {
  /** `[batch, kvHeads, heads / kvHeads * queries, headDim]`: the heads that share keys are rows of one matrix. */
  readonly q: Tensor;
  readonly k: Tensor;
  readonly v: Tensor;
}

const LAST = { axis: -1, keepDims: true } as const;

/** Inputs q, k, v, then the additive mask where present; outputs out and, fused, the log-sum-exp of each row. */
const ATTENTION: Op<AttentionAttributes> = {
  name: "attention",
  forward(inputs, attributes, device) {
    const [q, k, v, mask] = inputs as readonly [Tensor, Tensor, Tensor, Tensor | undefined];
    // The kernel's backward has no gradient for the mask, and one headDim.
    if (mask?.requiresGrad === true && gradientsEnabled()) return undefined;
    if (k.shape[3] !== v.shape[3]) return undefined;
    const { shape, dtype } = q;
    const rows: ValueType = { shape: shape.slice(0, 3), dtype: DTYPES[dtype].compute };
    return fused("forward", inputs, attributes, [{ shape, dtype }, rows], device);
  },
  decompose: ([q, k, v, mask], attributes) => [
    decomposed(q as Tensor, k as Tensor, v as Tensor, mask, attributes, (weights) => weights),
  ],
  gradient: {
    save: (inputs, outputs) => [...inputs, ...outputs],
    vjp({ saved, gradients: [g], attributes, createGraph }) {
      const inputs = [g as Tensor, ...saved];
      return createGraph ? gradientOf(inputs, attributes) : apply(ATTENTION_GRAD, inputs, attributes);
    },
  },
};

/** Inputs gradient of out, q, k, v, (mask,) out, log-sum-exp; outputs gradients of q, k, v. */
const ATTENTION_GRAD: Op<AttentionAttributes> = {
  name: "attentionGrad",
  forward: (inputs, attributes, device) => fused("backward", inputs, attributes, inputs.slice(1, 4), device),
  decompose: gradientOf,
};

function fused(
  pass: "forward" | "backward",
  inputs: readonly Tensor[],
  { causal, mask, scale }: AttentionAttributes,
  types: readonly ValueType[],
  device: Device,
): readonly Tensor[] | undefined {
  const attributes = { pass, causal, mask };
  const outputs = types.map(({ shape, dtype }) => ({ shape, dtype }));
  return runFused(device, "attention", { kernel: "attention", attributes }, inputs, outputs, [scale]);
}

function folded(q: Tensor, k: Tensor, v: Tensor): Folded {
  const compute = DTYPES[q.dtype].compute;
  return { q: foldHeads(castTo(q, compute), k), k: castTo(k, compute), v: castTo(v, compute) };
}

/** `[batch, heads, queries, size]` with the heads that share keys as rows of one matrix. */
function foldHeads(x: Tensor, k: Tensor): Tensor {
  const [batch, heads, queries, size] = x.shape as [number, number, number, number];
  const kvHeads = k.shape[1] as number;
  return heads === kvHeads ? x : reshape(x, [batch, kvHeads, (heads / kvHeads) * queries, size]);
}

/**
 * The weights that each query gives the keys, `[batch, heads, queries, keys]`: a softmax whose rows are zeros where
 * there is nothing to attend to.
 */
function weightsOf(
  shape: Shape,
  { q, k }: Folded,
  mask: Tensor | undefined,
  { causal, scale }: AttentionAttributes,
): Tensor {
  const [batch, heads, queries] = shape as [number, number, number];
  const keys = k.shape[2] as number;
  const plain = mul(reshape(matmul(q, transpose(k)), [batch, heads, queries, keys]), scale);
  const masked = mask === undefined ? plain : add(plain, castTo(mask, plain.dtype));
  const scores = causal ? where(causalMask(plain, queries, keys), masked, -Infinity) : masked;
  if (keys === 0) return scores;
  // The shift is a constant: any value gives the same weights, so it needs no gradient.
  const top = max(detach(scores), LAST);
  const powers = exp(sub(scores, where(equal(top, -Infinity), 0, top)));
  const total = sum(powers, LAST);
  return div(powers, where(equal(total, 0), 1, total));
}

/** Query i may attend to key j where j - i is at most keys - queries. */
function causalMask({ backend }: Tensor, queries: number, keys: number): Tensor {
  return trilMask(queries, keys, keys - queries, { backend });
}

function decomposed(
  q: Tensor,
  k: Tensor,
  v: Tensor,
  mask: Tensor | undefined,
  attributes: AttentionAttributes,
  drop: (weights: Tensor) => Tensor,
): Tensor {
  const parts = folded(q, k, v);
  const weights = drop(weightsOf(q.shape, parts, mask, attributes));
  const out = matmul(foldHeads(weights, k), parts.v);
  return castTo(reshape(out, [...q.shape.slice(0, 3), v.shape[3] as number]), q.dtype);
}

/**
 * With weights P: gradient of v is Pᵀ g; of the scores S = P (g vᵀ - Σ P (g vᵀ)), so that of q is scale S k and of k
 * scale Sᵀ q. The weights are computed anew from q and k.
 */
function gradientOf(inputs: readonly Tensor[], attributes: AttentionAttributes): readonly Tensor[] {
  const [g, q, k, v, ...rest] = inputs as readonly [Tensor, Tensor, Tensor, Tensor, ...Tensor[]];
  const parts = folded(q, k, v);
  const mask = attributes.mask ? rest[0] : undefined;
  const weights = weightsOf(q.shape, parts, mask, attributes);
  const gradient = foldHeads(castTo(g, weights.dtype), k);
  const p = foldHeads(weights, k);
  const arriving = matmul(gradient, transpose(parts.v));
  const scores = mul(mul(p, sub(arriving, sum(mul(p, arriving), LAST))), attributes.scale);
  return [
    castTo(reshape(matmul(scores, parts.k), q.shape), q.dtype),
    castTo(matmul(transpose(scores), parts.q), k.dtype),
    castTo(matmul(transpose(p), gradient), v.dtype),
  ];
}

function checkShapes(op: string, q: Tensor, k: Tensor, v: Tensor): void {
  for (const [name, one] of Object.entries({ q, k, v })) {
    checkFloat(op, one);
    if (one.rank !== 4) {
      throw new ShapeError(
        `${op}: ${name} must be [batch, heads, positions, headDim], got ${showShape(one.shape)}. Add dimensions with unsqueeze.`,
      );
    }
  }
  const [batch, heads, , headDim] = q.shape as [number, number, number, number];
  const [, kvHeads, keys] = k.shape as [number, number, number];
  const fits =
    k.shape[0] === batch &&
    k.shape[3] === headDim &&
    sameShape(v.shape.slice(0, 3), [batch, kvHeads, keys]) &&
    (kvHeads === heads || (kvHeads > 0 && heads % kvHeads === 0));
  if (!fits) {
    throw new ShapeError(
      `${op}: q ${showShape(q.shape)}, k ${showShape(k.shape)} and v ${showShape(v.shape)} do not fit: batch must be equal, headDim ` +
        "of q and k, heads and positions of k and v, and the heads of q a multiple of those of k.",
    );
  }
}

/** A mask as what is added to the scores, expanded to them. */
function additiveMask(op: string, mask: Tensor, q: Tensor, k: Tensor): Tensor {
  const target = [...q.shape.slice(0, 3), k.shape[2] as number];
  const fits = mask.rank <= 4 && sameShape(broadcastShapes(op, mask.shape, target), target);
  if (!fits) {
    throw new ShapeError(
      `${op}: the mask ${showShape(mask.shape)} does not broadcast to [batch, heads, queries, keys], here ${showShape(target)}.`,
    );
  }
  if (mask.dtype !== "bool" && !isFloat(mask.dtype)) {
    throw new DTypeError(
      `${op}: the mask must be bool (true: may attend) or a float that is added to the scores, got ${mask.dtype}.`,
    );
  }
  const zero = filled(q.device, [], q.dtype, 0);
  return expandTo(mask.dtype === "bool" ? where(mask, zero, -Infinity) : castTo(mask, q.dtype), target);
}

/**
 * softmax(scale q kᵀ + mask) v: q `[batch, heads, queries, headDim]`, k and v `[batch, kvHeads, keys, headDim]`, result
 * `[batch, heads, queries, headDim]`. With fewer kvHeads than heads, as many neighbouring heads of q share one of k and
 * v as divide. A query that may attend to nothing gets zeros and gives none a gradient. Dropout goes without the
 * fused kernel. Vaswani et al. 2017, arXiv:1706.03762.
 */
export function scaledDotProductAttention(
  q: Tensor,
  k: Tensor,
  v: Tensor,
  options: AttentionOptions = {},
): Tensor {
  const op = "scaledDotProductAttention";
  checkOptions(op, options, ["mask", "causal", "scale", "dropout", "generator"]);
  checkShapes(op, q, k, v);
  const { mask, causal = false, dropout: p = 0, generator } = options;
  const scale = options.scale ?? 1 / Math.sqrt(Math.max(1, q.shape[3] as number));
  checkNumber(op, "scale", scale, -Number.MAX_VALUE, Number.MAX_VALUE);
  checkNumber(op, "dropout", p, 0, 1);
  if (generator !== undefined) checkGenerator(op, generator);
  const inputs = together(op, mask === undefined ? [q, k, v] : [q, k, v, mask]);
  return composite(inputs, () => {
    const dtype = [q, k, v].map((one) => one.dtype).reduce((a, b) => promoteTypes(a, b, op));
    const operands = [q, k, v].map((one) => castTo(one, dtype)) as [Tensor, Tensor, Tensor];
    const added = mask === undefined ? undefined : additiveMask(op, mask, operands[0], k);
    const attributes = { causal, mask: mask !== undefined, scale };
    if (p > 0) {
      const drop = (weights: Tensor): Tensor => dropout(weights, { p, ...(generator && { generator }) });
      return decomposed(...operands, added, attributes, drop);
    }
    const all = added === undefined ? operands : [...operands, added];
    return apply(ATTENTION, all, attributes)[0] as Tensor;
  });
}

import type { Tensor } from "@nf/core";
import * as nf from "@nf/core";

/** What a step may choose from: an axis, a number. */
export interface Choice {
  readonly axis: number;
  readonly number: number;
}

/** One kind of step of a random graph. Whatever operands it is given, it makes something of them. */
export interface StepKind {
  readonly name: string;
  /** Whether its derivative has no jumps: at a jump two roundings of one value have different gradients. */
  readonly smooth: boolean;
  readonly run: (a: Tensor, b: Tensor, choice: Choice) => Tensor;
}

/** Elements beyond which a result is cut, so that graphs stay small. */
const MOST_ELEMENTS = 400;
/** Ranks beyond which leading axes are merged. */
const MOST_AXES = 4;

const axisOf = (x: Tensor, axis: number): number => axis % Math.max(1, x.rank);
/** At least one axis. */
const vector = (x: Tensor): Tensor => (x.rank === 0 ? nf.reshape(x, [1]) : x);
const compatible = (a: Tensor, b: Tensor): boolean => {
  for (let back = 1; back <= Math.min(a.rank, b.rank); back++) {
    const [m, n] = [a.shape.at(-back)!, b.shape.at(-back)!];
    if (m !== n && m !== 1 && n !== 1) return false;
  }
  return true;
};

/** The second operand as it fits the first: itself, transposed, or its mean. */
function fit(a: Tensor, b: Tensor): Tensor {
  if (compatible(a, b)) return b;
  if (b.rank >= 2) {
    const turned = nf.swapAxes(b, -1, -2);
    if (compatible(a, turned)) return turned;
  }
  return nf.mean(b);
}

/** A matrix: leading axes become rows. */
function matrix(x: Tensor): Tensor {
  if (x.rank === 2) return x;
  return nf.reshape(x, [-1, x.rank === 0 ? 1 : x.shape.at(-1)!]);
}

function product(a: Tensor, b: Tensor): Tensor {
  const [left, right] = [matrix(a), matrix(b)];
  const [, inner] = left.shape;
  const scale = 1 / Math.sqrt(inner!);
  if (right.shape[0] === inner) return nf.mul(nf.matmul(left, right), scale);
  if (right.shape[1] === inner) return nf.mul(nf.matmul(left, nf.transpose(right)), scale);
  return nf.mul(nf.matmul(left, nf.transpose(left)), scale);
}

/** Everything normalised along the last axis; a single element has nothing to be compared with. */
function normal(x: Tensor): Tensor {
  const own = vector(x);
  return own.shape.at(-1) === 1 ? nf.tanh(own) : nf.layerNorm(own, { eps: 0.1 });
}

function joined(a: Tensor, b: Tensor, axis: number): Tensor {
  const own = vector(a);
  return nf.concat([own, nf.mul(own, nf.tanh(nf.mean(b)))], axisOf(own, axis));
}

function sliced(x: Tensor, axis: number, number: number): Tensor {
  const own = vector(x);
  const along = axisOf(own, axis);
  const size = own.shape[along]!;
  const step = 1 + (number % 2);
  const start = number % size;
  return nf.slice(own, ...own.shape.map((_, one) => (one === along ? { start, step } : null)));
}

const unary = (name: string, run: (x: Tensor) => Tensor, smooth = true): StepKind => ({ name, smooth, run });

/** All kinds of step. Each keeps values of about 1 at about 1. */
export const STEPS: readonly StepKind[] = [
  { name: "add", smooth: true, run: (a, b) => nf.add(a, fit(a, b)) },
  { name: "sub", smooth: true, run: (a, b) => nf.sub(a, nf.mul(fit(a, b), 0.5)) },
  { name: "mul", smooth: true, run: (a, b) => nf.mul(a, nf.tanh(fit(a, b))) },
  { name: "div", smooth: true, run: (a, b) => nf.div(a, nf.add(nf.square(fit(a, b)), 1)) },
  { name: "maximum", smooth: false, run: (a, b) => nf.maximum(a, fit(a, b)) },
  { name: "where", smooth: false, run: (a) => nf.where(nf.greater(a, 0), a, nf.mul(a, 0.25)) },
  { name: "matmul", smooth: true, run: product },
  { name: "concat", smooth: true, run: (a, b, { axis }) => joined(a, b, axis) },
  unary("tanh", nf.tanh),
  unary("sigmoid", nf.sigmoid),
  unary("gelu", (x) => nf.gelu(x)),
  unary("softplus", (x) => nf.softplus(x)),
  unary("sin", nf.sin),
  unary("relu", nf.relu, false),
  unary("abs", nf.abs, false),
  unary("clip", (x) => nf.clip(x, { min: -1.5, max: 1.5 }), false),
  { name: "exp", smooth: true, run: (x) => nf.exp(nf.tanh(x)) },
  {
    name: "softmax",
    smooth: true,
    run: (x, _, { axis }) => nf.softmax(vector(x), { axis: axisOf(x, axis) }),
  },
  {
    name: "logSoftmax",
    smooth: true,
    run: (x, _, { axis }) => nf.tanh(nf.logSoftmax(vector(x), { axis: axisOf(x, axis) })),
  },
  { name: "layerNorm", smooth: true, run: normal },
  {
    name: "sum",
    smooth: true,
    run: (x, _, { axis }) => nf.tanh(nf.sum(vector(x), { axis: axisOf(x, axis) })),
  },
  {
    name: "mean",
    smooth: true,
    run: (x, _, { axis }) => nf.mean(vector(x), { axis: axisOf(x, axis), keepDims: true }),
  },
  { name: "max", smooth: false, run: (x, _, { axis }) => nf.max(vector(x), { axis: axisOf(x, axis) }) },
  {
    name: "cumsum",
    smooth: true,
    run: (x, _, { axis }) => nf.tanh(nf.cumsum(vector(x), { axis: axisOf(x, axis) })),
  },
  { name: "transpose", smooth: true, run: (x) => (x.rank < 2 ? nf.neg(x) : nf.swapAxes(x, 0, -1)) },
  { name: "flip", smooth: true, run: (x, _, { axis }) => nf.flip(vector(x), [axisOf(x, axis)]) },
  { name: "slice", smooth: true, run: (x, _, { axis, number }) => sliced(x, axis, number) },
  { name: "unsqueeze", smooth: true, run: (x, _, { axis }) => nf.unsqueeze(x, axisOf(x, axis)) },
  {
    name: "roll",
    smooth: true,
    run: (x, _, { axis, number }) => nf.roll(vector(x), { shifts: number, axis: axisOf(x, axis) }),
  },
];

/** A result that further steps can work with: not too large, not of too many axes. */
export function trimmed(x: Tensor): Tensor {
  let own = x;
  if (own.rank > MOST_AXES) own = nf.reshape(own, [-1, ...own.shape.slice(own.rank - MOST_AXES + 1)]);
  if (own.size <= MOST_ELEMENTS) return own;
  return nf.slice(nf.reshape(own, [-1]), { start: 0, end: MOST_ELEMENTS });
}

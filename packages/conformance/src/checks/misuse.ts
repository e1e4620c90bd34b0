import type { ErrorCode, Tensor } from "@nf/core";
import * as nf from "@nf/core";

/** What is called wrongly, the code of the error, and what its message must name. */
export type Misuse = readonly [what: string, call: () => unknown, code: ErrorCode, says: RegExp];

const zeros = (...shape: number[]): Tensor => nf.zeros(shape);
const ints = (...values: number[]): Tensor => nf.tensor(values, { dtype: "i32" });
const truth = (): Tensor => nf.tensor([true, false]);

/** Misuse of operations of every family. The tensors live on the backend in use. */
export const MISUSE: readonly Misuse[] = [
  [
    "add of shapes that do not broadcast",
    () => nf.add(zeros(2, 3), zeros(2)),
    "NF_SHAPE",
    /^add: .*\[2, 3\].*\[2\]/,
  ],
  [
    "where of shapes that do not broadcast",
    () => nf.where(nf.zeros([3], { dtype: "bool" }), zeros(2), 0),
    "NF_SHAPE",
    /^where: .*\[3\].*\[2\]/,
  ],
  [
    "matmul of inner sizes that differ",
    () => nf.matmul(zeros(2, 3), zeros(2, 3)),
    "NF_SHAPE",
    /^matmul: \[2, 3\] times \[2, 3\]/,
  ],
  [
    "matmul of batches that differ",
    () => nf.matmul(zeros(2, 2, 3), zeros(3, 3, 1)),
    "NF_SHAPE",
    /^matmul: .*\[2\].*\[3\]/,
  ],
  ["linear", () => nf.linear(zeros(2, 3), zeros(4, 2)), "NF_SHAPE", /^linear: .*\[2, 3\].*\[4, 2\]/],
  [
    "conv2d of a signal",
    () => nf.conv2d(zeros(1, 2, 8), zeros(2, 2, 3, 3)),
    "NF_SHAPE",
    /^conv2d: .*\[1, 2, 8\]/,
  ],
  [
    "conv2d of other channels",
    () => nf.conv2d(zeros(1, 3, 8, 8), zeros(2, 2, 3, 3)),
    "NF_SHAPE",
    /^conv2d: .*\[2, 2, 3, 3\].*\[1, 3, 8, 8\]/,
  ],
  [
    "maxPool2d of a window too large",
    () => nf.maxPool2d(zeros(1, 1, 2, 2), { kernelSize: 3 }),
    "NF_SHAPE",
    /^maxPool2d: .*\[3, 3\]/,
  ],
  [
    "reshape to another size",
    () => nf.reshape(zeros(2, 3), [4, 2]),
    "NF_SHAPE",
    /^reshape: \[2, 3\].*\[4, 2\]/,
  ],
  ["expand", () => nf.expand(zeros(2, 3), [2, 4]), "NF_SHAPE", /^expand: \[2, 3\].*\[2, 4\]/],
  [
    "concat of shapes that differ",
    () => nf.concat([zeros(2, 3), zeros(2, 4)]),
    "NF_SHAPE",
    /^concat: .*\[2, 4\].*\[2, 3\]/,
  ],
  [
    "gather of another rank",
    () => nf.gather(zeros(2, 3), 1, ints(0)),
    "NF_SHAPE",
    /^gather: .*\[1\].*\[2, 3\]/,
  ],
  ["embedding of a vector", () => nf.embedding(zeros(3), ints(0)), "NF_SHAPE", /^embedding: .*\[3\]/],
  [
    "crossEntropy of another batch",
    () => nf.crossEntropy(zeros(2, 3), ints(0, 1, 2)),
    "NF_SHAPE",
    /^crossEntropy: .*\[2, 3\].*\[3\]/,
  ],
  ["max of nothing", () => nf.max(zeros(0, 3), { axis: 0 }), "NF_SHAPE", /^max: .*\[0, 3\]/],
  ["argmax of nothing", () => nf.argmax(zeros(0)), "NF_SHAPE", /^argmax: .*\[0\]/],
  [
    "a gradient of another shape",
    () => nf.vjp((x) => nf.mul(x, 2), zeros(3))[1](zeros(2)),
    "NF_SHAPE",
    /\[2\].*\[3\]|\[3\].*\[2\]/,
  ],
  ["add of bool", () => nf.add(truth(), truth()), "NF_DTYPE", /^add: .*bool/],
  ["floor of integers", () => nf.floor(ints(1)), "NF_DTYPE", /^floor: .*i32/],
  ["i32 with u32", () => nf.add(ints(1), nf.tensor([1], { dtype: "u32" })), "NF_DTYPE", /i32.*u32/],
  ["bitwiseAnd of floats", () => nf.bitwiseAnd(zeros(1), ints(1)), "NF_DTYPE", /^bitwiseAnd: .*f32/],
  ["softmax of integers", () => nf.softmax(ints(1)), "NF_DTYPE", /^softmax: .*i32/],
  ["gather by floats", () => nf.gather(zeros(3), 0, zeros(1)), "NF_DTYPE", /^gather: .*f32/],
  ["requiresGrad of integers", () => nf.zeros([1], { dtype: "i32", requiresGrad: true }), "NF_DTYPE", /i32/],
  ["a fraction as i32", () => nf.tensor([2.5], { dtype: "i32" }), "NF_DTYPE", /2\.5.*i32/],
  ["sum over an axis that is not there", () => nf.sum(zeros(2, 3), { axis: 2 }), "NF_INDEX", /^sum: axis 2/],
  [
    "softmax over an axis that is not there",
    () => nf.softmax(zeros(2), { axis: 1 }),
    "NF_INDEX",
    /^softmax: axis 1/,
  ],
  ["slice behind the end", () => nf.slice(zeros(2, 3), null, 3), "NF_INDEX", /^slice: .*3.*dimension 1/],
  [
    "gather of an index that is known to be too large",
    () => nf.gather(zeros(3), 0, ints(0, 3)),
    "NF_INDEX",
    /^gather: index 3.*size 3/,
  ],
  ["oneHot of a class that is not there", () => nf.oneHot(ints(0, 5), 5), "NF_INDEX", /^oneHot: index 5/],
  [
    "sum with an unknown option",
    () => nf.sum(zeros(2), { dim: 0 } as never),
    "NF_OPTION",
    /^sum: unknown option "dim"/,
  ],
  [
    "conv2d with stride 0",
    () => nf.conv2d(zeros(1, 1, 4, 4), zeros(1, 1, 1, 1), undefined, { stride: 0 }),
    "NF_OPTION",
    /^conv2d: stride/,
  ],
  ["dropout with p above 1", () => nf.dropout(zeros(1), { p: 1.5 }), "NF_OPTION", /^dropout: p/],
  [
    "an unknown reduction",
    () => nf.mseLoss(zeros(1), zeros(1), { reduction: "avg" as never }),
    "NF_OPTION",
    /^mseLoss: reduction/,
  ],
  ["a size below 0", () => zeros(-1), "NF_OPTION", /^zeros: .*-1/],
  ["backward of a constant", () => zeros(1).backward(), "NF_GRADIENT", /requires? ?[Gg]rad|gradient/],
  [
    "grad of more than one value",
    () => nf.grad((x: Tensor) => nf.mul(x, 2))(zeros(3)),
    "NF_GRADIENT",
    /\[3\]/,
  ],
  [
    "assign of another shape",
    () => nf.assign(zeros(2), zeros(3)),
    "NF_SHAPE",
    /assign: .*\[2\].*\[3\]|assign: .*\[3\].*\[2\]/,
  ],
  [
    "a tensor that was disposed of",
    () => {
      const x = zeros(2);
      x.dispose();
      return nf.add(x, 1);
    },
    "NF_DEAD_TENSOR",
    /^add: .*\[2\]/,
  ],
  ["a scope that returns a promise", () => nf.scope(async () => zeros(1)), "NF_SCOPE", /promise/],
];

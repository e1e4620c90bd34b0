import { beforeAll, describe } from "vitest";
import * as core from "../../src/index.ts";
import { setUp } from "./helper.ts";
import { ints, refuses, zeros } from "./refuses.ts";

beforeAll(setUp);

describe("shapes", () => {
  refuses([
    [
      "add",
      () => core.add(zeros(2, 3), zeros(2)),
      "NF_SHAPE",
      /^add: shapes \[2, 3\] and \[2\] .* 3 meets 2 in dimension -1/,
    ],
    [
      "where",
      () => core.where(core.zeros([3], { dtype: "bool" }), zeros(2), 0),
      "NF_SHAPE",
      /^where: .*\[3\] and \[2\]/,
    ],
    [
      "matmul",
      () => core.matmul(zeros(2, 3), zeros(2, 3)),
      "NF_SHAPE",
      /^matmul: \[2, 3\] times \[2, 3\].*\(3\).*\(2\)/,
    ],
    [
      "matmul batches",
      () => core.matmul(zeros(2, 2, 3), zeros(3, 3, 1)),
      "NF_SHAPE",
      /^matmul: .*\[2\] and \[3\]/,
    ],
    ["matmul of a scalar", () => core.matmul(zeros(), zeros(2)), "NF_SHAPE", /^matmul: .*Use mul/],
    ["dot", () => core.dot(zeros(2), zeros(3)), "NF_SHAPE", /^(dot|mul): .*\[2\] and \[3\]/],
    [
      "linear",
      () => core.linear(zeros(2, 3), zeros(4, 2)),
      "NF_SHAPE",
      /^linear: \[2, 3\], \[4, 2\] do not fit/,
    ],
    [
      "conv2d of a signal",
      () => core.conv2d(zeros(1, 2, 8), zeros(2, 2, 3, 3)),
      "NF_SHAPE",
      /^conv2d: expected x \[batch, channels, height, width\], got \[1, 2, 8\]/,
    ],
    [
      "conv2d channels",
      () => core.conv2d(zeros(1, 3, 8, 8), zeros(2, 2, 3, 3)),
      "NF_SHAPE",
      /^conv2d: weight \[2, 2, 3, 3\] does not fit x \[1, 3, 8, 8\]/,
    ],
    [
      "conv2d kernel",
      () => core.conv2d(zeros(1, 1, 2, 2), zeros(1, 1, 3, 3)),
      "NF_SHAPE",
      /^conv2d: the kernel \[3, 3\].* larger than .*\[1, 1, 2, 2\]/,
    ],
    [
      "conv2d bias",
      () => core.conv2d(zeros(1, 1, 3, 3), zeros(2, 1, 3, 3), zeros(3)),
      "NF_SHAPE",
      /^conv2d: bias must be \[2\], got \[3\]/,
    ],
    [
      "maxPool2d window",
      () => core.maxPool2d(zeros(1, 1, 2, 2), { kernelSize: 3 }),
      "NF_SHAPE",
      /^maxPool2d: the window \[3, 3\] is larger/,
    ],
    [
      "reshape",
      () => zeros(2, 3).reshape([4, 2]),
      "NF_SHAPE",
      /^reshape: \[2, 3\] has 6 elements, \[4, 2\] has 8/,
    ],
    ["reshape with -1", () => zeros(2, 3).reshape([4, -1]), "NF_SHAPE", /^reshape: .*does not divide/],
    [
      "reshape with two -1",
      () => zeros(2, 3).reshape([-1, -1]),
      "NF_SHAPE",
      /^reshape: only one size may be -1/,
    ],
    [
      "permute",
      () => zeros(2, 3).permute([0, 0]),
      "NF_SHAPE",
      /^permute: .*each of 2 dimensions once, got \[0, 0\]/,
    ],
    ["transpose", () => zeros(2).transpose(), "NF_SHAPE", /^transpose: .*\[2\]\. Use permute/],
    ["squeeze", () => zeros(2, 1).squeeze(0), "NF_SHAPE", /^squeeze: dimension 0 of \[2, 1\] has size 2/],
    [
      "expand",
      () => zeros(2, 3).expand([2, 4]),
      "NF_SHAPE",
      /^expand: \[2, 3\] does not broadcast to \[2, 4\]/,
    ],
    ["expand to fewer", () => zeros(1, 3).expand([3]), "NF_SHAPE", /^expand: \[1, 3\]/],
    ["split", () => zeros(5).split([2, 2]), "NF_SHAPE", /^split: sizes \[2, 2\] do not add up to 5/],
    [
      "concat",
      () => core.concat([zeros(2, 3), zeros(2, 4)]),
      "NF_SHAPE",
      /^concat: tensor 1 has shape \[2, 4\], the first \[2, 3\]/,
    ],
    ["concat of nothing", () => core.concat([]), "NF_SHAPE", /^concat: needs at least one tensor/],
    [
      "stack",
      () => core.stack([zeros(2), zeros(3)]),
      "NF_SHAPE",
      /^stack: tensor 1 has shape \[3\], the first \[2\]/,
    ],
    [
      "gather",
      () => core.gather(zeros(2, 3), 1, ints(0)),
      "NF_SHAPE",
      /^gather: index \[1\] does not fit \[2, 3\]/,
    ],
    [
      "scatterAdd source",
      () => core.scatterAdd(zeros(3), 0, ints(0, 1), zeros(3, 1)),
      "NF_SHAPE",
      /^scatterAdd: .*\[3, 1\]/,
    ],
    [
      "scatter source",
      () => core.scatter(zeros(2, 3), 1, ints(0, 1).reshape([2, 1]), zeros(3)),
      "NF_SHAPE",
      /^scatter: source \[3\]/,
    ],
    [
      "indexAdd source",
      () => core.indexAdd(zeros(2, 3), 0, ints(0), zeros(1, 4)),
      "NF_SHAPE",
      /^indexAdd: .*\[1, 3\], got \[1\] and \[1, 4\]/,
    ],
    [
      "indexSelect",
      () => core.indexSelect(zeros(3), 0, zeros(1, 1).cast("i32")),
      "NF_SHAPE",
      /^indexSelect: .*vector, got \[1, 1\]/,
    ],
    ["embedding", () => core.embedding(zeros(3), ints(0)), "NF_SHAPE", /^embedding: the table .*\[3\]/],
    [
      "mseLoss",
      () => core.mseLoss(zeros(2, 1), zeros(2)),
      "NF_SHAPE",
      /^mseLoss: prediction \[2, 1\] and target \[2\]/,
    ],
    [
      "crossEntropy target",
      () => core.crossEntropy(zeros(2, 3), ints(0, 1, 2)),
      "NF_SHAPE",
      /^crossEntropy: .*\[2, 3\].*\[2\], got \[3\]/,
    ],
    [
      "crossEntropy weight",
      () => core.crossEntropy(zeros(2, 3), ints(0, 1), { weight: zeros(2) }),
      "NF_SHAPE",
      /^crossEntropy: weight must be \[3\], got \[2\]/,
    ],
    [
      "crossEntropy weight with probabilities",
      () => core.crossEntropy(zeros(2, 3), zeros(2, 3), { weight: zeros(2) }),
      "NF_SHAPE",
      /^crossEntropy: weight must be \[3\], got \[2\]/,
    ],
    ["max of nothing", () => zeros(0, 3).max({ axis: 0 }), "NF_SHAPE", /^max: .*\[0, 3\] has size 0/],
    ["argmin of nothing", () => zeros(0).argmin(), "NF_SHAPE", /^argmin: .*\[0\]/],
    [
      "tensor of ragged rows",
      () => core.tensor([[1, 2], [3]]),
      "NF_SHAPE",
      /^tensor: ragged nesting: an array of 1 at depth 1 where 2/,
    ],
    [
      "tensor of text",
      () => core.tensor(["a" as never]),
      "NF_SHAPE",
      /^tensor: expected a number or boolean at depth 1, got a/,
    ],
    [
      "fromData",
      () => core.fromData(new Float32Array(3), [2, 2]),
      "NF_SHAPE",
      /^fromData: 3 values do not fill the shape \[2, 2\] of 4/,
    ],
    [
      "too many elements",
      () => zeros(2 ** 16, 2 ** 15),
      "NF_SHAPE",
      /2147483648 elements; at most 2\^31 - 1/,
    ],
    [
      "too many elements by broadcasting",
      () => core.add(zeros(2 ** 16, 1), zeros(2 ** 16)),
      "NF_SHAPE",
      /^add: .*4294967296 elements/,
    ],
    ["item of many", () => zeros(2).itemSync(), "NF_SHAPE", /^item: .*\[2\]/],
  ]);
});

describe("axes and indices", () => {
  refuses([
    [
      "sum",
      () => zeros(2, 3).sum({ axis: 2 }),
      "NF_INDEX",
      /^sum: axis 2 is outside a tensor of 2 dimensions \(-2 to 1\)/,
    ],
    [
      "mean, negative",
      () => zeros(2).mean({ axis: -2 }),
      "NF_INDEX",
      /^mean: axis -2 .*1 dimension \(-1 to 0\)/,
    ],
    ["std", () => zeros(2).std({ axis: 1 }), "NF_INDEX", /^std: axis 1/],
    ["twice the same", () => zeros(2, 3).max({ axis: [0, -2] }), "NF_INDEX", /^max: axis 0 is named twice/],
    ["a fraction", () => zeros(2).sum({ axis: 0.5 }), "NF_INDEX", /^sum: axis 0.5/],
    ["softmax", () => zeros(2).softmax({ axis: 1 }), "NF_INDEX", /^softmax: axis 1/],
    ["concat", () => core.concat([zeros(2)], 1), "NF_INDEX", /^concat: axis 1/],
    ["unsqueeze", () => zeros(2).unsqueeze(3), "NF_INDEX", /^unsqueeze: axis 3 .*2 dimensions/],
    ["flatten", () => zeros(2, 3).flatten(1, 0), "NF_INDEX", /^flatten: start 1 lies behind end 0/],
    [
      "slice position",
      () => zeros(2, 3).slice(null, 3),
      "NF_INDEX",
      /^slice: position 3 is outside dimension 1 of size 3/,
    ],
    [
      "slice of too many dimensions",
      () => zeros(2).slice(0, 0),
      "NF_INDEX",
      /^slice: 2 indices for a tensor of shape \[2\]/,
    ],
    [
      "gather, known from the upload",
      () => core.gather(zeros(3), 0, ints(0, 3)),
      "NF_INDEX",
      /^gather: index 3 is out of range for size 3 \(0 to 2\)/,
    ],
    [
      "take, negative",
      () => core.take(zeros(3), ints(-1)),
      "NF_INDEX",
      /^take: index .*out of range for size 3/,
    ],
    [
      "embedding",
      () => core.embedding(zeros(4, 2), ints(4)),
      "NF_INDEX",
      /^embedding: index .*out of range for size 4/,
    ],
    ["oneHot", () => core.oneHot(ints(0, 5), 5), "NF_INDEX", /^oneHot: index 5/],
    ["scatterAdd", () => core.scatterAdd(zeros(2), 0, ints(2), zeros(1)), "NF_INDEX", /^scatterAdd: index 2/],
    [
      "crossEntropy",
      () => core.crossEntropy(zeros(1, 3), ints(3)),
      "NF_INDEX",
      /^crossEntropy: index .*out of range for size 3/,
    ],
    [
      "nllLoss",
      () => core.nllLoss(zeros(1, 3), ints(-1)),
      "NF_INDEX",
      /^nllLoss: index .*out of range for size 3/,
    ],
    [
      "gather, computed",
      () => core.gather(zeros(3), 0, core.add(ints(0, 3), 0)),
      "NF_INDEX",
      /^gather: .*out of range/,
    ],
    [
      "crossEntropy, computed",
      () => core.crossEntropy(zeros(1, 3), core.add(ints(3), 0)),
      "NF_INDEX",
      /^crossEntropy: .*out of range/,
    ],
    [
      "indexAdd, computed",
      () => core.indexAdd(zeros(3), 0, core.neg(ints(1)), zeros(1)),
      "NF_INDEX",
      /^indexAdd: .*out of range/,
    ],
  ]);
});

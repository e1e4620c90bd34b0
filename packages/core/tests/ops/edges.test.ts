import { beforeAll, describe, expect } from "vitest";
import * as core from "../../src/index.ts";
import { each, gives, INF, ints, NAN, of, type T } from "./corners.ts";
import { expectClose, setUp, valuesOf } from "./helper.ts";

/*
 * The corners that conventions decide: nothing, NaN, ties, the ends of the ranges, dtypes. Shapes and layouts in
 * general are in layouts.test.ts.
 */

beforeAll(setUp);

describe("nothing to reduce", () => {
  const empty = (): T => core.zeros([2, 0]);
  each({
    "sum is 0": () => gives(empty().sum({ axis: 1 }), 0, 0),
    "prod is 1": () => gives(empty().prod({ axis: 1 }), 1, 1),
    "any is false": () => gives(empty().any(), 0),
    "all is true": () => gives(empty().all(), 1),
    "countNonzero is 0": () => gives(empty().countNonzero(), 0),
    "mean is NaN": () => gives(empty().mean({ axis: 1 }), NAN, NAN),
    "var and std are NaN": () => {
      gives(empty().var({ axis: 1 }), NAN, NAN);
      gives(empty().std(), NAN);
    },
    "logSumExp is -Infinity": () => gives(empty().logSumExp({ axis: 1 }), -INF, -INF),
    "over no axes each element is its own reduction": () => {
      gives(of(3, -4).sum({ axis: [] }), 3, -4);
      gives(of(3, -4).max({ axis: [] }), 3, -4);
      gives(of(3, -4).argmax({ axis: [] }), 0, 0);
      gives(of(3, -4).var({ axis: [], ddof: 0 }), 0, 0);
    },
    "an empty result needs nothing to choose from": () => {
      for (const name of ["max", "min", "argmax", "argmin"] as const)
        expect(core.zeros([0, 3])[name]({ axis: 1 }).shape).toEqual([0]);
    },
    "a product over nothing is 0": () => {
      const result = core.matmul(core.zeros([2, 0]), core.zeros([0, 3]));
      expect(result.shape).toEqual([2, 3]);
      expect(valuesOf(result)).toEqual([0, 0, 0, 0, 0, 0]);
    },
    "losses over nothing: the mean is NaN, the sum 0": () => {
      const nothing = core.zeros([0]);
      gives(core.mseLoss(nothing, nothing), NAN);
      gives(core.mseLoss(nothing, nothing, { reduction: "sum" }), 0);
      const target = core.zeros([0], { dtype: "i32" });
      gives(core.crossEntropy(core.zeros([0, 3]), target), NAN);
      gives(core.crossEntropy(core.zeros([0, 3]), target, { reduction: "sum" }), 0);
    },
    "empty batches pass through windows": () => {
      expect(core.conv2d(core.zeros([0, 2, 4, 4]), core.zeros([3, 2, 3, 3])).shape).toEqual([0, 3, 2, 2]);
      expect(core.maxPool2d(core.zeros([0, 2, 4, 4]), { kernelSize: 2 }).shape).toEqual([0, 2, 2, 2]);
      expect(core.avgPool2d(core.zeros([2, 0, 4, 4]), { kernelSize: 2 }).shape).toEqual([2, 0, 2, 2]);
      expect(core.softmax(core.zeros([2, 0])).shape).toEqual([2, 0]);
    },
    "gradients of empty inputs are empty": () => {
      const x = core.zeros([0, 3], { requiresGrad: true });
      core.softmax(core.mul(x, 2)).sum().backward();
      expect(x.grad?.shape).toEqual([0, 3]);
      const w = core.ones([3, 2], { requiresGrad: true });
      core
        .matmul(core.zeros([0, 3]), w)
        .sum()
        .backward();
      expect(valuesOf(w.grad!)).toEqual([0, 0, 0, 0, 0, 0]);
    },
  });
});

describe("0-d and size 1", () => {
  each({
    "scalars go through every family": () => {
      const x = core.tensor(2);
      expect(x.shape).toEqual([]);
      for (const result of [
        x.sum(),
        x.mean(),
        x.max(),
        x.prod(),
        x.softmax(),
        x.logSoftmax(),
        x.add(x),
        x.neg(),
        x.clone(),
      ])
        expect(result.shape).toEqual([]);
      gives(x.softmax(), 1);
      gives(x.logSoftmax(), 0);
      gives(x.argmax(), 0);
      gives(x.flatten(), 2);
      gives(x.reshape([1, 1]), 2);
      gives(x.expand([2]), 2, 2);
      expect(x.itemSync()).toBe(2);
    },
    "one element has no spread": () => {
      gives(of(5).var(), NAN);
      gives(of(5).var({ ddof: 0 }), 0);
      gives(of(5).std({ ddof: 0 }), 0);
    },
    "one class is certain": () => {
      const logits = core.tensor([[7]], { requiresGrad: true });
      const loss = core.crossEntropy(logits, ints(0));
      gives(loss, 0);
      loss.backward();
      gives(logits.grad!, 0);
    },
    "a window of one and an image of one": () => {
      const image = core.tensor([[[[3]]]]);
      gives(core.conv2d(image, core.tensor([[[[2]]]]), of(1)), 7);
      gives(core.maxPool2d(image, { kernelSize: 1 }), 3);
      gives(core.avgPool2d(image, { kernelSize: 1 }), 3);
    },
  });
});

describe("NaN propagates", () => {
  each({
    "through the piecewise functions": () => {
      const functions = [
        core.relu,
        core.relu6,
        core.leakyRelu,
        core.elu,
        core.selu,
        core.hardSwish,
        core.hardSigmoid,
      ];
      for (const fn of [
        ...functions,
        core.softplus,
        core.gelu,
        core.silu,
        core.mish,
        core.abs,
        core.floor,
        core.round,
      ])
        gives(fn(of(NAN)), NAN);
      for (const bounds of [{ min: 0 }, { max: 0 }, { min: 0, max: 1 }])
        gives(core.clip(of(NAN), bounds), NAN);
    },
    "through maximum and minimum, from either side": () => {
      gives(core.maximum(of(NAN, 1), of(1, NAN)), NAN, NAN);
      gives(core.minimum(of(NAN, 1), 5), NAN, 1);
    },
    "through reductions, wherever it stands": () => {
      for (const place of [0, 50, 99]) {
        const x = core.tensor(Array.from({ length: 100 }, (_, i) => (i === place ? NAN : i)));
        for (const result of [x.max(), x.min(), x.sum(), x.mean(), x.prod(), x.logSumExp(), x.std()])
          gives(result, NAN);
        gives(x.argmax(), place);
        gives(x.argmin(), place);
        gives(x.any(), 1);
      }
    },
    "through max pooling, for its windows only": () => {
      const x = core.tensor([[[1, NAN, 3, 4, -INF, -INF]]]);
      gives(core.maxPool1d(x, { kernelSize: 2 }), NAN, 4, -INF);
      gives(core.avgPool1d(x, { kernelSize: 2 }), NAN, 3.5, -INF);
    },
    "through products: 0 times NaN is not skipped": () => {
      const left = core.tensor([
        [0, 0],
        [1, 0],
      ]);
      gives(
        core.matmul(
          left,
          core.tensor([
            [1, 2],
            [NAN, INF],
          ]),
        ),
        NAN,
        NAN,
        NAN,
        NAN,
      );
      gives(core.matmul(core.tensor([[NAN, 0]]), core.zeros([2, 1])), NAN);
      gives(core.conv1d(core.tensor([[[NAN, 1, 1]]]), core.zeros([1, 1, 2])), NAN, 0);
    },
    "but not through where and maskedFill": () => {
      const mask = core.tensor([true, false]);
      gives(core.where(mask, of(1, 2), of(NAN, 3)), 1, 3);
      gives(core.maskedFill(of(NAN, 2), mask, 0), 0, 2);
    },
    "comparisons with it are false, except notEqual": () => {
      const x = of(NAN);
      for (const fn of [core.equal, core.less, core.lessEqual, core.greater, core.greaterEqual])
        gives(fn(x, x), 0);
      gives(core.notEqual(x, x), 1);
      gives(core.isNaN(x), 1);
      gives(core.isFinite(of(NAN, INF, -INF, 0)), 0, 0, 0, 1);
    },
    "gradients reach what was chosen, not what was masked": () => {
      const x = core.tensor([-1, 4], { requiresGrad: true });
      core.where(core.greater(x, 0), core.sqrt(x), 0).sum().backward();
      // The branch not taken is computed outside of where: its own derivative is infinite or NaN, times 0.
      expect(valuesOf(x.grad!)[1]).toBe(0.25);
      const y = core.tensor([1000, -1000], { requiresGrad: true });
      core.softplus(y).sum().backward();
      gives(y.grad!, 1, 0);
    },
  });
});

describe("large values stay finite", () => {
  const rows = (): T =>
    core.tensor([
      [1e4, -1e4, 0],
      [1e4, 1e4, 1e4],
      [-1e4, -1e4, -1e4],
    ]);
  const third = Math.log(3);
  each({
    "softmax and logSoftmax": () => {
      expectClose(valuesOf(core.softmax(rows())), [1, 0, 0, ...new Array(6).fill(1 / 3)], {
        relative: 1e-6,
        absolute: 0,
      });
      expectClose(valuesOf(core.logSoftmax(rows())), [0, -2e4, -1e4, ...new Array(6).fill(-third)], {
        relative: 1e-6,
        absolute: 1e-6,
      });
    },
    logSumExp: () => {
      expectClose(valuesOf(core.logSumExp(rows(), { axis: 1 })), [1e4, 1e4 + third, -1e4 + third], {
        relative: 1e-6,
        absolute: 0,
      });
      gives(core.logSumExp(of(INF, 1)), INF);
      gives(core.logSumExp(of(-INF, -INF)), -INF);
      gives(core.logSumExp(of(-INF, 2)), 2);
    },
    "crossEntropy, with its gradient": () => {
      const logits = rows().clone();
      logits.requiresGrad = true;
      const loss = core.crossEntropy(logits, ints(1, 0, 2), { reduction: "none" });
      expectClose(valuesOf(loss), [2e4, third, third], { relative: 1e-6, absolute: 0 });
      loss.sum().backward();
      const p = 1 / 3;
      expectClose(valuesOf(logits.grad!), [1, -1, 0, p - 1, p, p, p, p, p - 1], {
        relative: 1e-5,
        absolute: 1e-7,
      });
    },
    "bceWithLogits, with its gradient": () => {
      const logits = core.tensor([1e4, -1e4, 1e4, -1e4], { requiresGrad: true });
      const loss = core.bceWithLogits(logits, of(1, 0, 0, 1), { reduction: "none" });
      gives(loss, 0, 0, 1e4, 1e4);
      loss.sum().backward();
      gives(logits.grad!, 0, 0, 1, -1);
    },
    "bce of certain predictions": () => {
      gives(core.bce(of(0, 1, 0, 1), of(0, 1, 1, 0), { reduction: "none" }), 0, 0, 100, 100);
    },
    "sigmoid, tanh, softplus, logSigmoid": () => {
      const ends = of(1e4, -1e4);
      gives(core.sigmoid(ends), 1, 0);
      gives(core.tanh(ends), 1, -1);
      gives(core.softplus(ends), 1e4, 0);
      expectClose(valuesOf(core.logSigmoid(ends)), [0, -1e4]);
      expectClose(valuesOf(core.silu(ends)), [1e4, 0]);
      expectClose(valuesOf(core.gelu(ends)), [1e4, 0]);
    },
    "sums of 65,536 terms keep six digits": () => {
      const n = 65_536;
      const tenth = Math.fround(0.1);
      const x = core.full([n], 0.1);
      for (const total of [x.sum(), x.reshape([256, 256]).sum(), core.dot(x, core.ones([n]))])
        expectClose(valuesOf(total), [n * tenth], { relative: 1.3e-6, absolute: 0 });
      expectClose(valuesOf(x.mean()), [tenth], { relative: 1.3e-6, absolute: 0 });
      // Added up over the slow axis, and with a strided layout.
      expectClose(valuesOf(x.reshape([n, 1]).expand([n, 2]).sum({ axis: 0 })), [n * tenth, n * tenth], {
        relative: 1.3e-6,
        absolute: 0,
      });
      const spread = core.add(x, 1000);
      expectClose(valuesOf(spread.std()), [0], { relative: 0, absolute: 1e-3 });
    },
  });
});

describe("ties", () => {
  each({
    "argmax and argmin take the first": () => {
      gives(of(1, 3, 3, 1).argmax(), 1);
      gives(of(1, 3, 3, 1).argmin(), 0);
      gives(
        core
          .tensor([
            [2, 1],
            [2, 1],
          ])
          .argmax({ axis: 0 }),
        0,
        0,
      );
      gives(
        core
          .tensor([
            [1, 2],
            [2, 1],
          ])
          .argmax({ axis: [0, 1] }),
        1,
      );
      gives(core.flip(of(1, 3, 3, 1)).argmax(), 1);
      gives(of(0, -0).argmax(), 0);
    },
    "max and min share the gradient": () => {
      const x = core.tensor([3, 1, 3, 3], { requiresGrad: true });
      x.max().mul(3).backward();
      gives(x.grad!, 1, 0, 1, 1);
      core.zeroGrad([x]);
      core.maximum(x, 3).sum().backward();
      gives(x.grad!, 0.5, 0, 0.5, 0.5);
    },
    "max pooling gives the gradient to the first": () => {
      const x = core.tensor([[[2, 2, 1, 5, 5, 5]]], { requiresGrad: true });
      core.maxPool1d(x, { kernelSize: 3 }).sum().backward();
      gives(x.grad!, 1, 0, 0, 1, 0, 0);
      core.zeroGrad([x]);
      core.maxPool1d(x, { kernelSize: 3, stride: 1 }).sum().backward();
      gives(x.grad!, 1, 0, 0, 3, 0, 0);
    },
    "at the joints the gradient is PyTorch's": () => {
      const at = (fn: (x: T) => T, ...points: number[]): number[] => {
        const x = core.tensor(points, { requiresGrad: true });
        fn(x).sum().backward();
        return valuesOf(x.grad!);
      };
      expect(at(core.relu, 0, -1, 1)).toEqual([0, 0, 1]);
      expect(at(core.abs, 0)).toEqual([0]);
      expect(at(core.relu6, 0, 6)).toEqual([0, 0]);
      expect(at((x) => core.clip(x, { min: -1, max: 1 }), -1, 0, 1)).toEqual([0, 1, 0]);
      expect(at((x) => core.pow(x, 0), 0)).toEqual([0]);
      expect(at((x) => core.pow(0, x), 2)).toEqual([0]);
      expect(at(core.leakyRelu, 0)[0]).toBeCloseTo(0.01);
    },
  });
});

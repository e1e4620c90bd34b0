import { beforeAll, describe, expect, it } from "vitest";
import * as core from "../../src/index.ts";
import { expectClose, numbers, scoped, setUp, tensorOf, valuesOf } from "./helper.ts";

const { norm, tensor } = core;

const WIDE = { dtype: "f64" } as const;
const of = (seed: number, ...shape: number[]): core.Tensor =>
  tensorOf(
    numbers(
      shape.reduce((product, size) => product * size, 1),
      seed,
    ),
    shape,
    "f64",
  );
const grads = (fn: (x: core.Tensor) => core.Tensor, x: core.Tensor): number[] => valuesOf(core.grad(fn)(x));

beforeAll(setUp);

describe("norm", () => {
  it.each([2, 1, 3, 1.5, 0.5, -1, Infinity, -Infinity, 0])(
    "p %s has right gradients to second order",
    async (p) => {
      const x = tensor(
        [
          [0.5, -1.5, 1.25],
          [1.75, 0.25, -0.75],
        ],
        WIDE,
      );
      await core.gradcheck((y) => norm(y, { p, axis: 1 }), [x]);
      await core.gradcheck((y) => norm(core.mul(y, core.square(y)), { p, keepDims: true }), [x], {
        order: 2,
      });
    },
  );

  it.each([2, 1, 3, 1.5, 0.5, Infinity, 0])(
    "p %s has gradient 0 at the origin, and no NaN beside it",
    (p) => {
      scoped(() => {
        expect(grads((x) => norm(x, { p }), core.zeros([3], WIDE))).toEqual([0, 0, 0]);
        const beside = grads((x) => norm(x, { p }), tensor([0, 2, 0], WIDE));
        expectClose(beside, p === 0 ? [0, 0, 0] : [0, 1, 0], { relative: 1e-15, absolute: 0 });
      })();
    },
  );

  it(
    "takes scalars, nothing, other axes, 16-bit floats beyond the range of their squares",
    scoped(() => {
      for (const p of [2, 1, 3, Infinity]) expect(norm(tensor(-3), { p }).itemSync()).toBeCloseTo(3, 6);
      expect(norm(tensor(-3), { p: 0 }).itemSync()).toBe(1);
      expect(grads((x) => norm(x), tensor(-3))).toEqual([-1]);
      expect(norm(core.zeros([0])).itemSync()).toBe(0);
      expect(norm(core.zeros([0, 2]), { axis: 1 }).shape).toEqual([0]);
      expect(norm(of(1, 2, 3, 4), { axis: [0, -1], keepDims: true }).shape).toEqual([1, 3, 1]);
      expect(norm(of(1, 2, 3), { axis: [] }).shape).toEqual([2, 3]);
      const half = norm(tensor([3000, 4000], { dtype: "f16" }));
      expect([half.dtype, half.itemSync()]).toEqual(["f16", 5000]);
    }),
  );

  it(
    "reads a transposed view",
    scoped(() => {
      const x = of(2, 3, 4);
      expectClose(valuesOf(norm(x.transpose(), { axis: 0 })), valuesOf(norm(x, { axis: 1 })), {
        relative: 1e-15,
        absolute: 0,
      });
    }),
  );

  it(
    "refuses what does not fit",
    scoped(() => {
      expect(() => norm(tensor([1]), { p: NaN })).toThrow(core.OptionError);
      expect(() => norm(tensor([1]), { p: "fro" as never })).toThrow(core.OptionError);
      expect(() => norm(tensor([1]), { ord: 2 } as never)).toThrow(/unknown option "ord"/);
      expect(() => norm(core.zeros([0]), { p: Infinity })).toThrow(/nothing has no norm/);
      expect(() => norm(tensorOf([1], [1], "i32"))).toThrow(core.DTypeError);
    }),
  );
});

describe("l2Normalize, cosineSimilarity and the losses on them", () => {
  it("have right gradients to second order", async () => {
    const [a, b, c] = [of(1, 2, 3), of(2, 2, 3), of(3, 2, 3)];
    const target = tensorOf([1, -1], [2], "i32");
    await core.gradcheck((x) => core.l2Normalize(x), [a], { order: 2 });
    await core.gradcheck((x, y) => core.cosineSimilarity(x, y, { axis: -1 }), [a, b], { order: 2 });
    await core.gradcheck((x, y) => core.cosineEmbeddingLoss(x, y, target, { margin: -1 }), [a, b], {
      order: 2,
    });
    await core.gradcheck((x, y, z) => core.tripletMarginLoss(x, y, z, { margin: 9, swap: true }), [a, b, c], {
      order: 2,
    });
  });

  it(
    "stay finite at zero vectors, gradients too",
    scoped(() => {
      const zeros = core.zeros([2, 3]);
      const ones = core.ones([2, 3]);
      const target = tensorOf([1, -1], [2], "i32");
      for (const fn of [
        (x: core.Tensor) => core.sum(core.l2Normalize(x)),
        (x: core.Tensor) => core.sum(core.cosineSimilarity(x, ones)),
        (x: core.Tensor) => core.cosineEmbeddingLoss(x, ones, target),
        (x: core.Tensor) => core.tripletMarginLoss(x, x, x),
      ]) {
        expect(Number.isFinite(fn(zeros).itemSync())).toBe(true);
        expect(grads(fn, zeros).every(Number.isFinite)).toBe(true);
      }
      expect(valuesOf(core.cosineSimilarity(zeros, ones))).toEqual([0, 0]);
    }),
  );

  it(
    "refuse what does not fit",
    scoped(() => {
      const x = core.ones([2, 3]);
      expect(() => core.l2Normalize(x, { eps: -1 })).toThrow(core.OptionError);
      expect(() => core.l2Normalize(tensor([1]))).toThrow(core.IndexError);
      expect(() => core.cosineSimilarity(x, core.ones([2, 4]))).toThrow(core.ShapeError);
      expect(() => core.cosineEmbeddingLoss(x, x, tensor([1, 1, 1]))).toThrow(core.ShapeError);
      expect(() => core.cosineEmbeddingLoss(x, x, tensor([1, 1]), { margin: 2 })).toThrow(core.OptionError);
      expect(() => core.tripletMarginLoss(x, x, core.ones([3]))).toThrow(core.ShapeError);
      expect(() => core.tripletMarginLoss(x, x, x, { margin: 0 })).toThrow(core.OptionError);
      expect(() => core.tripletMarginLoss(x, x, x, { reduction: "all" as never })).toThrow(
        /"mean", "sum", "none"/,
      );
    }),
  );
});

describe("glu", () => {
  it("has right gradients to second order, and refuses odd sizes", async () => {
    await core.gradcheck((x) => core.glu(x), [of(1, 2, 4)], { order: 2 });
    expect(() => core.glu(core.ones([2, 3]))).toThrow(/its size is odd/);
    expect(() => core.glu(tensor(1))).toThrow(core.IndexError);
    expect(core.glu(core.zeros([0, 2])).shape).toEqual([0, 1]);
  });
});

describe("rnnCell, lstmCell, gruCell", () => {
  const weights = (gates: number): core.Tensor[] => [
    of(3, gates * 2, 3),
    of(4, gates * 2, 2),
    of(5, gates * 2),
    of(6, gates * 2),
  ];
  const named = ([weightInput, weightHidden, biasInput, biasHidden]: core.Tensor[]): core.CellWeights => ({
    weightInput: weightInput!,
    weightHidden: weightHidden!,
    biasInput,
    biasHidden,
  });

  it("have right gradients to second order", async () => {
    const [x, hidden, cell] = [of(1, 2, 3), of(2, 2, 2), of(7, 2, 2)];
    for (const nonlinearity of ["tanh", "relu"] as const) {
      const run = (y: core.Tensor, h: core.Tensor, ...rest: core.Tensor[]): core.Tensor =>
        core.rnnCell(y, h, named(rest), { nonlinearity });
      await core.gradcheck(run, [x, hidden, ...weights(1)], { order: 2 });
    }
    await core.gradcheck((y, h, ...rest) => core.gruCell(y, h, named(rest)), [x, hidden, ...weights(3)]);
    await core.gradcheck(
      (y, h, w) => core.gruCell(y, h, named([w!, ...weights(3).slice(1)])),
      [x, hidden, weights(3)[0]!],
      { order: 2 },
    );
    const both = (y: core.Tensor, h: core.Tensor, c: core.Tensor, ...rest: core.Tensor[]): core.Tensor =>
      core.concat(core.lstmCell(y, [h, c], named(rest)), 1);
    await core.gradcheck(both, [x, hidden, cell, ...weights(4)]);
    await core.gradcheck((y, h, c) => both(y, h, c, ...weights(4)), [x, hidden, cell], { order: 2 });
  });

  it(
    "take one vector without a batch, and a batch of none",
    scoped(() => {
      const all = core.gruCell(of(1, 2, 3), of(2, 2, 2), named(weights(3)));
      const one = core.gruCell(of(1, 2, 3).slice(1), of(2, 2, 2).slice(1), named(weights(3)));
      expectClose(valuesOf(one), valuesOf(all.slice(1)), { relative: 1e-14, absolute: 1e-15 });
      const [hidden, cell] = core.lstmCell(of(1, 0, 3), [of(2, 0, 2), of(2, 0, 2)], named(weights(4)));
      expect([hidden.shape, cell.shape]).toEqual([
        [0, 2],
        [0, 2],
      ]);
    }),
  );

  it(
    "refuse an argument after the weights where there is none",
    scoped(() => {
      const [x, hidden] = [of(1, 2, 3), of(2, 2, 2)];
      const more = [{ nonlinearity: "relu" }] as never[];
      expect(() => core.gruCell(x, hidden, named(weights(3)), ...more)).toThrow(
        /^gruCell: unknown option "nonlinearity"\. It takes none\./,
      );
      expect(() => core.lstmCell(x, [hidden, hidden], named(weights(4)), ...more)).toThrow(
        /^lstmCell: unknown option "nonlinearity"\. It takes none\./,
      );
      for (const one of [null, 2, "relu"] as never[])
        expect(() => core.lstmCell(x, [hidden, hidden], named(weights(4)), one)).toThrow(
          /^lstmCell: takes no argument after the weights, got /,
        );
      expect(core.gruCell(x, hidden, named(weights(3)), undefined as never).shape).toEqual([2, 2]);
    }),
  );

  it(
    "name the weight that does not fit",
    scoped(() => {
      const [x, hidden] = [of(1, 2, 3), of(2, 2, 2)];
      expect(() => core.gruCell(x, hidden, named(weights(4)))).toThrow(
        /gruCell: weightInput must be \[6, 3\] for x \[2, 3\] and 2 hidden units, got \[8, 3\]/,
      );
      expect(() => core.rnnCell(x, of(2, 3, 2), named(weights(1)))).toThrow(core.ShapeError);
      expect(() => core.rnnCell(x, hidden, { weightInput: of(3, 2, 3) } as never)).toThrow(
        /weightHidden .* got none/,
      );
      expect(() => core.rnnCell(x, hidden, { ...named(weights(1)), bias: x } as never)).toThrow(
        /unknown option "bias"/,
      );
      expect(() => core.rnnCell(x, hidden, named(weights(1)), { nonlinearity: "gelu" as never })).toThrow(
        core.OptionError,
      );
    }),
  );
});

describe("methods", () => {
  it(
    "are there for what PyTorch has as methods",
    scoped(() => {
      const x = tensor([
        [3, 1],
        [2, 4],
      ]);
      const flat = tensor([1, 3, 2]);
      expect(valuesOf(x.cumsum({ axis: 0 }))).toEqual([3, 1, 5, 5]);
      expect(valuesOf(core.cumprod(flat))).toEqual([1, 3, 6]);
      expect(valuesOf(core.cummax(flat))).toEqual([1, 3, 3]);
      expect(valuesOf(flat.sort().values)).toEqual([1, 2, 3]);
      expect(valuesOf(core.argsort(flat, { descending: true }))).toEqual([1, 2, 0]);
      expect(valuesOf(flat.topk({ k: 1 }).indices)).toEqual([1]);
      expect(tensor([3, 4]).norm().itemSync()).toBe(5);
      expect(x.at(1, 0).itemSync()).toBe(2);
    }),
  );
});

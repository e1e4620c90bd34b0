import * as fc from "fast-check";
import { beforeAll, describe, expect, it } from "vitest";
import * as core from "../../src/index.ts";
import { examples, lay, layouts, numbers, scoped, setUp, tensorOf, valuesOf } from "./helper.ts";

const { at, maskedSelect, nonzero, tensor } = core;

const index = (...values: number[]): core.Tensor => tensorOf(values, [values.length], "i32");

beforeAll(setUp);

describe("nonzero, maskedSelect", () => {
  it("agree with a walk through the values, of any layout", async () => {
    const cases = fc
      .array(fc.nat(3), { minLength: 0, maxLength: 3 })
      .chain((shape) =>
        fc.record({ shape: fc.constant(shape), choice: layouts(shape.length), seed: fc.nat(1000) }),
      );
    await fc.assert(
      fc.asyncProperty(cases, async ({ shape, choice, seed }) => {
        const work = new core.Scope();
        try {
          const view = work.run(() => core.round(lay(shape, choice, seed, "f32").view.detach()));
          const values = valuesOf(view);
          const positions = values.flatMap((value, i) => (value !== 0 ? [i] : []));
          const found = await nonzero(view);
          expect([found.dtype, ...found.shape]).toEqual(["i32", positions.length, shape.length]);
          const rows = (await found.toArray()) as number[][];
          const flat = rows.map((row) => row.reduce((sum, place, axis) => sum * shape[axis]! + place, 0));
          expect(flat).toEqual(positions);
          const mask = work.run(() => core.notEqual(view, 0));
          const selected = await maskedSelect(view, mask);
          expect(valuesOf(selected)).toEqual(values.filter((value) => value !== 0));
          expect(selected.rank).toBe(1);
          for (const one of [found, selected]) one.dispose();
        } finally {
          work.dispose();
        }
      }),
      examples(100),
    );
  });

  it("count NaN as not 0, and take bool", async () => {
    const x = tensor([0, NaN, -0, 2]);
    const bools = tensor([[false, true]]);
    expect(await (await nonzero(x)).toArray()).toEqual([[1], [3]]);
    expect(await (await nonzero(bools)).toArray()).toEqual([[0, 1]]);
    for (const one of [x, bools]) one.dispose();
  });

  it("broadcast mask and values", async () => {
    const x = tensor([[1], [2]]);
    const mask = tensor([true, false, true]);
    expect(valuesOf(await maskedSelect(x, mask))).toEqual([1, 1, 2, 2]);
    const wide = tensor([
      [1, 2, 3],
      [4, 5, 6],
    ]);
    expect(valuesOf(await maskedSelect(wide, mask))).toEqual([1, 3, 4, 6]);
    for (const one of [x, mask, wide]) one.dispose();
  });

  it("let the gradient through to what was selected, to second order", async () => {
    const x = tensor(
      [
        [1, 2, 3],
        [4, 5, 6],
      ],
      { requiresGrad: true },
    );
    const mask = tensor([true, false, true]);
    const selected = await maskedSelect(core.mul(x, core.square(x)), mask);
    core.sum(selected).backward(undefined, { createGraph: true });
    expect(valuesOf(x.grad!)).toEqual([3, 0, 27, 48, 0, 108]);
    const [second] = core.grad((y: core.Tensor) => core.sum(y), { argnums: [0] })(
      x.grad!,
    ) as readonly core.Tensor[];
    expect(valuesOf(second!)).toEqual([1, 1, 1, 1, 1, 1]);
    core.zeroGrad([x]);
    for (const one of [x, mask]) one.dispose();
  });

  it("leave nothing behind, and hand their result to the owner of x", async () => {
    const before = core.memory();
    const batch = new core.Scope();
    const [x, mask] = batch.run(() => [tensor([1, 0, 3]), tensor([true, true, false])]) as [
      core.Tensor,
      core.Tensor,
    ];
    const found = await nonzero(x);
    const selected = await maskedSelect(x, mask);
    batch.dispose();
    expect([found.isDisposed, selected.isDisposed]).toEqual([true, true]);
    expect(core.memory().liveTensors).toBe(before.liveTensors);
    expect(core.memory().liveBuffers).toBe(before.liveBuffers);
  });

  it("refuse a mask that is none, shapes that do not meet, and the dead", async () => {
    const x = tensor([1, 2, 3]);
    await expect(maskedSelect(x, tensor([1, 0, 1]))).rejects.toThrow(core.DTypeError);
    await expect(maskedSelect(x, tensor([true, false]))).rejects.toThrow(core.ShapeError);
    x.dispose();
    await expect(nonzero(x)).rejects.toThrow(core.LifetimeError);
    await expect(maskedSelect(x, tensor([true, false, true]))).rejects.toThrow(core.LifetimeError);
  });
});

describe("at", () => {
  const x = (): core.Tensor => core.reshape(tensorOf(numbers(24, 1), [24]), [2, 3, 4]);

  it(
    "takes positions as slice does",
    scoped(() => {
      expect(valuesOf(at(x(), 1, -1))).toEqual(valuesOf(core.slice(x(), 1, -1)));
      expect(at(x(), 1, 2, 3).shape).toEqual([]);
      expect(valuesOf(x().at(null, [0, 2], { step: 2 }))).toEqual(
        valuesOf(core.slice(x(), null, [0, 2], { step: 2 })),
      );
      expect(at(x()).shape).toEqual([2, 3, 4]);
    }),
  );

  it(
    "takes one vector of positions, as indexSelect does",
    scoped(() => {
      expect(valuesOf(at(x(), index(1, 1, 0)))).toEqual(valuesOf(core.indexSelect(x(), 0, index(1, 1, 0))));
      expect(valuesOf(at(x(), null, index(2, 0)))).toEqual(valuesOf(core.indexSelect(x(), 1, index(2, 0))));
      const row = core.indexSelect(core.slice(x(), 1, null, [1, 3]), 0, index(2, 0));
      expect(valuesOf(at(x(), 1, index(2, 0), [1, 3]))).toEqual(valuesOf(row));
      expect(at(x(), 0, 1, index(3)).shape).toEqual([1]);
    }),
  );

  it("has right gradients to second order", async () => {
    const point = tensor(
      [
        [0.5, -1.5, 1.25],
        [1.75, 0.25, -0.75],
      ],
      { dtype: "f64" },
    );
    const columns = index(2, 0, 2);
    const cube = (y: core.Tensor): core.Tensor => core.mul(y, core.square(y));
    await core.gradcheck((y) => at(cube(y), 1, columns), [point], { order: 2 });
    await core.gradcheck((y) => at(cube(y), null, 1), [point], { order: 2 });
  });

  it(
    "refuses what does not fit",
    scoped(() => {
      expect(() => at(x(), 2)).toThrow(core.IndexError);
      expect(() => at(x(), index(2))).toThrow(core.IndexError);
      expect(() => at(x(), index(0), index(0))).toThrow(/takes one index tensor, got 2/);
      expect(() => at(x(), 0, 0, 0, 0)).toThrow(/4 indices for a tensor of shape \[2, 3, 4\]/);
      expect(() => at(x(), tensor([0]))).toThrow(core.DTypeError);
      expect(() => at(x(), core.reshape(index(0, 1), [1, 2]))).toThrow(core.ShapeError);
    }),
  );
});

describe("long indices", () => {
  it.each([1e6, 2 ** 20])("name the value that is out of range, of %i integers as of few", (count) => {
    scoped(() => {
      const values = new Int32Array(count).fill(1);
      for (const last of [7, -2]) {
        values[count - 1] = last;
        const many = core.fromData(values, [count]);
        expect(() => core.gather(tensor([1, 2, 3]), 0, many)).toThrow(
          `index ${last} is out of range for size 3`,
        );
      }
    })();
  });
});

import * as fc from "fast-check";
import { beforeAll, describe, expect, it } from "vitest";
import * as core from "../../src/index.ts";
import { examples, lay, layouts, scoped, setUp, tensorOf, valuesOf } from "./helper.ts";

const { argsort, sort, tensor, topk } = core;

beforeAll(setUp);

describe("sort, argsort, topk", () => {
  it("agree with a stable sort of each line, of any layout", () => {
    const shapes = fc.array(fc.integer({ min: 1, max: 5 }), { minLength: 1, maxLength: 3 });
    const cases = shapes.chain((shape) =>
      fc.record({
        shape: fc.constant(shape),
        choice: layouts(shape.length),
        axis: fc.integer({ min: 0, max: shape.length - 1 }),
        descending: fc.boolean(),
        k: fc.nat(5),
        seed: fc.nat(1000),
      }),
    );
    fc.assert(
      fc.property(cases, ({ shape, choice, axis, descending, k, seed }) => {
        scoped(() => {
          // Few values, so that there are equal ones.
          const view = core.round(lay(shape, choice, seed, "f32").view.detach());
          const values = valuesOf(view);
          const inner = shape.slice(axis + 1).reduce((product, size) => product * size, 1);
          const length = shape[axis]!;
          const order = values.slice();
          const places = values.slice();
          for (let start = 0; start < values.length; start++) {
            if (Math.floor(start / inner) % length !== 0) continue;
            const line = Array.from({ length }, (_, i) => i).sort((a, b) => {
              const difference = values[start + a * inner]! - values[start + b * inner]!;
              return descending ? -difference : difference;
            });
            line.forEach((from, i) => {
              order[start + i * inner] = values[start + from * inner]!;
              places[start + i * inner] = from;
            });
          }
          const result = sort(view, { axis, descending });
          expect(valuesOf(result.values)).toEqual(order);
          expect(valuesOf(result.indices)).toEqual(places);
          expect(result.indices.dtype).toBe("i32");
          expect(valuesOf(argsort(view, { axis, descending }))).toEqual(places);
          const count = Math.min(k, length);
          const cut = shape.map((_, i) => (i === axis ? ([0, count] as const) : null));
          const best = topk(view, { k: count, axis, largest: descending });
          expect(valuesOf(best.indices)).toEqual(valuesOf(core.slice(result.indices, ...cut)));
          expect(valuesOf(best.values)).toEqual(valuesOf(core.slice(result.values, ...cut)));
          expect(best.values.shape).toEqual(shape.map((size, i) => (i === axis ? count : size)));
        })();
      }),
      examples(200),
    );
  });

  it(
    "put NaN last both ways, and keep the order of equal ones",
    scoped(() => {
      const x = tensor([NaN, 1, -Infinity, NaN, Infinity, 1]);
      expect(valuesOf(argsort(x))).toEqual([2, 1, 5, 4, 0, 3]);
      expect(valuesOf(argsort(x, { descending: true }))).toEqual([4, 1, 5, 2, 0, 3]);
      expect(valuesOf(topk(x, { k: 2 }).values)).toEqual([Infinity, 1]);
    }),
  );

  it(
    "take scalars, nothing, integers and bool",
    scoped(() => {
      const scalar = sort(tensor(3));
      expect([scalar.values.shape, scalar.indices.shape]).toEqual([[], []]);
      expect([scalar.values.itemSync(), scalar.indices.itemSync()]).toEqual([3, 0]);
      expect(topk(tensor(3), { k: 1 }).values.shape).toEqual([]);
      expect(sort(core.zeros([0, 3]), { axis: 0 }).values.shape).toEqual([0, 3]);
      expect(topk(core.zeros([2, 3]), { k: 0 }).indices.shape).toEqual([2, 0]);
      expect(valuesOf(sort(tensorOf([3, -2, 5], [3], "i32")).values)).toEqual([-2, 3, 5]);
      expect(valuesOf(argsort(tensor([true, false, true])))).toEqual([1, 0, 2]);
    }),
  );

  it("have right gradients to second order", async () => {
    const x = tensor(
      [
        [0.5, -1.5, 1.25, 2],
        [1.75, 0.25, -0.75, 3],
      ],
      { dtype: "f64" },
    );
    const cube = (y: core.Tensor): core.Tensor => core.mul(y, core.mul(y, y));
    await core.gradcheck((y) => sort(cube(y), { descending: true }).values, [x], { order: 2 });
    await core.gradcheck((y) => topk(cube(y), { k: 2, axis: 1 }).values, [x], { order: 2 });
    const scalar = tensor(2, { dtype: "f64" });
    await core.gradcheck((y) => sort(core.square(y)).values, [scalar]);
  });

  it(
    "give the gradient to the element that was chosen, where several are equal",
    scoped(() => {
      const x = tensor([2, 5, 5, 1]);
      expect(valuesOf(core.grad((y: core.Tensor) => core.sum(topk(y, { k: 1 }).values))(x))).toEqual([
        0, 1, 0, 0,
      ]);
    }),
  );

  it("leave nothing behind", () => {
    const before = core.memory().liveTensors;
    const x = tensor([3, 1, 2], { requiresGrad: true });
    const { values, indices } = topk(x, { k: 2 });
    expect(core.memory().liveTensors).toBe(before + 3);
    core.sum(values).backward();
    expect(valuesOf(x.grad!)).toEqual([1, 0, 1]);
    core.zeroGrad([x]);
    for (const one of [x, values, indices]) one.dispose();
    expect(core.memory().liveTensors).toBe(before);
  });

  it(
    "refuse what does not fit",
    scoped(() => {
      const x = tensor([1, 2, 3]);
      expect(() => topk(x, { k: 4 })).toThrow(/k is 4, but dimension 0 has size 3/);
      expect(() => topk(x, {} as never)).toThrow(core.OptionError);
      expect(() => topk(x, undefined as never)).toThrow(core.OptionError);
      expect(() => topk(x, { k: 1, sorted: true } as never)).toThrow(/unknown option "sorted"/);
      expect(() => sort(x, { axis: 2 })).toThrow(core.IndexError);
      expect(() => argsort(x, { order: "up" } as never)).toThrow(core.OptionError);
    }),
  );
});

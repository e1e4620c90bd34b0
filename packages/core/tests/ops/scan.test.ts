import * as fc from "fast-check";
import { beforeAll, describe, expect, it } from "vitest";
import * as core from "../../src/index.ts";
import { examples, expectClose, lay, layouts, scoped, setUp, tensorOf, valuesOf } from "./helper.ts";

const { cummax, cumprod, cumsum, tensor } = core;

type Step = (total: number, value: number) => number;

const SCANS = {
  cumsum: [cumsum, (total, value) => total + value],
  cumprod: [cumprod, (total, value) => total * value],
  cummax: [cummax, Math.max],
} as const satisfies Record<string, readonly [typeof cumsum, Step]>;

/** What a scan of row-major values gives, by its definition. */
function scanned(
  values: number[],
  shape: readonly number[],
  axis: number,
  reverse: boolean,
  step: Step,
): number[] {
  const inner = shape.slice(axis + 1).reduce((product, size) => product * size, 1);
  const length = shape[axis]!;
  const result = values.slice();
  values.forEach((_, at) => {
    const k = Math.floor(at / inner) % length;
    const line = Array.from({ length }, (_, other) => values[at + (other - k) * inner]!);
    const part = reverse ? line.slice(k).reverse() : line.slice(0, k + 1);
    result[at] = part.reduce((total, value) => step(total, value));
  });
  return result;
}

beforeAll(setUp);

describe.each(Object.entries(SCANS))("%s", (_name, [scan, step]) => {
  it("is what it says, of any layout, forwards and backwards", () => {
    const shapes = fc.array(fc.integer({ min: 1, max: 5 }), { minLength: 1, maxLength: 4 });
    const cases = shapes.chain((shape) =>
      fc.record({
        shape: fc.constant(shape),
        choice: layouts(shape.length),
        axis: fc.integer({ min: -shape.length, max: shape.length - 1 }),
        reverse: fc.boolean(),
        seed: fc.nat(1000),
      }),
    );
    fc.assert(
      fc.property(cases, ({ shape, choice, axis, reverse, seed }) => {
        scoped(() => {
          const { leaf, view } = lay(shape, choice, seed);
          const along = axis < 0 ? axis + shape.length : axis;
          const expected = scanned(valuesOf(view), shape, along, reverse, step);
          const close = { relative: 1e-13, absolute: 1e-13 };
          expectClose(valuesOf(scan(view, { axis, reverse })), expected, close, "with a gradient");
          leaf.requiresGrad = false;
          expectClose(
            valuesOf(scan(view.detach(), { axis, reverse })),
            expected,
            close,
            "without a gradient",
          );
        })();
      }),
      examples(200),
    );
  });

  it(
    "takes a scalar, nothing, one element",
    scoped(() => {
      expect(scan(tensor(3)).shape).toEqual([]);
      expect(valuesOf(scan(tensor(3), { axis: 0 }))).toEqual([3]);
      expect(scan(core.zeros([0, 2]), { axis: 0 }).shape).toEqual([0, 2]);
      expect(scan(core.zeros([2, 0], { requiresGrad: true }), { axis: 1 }).shape).toEqual([2, 0]);
      expect(valuesOf(scan(tensor([[4], [5]]), { axis: 1 }))).toEqual([4, 5]);
    }),
  );

  it(
    "carries NaN on, and only on",
    scoped(() => {
      const [first, ...rest] = valuesOf(scan(tensor([2, NaN, 3, 4])));
      expect(first).toBe(2);
      expect(rest).toEqual([NaN, NaN, NaN]);
      expect(valuesOf(scan(tensor([2, NaN, 3, 4]), { reverse: true })).slice(0, 2)).toEqual([NaN, NaN]);
    }),
  );

  it(
    "refuses wrong axes and unknown options",
    scoped(() => {
      const x = tensor([1, 2]);
      expect(() => scan(x, { axis: 1 })).toThrow(core.IndexError);
      expect(() => scan(x, { axis: 0, exclusive: true } as never)).toThrow(/unknown option "exclusive"/);
    }),
  );

  it.each([false, true])("has right gradients to second order, reverse %s", async (reverse) => {
    const x = tensor(
      [
        [0.5, -1.5, 1.25, 2],
        [1.75, 0.25, -0.75, 3],
      ],
      { dtype: "f64" },
    );
    for (const axis of [0, 1]) {
      await core.gradcheck((y) => scan(y, { axis, reverse }), [x]);
      await core.gradcheck((y) => scan(core.mul(y, y), { axis, reverse }), [x], { order: 2 });
    }
  });
});

describe("cumsum", () => {
  it(
    "adds bool and small integers up in 32 bits",
    scoped(() => {
      const bools = cumsum(tensor([true, false, true]));
      expect([bools.dtype, ...valuesOf(bools)]).toEqual(["i32", 1, 1, 2]);
      const bytes = cumsum(tensorOf([200, 100], [2], "u8"));
      expect([bytes.dtype, ...valuesOf(bytes)]).toEqual(["u32", 200, 300]);
    }),
  );
});

describe("cumprod", () => {
  it(
    "has the derivatives of the polynomial at zeros, to third order",
    scoped(() => {
      // The last product is x0 x1 x2 x3: its only third derivative at three zeros is the fourth factor.
      const last = (x: core.Tensor): core.Tensor => cumprod(x).slice(-1);
      const x = tensor([0, 0, 3, 0], { dtype: "f64" });
      expect(valuesOf(core.grad(last)(x))).toEqual([0, 0, 0, 0]);
      expect(valuesOf(core.hessian(last)(x)).every((value) => value === 0)).toBe(true);
      const third = core.jacobian(core.hessian(last))(x);
      expect(third.slice(0, 1, 3).itemSync()).toBe(3);
      expect(third.slice(0, 1, 2).itemSync()).toBe(0);
      expect(valuesOf(core.grad(last)(tensor([0, 2, 3, 4])))).toEqual([24, 0, 0, 0]);
    }),
  );
});

describe("cummax", () => {
  const gradientOf = (values: number[], reverse = false): number[] =>
    valuesOf(
      core.grad((x: core.Tensor) => core.sum(core.mul(cummax(x, { reverse }), tensor([1, 10, 100, 1000]))))(
        tensor(values),
      ),
    );

  it(
    "gives the gradient to the last of equal elements, as PyTorch",
    scoped(() => {
      expect(gradientOf([2, 2, 1, 2])).toEqual([1, 110, 0, 1000]);
      expect(gradientOf([2, 2, 1, 2], true)).toEqual([1, 10, 0, 1100]);
      expect(gradientOf([0, 0, 0, 0])).toEqual([1, 10, 100, 1000]);
      expect(gradientOf([-5, -6, -6, -7])).toEqual([1111, 0, 0, 0]);
    }),
  );

  it(
    "gives the gradient of NaN to the last NaN",
    scoped(() => {
      expect(gradientOf([1, NaN, 5, NaN])).toEqual([1, 110, 0, 1000]);
      expect(gradientOf([NaN, 5, NaN, 1], true)).toEqual([1, 0, 110, 1000]);
    }),
  );

  it(
    "keeps integers and refuses bool",
    scoped(() => {
      const x = cummax(tensorOf([3, -1, 4], [3], "i32"));
      expect([x.dtype, ...valuesOf(x)]).toEqual(["i32", 3, 3, 4]);
      expect(() => cummax(tensor([true]))).toThrow(core.DTypeError);
    }),
  );
});

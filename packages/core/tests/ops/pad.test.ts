import * as fc from "fast-check";
import { beforeAll, describe, expect, it } from "vitest";
import * as core from "../../src/index.ts";
import { examples, lay, layouts, scoped, setUp, tensorOf, valuesOf } from "./helper.ts";

const { pad, tensor } = core;
type Pair = readonly [number, number];

/** Where the element at a place of the padded dimension comes from; undefined outside. */
const SOURCES: Readonly<Record<core.PadMode, (place: number, size: number) => number | undefined>> = {
  constant: (place, size) => (place >= 0 && place < size ? place : undefined),
  reflect: (place, size) => (place < 0 ? -place : place >= size ? 2 * (size - 1) - place : place),
  replicate: (place, size) => Math.min(Math.max(place, 0), size - 1),
  circular: (place, size) => (place + size) % size,
};

function padded(
  values: number[],
  shape: readonly number[],
  padding: readonly Pair[],
  mode: core.PadMode,
  value: number,
): number[] {
  const result = shape.map((size, axis) => size + padding[axis]![0] + padding[axis]![1]);
  const count = result.reduce((product, size) => product * size, 1);
  return Array.from({ length: count }, (_, at) => {
    let rest = at;
    let place: number | undefined = 0;
    let stride = 1;
    for (let axis = shape.length - 1; axis >= 0; axis--) {
      const from = SOURCES[mode]((rest % result[axis]!) - padding[axis]![0], shape[axis]!);
      rest = Math.floor(rest / result[axis]!);
      place = place === undefined || from === undefined ? undefined : place + from * stride;
      stride *= shape[axis]!;
    }
    return place === undefined ? value : values[place]!;
  });
}

beforeAll(setUp);

describe("pad", () => {
  it.each(["constant", "reflect", "replicate", "circular"] as const)(
    "%s is its definition, of any layout",
    (mode) => {
      const cases = fc.array(fc.integer({ min: 1, max: 4 }), { minLength: 1, maxLength: 3 }).chain((shape) =>
        fc.record({
          shape: fc.constant(shape),
          choice: layouts(shape.length),
          amounts: fc.tuple(
            ...shape.map((size) => {
              const most = mode === "reflect" ? size - 1 : mode === "circular" ? size : 3;
              const least = mode === "constant" ? -Math.floor(size / 2) : 0;
              const amount = fc.integer({ min: least, max: most });
              return fc.tuple(amount, amount);
            }),
          ),
          seed: fc.nat(1000),
        }),
      );
      fc.assert(
        fc.property(cases, ({ shape, choice, amounts, seed }) => {
          scoped(() => {
            const { view } = lay(shape, choice, seed, "f32");
            const result = pad(view, amounts, mode === "constant" ? { value: 7 } : { mode });
            expect(result.shape).toEqual(
              shape.map((size, axis) => size + amounts[axis]![0] + amounts[axis]![1]),
            );
            expect(valuesOf(result)).toEqual(padded(valuesOf(view), shape, amounts, mode, 7));
          })();
        }),
        examples(60),
      );
    },
  );

  it.each(["constant", "reflect", "replicate", "circular"] as const)(
    "%s has right gradients to second order",
    async (mode) => {
      const x = tensor(
        [
          [0.5, -1.5, 1.25],
          [1.75, 0.25, -0.75],
        ],
        { dtype: "f64" },
      );
      const amounts = [
        [1, 0],
        [2, 1],
      ] as const;
      await core.gradcheck((y) => pad(y, amounts, { mode }), [x]);
      await core.gradcheck((y) => pad(core.mul(y, core.square(y)), amounts, { mode }), [x], { order: 2 });
      if (mode === "constant")
        await core.gradcheck(
          (y) =>
            pad(y, [
              [-1, 1],
              [1, -2],
            ]),
          [x],
        );
    },
  );

  it(
    "takes scalars, empty tensors, integers and bool",
    scoped(() => {
      expect(pad(tensor(2), []).shape).toEqual([]);
      expect(valuesOf(pad(core.zeros([0]), [[1, 1]], { value: 3 }))).toEqual([3, 3]);
      expect(
        pad(
          core.zeros([0, 2]),
          [
            [0, 0],
            [1, 1],
          ],
          { mode: "circular" },
        ).shape,
      ).toEqual([0, 4]);
      const integers = pad(tensorOf([1, 2], [2], "i32"), [[1, 0]], { value: -4 });
      expect([integers.dtype, ...valuesOf(integers)]).toEqual(["i32", -4, 1, 2]);
      expect(valuesOf(pad(tensor([true]), [[1, 1]], { value: 1 }))).toEqual([1, 1, 1]);
    }),
  );

  it(
    "cuts a dimension down to nothing, but no further",
    scoped(() => {
      expect(pad(tensor([1, 2, 3]), [[-2, -1]]).shape).toEqual([0]);
      expect(valuesOf(pad(tensor([1, 2, 3]), [[-3, 2]], { value: 9 }))).toEqual([9, 9]);
      expect(() => pad(tensor([1, 2, 3]), [[-2, -2]])).toThrow(/cuts 4 off dimension 0, which has size 3/);
    }),
  );

  it(
    "refuses what does not fit",
    scoped(() => {
      const x = tensor([[1, 2, 3]]);
      expect(() => pad(x, [[1, 1]])).toThrow(/one \[before, after\] for each dimension of x \[1, 3\]/);
      expect(() => pad(x, [1, 1] as never)).toThrow(core.ShapeError);
      expect(() =>
        pad(
          x,
          [
            [0, 0],
            [3, 0],
          ],
          { mode: "reflect" },
        ),
      ).toThrow(/at most 2/);
      expect(() =>
        pad(
          x,
          [
            [0, 0],
            [4, 0],
          ],
          { mode: "circular" },
        ),
      ).toThrow(/at most 3/);
      expect(() => pad(core.zeros([0]), [[1, 0]], { mode: "replicate" })).toThrow(core.ShapeError);
      expect(() =>
        pad(
          x,
          [
            [0, 0],
            [-1, 0],
          ],
          { mode: "replicate" },
        ),
      ).toThrow(core.OptionError);
      expect(() =>
        pad(
          x,
          [
            [0, 0],
            [1, 0],
          ],
          { mode: "mirror" as never },
        ),
      ).toThrow(/"reflect"/);
      expect(() =>
        pad(
          x,
          [
            [0, 0],
            [1, 0],
          ],
          { mode: "reflect", value: 1 },
        ),
      ).toThrow(/value goes with mode "constant"/);
      expect(() => pad(tensorOf([1], [1], "i32"), [[1, 0]], { value: 0.5 })).toThrow(core.OptionError);
      expect(() =>
        pad(x, [
          [0, 0],
          [0.5, 0],
        ]),
      ).toThrow(core.OptionError);
    }),
  );
});

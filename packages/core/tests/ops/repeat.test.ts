import * as fc from "fast-check";
import { beforeAll, describe, expect, it } from "vitest";
import * as core from "../../src/index.ts";
import { examples, lay, layouts, scoped, setUp, tensorOf, valuesOf } from "./helper.ts";

const { diag, diagonal, repeatInterleave, roll, tensor, tile, trace } = core;

const WIDE = { dtype: "f64" } as const;

/** Values of a tensor of a shape where each is a function of its position. */
function built(shape: readonly number[], value: (position: readonly number[]) => number): number[] {
  const count = shape.reduce((product, size) => product * size, 1);
  return Array.from({ length: count }, (_, at) => {
    let rest = at;
    const position = shape.map(() => 0);
    for (let axis = shape.length - 1; axis >= 0; axis--) {
      position[axis] = rest % shape[axis]!;
      rest = Math.floor(rest / shape[axis]!);
    }
    return value(position);
  });
}

const flatAt = (shape: readonly number[], position: readonly number[]): number =>
  position.reduce((sum, at, axis) => sum * shape[axis]! + at, 0);

beforeAll(setUp);

describe("tile, repeatInterleave, roll", () => {
  it("are their definitions, of any layout", () => {
    const cases = fc.array(fc.integer({ min: 1, max: 4 }), { minLength: 1, maxLength: 3 }).chain((shape) =>
      fc.record({
        shape: fc.constant(shape),
        choice: layouts(shape.length),
        counts: fc.array(fc.nat(3), { minLength: shape.length, maxLength: shape.length }),
        axis: fc.integer({ min: 0, max: shape.length - 1 }),
        shift: fc.integer({ min: -9, max: 9 }),
        seed: fc.nat(1000),
      }),
    );
    fc.assert(
      fc.property(cases, ({ shape, choice, counts, axis, shift, seed }) => {
        scoped(() => {
          const { view } = lay(shape, choice, seed, "f32");
          const values = valuesOf(view);
          const read = (position: readonly number[]): number => values[flatAt(shape, position)]!;

          const tiled = shape.map((size, i) => size * counts[i]!);
          const wrapped = built(tiled, (position) => read(position.map((at, i) => at % shape[i]!)));
          expect(valuesOf(tile(view, counts))).toEqual(wrapped);
          expect(tile(view, counts).shape).toEqual(tiled);

          const count = counts[0]!;
          const longer = shape.map((size, i) => (i === axis ? size * count : size));
          const each = built(longer, (position) =>
            read(position.map((at, i) => (i === axis ? Math.floor(at / count) : at))),
          );
          expect(valuesOf(repeatInterleave(view, count, { axis }))).toEqual(each);
          const same = new Array<number>(shape[axis]!).fill(count);
          expect(valuesOf(repeatInterleave(view, same, { axis }))).toEqual(each);

          const size = shape[axis]!;
          const moved = built(shape, (position) =>
            read(position.map((at, i) => (i === axis ? (((at - shift) % size) + size) % size : at))),
          );
          expect(valuesOf(roll(view, { shifts: shift, axis }))).toEqual(moved);
        })();
      }),
      examples(200),
    );
  });

  it("have right gradients to second order", async () => {
    const x = tensor(
      [
        [0.5, -1.5, 1.25],
        [1.75, 0.25, -0.75],
      ],
      WIDE,
    );
    const cube = (y: core.Tensor): core.Tensor => core.mul(y, core.square(y));
    await core.gradcheck((y) => tile(cube(y), [2, 1, 2]), [x], { order: 2 });
    await core.gradcheck((y) => repeatInterleave(cube(y), [2, 0, 1], { axis: 1 }), [x], { order: 2 });
    await core.gradcheck((y) => repeatInterleave(cube(y), 2), [x], { order: 2 });
    await core.gradcheck((y) => roll(cube(y), { shifts: [1, -1], axis: [0, 1] }), [x], { order: 2 });
  });

  it(
    "take scalars and empty tensors",
    scoped(() => {
      expect(valuesOf(tile(tensor(3), [2]))).toEqual([3, 3]);
      expect(tile(core.zeros([0, 2]), [2, 2]).shape).toEqual([0, 4]);
      expect(tile(tensor([1, 2]), [0]).shape).toEqual([0]);
      expect(valuesOf(repeatInterleave(tensor(3), 2))).toEqual([3, 3]);
      expect(repeatInterleave(core.zeros([0]), []).shape).toEqual([0]);
      expect(repeatInterleave(tensor([1, 2]), [0, 0], { axis: 0 }).shape).toEqual([0]);
      expect(roll(tensor(3), { shifts: 2 }).itemSync()).toBe(3);
      expect(roll(core.zeros([0, 2]), { shifts: 1, axis: 0 }).shape).toEqual([0, 2]);
      expect(valuesOf(roll(tensorOf([1, 2, 3], [3], "i32"), { shifts: 0 }))).toEqual([1, 2, 3]);
    }),
  );

  it(
    "refuse what does not fit",
    scoped(() => {
      const x = tensor([[1, 2, 3]]);
      expect(() => tile(x, [-1])).toThrow(core.OptionError);
      expect(() => repeatInterleave(x, [1, 2], { axis: 1 })).toThrow(
        /2 counts for 3 elements of dimension 1/,
      );
      expect(() => repeatInterleave(x, 1.5)).toThrow(core.OptionError);
      expect(() => repeatInterleave(x, 1, { dim: 0 } as never)).toThrow(core.OptionError);
      expect(() => roll(x, { shifts: [1, 2], axis: 1 })).toThrow(/2 shifts for 1 axes/);
      expect(() => roll(x, { shifts: [1, 2] })).toThrow(/which takes 1/);
      expect(() => roll(x, {} as never)).toThrow(core.OptionError);
      expect(() => roll(x, { shifts: 1, axis: 2 })).toThrow(core.IndexError);
    }),
  );
});

describe("diag, diagonal, trace", () => {
  it("look at the memory of a matrix of any layout", () => {
    const cases = fc.tuple(fc.integer({ min: 1, max: 4 }), fc.integer({ min: 1, max: 4 })).chain((shape) =>
      fc.record({
        shape: fc.constant(shape),
        choice: layouts(2),
        offset: fc.integer({ min: -4, max: 4 }),
        seed: fc.nat(1000),
      }),
    );
    fc.assert(
      fc.property(cases, ({ shape, choice, offset, seed }) => {
        scoped(() => {
          const { view } = lay(shape, choice, seed, "f32");
          const values = valuesOf(view);
          const [rows, columns] = shape;
          const expected = values.filter((_, at) => (at % columns) - Math.floor(at / columns) === offset);
          const buffers = core.memory().liveBuffers;
          const result = diag(view, { offset });
          expect(core.memory().liveBuffers).toBe(buffers);
          expect(valuesOf(result)).toEqual(expected);
          expect(valuesOf(diagonal(view, { offset: -offset, axis1: 1, axis2: 0 }))).toEqual(expected);
          const total = expected.reduce((sum, value) => sum + value, 0);
          if (offset === 0) expect(trace(view).itemSync()).toBeCloseTo(total, 5);
          const matrix = diag(core.flatten(view), { offset });
          const size = rows * columns + Math.abs(offset);
          expect(matrix.shape).toEqual([size, size]);
          expect(valuesOf(diag(matrix, { offset }))).toEqual(values);
          expect(valuesOf(matrix).filter((value) => value !== 0)).toEqual(
            values.filter((value) => value !== 0),
          );
        })();
      }),
      examples(100),
    );
  });

  it("have right gradients to second order", async () => {
    const x = tensor(
      [
        [0.5, -1.5, 1.25],
        [1.75, 0.25, -0.75],
      ],
      WIDE,
    );
    const cube = (y: core.Tensor): core.Tensor => core.mul(y, core.square(y));
    await core.gradcheck((y) => diagonal(cube(y), { offset: 1 }), [x], { order: 2 });
    await core.gradcheck((y) => trace(cube(y)), [x], { order: 2 });
    await core.gradcheck((y) => diag(cube(core.flatten(y)), { offset: -1 }), [x], { order: 2 });
  });

  it(
    "refuse what does not fit",
    scoped(() => {
      expect(() => diag(tensor(1))).toThrow(/vector or a matrix/);
      expect(() => diag(tensor([1]), { offset: 0.5 })).toThrow(core.OptionError);
      expect(() => diagonal(tensor([1]))).toThrow(core.IndexError);
      expect(() => diagonal(tensor([[1]]), { axis1: 1, axis2: -1 })).toThrow(/must differ/);
      expect(() => trace(tensor([1]))).toThrow(core.ShapeError);
    }),
  );
});

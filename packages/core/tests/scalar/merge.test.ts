import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { mergeDimensions, mergeViews } from "../../src/backend/merge.ts";
import { contiguousStrides, contiguousView, makeView } from "../../src/backend/view.ts";

const RUNS = process.env["NF_NIGHTLY"] === "1" ? 10_000 : 300;

/** Positions of all points in row-major order. */
function positions(shape: readonly number[], strides: readonly number[]): number[] {
  let list = [0];
  shape.forEach((size, axis) => {
    list = list.flatMap((at) => Array.from({ length: size }, (_, i) => at + i * (strides[axis] as number)));
  });
  return list;
}

describe("mergeDimensions", () => {
  it("visits the same elements in the same order, for any strides and protected axes", () => {
    const cases = fc.array(fc.integer({ min: 1, max: 4 }), { maxLength: 5 }).chain((shape) => {
      const own = [...contiguousStrides(shape)];
      const strides = fc.oneof(
        fc.constant(own),
        fc.constant(own.map((step) => step * 2)),
        fc.constant(own.map((step) => -step)),
        fc.shuffledSubarray(own, { minLength: own.length, maxLength: own.length }),
        fc.array(fc.integer({ min: -3, max: 3 }), { minLength: own.length, maxLength: own.length }),
        fc
          .array(fc.boolean(), { minLength: own.length, maxLength: own.length })
          .map((still) => own.map((step, i) => (still[i] ? 0 : step))),
      );
      return fc.record({
        shape: fc.constant(shape),
        strides: fc.array(strides, { minLength: 1, maxLength: 3 }),
        kept: fc.subarray([-5, -4, -3, -2, -1]),
      });
    });
    fc.assert(
      fc.property(cases, ({ shape, strides, kept }) => {
        const merged = mergeDimensions(shape, strides, kept);
        expect(merged.shape.length).toBeGreaterThanOrEqual(1);
        strides.forEach((list, view) => {
          expect(positions(merged.shape, merged.strides[view] as readonly number[])).toEqual(
            positions(shape, list),
          );
        });
        kept.forEach((axis, i) => {
          const size = shape[shape.length + axis] ?? 1;
          const dimension = merged.dimensions[i] as number;
          if (size === 1) {
            expect(dimension).toBe(-1);
            return;
          }
          // The coordinate along the axis is the counter of that dimension.
          const unit = shape.map((_, a) => (a === shape.length + axis ? 1 : 0));
          const mergedUnit = merged.shape.map((_, d) => (d === dimension ? 1 : 0));
          expect(positions(merged.shape, mergedUnit)).toEqual(positions(shape, unit));
        });
        if (merged.shape.length > 1) expect(merged.shape).not.toContain(1);
      }),
      { numRuns: RUNS },
    );
  });

  it("merges as far as all views allow", () => {
    expect(
      mergeDimensions(
        [2, 3, 4],
        [
          [12, 4, 1],
          [12, 4, 1],
        ],
      ),
    ).toEqual({ shape: [24], strides: [[1], [1]], dimensions: [] });
    expect(
      mergeDimensions(
        [2, 3, 4],
        [
          [12, 4, 1],
          [0, 4, 1],
        ],
      ),
    ).toEqual({
      shape: [2, 12],
      strides: [
        [12, 1],
        [0, 1],
      ],
      dimensions: [],
    });
    expect(
      mergeDimensions(
        [2, 3, 4],
        [
          [12, 4, 1],
          [0, 0, 0],
        ],
      ),
    ).toEqual({ shape: [24], strides: [[1], [0]], dimensions: [] });
    expect(mergeDimensions([2, 1, 4], [[4, 99, 1]])).toEqual({ shape: [8], strides: [[1]], dimensions: [] });
    expect(mergeDimensions([2, 3, 4], [[12, 4, 1]], [-2])).toEqual({
      shape: [2, 3, 4],
      strides: [[12, 4, 1]],
      dimensions: [1],
    });
    expect(mergeDimensions([], [[], []], [-1])).toEqual({
      shape: [1],
      strides: [[1], [1]],
      dimensions: [-1],
    });
  });
});

describe("mergeViews", () => {
  it("takes gapless views for one dimension", () => {
    const buffer = { byteLength: 96 };
    const dense = contiguousView(buffer, "f32", [2, 3, 4]);
    const column = makeView(buffer, "f32", [2, 3, 4], [1, 0, 2], 0);
    expect(mergeViews([dense], [dense])).toEqual({ shape: [24], strides: [[1], [1]], dimensions: [] });
    expect(mergeViews([column], [dense]).shape).toEqual([2, 3, 4]);
    expect(mergeViews([dense], [dense], [-1])).toEqual({
      shape: [6, 4],
      strides: [
        [4, 1],
        [4, 1],
      ],
      dimensions: [1],
    });
  });
});

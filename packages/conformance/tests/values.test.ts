import { cpu } from "@nf/backend-cpu";
import { DTYPE_NAMES, type DType, Scope, use } from "@nf/core";
import fc from "fast-check";
import { beforeAll, describe, expect, it } from "vitest";
import { allowed, difference, scaleOf } from "../src/compare-values.ts";
import { nmse } from "../src/graphs/graph.ts";
import { decode, elementsOf, encode, layOut } from "../src/kernels/memory.ts";
import { anyLayout, DENSE, LAYOUTS, lay, permutation, settle } from "../src/layout.ts";
import { build, nd } from "../src/reference/nd.ts";
import { erf, erfc, remainder, roundEven, threefry } from "../src/reference/special.ts";
import { Source, seedOf } from "../src/source.ts";
import { roundTo, valuesFor } from "../src/values.ts";

const none = { relative: 0, absolute: 0 };

describe("comparing values", () => {
  it("takes NaN, infinities and zeros for what they are", () => {
    const values = [NaN, Infinity, -Infinity, 0, -0];
    expect(difference(values, values, "f32", none).problem).toBeUndefined();
    expect(difference([0], [-0], "f32", none).problem).toBeUndefined();
    for (const [got, wanted] of [
      [0, NaN],
      [NaN, 0],
      [Infinity, -Infinity],
      [1e38, Infinity],
      [Infinity, 1e38],
    ])
      expect(difference([got!], [wanted!], "f32", { relative: 1, absolute: 1 }).problem).toMatch(
        /at 0: .* instead of/,
      );
  });

  it("allows what the dtype cannot hold, and no more", () => {
    expect(difference([Math.fround(0.1)], [0.1], "f32", none).problem).toBeUndefined();
    expect(difference([0.1], [Math.fround(0.1) + 1e-7], "f32", none).problem).toBeDefined();
    const limit = allowed("rounded", "f32", 1);
    expect(difference([1 + 1.2e-6], [1], "f32", limit).problem).toBeUndefined();
    expect(difference([1 + 1.8e-6], [1], "f32", limit).problem).toMatch(/at 0: 1\.0000018 instead of 1/);
    expect(difference([1, 2], [1], "f32", limit).problem).toBe("2 values instead of 1");
    expect(difference([3], [2], "i32", allowed("summed", "i32", 100)).problem).toBeDefined();
  });

  it("widens by a factor, and scales sums by their largest term", () => {
    expect(allowed("exact", "f32", 1)).toEqual(none);
    expect(allowed("rounded", "f32", 1, 3).relative).toBeCloseTo(3.9e-6, 12);
    expect(allowed("summed", "f32", 1000).absolute).toBeCloseTo(1.3e-3, 9);
    expect(allowed("composed", "f16", 1).relative).toBeCloseTo(4e-3, 9);
    expect(scaleOf([1, -7, Infinity, NaN])).toBe(7);
    expect(scaleOf([], 3)).toBe(3);
  });

  it("measures the share of what is allowed that was used", () => {
    const found = difference([1.5, 2], [1, 2], "f64", { relative: 0, absolute: 1 });
    expect(found).toEqual({ problem: undefined, worst: 0.5, share: 0.5 });
  });

  it("takes a normalised mean square", () => {
    expect(nmse([1, 2], [1, 2])).toBe(0);
    expect(nmse([3, 4.5], [3, 4])).toBeCloseTo(0.01, 12);
    expect(nmse([NaN], [NaN])).toBe(0);
    expect(nmse([NaN], [1])).toBe(Infinity);
    expect(nmse([1], [1, 2])).toBe(Infinity);
  });
});

describe("values", () => {
  it.each(DTYPE_NAMES)("of %s are values of %s", (dtype: DType) => {
    const values = valuesFor({ shape: [200] }, dtype, new Source(1));
    expect(values).toHaveLength(200);
    expect(values.every((value) => Object.is(roundTo(dtype, value), value))).toBe(true);
    expect(decode(dtype, encode(dtype, values))).toEqual(values);
  });

  it("stay clear of joints, are distinct where asked, and repeat with their seed", () => {
    const domain = { low: -1, high: 1, joints: [0, 0.5] };
    const values = valuesFor({ shape: [300], domain }, "f64", new Source(5));
    expect(
      Math.min(...values.flatMap((value) => domain.joints.map((joint) => Math.abs(value - joint)))),
    ).toBeGreaterThanOrEqual(1 / 16);
    expect(valuesFor({ shape: [300], domain }, "f64", new Source(5))).toEqual(values);
    const distinct = valuesFor({ shape: [300], domain: { distinct: true } }, "f32", new Source(5));
    expect(new Set(distinct).size).toBe(300);
    expect(() =>
      valuesFor({ shape: [1], domain: { low: 0, high: 0.01, joints: [0] } }, "f32", new Source(1)),
    ).toThrow(/clear of the joints/);
  });

  it("have a seed of their own for each check", () => {
    expect(seedOf("a", 1)).not.toBe(seedOf("b", 1));
    expect(seedOf("a", 1)).not.toBe(seedOf("a", 2));
  });
});

describe("layouts", () => {
  beforeAll(async () => {
    await use(cpu());
  });

  it("hold the same values as tensors, whatever lies between them", async () => {
    const shape = fc.array(fc.integer({ min: 1, max: 4 }), { maxLength: 5 });
    await fc.assert(
      fc.asyncProperty(shape, anyLayout, async (sizes, layout) => {
        let next = 0;
        const values = settle(
          build(sizes, () => next++),
          layout,
        );
        const scope = new Scope();
        try {
          const x = scope.run(() => lay(values, "i32", layout));
          expect([...x.shape]).toEqual(sizes);
          expect([...(await x.data())]).toEqual(values.data);
        } finally {
          scope.dispose();
        }
      }),
      { seed: 3, numRuns: 200 },
    );
  });

  it("are views of each kind", () => {
    const scope = new Scope();
    const strides = (name: string): readonly number[] =>
      scope.run(() =>
        lay(
          nd(
            [3, 4],
            Array.from({ length: 12 }, () => 1),
          ),
          "f32",
          LAYOUTS[name]!,
        ),
      ).view.strides;
    expect(strides("contiguous")).toEqual([4, 1]);
    expect(strides("sliced")).toEqual([5, 1].map((_, axis) => strides("sliced")[axis]));
    expect(strides("flipped").some((step) => step < 0)).toBe(true);
    expect(strides("stride 0")).toContain(0);
    expect(scope.run(() => lay(nd([3], [1, 2, 3]), "f32", LAYOUTS["offset"]!)).view.offset).toBeGreaterThan(
      0,
    );
    scope.dispose();
  });

  it("lay out kernels' views likewise", async () => {
    const backend = await cpu();
    for (const layout of Object.values(LAYOUTS)) {
      const values = settle(
        build([2, 3], ([i, j]) => 10 * i! + j!),
        layout,
      );
      const { view, memory, buffer } = layOut(backend, "f32", values, layout);
      expect(elementsOf(view, memory).values).toEqual(values.data);
      const read = decode("f32", await backend.read(buffer, 0, memory.length * 4));
      expect(read).toEqual([...memory]);
      backend.free(buffer);
    }
    expect(settle(nd([2], [1, 2]), { ...DENSE, still: 1 }).data).toEqual([1, 1]);
    expect([0, 1, 2, 3, 4, 5].map((number) => permutation(3, number).join("")).sort()).toEqual([
      "012",
      "021",
      "102",
      "120",
      "201",
      "210",
    ]);
    await backend.dispose();
  });
});

describe("references", () => {
  it("know points of the special functions", () => {
    expect(erf(1)).toBeCloseTo(0.8427007929497149, 14);
    expect(erfc(3) / 2.209049699858544e-5).toBeCloseTo(1, 12);
    expect([0.5, 1.5, 2.5, -0.5, -1.5].map(roundEven).map((one) => one + 0)).toEqual([0, 2, 2, 0, -2]);
    expect([remainder(-1, 3), remainder(1, -3), remainder(6, 3)]).toEqual([2, -2, 0]);
    expect(threefry([0x13198a2e, 0x03707344], [0x243f6a88, 0x85a308d3])).toEqual([0xc4923a9c, 0x483df7a0]);
  });
});

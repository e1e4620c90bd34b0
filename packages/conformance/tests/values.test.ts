import { cpu } from "@nf/backend-cpu";
import { DTYPE_NAMES, DTYPES, type DType, isInteger, Scope, use } from "@nf/core";
import fc from "fast-check";
import { beforeAll, describe, expect, it } from "vitest";
import { allowed, allowedMovement, allowedRoundings, difference, scaleOf } from "../src/compare-values.ts";
import { movementOf, type Point } from "../src/evaluate.ts";
import { nmse } from "../src/graphs/graph.ts";
import { decode, elementsOf, encode, layOut } from "../src/kernels/memory.ts";
import { anyLayout, DENSE, LAYOUTS, lay, permutation, settle } from "../src/layout.ts";
import type { Domain, Instance } from "../src/model.ts";
import { multiplyIn } from "../src/reference/integers.ts";
import { build, matmul, nd } from "../src/reference/nd.ts";
import { erf, erfc, remainder, roundEven, threefry } from "../src/reference/special.ts";
import { Source, seedOf } from "../src/source.ts";
import { CORNERS, roundTo, valuesFor } from "../src/values.ts";

const none = { relative: 0, absolute: 0 };

describe("comparing values", () => {
  it("takes NaN, infinities and zeros for what they are", () => {
    const values = [NaN, Infinity, -Infinity, 0, -0];
    expect(difference(values, values, "f32", none).problem).toBeUndefined();
    expect(difference([0], [-0], "f32", none).problem).toBeUndefined();
    const signed = { ...none, signedZeros: true };
    expect(difference([0], [-0], "f32", signed).problem).toBe("at 0: 0 instead of -0");
    expect(difference([-0], [0], "f32", signed).problem).toBe("at 0: -0 instead of 0");
    expect(difference([0], [-0], "i32", signed).problem).toBeUndefined();
    expect(difference(values, values, "f32", signed).problem).toBeUndefined();
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

  it("widens by a factor, and 16-bit floats between kernels", () => {
    expect(allowed("exact", "f32", 1)).toEqual(none);
    expect(allowed("rounded", "f32", 1, 3).relative).toBeCloseTo(3.9e-6, 12);
    expect(allowed("rounded", "f32", 1000).absolute).toBe(2 ** -126);
    expect(allowed("summed", "f32", 0).absolute).toBe(2 ** -126);
    expect(allowed("summed", "f32", 1000).absolute).toBeCloseTo(1.3e-3, 9);
    expect(allowed("composed", "f32", 1).relative).toBe(1.3e-6);
    expect(allowed("composed", "f16", 1).relative).toBeCloseTo(4e-3, 9);
    // What is exact stays so.
    expect(allowed("exact", "f32", 1, 3)).toEqual(none);
    // A single kernel rounds: being off by a step is too much.
    expect(allowed("rounded", "f16", 1).relative).toBeCloseTo(2 ** -11 + 1.3e-6, 12);
    expect(allowed("summed", "bf16", 0).relative).toBeCloseTo(2 ** -8 + 1.3e-6, 12);
    expect(allowedRoundings("summed", "f16", 2)).toBe(2 ** -23);
    expect(allowedRoundings("composed", "f16", 2)).toBe(2 ** -8);
    expect(allowedRoundings("exact", "f32", 2)).toBe(0);
    expect([...allowedMovement("summed", "f32", [1, 0], 2)]).toEqual([2.4, 0]);
    expect(scaleOf([1, -7, Infinity, NaN])).toBe(7);
    expect(scaleOf([], 3)).toBe(3);
  });

  it("allows each element what it moves by, and no more", () => {
    const operands = [{ shape: [4] }];
    const instance: Instance = {
      label: "a sum that cancels, and its terms",
      operands,
      run: () => [],
      reference: ([x]) => [nd([], [x!.data.reduce((a, b) => a + b)]), x!],
    };
    const point: Point = { instance, dtype: "f32", inputs: [nd([4], [1, -1, 1e-3, 0])], layouts: [] };
    const [sum, terms] = movementOf(point);
    // Two terms of size 1 each move by 2^-24, one way or the other.
    expect(sum![0]).toBeGreaterThan(2 ** -24);
    expect(sum![0]).toBeLessThan(2 ** -23);
    expect(terms![0]! / 2 ** -24).toBeCloseTo(1, 6);
    expect(terms![2]! / 2 ** -24).toBeCloseTo(1e-3, 9);
    expect(terms![3]).toBe(0);
    const longer = movementOf({ ...point, instance: { ...instance, chain: 9 } });
    expect(longer[0]![0]).toBeCloseTo(3 * sum![0]!, 12);
    const half = movementOf({ ...point, dtype: "f16", instance: { ...instance, chain: 9 } });
    expect(half[1]![0]! / 2 ** -11).toBeCloseTo(1, 6);
    const limit = { relative: 0, absolute: 0, elements: [1e-3, 0] };
    expect(difference([1e-3, 0], [0, 0], "f32", limit).problem).toBeUndefined();
    expect(difference([0, 1e-3], [0, 0], "f32", limit).problem).toMatch(/^at 1/);
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

  const WHOLE = DTYPE_NAMES.filter(isInteger);

  it.each(WHOLE)("of %s are small, about 2^24, at the limits and anywhere between", (dtype) => {
    const [least, greatest] = DTYPES[dtype].range!;
    const operands = Array.from({ length: 40 }, (_, i) => valuesFor({ shape: [60] }, dtype, new Source(i)));
    const all = new Set(operands.flat());
    for (const value of [least, least + 1, greatest - 1, greatest, 0, 1, 6]) expect(all).toContain(value);
    const quarters = [...all].map((value) => Math.floor((4 * (value - least)) / (greatest - least + 1)));
    expect([...new Set(quarters)].sort()).toEqual([0, 1, 2, 3]);
    expect(operands.some((values) => values.every((value) => Math.abs(value) <= 6))).toBe(true);
    if (greatest > 2 ** 24) expect(all).toContain(2 ** 24 + 1);
    if (dtype === "u32") expect(all).toContain(2 ** 31);
  });

  it.each(WHOLE)("of %s keep to what a domain says", (dtype) => {
    const [least, greatest] = DTYPES[dtype].range!;
    const draw = (domain: Domain, seed = 1, length = 200): readonly number[] =>
      valuesFor({ shape: [length], domain }, dtype, new Source(seed));
    const bounded = draw({ integers: [-3, 5] });
    expect(Math.min(...bounded)).toBe(Math.max(-3, least));
    expect(Math.max(...bounded)).toBe(5);
    const seeds = Array.from({ length: 20 }, (_, i) => i);
    expect(seeds.some((seed) => draw({}, seed).includes(0))).toBe(true);
    expect(seeds.some((seed) => draw({ nonzero: true }, seed).includes(0))).toBe(false);
    expect(seeds.some((seed) => draw({ odd: true }, seed).every((value) => value % 2 !== 0))).toBe(true);
    for (const seed of seeds) expect(new Set(draw({ distinct: true }, seed)).size).toBe(200);
    expect(new Set(draw({ distinct: true }, 1, 300)).size).toBe(Math.min(300, greatest - least + 1));
    const corners = draw({ integers: "corners" }, 1, CORNERS);
    expect(corners).toEqual(draw({ integers: "corners" }, 2, CORNERS));
    expect(new Set(draw({ integers: "close" }))).toEqual(new Set(corners));
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
  it("multiply integers to the last bit, wrapped around", () => {
    const source = new Source(7);
    for (let i = 0; i < 2000; i++) {
      const [a, b, c, d] = [source.bits(), source.bits(), source.bits(), source.bits()].map((x) => x | 0);
      const exact = BigInt(a!) * BigInt(c!) + BigInt(b!) * BigInt(d!);
      const [got] = matmul(nd([1, 2], [a!, b!]), nd([2, 1], [c!, d!]), multiplyIn("i32")).data;
      expect(roundTo("i32", got!)).toBe(Number(BigInt.asIntN(32, exact)));
      const [unsigned] = matmul(
        nd([1, 2], [a! >>> 0, b! >>> 0]),
        nd([2, 1], [c! >>> 0, d! >>> 0]),
        multiplyIn("u32"),
      ).data;
      expect(roundTo("u32", unsigned!)).toBe(Number(BigInt.asUintN(32, exact)));
      expect(roundTo("i8", got!)).toBe(Number(BigInt.asIntN(8, exact)));
    }
    expect(multiplyIn("f32")(0.5, 3)).toBe(1.5);
  });

  it("know points of the special functions", () => {
    expect(erf(1)).toBeCloseTo(0.8427007929497149, 14);
    expect(erfc(3) / 2.209049699858544e-5).toBeCloseTo(1, 12);
    expect([0.5, 1.5, 2.5, -0.5, -1.5].map(roundEven).map((one) => one + 0)).toEqual([0, 2, 2, 0, -2]);
    expect([remainder(-1, 3), remainder(1, -3), remainder(6, 3)]).toEqual([2, -2, 0]);
    expect(threefry([0x13198a2e, 0x03707344], [0x243f6a88, 0x85a308d3])).toEqual([0xc4923a9c, 0x483df7a0]);
  });
});

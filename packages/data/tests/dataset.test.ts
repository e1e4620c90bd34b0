import fc from "fast-check";
import { describe, expect, it } from "vitest";
import {
  ArrayDataset,
  collate,
  concatDatasets,
  type Dataset,
  int32,
  mapDataset,
  NdArray,
  randomSplit,
  subset,
  toTensors,
} from "../src/index.ts";

const numbers = (length: number): Dataset<number> => ({
  length,
  get: (index) => index,
  name: "n",
  source: "counting",
});
const drain = async <T>(dataset: Dataset<T>): Promise<T[]> => {
  const items: T[] = [];
  for (let i = 0; i < dataset.length; i++) items.push(await dataset.get(i));
  return items;
};
const code = (value: string): unknown => expect.objectContaining({ code: value });

describe("NdArray", () => {
  it("refuses a shape that does not fit", () => {
    expect(() => new NdArray(new Float32Array(5), [2, 3])).toThrow(code("NF_SHAPE"));
    expect(() => new NdArray(new Float32Array(2), [-1, -2])).toThrow(code("NF_SHAPE"));
    expect(new NdArray(new Float32Array(1), []).shape).toEqual([]);
  });

  it("int32 makes integer scalars and nothing else", () => {
    expect(int32(-3)).toEqual(new NdArray(Int32Array.of(-3), []));
    for (const value of [0.5, 2 ** 31, Number.NaN]) expect(() => int32(value)).toThrow(code("NF_DATA"));
  });
});

describe("ArrayDataset", () => {
  const dataset = new ArrayDataset({
    x: new NdArray(Float64Array.of(1, 2, 3, 4, 5, 6), [3, 2]),
    y: Uint8Array.of(7, 8, 9),
  });

  it("gives rows, and scalars of one-dimensional columns", () => {
    expect(dataset.length).toBe(3);
    expect(dataset.get(1)).toEqual({
      x: new NdArray(Float64Array.of(3, 4), [2]),
      y: new NdArray(Uint8Array.of(8), []),
    });
  });

  it("gives batches that equal stacked rows", () => {
    const indices = [2, 0, 2];
    expect(dataset.getBatch(indices)).toEqual(collate(indices.map((index) => dataset.get(index))));
    expect(dataset.getBatch(indices)).toEqual({
      x: new NdArray(Float32Array.of(5, 6, 1, 2, 5, 6), [3, 2]),
      y: new NdArray(Int32Array.of(9, 7, 9), [3]),
    });
  });

  it("refuses columns that do not fit, and indices out of range", () => {
    expect(() => new ArrayDataset({})).toThrow(code("NF_DATA"));
    expect(() => new ArrayDataset({ a: new Float32Array(2), b: new Float32Array(3) })).toThrow(
      /a \[2\], b \[3\]/,
    );
    for (const index of [-1, 3, 0.5, Number.NaN]) {
      expect(() => dataset.get(index)).toThrow(code("NF_INDEX"));
      expect(() => dataset.getBatch([index])).toThrow(code("NF_INDEX"));
    }
  });
});

describe("collate", () => {
  it("stacks nested items by their form", () => {
    const batch = collate([
      { pair: [1, "a"], ids: Uint16Array.of(1, 2), deep: { label: int32(3) } },
      { pair: [0.5, "b"], ids: Uint16Array.of(3, 4), deep: { label: int32(4) } },
    ]);
    expect(batch).toEqual({
      pair: [new NdArray(Float32Array.of(1, 0.5), [2]), ["a", "b"]],
      ids: new NdArray(Int32Array.of(1, 2, 3, 4), [2, 2]),
      deep: { label: new NdArray(Int32Array.of(3, 4), [2]) },
    });
  });

  it("keeps a key named __proto__ a key", () => {
    const item: Record<string, number> = JSON.parse('{ "__proto__": 1 }');
    const batch = collate([item]);
    expect(Object.keys(batch)).toEqual(["__proto__"]);
    expect(Object.getPrototypeOf(batch)).toBe(Object.prototype);
  });

  it.each<[string, unknown[], RegExp]>([
    ["nothing", [], /no items/],
    [
      "shapes that differ",
      [{ x: new Float32Array(2) }, { x: new Float32Array(3) }],
      /item\.x .*element 1 has shape \[3\].*\[2\]/,
    ],
    [
      "forms that differ",
      [{ x: 1 }, { y: 1 }],
      /element 1 is an object with y, the first is an object with x/,
    ],
    ["tuples of other lengths", [[1], [1, 2]], /an array of 2, the first is an array of 1/],
    ["kinds that differ", ["a", 1], /element 1 is 1, the first is string/],
    ["undefined", [undefined], /is undefined/],
    ["a boolean", [true], /is boolean/],
    ["dates", [{ at: new Date() }], /item\.at is Date/],
    ["64-bit integers", [BigInt64Array.of(1n)], /BigInt64Array/],
    ["unsigned values beyond i32", [Uint32Array.of(2 ** 31)], /2147483648 does not fit/],
  ])("refuses %s and says where", (_, items, message) => {
    expect(() => collate(items)).toThrow(message);
    expect(() => collate(items)).toThrow(code("NF_DATA"));
  });
});

describe("views of datasets", () => {
  it("mapDataset computes items when asked, also of promises", async () => {
    const asked: number[] = [];
    const later: Dataset<number> = { length: 3, get: async (index) => index * 10 };
    const mapped = mapDataset(later, (item, index) => {
      asked.push(index);
      return item + index;
    });
    expect(asked).toEqual([]);
    expect(await mapped.get(2)).toBe(22);
    expect(asked).toEqual([2]);
    expect(mapDataset(numbers(2), (item) => item + 1).get(1)).toBe(2);
  });

  it("subset picks in the order given and keeps fast batches and the source", () => {
    const dataset = new ArrayDataset({ x: Float32Array.of(0, 10, 20, 30) });
    const part = subset(subset(dataset, [3, 1, 2]), [2, 0]);
    expect(part.length).toBe(2);
    expect(part.getBatch?.([0, 1])).toEqual({ x: new NdArray(Float32Array.of(20, 30), [2]) });
    expect(subset(numbers(3), [1])).toMatchObject({ name: "n", source: "counting", length: 1 });
    expect(subset(numbers(3), [1]).getBatch).toBeUndefined();
    expect(() => subset(dataset, [4])).toThrow(code("NF_INDEX"));
    expect(() => part.get(2)).toThrow(code("NF_INDEX"));
  });

  it("concatDatasets appends", async () => {
    const both = concatDatasets([numbers(2), numbers(0), numbers(3)]);
    expect(await drain(both)).toEqual([0, 1, 0, 1, 2]);
    expect(() => both.get(5)).toThrow(code("NF_INDEX"));
  });

  it("concatDatasets stacks batches as its parts do, each row at its place", async () => {
    const part = (start: number, length: number) => {
      const x = Float32Array.from({ length: 2 * length }, (_, i) => 10 * start + i);
      const rows = new ArrayDataset({
        x: new NdArray(x, [length, 2]),
        y: Int32Array.from({ length }, (_, i) => start + i),
      });
      const dataset: Dataset<{ pair: [{ x: NdArray }, NdArray]; text: string }> = {
        length,
        get: () => expect.unreachable("a batch was asked for item by item"),
        getBatch: (indices) => {
          const { x: values, y } = rows.getBatch(indices);
          return { pair: [{ x: values }, y], text: indices.map((index) => `${start + index}`) };
        },
      };
      return dataset;
    };
    const both = concatDatasets([part(0, 2), part(50, 0), part(2, 3)]);
    expect(await both.getBatch?.([3, 0, 4, 1, 3])).toEqual({
      pair: [
        { x: new NdArray(Float32Array.of(22, 23, 0, 1, 24, 25, 2, 3, 22, 23), [5, 2]) },
        new NdArray(Int32Array.of(3, 0, 4, 1, 3), [5]),
      ],
      text: ["3", "0", "4", "1", "3"],
    });
    expect(await both.getBatch?.([2])).toMatchObject({ text: ["2"] });
    await expect(both.getBatch?.([5])).rejects.toEqual(code("NF_INDEX"));
    await expect(both.getBatch?.([])).rejects.toEqual(code("NF_DATA"));
    const arrays = (x: Float32Array | Int32Array, shape: number[]) =>
      new ArrayDataset({ x: new NdArray<Float32Array | Int32Array>(x, shape) });
    const flat = arrays(Float32Array.of(1, 2), [2]);
    for (const other of [arrays(Int32Array.of(1), [1]), arrays(Float32Array.of(1, 2), [1, 2])])
      await expect(concatDatasets([flat, other]).getBatch?.([0, 2])).rejects.toThrow(
        /batch\.x of one dataset is .*first is floats with rows of \[\]/,
      );
    expect(concatDatasets([flat, { length: 1, get: () => flat.get(0) }]).getBatch).toBeUndefined();
  });

  it("concatDatasets refuses a batch that has not one row for each item, whichever parts it comes from", async () => {
    const other = (batch: unknown): Dataset<unknown> => ({
      length: 2,
      get: () => expect.unreachable("a batch was asked for item by item"),
      getBatch: () => batch as never,
    });
    const x = (...shape: number[]) => ({
      x: new NdArray(new Float32Array(shape.reduce((a, b) => a * b, 1)), shape),
    });
    const one = other(x(1, 3));
    for (const [batch, message] of [
      [x(1, 3), /asked for 2 items, and batch\.x has 1 rows/],
      [x(3, 3), /asked for 2 items, and batch\.x has 3 rows/],
      [x(), /batch\.x has one value for all of them/],
      [{ x: [["one"]] }, /batch\.x\[0\] has 1 rows/],
    ] as const) {
      const both = concatDatasets([other(batch), one]);
      for (const draw of [
        [0, 1],
        [0, 2, 1],
      ])
        await expect(both.getBatch?.(draw)).rejects.toThrow(message);
    }
  });

  it("randomSplit loses and repeats nothing, for counts and fractions", async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.nat(60),
        fc.double({ min: 0, max: 1, noNaN: true }),
        fc.nat(),
        async (length, part, seed) => {
          const count = Math.floor(length * part);
          for (const lengths of [
            [count, length - count],
            [part, 1 - part],
          ]) {
            const parts = randomSplit(numbers(length), lengths, { seed });
            const items = (await Promise.all(parts.map(drain))).flat();
            expect(items.sort((a, b) => a - b)).toEqual(Array.from({ length }, (_, i) => i));
            expect(Math.abs((parts[0]?.length ?? 0) - length * part)).toBeLessThanOrEqual(1);
          }
        },
      ),
    );
  });

  it("randomSplit is reproducible and refuses lengths that do not add up", async () => {
    const first = await drain(randomSplit(numbers(20), [15, 5], { seed: 3 })[0] as Dataset<number>);
    expect(await drain(randomSplit(numbers(20), [15, 5], { seed: 3 })[0] as Dataset<number>)).toEqual(first);
    expect(await drain(randomSplit(numbers(20), [15, 5], { seed: 4 })[0] as Dataset<number>)).not.toEqual(
      first,
    );
    expect(randomSplit(numbers(1), [1])).toHaveLength(1);
    for (const lengths of [[15, 6], [0.5, 0.6], [-1, 21], [Number.NaN]]) {
      expect(() => randomSplit(numbers(20), lengths)).toThrow(code("NF_OPTION"));
    }
    expect(() => randomSplit(numbers(2), [1, 1], Object.assign({ seed: 1 }, { sed: 1 }))).toThrow(
      code("NF_OPTION"),
    );
  });
});

describe("toTensors", () => {
  it("leaves what is no array alone", () => {
    expect(toTensors({ texts: ["a"], count: 3, none: null })).toEqual({ texts: ["a"], count: 3, none: null });
  });
});

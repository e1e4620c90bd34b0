import { cpu } from "@nf/backend-cpu";
import { type Tensor, use } from "@nf/core";
import fc from "fast-check";
import { beforeAll, describe, expect, expectTypeOf, it } from "vitest";
import { collatePadded, DataLoader, type Dataset, int32, NdArray, padSequences } from "../src/index.ts";

beforeAll(async () => {
  await use(cpu());
});

describe("padSequences", () => {
  it("fills up on the right, with lengths and mask", () => {
    const { values, lengths, mask } = padSequences([[5, 6, 7], [], [8]], { value: 9 });
    expect(values.shape).toEqual([3, 3]);
    expect([...values.data]).toEqual([5, 6, 7, 9, 9, 9, 8, 9, 9]);
    expect([...lengths.data]).toEqual([3, 0, 1]);
    expect([...mask.data]).toEqual([1, 1, 1, 0, 0, 0, 1, 0, 0]);
  });

  it("fills up on the left, to a length or a multiple, and cuts at the padded end", () => {
    const options = { length: 2, truncate: true, side: "left" } as const;
    expect([...padSequences([[1, 2, 3], [4]], options).values.data]).toEqual([2, 3, 0, 4]);
    expect([...padSequences([[1, 2, 3], [4]], { length: 2, truncate: true }).values.data]).toEqual([
      1, 2, 4, 0,
    ]);
    const eight = padSequences([[1, 2, 3]], { multipleOf: 8 });
    expect([eight.values.shape, [...eight.lengths.data]]).toEqual([[1, 8], [3]]);
  });

  it("keeps inner dimensions and the kind of numbers", () => {
    const rows = (count: number): NdArray =>
      new NdArray(
        Float64Array.from({ length: 2 * count }, (_, i) => i),
        [count, 2],
      );
    const { values } = padSequences([rows(1), rows(2)]);
    expect(values.shape).toEqual([2, 2, 2]);
    expect(values.data).toEqual(Float32Array.of(0, 1, 0, 0, 0, 1, 2, 3));
    expect(padSequences([Uint8Array.of(200)]).values.data).toEqual(Int32Array.of(200));
  });

  it("refuses padding that the sequences' kind of numbers cannot hold, and what is no list", () => {
    const option = expect.objectContaining({ code: "NF_OPTION" });
    for (const value of [0.5, 3e9, -3e9]) {
      expect(() => padSequences([[1]], { value })).toThrow(option);
      expect(() => padSequences([[1]], { value })).toThrow(/integers.*i32/);
      expect(padSequences([Float32Array.of(1)], { value, length: 2 }).values.data[1]).toBe(value);
    }
    expect(padSequences([[1]], { value: -(2 ** 31), length: 2 }).values.data[1]).toBe(-(2 ** 31));
    for (const wrong of [undefined, "abc", 3]) {
      const value: unknown = wrong;
      expect(() => padSequences(value as number[][])).toThrow(
        expect.objectContaining({ code: "NF_DATA", message: expect.stringMatching(/list of sequences/) }),
      );
    }
  });

  it("has every sequence where the mask is 1, whatever the options", () => {
    const sequence = fc.array(fc.integer({ min: 1, max: 99 }), { maxLength: 9 });
    const options = fc.record({
      multipleOf: fc.integer({ min: 1, max: 5 }),
      side: fc.constantFrom("left" as const, "right" as const),
    });
    fc.assert(
      fc.property(fc.array(sequence, { minLength: 1, maxLength: 6 }), options, (sequences, chosen) => {
        const { values, lengths, mask } = padSequences(sequences, chosen);
        const [, width = 0] = values.shape;
        expect(width % chosen.multipleOf).toBe(0);
        sequences.forEach((one, row) => {
          const places = [...values.data.subarray(row * width, (row + 1) * width)];
          const own = [...mask.data.subarray(row * width, (row + 1) * width)];
          expect(places.filter((_, place) => own[place] === 1)).toEqual(one);
          expect(places.filter((_, place) => own[place] === 0).every((value) => value === 0)).toBe(true);
          expect(lengths.data[row]).toBe(one.length);
        });
      }),
    );
  });

  it("refuses what does not fit together", () => {
    const data = expect.objectContaining({ code: "NF_DATA" });
    expect(() => padSequences([])).toThrow(data);
    expect(() => padSequences([[1, 2, 3]], { length: 2 })).toThrow(/3 places, more than the length 2/);
    expect(() => padSequences([Int32Array.of(1), Float32Array.of(1)])).toThrow(data);
    expect(() => padSequences([[1], [1.5]])).toThrow(/sequence 1/);
    expect(() => padSequences([int32(3)])).toThrow(data);
    const option = expect.objectContaining({ code: "NF_OPTION" });
    const wrong: object[] = [{ truncate: true }, { side: "both" }, { multipleOf: 0 }, { padding: 1 }];
    for (const options of wrong) expect(() => padSequences([[1]], options)).toThrow(option);
  });
});

describe("collatePadded", () => {
  const items = [
    { ids: [1, 2, 3], label: int32(1), text: "abc" },
    { ids: [4], label: int32(0), text: "d" },
  ];
  const dataset: Dataset<(typeof items)[number]> = {
    length: 2,
    get: (index) => items[index] as (typeof items)[number],
  };

  it("pads the columns it is told, and stacks the others", async () => {
    const loader = new DataLoader(dataset, { batchSize: 2, collate: collatePadded({ ids: { value: 7 } }) });
    for await (const { ids, label, text } of loader) {
      expectTypeOf(ids.values).toEqualTypeOf<Tensor>();
      expect(await ids.values.toArray()).toEqual([
        [1, 2, 3],
        [4, 7, 7],
      ]);
      expect(await ids.lengths.toArray()).toEqual([3, 1]);
      expect(await ids.mask.toArray()).toEqual([
        [1, 1, 1],
        [1, 0, 0],
      ]);
      expect([await label.toArray(), text]).toEqual([
        [1, 0],
        ["abc", "d"],
      ]);
    }
  });

  it("refuses columns that are not there and options it does not know", () => {
    const missing: unknown[] = [{ other: [1] }];
    expect(() => collatePadded({ ids: {} })(missing as { ids: number[] }[])).toThrow(/no column ids/);
    expect(() => collatePadded({})).toThrow(expect.objectContaining({ code: "NF_OPTION" }));
    const wrong: object = { fill: 3 };
    expect(() => collatePadded({ ids: wrong })).toThrow(/unknown option "fill"/);
  });
});

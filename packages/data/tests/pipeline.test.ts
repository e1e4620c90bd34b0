import fc from "fast-check";
import { describe, expect, expectTypeOf, it } from "vitest";
import {
  ArrayDataset,
  BatchSampler,
  batchDataset,
  collate,
  concatDatasets,
  type Dataset,
  filterDataset,
  type IterableDataset,
  iterableDataset,
  mapDataset,
  type NdArray,
  randomSplit,
  repeatDataset,
  StratifiedSampler,
  shuffleDataset,
  subset,
  takeDataset,
  trainTestSplit,
  WeightedRandomSampler,
  zipDatasets,
} from "../src/index.ts";

const numbers = (length: number): Dataset<number> => ({ length, get: (index) => index, name: "numbers" });
const stream = (length: number): IterableDataset<number> =>
  iterableDataset(
    function* (epoch) {
      for (let i = 0; i < length; i++) yield i + 1000 * epoch;
    },
    { name: "stream" },
  );

async function all<Item>(items: Dataset<Item> | AsyncIterable<Item>): Promise<Item[]> {
  const result: Item[] = [];
  if (Symbol.asyncIterator in items) for await (const item of items) result.push(item);
  else for (let index = 0; index < items.length; index++) result.push(await items.get(index));
  return result;
}
const range = (length: number): number[] => Array.from({ length }, (_, index) => index);

describe("iterableDataset", () => {
  it("takes iterables, async iterables, functions of the epoch and datasets", async () => {
    const later = async function* (): AsyncGenerator<number> {
      yield 1;
      yield 2;
    };
    expect(await all(iterableDataset([1, 2]))).toEqual([1, 2]);
    expect(await all(iterableDataset(new Set([1, 2])))).toEqual([1, 2]);
    expect(await all(iterableDataset(later()))).toEqual([1, 2]);
    expect(await all(iterableDataset(later))).toEqual([1, 2]);
    expect(await all(iterableDataset(numbers(3)))).toEqual([0, 1, 2]);
    expect(await all(iterableDataset(stream(2)).epoch(2))).toEqual([2000, 2001]);
    expect(iterableDataset(numbers(3)).name).toBe("numbers");
  });

  it("says when an iterator is begun a second time, instead of giving nothing", async () => {
    const dataset = iterableDataset(
      (function* () {
        yield 1;
      })(),
    );
    expect(await all(dataset)).toEqual([1]);
    await expect(all(dataset)).rejects.toMatchObject({
      code: "NF_DATA",
      message: expect.stringContaining("only once"),
    });
  });

  it("refuses anything else", () => {
    for (const wrong of [3, null, "text", {}]) {
      const value: unknown = wrong;
      expect(() => iterableDataset(value as number[])).toThrow(
        expect.objectContaining({ code: "NF_OPTION" }),
      );
      expect(() => mapDataset(value as number[], (x) => x)).toThrow(
        expect.objectContaining({ code: "NF_OPTION" }),
      );
    }
  });
});

describe("misuse", () => {
  it("is refused with what was expected, before an item is asked for", () => {
    const nothing = undefined as never;
    const calls: readonly (() => unknown)[] = [
      () => mapDataset(numbers(1), nothing),
      () => mapDataset(stream(1), nothing),
      () => filterDataset(stream(1), nothing),
      () => batchDataset(numbers(4), 3, { dropLast: "no" as never }),
      () => batchDataset(stream(4), 3, { dropLast: "no" as never }),
      () => subset(nothing, [0]),
      () => concatDatasets(nothing),
      () => concatDatasets([nothing]),
      () => randomSplit(nothing, [1]),
      () => randomSplit(numbers(2), nothing),
      () => trainTestSplit(nothing),
      () => trainTestSplit(numbers(4), { stratify: null as never }),
      () => trainTestSplit(numbers(4), { stratify: "abab" as never }),
      () => new StratifiedSampler(nothing),
      () => new WeightedRandomSampler(nothing),
      () => new BatchSampler(nothing, { batchSize: 2 }),
    ];
    for (const call of calls) {
      expect(call, String(call)).toThrow(
        expect.objectContaining({ code: "NF_OPTION", message: expect.stringMatching(/expected|must be/) }),
      );
    }
  });
});

describe("both kinds of dataset", () => {
  it("give the same items", async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.nat(20),
        fc.integer({ min: 1, max: 6 }),
        fc.nat(25),
        fc.nat(3),
        fc.boolean(),
        async (length, size, count, times, dropLast) => {
          const same = async <A>(a: Dataset<A> | AsyncIterable<A>, b: AsyncIterable<A>): Promise<A[]> => {
            const items = await all(a);
            expect(await all(b)).toEqual(items);
            return items;
          };
          const square = (x: number, index: number): number => x * x + index;
          const [d, s] = [numbers(length), iterableDataset(range(length))];
          await same(mapDataset(d, square), mapDataset(s, square));
          expect(await same(takeDataset(d, count), takeDataset(s, count))).toHaveLength(
            Math.min(length, count),
          );
          expect(await same(repeatDataset(d, times), repeatDataset(s, times))).toHaveLength(times * length);
          await same(zipDatasets([d, numbers(count)]), zipDatasets([s, numbers(count)]));
          const batches = await same(
            batchDataset(d, size, { dropLast }),
            batchDataset(s, size, { dropLast }),
          );
          expect(batches.flat()).toEqual(range(dropLast ? length - (length % size) : length));
          const even = (x: number): boolean => x % 2 === 0;
          expect(await same(filterDataset(d, even), filterDataset(s, even))).toEqual(
            range(length).filter(even),
          );
        },
      ),
      { numRuns: 40 },
    );
  });

  it("keep their kind and their types", () => {
    expectTypeOf(mapDataset(numbers(1), String)).toEqualTypeOf<Dataset<string>>();
    expectTypeOf(mapDataset(stream(1), String)).toEqualTypeOf<IterableDataset<string>>();
    expectTypeOf(zipDatasets([numbers(1), mapDataset(numbers(1), String)])).toEqualTypeOf<
      Dataset<[number, string]>
    >();
    expectTypeOf(zipDatasets([numbers(1), stream(1)])).toEqualTypeOf<IterableDataset<[number, number]>>();
    const columns = new ArrayDataset({ x: Float32Array.of(1) });
    expectTypeOf(zipDatasets([columns, numbers(1)])).toEqualTypeOf<
      Dataset<[{ readonly x: NdArray }, number]>
    >();
    expect(mapDataset(stream(1), String).name).toBe("stream");
  });

  it("compose, and stack what is batched", async () => {
    const rows = new ArrayDataset({ x: Float32Array.of(1, 2, 3, 4) });
    const stacked = mapDataset(batchDataset(rows, 2), collate);
    expect((await stacked.get(1)).x.data).toEqual(Float32Array.of(3, 4));
  });

  it("are lazy: nothing is read before it is asked for, and nothing behind what is taken", async () => {
    const read: number[] = [];
    const source = iterableDataset(function* () {
      for (let i = 0; ; i++) {
        read.push(i);
        yield i;
      }
    });
    const some = takeDataset(
      filterDataset(
        mapDataset(source, (x) => x * 2),
        (x) => x % 4 === 0,
      ),
      2,
    );
    expect(read).toEqual([]);
    expect(await all(some)).toEqual([0, 4]);
    expect(read).toEqual([0, 1, 2]);
  });

  it("end what they read from when the loop is left", async () => {
    let ended = 0;
    const source = iterableDataset(function* () {
      try {
        for (;;) yield 1;
      } finally {
        ended++;
      }
    });
    for await (const _ of zipDatasets([batchDataset(source, 2), shuffleDataset(source, { buffer: 3 })]))
      break;
    await all(takeDataset(source, 3));
    expect(ended).toBe(3);
  });
});

describe("shuffleDataset", () => {
  it("gives every item once, the same way for the same seed and epoch", async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.nat(40),
        fc.integer({ min: 1, max: 50 }),
        fc.nat(),
        async (length, buffer, seed) => {
          const shuffled = shuffleDataset(iterableDataset(range(length)), { buffer, seed });
          const first = await all(shuffled.epoch(0));
          expect(first.toSorted((a, b) => a - b)).toEqual(range(length));
          expect(await all(shuffled)).toEqual(first);
          // No item comes more than buffer - 1 places early.
          first.forEach((item, place) => {
            expect(item - place).toBeLessThan(buffer);
          });
          const numbered = await all(shuffleDataset(numbers(length), { seed }));
          expect(numbered.toSorted((a, b) => a - b)).toEqual(range(length));
        },
      ),
      { numRuns: 50 },
    );
  });

  it("differs between epochs and seeds, and is fair", async () => {
    const shuffled = (seed: number): IterableDataset<number> =>
      shuffleDataset(iterableDataset(range(30)), { buffer: 30, seed });
    const orders = [shuffled(1).epoch(0), shuffled(1).epoch(1), shuffled(2).epoch(0)].map(all);
    expect(new Set((await Promise.all(orders)).map(String)).size).toBe(3);
    // The first place over many epochs: each of six items about a sixth of the time.
    const six = shuffleDataset(iterableDataset(range(6)), { buffer: 6 });
    const counts = new Array(6).fill(0);
    for (let epoch = 0; epoch < 1200; epoch++)
      for await (const item of takeDataset(six, 6).epoch(epoch)) {
        counts[item]++;
        break;
      }
    for (const count of counts) expect(Math.abs(count - 200)).toBeLessThan(65);
  });

  it("needs a buffer where there are no numbers, and takes none where there are", () => {
    const options: object = {};
    expect(() => shuffleDataset(stream(3), options as { buffer: number })).toThrow(/needs a buffer/);
    const buffer: object = { buffer: 3 };
    expect(() => shuffleDataset(numbers(3), buffer)).toThrow(/unknown option "buffer"/);
    expect(() => shuffleDataset(stream(3), { buffer: 0 })).toThrow(/buffer/);
  });
});

describe("repeatDataset", () => {
  it("makes every time an epoch of its own", async () => {
    expect(await all(takeDataset(repeatDataset(stream(2)), 5))).toEqual([0, 1, 1000, 1001, 2000]);
    expect(await all(repeatDataset(stream(2), 2).epoch(3))).toEqual([6000, 6001, 7000, 7001]);
    const noted: Dataset<number> = { length: 2, get: (index, epoch = 0) => index + 1000 * epoch };
    const repeated = repeatDataset(noted, 2);
    expect(repeated.length).toBe(4);
    expect([0, 1, 2, 3].map((index) => repeated.get(index, 3))).toEqual([6000, 6001, 7000, 7001]);
    expect(() => repeated.get(4)).toThrow(expect.objectContaining({ code: "NF_INDEX" }));
  });

  it("ends where there is nothing to repeat", async () => {
    expect(await all(repeatDataset(iterableDataset([])))).toEqual([]);
  });
});

import { cpu } from "@nf/backend-cpu";
import { use } from "@nf/core";
import fc from "fast-check";
import { beforeAll, describe, expect, it } from "vitest";
import {
  ArrayDataset,
  BatchSampler,
  DataLoader,
  type DataLoaderOptions,
  iterableDataset,
  type NdArray,
  RandomSampler,
  type Sampler,
  SequentialSampler,
  StratifiedSampler,
  shuffleDataset,
  trainTestSplit,
  WeightedRandomSampler,
} from "../src/index.ts";

beforeAll(async () => {
  await use(cpu());
});

const range = (length: number): number[] => Array.from({ length }, (_, index) => index);
const sorted = (values: Iterable<number>): number[] => [...values].sort((a, b) => a - b);
const counting = (length: number): ArrayDataset<{ id: Int32Array }> =>
  new ArrayDataset({ id: Int32Array.from(range(length)) });
const refused = expect.objectContaining({ code: "NF_OPTION" });

async function epoch(loader: DataLoader<{ readonly id: NdArray }>): Promise<number[][]> {
  const batches: number[][] = [];
  for await (const { id } of loader) batches.push([...(await id.data())]);
  return batches;
}

describe("samplers", () => {
  it("give each item once an epoch, the same for the same seed, another way in other epochs", () => {
    fc.assert(
      fc.property(fc.integer({ min: 0, max: 60 }), fc.nat(), fc.nat(1000), (items, seed, number) => {
        const labels = range(items).map((index) => index % 3);
        const make = (): Sampler[] => [
          new SequentialSampler(items),
          new RandomSampler(items, { seed }),
          new StratifiedSampler(labels, { seed }),
          ...(items > 0
            ? [new WeightedRandomSampler(new Array(items).fill(0.1), { replacement: false, seed })]
            : []),
        ];
        const again = make();
        make().forEach((sampler, which) => {
          const order = sampler.indices(number);
          expect(order).toHaveLength(sampler.length);
          expect(sorted(order)).toEqual(range(items));
          expect(again[which]?.indices(number)).toEqual(order);
          expect(again[which]?.key).toBe(sampler.key);
          if (items > 20 && which > 0) expect(sampler.indices(number + 1)).not.toEqual(order);
        });
      }),
      { numRuns: 40 },
    );
  });

  it("draw in proportion to the weights, with replacement", () => {
    const weights = [1, 0, 3, 6];
    const sampler = new WeightedRandomSampler(weights, { samples: 20_000, seed: 4 });
    const counts = [0, 0, 0, 0];
    for (const index of sampler.indices(0)) counts[index]!++;
    expect(counts[1]).toBe(0);
    weights.forEach((weight, index) => {
      expect(Math.abs((counts[index] ?? 0) / 2000 - weight)).toBeLessThan(0.25);
    });
  });

  it("draw in proportion among those left, without", () => {
    // P(first = 1) = 2/3 for weights 1 and 2; the second is then the other.
    const sampler = new WeightedRandomSampler([1, 2, 0], { samples: 2, replacement: false });
    let first = 0;
    for (let number = 0; number < 3000; number++) {
      const order = [...sampler.indices(number)];
      expect(sorted(order)).toEqual([0, 1]);
      if (order[0] === 1) first++;
    }
    expect(Math.abs(first / 3000 - 2 / 3)).toBeLessThan(0.035);
  });

  it("spread classes evenly over batches", () => {
    fc.assert(
      fc.property(
        fc.array(fc.integer({ min: 0, max: 3 }), { minLength: 1, maxLength: 80 }),
        fc.integer({ min: 1, max: 16 }),
        fc.nat(5),
        (labels, batchSize, number) => {
          const order = [...new StratifiedSampler(labels).indices(number)];
          const classes = new Set(labels);
          for (let start = 0; start + batchSize <= order.length; start += batchSize) {
            const batch = order.slice(start, start + batchSize);
            for (const label of classes) {
              const share = labels.filter((one) => one === label).length / labels.length;
              const count = batch.filter((index) => labels[index] === label).length;
              expect(Math.abs(count - share * batchSize)).toBeLessThanOrEqual(
                1 + classes.size * share + 1e-9,
              );
            }
          }
        },
      ),
    );
  });

  it("draw any item with replacement, and fewer without", () => {
    const drawn = new RandomSampler(10, { replacement: true, samples: 5000, seed: 1 }).indices(0);
    for (const item of range(10))
      expect(Math.abs(drawn.filter((one) => one === item).length - 500)).toBeLessThan(120);
    const fewer = new RandomSampler(10, { samples: 4 }).indices(2);
    expect(new Set(fewer).size).toBe(4);
  });

  it("refuse what makes no sense", () => {
    expect(() => new RandomSampler(3, { samples: 4 })).toThrow(refused);
    expect(() => new RandomSampler(0, { samples: 1, replacement: true })).toThrow(refused);
    expect(() => new WeightedRandomSampler([0, 0])).toThrow(refused);
    expect(() => new WeightedRandomSampler([1, -1])).toThrow(refused);
    expect(() => new WeightedRandomSampler([1, Number.NaN])).toThrow(refused);
    expect(() => new WeightedRandomSampler([1, 0], { samples: 2, replacement: false })).toThrow(refused);
    expect(() => new BatchSampler(new SequentialSampler(3), { batchSize: 0 })).toThrow(refused);
    const unknown: object = { seeds: 1 };
    expect(() => new StratifiedSampler([1], unknown)).toThrow(refused);
  });
});

describe("a DataLoader with samplers", () => {
  const weights = range(20).map((index) => 1 + (index % 4));
  const options: readonly DataLoaderOptions<{ readonly id: NdArray }>[] = [
    { batchSize: 3, sampler: new WeightedRandomSampler(weights, { seed: 3 }) },
    { batchSize: 3, sampler: new WeightedRandomSampler(weights, { samples: 7, replacement: false }) },
    { batchSize: 4, dropLast: true, sampler: new StratifiedSampler(weights) },
    { batchSampler: new BatchSampler(new RandomSampler(20), { batchSize: 6, dropLast: true }) },
  ];

  it("hands out what they say, and resumes in the middle of an epoch", async () => {
    for (const chosen of options) {
      const make = (): DataLoader<{ readonly id: NdArray }> => new DataLoader(counting(20), chosen);
      const loader = make();
      const batches: string[] = [];
      const states: string[] = [];
      while (loader.epoch < 2) {
        for await (const { id } of loader) {
          batches.push(String(await id.data()));
          states.push(JSON.stringify(loader.state()));
        }
      }
      expect(batches).toHaveLength(2 * loader.length);
      for (let stop = 0; stop < states.length; stop++) {
        const resumed = make();
        resumed.setState(JSON.parse(states[stop] as string));
        const rest: string[] = [];
        while (resumed.epoch < 2) for await (const { id } of resumed) rest.push(String(await id.data()));
        expect(rest).toEqual(batches.slice(stop + 1));
      }
    }
    const { sampler } = options[2] as { sampler: Sampler };
    const loader = new DataLoader(counting(20), { batchSize: 5, sampler });
    expect((await epoch(loader)).flat()).toEqual([...sampler.indices(0)]);
  });

  it("refuses the state of a loader with another sampler", () => {
    const make = (seed: number): DataLoader<{ readonly id: NdArray }> =>
      new DataLoader(counting(20), { sampler: new RandomSampler(20, { seed }) });
    expect(() => make(1).setState(make(2).state())).toThrow(/sampler was .*seed 2, is .*seed 1/);
    expect(() => make(1).setState(new DataLoader(counting(20)).state())).toThrow(refused);
    expect(() => new DataLoader(counting(20)).setState(make(1).state())).toThrow(refused);
  });

  it("refuses options that the sampler decides, and what is no sampler", () => {
    const sampler = new SequentialSampler(3);
    const batchSampler = new BatchSampler(sampler, { batchSize: 2 });
    const wrong: object[] = [
      { sampler, shuffle: true },
      { sampler, seed: 1 },
      { batchSampler, batchSize: 2 },
      { batchSampler, sampler },
      { batchSampler, dropLast: true },
      { sampler: {} },
      { batchSampler: null },
    ];
    for (const options of wrong) expect(() => new DataLoader(counting(3), options)).toThrow(refused);
  });
});

describe("a sampler that does not keep its word", () => {
  const eight = { length: 8, key: "k", indices: () => Int32Array.from(range(8)) };
  const wrong: readonly (readonly [string, object, RegExp])[] = [
    [
      "fewer indices",
      { batchSize: 3, sampler: { ...eight, indices: () => Int32Array.of(7, 6) } },
      /says 8.*gives 2/,
    ],
    ["more indices", { sampler: { ...eight, length: 2 } }, /says 2.*gives 8/],
    ["a promise", { sampler: { ...eight, indices: async () => [] } }, /at once, got Promise/],
    [
      "an index too large",
      { sampler: { ...eight, indices: () => [0, 1, 2, 3, 4, 5, 6, 9] } },
      /has 9 at place 7/,
    ],
    ["no index", { sampler: { ...eight, indices: () => new Array(8) } }, /has undefined at place 0/],
    ["fewer batches", { batchSampler: { length: 3, key: "k", batches: () => [[6, 7]] } }, /says 3.*gives 1/],
    [
      "an empty batch",
      { batchSampler: { length: 2, key: "k", batches: () => [[1], []] } },
      /batch 1 .*is empty/,
    ],
    ["no list", { batchSampler: { length: 1, key: "k", batches: () => ["0"] } }, /batch 0 .*got string/],
    ["a fraction", { batchSampler: { length: 1, key: "k", batches: () => [[0.5]] } }, /has 0.5 at place 0/],
  ];

  it.each(wrong)("is refused before the first batch: %s", async (_, options, message) => {
    let asked = 0;
    const dataset = { length: 8, get: (index: number) => ({ id: Int32Array.of(asked++ + index) }) };
    const read = async (): Promise<void> => {
      for await (const _ of new DataLoader(dataset, options)) asked++;
    };
    await expect(read()).rejects.toMatchObject({ code: "NF_DATA", message: expect.stringMatching(message) });
    expect(asked).toBe(0);
  });

  it("is refused at once when it does not even say how many, and what it depends on", () => {
    const { length, key, indices } = eight;
    const batches = (): number[][] => [];
    const lacking: object[] = [
      { sampler: { key, indices } },
      { sampler: { length: 1.5, key, indices } },
      { sampler: { length, indices } },
      { batchSampler: { key, batches } },
      { batchSampler: { length, key: 3, batches } },
      { batchSampler: { length, key, indices } },
    ];
    for (const options of lacking) expect(() => new DataLoader(counting(8), options)).toThrow(refused);
  });

  it("may give plain arrays", async () => {
    const indices = JSON.parse("[3, 1, 1]");
    const sampler = { length: 3, key: "k", indices: () => indices };
    const loader = new DataLoader(counting(8), { batchSize: 2, sampler });
    expect(await epoch(loader)).toEqual([[3, 1], [1]]);
  });
});

describe("a DataLoader over an iterable dataset", () => {
  const make = (length: number, prefetch: number): DataLoader<{ id: Int32Array }> => {
    const items = iterableDataset(() =>
      range(length).map((id): { id: Int32Array } => ({ id: Int32Array.of(id) })),
    );
    return new DataLoader(shuffleDataset(items, { buffer: 5, seed: 2 }), { batchSize: 3, prefetch });
  };

  it("gives every item once an epoch, and resumes bit for bit", async () => {
    for (const prefetch of [0, 2]) {
      const loader = make(10, prefetch);
      const batches: number[][] = [];
      const states: string[] = [];
      while (loader.epoch < 2) {
        const before = batches.length;
        for await (const { id } of loader) {
          batches.push([...(await id.data())]);
          states.push(JSON.stringify(loader.state()));
        }
        expect(sorted(batches.slice(before).flat())).toEqual(range(10));
      }
      expect(batches.map(({ length }) => length)).toEqual([3, 3, 3, 1, 3, 3, 3, 1]);
      expect(batches.slice(4)).not.toEqual(batches.slice(0, 4));
      for (let stop = 0; stop < states.length; stop++) {
        const resumed = make(10, prefetch);
        resumed.setState(JSON.parse(states[stop] as string));
        const rest: number[][] = [];
        while (resumed.epoch < 2) for await (const { id } of resumed) rest.push([...(await id.data())]);
        expect(rest).toEqual(batches.slice(stop + 1));
      }
    }
  });

  it("reads a bounded number of items ahead, and ends the source when the loop is left", async () => {
    let read = 0;
    let ended = false;
    const source = iterableDataset(async function* () {
      try {
        for (;;) yield { id: Int32Array.of(read++) };
      } finally {
        ended = true;
      }
    });
    for await (const _ of new DataLoader(source, { batchSize: 2, prefetch: 3 })) {
      await new Promise((resolve) => setTimeout(resolve, 5));
      break;
    }
    expect(read).toBe(8);
    await new Promise((resolve) => setTimeout(resolve, 5));
    expect(ended).toBe(true);
  });

  it("passes errors on, takes async iterables, and has no length", async () => {
    const failing = async function* (): AsyncGenerator<number> {
      yield 1;
      throw new Error("the file ends here");
    };
    const loader = new DataLoader(failing());
    await expect(async () => {
      for await (const _ of loader);
    }).rejects.toThrow("the file ends here");
    expect(() => loader.length).toThrow(expect.objectContaining({ code: "NF_DATA" }));
    for (const options of [{ shuffle: true }, { sampler: new SequentialSampler(3) }])
      expect(() => new DataLoader(iterableDataset([1]), options)).toThrow(/shuffleDataset/);
  });
});

describe("trainTestSplit", () => {
  it("splits without overlap, stratified to within rounding, the same for the same seed", () => {
    fc.assert(
      fc.property(
        fc.array(fc.constantFrom("a", "b", "c"), { minLength: 4, maxLength: 60 }),
        fc.double({ min: 0.2, max: 0.8, noNaN: true }),
        fc.nat(),
        (labels, testSize, seed) => {
          const dataset = { length: labels.length, get: (index: number) => index };
          const { train, test } = trainTestSplit(dataset, { testSize, seed, stratify: labels });
          const items = (part: typeof train): number[] =>
            range(part.length).map((index) => part.get(index) as number);
          expect(sorted([...items(train), ...items(test)])).toEqual(range(labels.length));
          expect(test.length).toBe(Math.round(testSize * labels.length));
          for (const label of new Set(labels)) {
            const total = labels.filter((one) => one === label).length;
            const count = items(test).filter((index) => labels[index] === label).length;
            expect(Math.abs(count - (total * test.length) / labels.length)).toBeLessThan(1);
          }
          expect(items(trainTestSplit(dataset, { testSize, seed, stratify: labels }).test)).toEqual(
            items(test),
          );
        },
      ),
    );
  });

  it("takes a number of items, and refuses what leaves a part empty", () => {
    const dataset = counting(10);
    expect(trainTestSplit(dataset).test.length).toBe(3);
    expect(trainTestSplit(dataset, { testSize: 4 }).train.length).toBe(6);
    for (const testSize of [0, 10, 11, 2.5, 0.01, -1])
      expect(() => trainTestSplit(dataset, { testSize })).toThrow(refused);
    expect(() => trainTestSplit(dataset, { stratify: [1, 2] })).toThrow(refused);
  });
});

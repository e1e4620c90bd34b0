import { cpu } from "@nf/backend-cpu";
import { memory, type Tensor, use } from "@nf/core";
import fc from "fast-check";
import { afterEach, beforeAll, beforeEach, describe, expect, expectTypeOf, it } from "vitest";
import {
  ArrayDataset,
  DataLoader,
  type DataLoaderOptions,
  type DataLoaderState,
  type Dataset,
  embeddedMnist,
  int32,
  NdArray,
} from "../src/index.ts";
import { epochOrder } from "../src/order.ts";

beforeAll(async () => {
  await use(cpu());
});

let before: number;
beforeEach(() => {
  before = memory().liveTensors;
});
// Whatever a test does with its loops, no tensor may be left.
afterEach(() => expect(memory().liveTensors).toBe(before));

const counting = (length: number): ArrayDataset<{ id: Int32Array }> =>
  new ArrayDataset({ id: Int32Array.from({ length }, (_, index) => index) });

async function epoch(loader: DataLoader<{ readonly id: NdArray }>): Promise<number[][]> {
  const batches: number[][] = [];
  for await (const { id } of loader) batches.push([...(await id.data())]);
  return batches;
}

describe("DataLoader", () => {
  it("hands out batches in order as tensors", async () => {
    const dataset = new ArrayDataset({
      x: new NdArray(Float64Array.of(1, 2, 3, 4, 5, 6), [3, 2]),
      y: Uint8Array.of(7, 8, 9),
    });
    const seen: unknown[] = [];
    for await (const { x, y } of new DataLoader(dataset, { batchSize: 2 })) {
      expectTypeOf(x).toEqualTypeOf<Tensor>();
      seen.push([x.dtype, await x.toArray(), y.dtype, await y.toArray()]);
    }
    expect(seen).toEqual([
      [
        "f32",
        [
          [1, 2],
          [3, 4],
        ],
        "i32",
        [7, 8],
      ],
      ["f32", [[5, 6]], "i32", [9]],
    ]);
  });

  it("counts its batches, with and without the last one", () => {
    fc.assert(
      fc.property(fc.nat(50), fc.integer({ min: 1, max: 20 }), (items, batchSize) => {
        const dataset = counting(items);
        expect(new DataLoader(dataset, { batchSize }).length).toBe(Math.ceil(items / batchSize));
        expect(new DataLoader(dataset, { batchSize, dropLast: true }).length).toBe(
          Math.floor(items / batchSize),
        );
      }),
    );
  });

  it("visits every item once an epoch, whatever the options", async () => {
    const options = fc.record({
      batchSize: fc.integer({ min: 1, max: 12 }),
      shuffle: fc.boolean(),
      seed: fc.nat(),
      dropLast: fc.boolean(),
      prefetch: fc.nat(4),
    });
    await fc.assert(
      fc.asyncProperty(fc.nat(30), options, async (items, chosen) => {
        const loader = new DataLoader(counting(items), chosen);
        const batches = await epoch(loader);
        expect(batches).toHaveLength(loader.length);
        const ids = batches.flat();
        expect(new Set(ids).size).toBe(ids.length);
        expect(ids.length).toBe(chosen.dropLast ? loader.length * chosen.batchSize : items);
        if (!chosen.shuffle) expect(ids).toEqual(ids.toSorted((a, b) => a - b));
      }),
    );
  });

  it("gives other orders in other epochs, the same again for the same seed and epoch", async () => {
    const make = (seed: number): DataLoader<{ readonly id: NdArray }> =>
      new DataLoader(counting(20), { batchSize: 8, shuffle: true, seed });
    const loader = make(5);
    const epochs = [await epoch(loader), await epoch(loader), await epoch(loader)];
    expect(epochs.map((batches) => batches.flat())).toEqual(
      [0, 1, 2].map((number) => [...epochOrder(20, 5, number)]),
    );
    expect(loader.epoch).toBe(3);
    loader.setEpoch(1);
    expect(await epoch(loader)).toEqual(epochs[1]);
    expect(await epoch(loader)).toEqual(epochs[2]);
    expect(await epoch(make(6))).not.toEqual(epochs[0]);
  });

  it("begins a new epoch after a break", async () => {
    const loader = new DataLoader(counting(20), { shuffle: true });
    for await (const _ of loader) break;
    expect((await epoch(loader)).flat()).toEqual([...epochOrder(20, 0, 1)]);
  });

  describe("state", () => {
    const options: DataLoaderOptions<{ readonly id: NdArray }> = { batchSize: 3, shuffle: true, seed: 11 };
    const make = (more: typeof options = {}): DataLoader<{ readonly id: NdArray }> =>
      new DataLoader(counting(20), { ...options, ...more });

    it("resumes after any batch of any epoch, through JSON", async () => {
      const states: string[] = [];
      const batches: string[] = [];
      const loader = make();
      for (let number = 0; number < 3; number++) {
        for await (const { id } of loader) {
          batches.push((await id.data()).join());
          states.push(JSON.stringify(loader.state()));
        }
      }
      for (let stop = 0; stop < states.length; stop++) {
        const resumed = make({ prefetch: stop % 3 });
        resumed.setState(JSON.parse(states[stop] as string));
        const rest: string[] = [];
        while (resumed.epoch < 3) for await (const { id } of resumed) rest.push((await id.data()).join());
        expect(rest).toEqual(batches.slice(stop + 1));
      }
    });

    it("stands at the next epoch after a loop, and where it was left after a break", async () => {
      const loader = make();
      expect(loader.state()).toMatchObject({ epoch: 0, batch: 0 });
      await epoch(loader);
      expect(loader.state()).toMatchObject({ epoch: 1, batch: 0 });
      for await (const _ of loader) if (loader.state().batch === 2) break;
      expect(loader.state()).toMatchObject({ epoch: 1, batch: 2 });
      loader.setEpoch(7);
      expect(loader.state()).toMatchObject({ epoch: 7, batch: 0 });
    });

    it("resumes an epoch that was complete with no batch, then the next", async () => {
      const loader = make();
      let last: DataLoaderState = loader.state();
      for await (const _ of loader) last = loader.state();
      expect(last).toMatchObject({ epoch: 0, batch: 7 });
      const resumed = make();
      resumed.setState(last);
      expect(await epoch(resumed)).toEqual([]);
      expect((await epoch(resumed)).flat()).toEqual([...epochOrder(20, 11, 1)]);
    });

    it("belongs to loaders with the same order of batches", () => {
      const state = make().state();
      for (const more of [{ seed: 12 }, { batchSize: 4 }, { shuffle: false }, { dropLast: true }]) {
        expect(() => make(more).setState(state)).toThrow(expect.objectContaining({ code: "NF_OPTION" }));
      }
      expect(() => new DataLoader(counting(21), options).setState(state)).toThrow(/items was 20, is 21/);
      for (const broken of [{ batch: 8 }, { batch: -1 }, { epoch: 0.5 }]) {
        expect(() => make().setState({ ...state, ...broken })).toThrow(
          expect.objectContaining({ code: "NF_OPTION" }),
        );
      }
    });
  });

  describe("memory", () => {
    it("has one batch alive at a time, and frees what was computed from it", async () => {
      const live: number[] = [];
      let previous: Tensor | undefined;
      for await (const { id } of new DataLoader(counting(12), { batchSize: 4, prefetch: 3 })) {
        expect(previous?.isDisposed ?? true).toBe(true);
        const doubled = id.add(id);
        await doubled.data();
        live.push(memory().liveTensors - before);
        previous = doubled;
      }
      expect(live).toEqual([2, 2, 2]);
      expect(previous?.isDisposed).toBe(true);
      await expect(previous?.data()).rejects.toMatchObject({
        code: "NF_DEAD_TENSOR",
        message: expect.stringContaining("DataLoader"),
      });
    });

    it("stays flat over many batches: the backend allocates nothing new after the first", async () => {
      const loader = new DataLoader(counting(1000), { batchSize: 4, shuffle: true });
      let warm: number | undefined;
      let batches = 0;
      for await (const { id } of loader) {
        id.add(id).mul(id);
        warm ??= memory().poolMisses;
        expect(memory().poolMisses).toBe(warm);
        batches++;
      }
      expect(batches).toBe(250);
    });

    it("frees on break, on an error in the body, and on return", async () => {
      const loader = new DataLoader(counting(12), { batchSize: 4 });
      for await (const _ of loader) break;
      expect(memory().liveTensors).toBe(before);
      const failing = async (): Promise<void> => {
        for await (const _ of loader) throw new Error("stop");
      };
      await expect(failing()).rejects.toThrow("stop");
      expect(memory().liveTensors).toBe(before);
      const iterator = loader[Symbol.asyncIterator]();
      await iterator.next();
      expect(memory().liveTensors).toBe(before + 1);
      await iterator.return();
    });

    it("leaves a tensor that is kept", async () => {
      const kept: Tensor[] = [];
      for await (const { id } of new DataLoader(counting(6), { batchSize: 3 })) kept.push(id.keep());
      expect(await Promise.all(kept.map((x) => x.toArray()))).toEqual([
        [0, 1, 2],
        [3, 4, 5],
      ]);
      for (const x of kept) x.dispose();
    });

    it("keeps two loops apart", async () => {
      const loader = new DataLoader(counting(40), { batchSize: 4, shuffle: true, seed: 3 });
      const other = new DataLoader(counting(40), { batchSize: 4 });
      const sums = async (source: DataLoader<{ readonly id: NdArray }>, pause: number): Promise<number[]> => {
        const result: number[] = [];
        for await (const { id } of source) {
          const sum = id.add(id);
          await new Promise((resolve) => setTimeout(resolve, pause));
          result.push(Array.from(await sum.data()).reduce((a, b) => a + b, 0));
        }
        return result;
      };
      const together = await Promise.all([sums(loader, 1), sums(other, 3), sums(loader, 2)]);
      loader.setEpoch(0);
      expect(together).toEqual([await sums(loader, 0), await sums(other, 0), await sums(loader, 0)]);
    });
  });

  describe("prefetch", () => {
    it("fetches that many batches ahead of the loop, and no more", async () => {
      for (const prefetch of [0, 1, 3]) {
        const asked: number[] = [];
        const dataset: Dataset<number> = { length: 8, get: async (index) => asked.push(index) };
        let batch = 0;
        for await (const _ of new DataLoader(dataset, { batchSize: 2, prefetch })) {
          batch++;
          expect(asked).toHaveLength(Math.min(8, 2 * (batch + prefetch)));
        }
      }
    });

    it("keeps the order when later batches are ready first", async () => {
      const dataset: Dataset<NdArray> = {
        length: 6,
        get: async (index) => {
          await new Promise((resolve) => setTimeout(resolve, 12 - 2 * index));
          return int32(index);
        },
      };
      const seen: number[] = [];
      for await (const x of new DataLoader(dataset, { prefetch: 5 })) seen.push(await x.item());
      expect(seen).toEqual([0, 1, 2, 3, 4, 5]);
    });

    it("reports an error in its batch's turn, and not at all if nobody gets there", async () => {
      const dataset: Dataset<number> = {
        length: 4,
        get: async (index) => {
          if (index === 2) throw new Error("item 2 is broken");
          return index;
        },
      };
      let batches = 0;
      const loop = async (stop: number): Promise<void> => {
        batches = 0;
        for await (const _ of new DataLoader(dataset, { prefetch: 3 })) if (++batches === stop) break;
      };
      await expect(loop(4)).rejects.toThrow("item 2 is broken");
      expect(batches).toBe(2);
      // An unhandled rejection would fail the run.
      await loop(2);
      await new Promise((resolve) => setTimeout(resolve, 5));
    });
  });

  describe("collate", () => {
    it("makes tensors of the arrays a function returns, and passes the rest on", async () => {
      const texts = ["a", "bbb", "cc"];
      const dataset: Dataset<string> = { length: 3, get: (index) => texts[index] as string };
      const loader = new DataLoader(dataset, {
        batchSize: 3,
        collate: (items) => {
          const width = Math.max(...items.map((text) => text.length));
          const ids = new Int32Array(items.length * width);
          items.forEach((text, row) => {
            ids.set(new TextEncoder().encode(text), row * width);
          });
          return { ids: new NdArray(ids, [items.length, width]), items, width };
        },
      });
      for await (const batch of loader) {
        expectTypeOf(batch.ids).toEqualTypeOf<Tensor>();
        expectTypeOf(batch.width).toEqualTypeOf<number>();
        expect(await batch.ids.toArray()).toEqual([
          [97, 0, 0],
          [98, 98, 98],
          [99, 99, 0],
        ]);
        expect(batch.items).toEqual(texts);
        expect(batch.width).toBe(3);
      }
    });

    it("may not return tensors, which nobody would free", async () => {
      const source = new DataLoader(counting(1));
      for await (const { id } of source) {
        const loader = new DataLoader(counting(1), { collate: () => ({ fresh: new Float32Array(1), id }) });
        await expect(loader[Symbol.asyncIterator]().next()).rejects.toMatchObject({ code: "NF_DATA" });
      }
    });

    it("stacks items of a dataset without batches of its own", async () => {
      const dataset: Dataset<{ x: Float32Array; label: NdArray; text: string }> = {
        length: 2,
        get: (index) => ({ x: Float32Array.of(index, 1), label: int32(index), text: `t${index}` }),
      };
      for await (const { x, label, text } of new DataLoader(dataset, { batchSize: 2 })) {
        expectTypeOf(text).toEqualTypeOf<readonly string[]>();
        expect([await x.toArray(), label.dtype, text]).toEqual([
          [
            [0, 1],
            [1, 1],
          ],
          "i32",
          ["t0", "t1"],
        ]);
      }
    });
  });

  it("puts batches on another backend when asked", async () => {
    const second = await cpu();
    for await (const { id } of new DataLoader(counting(1), { backend: second }))
      expect(id.backend).toBe(second);
  });

  it.each<[object]>([
    [{ batchSize: 0 }],
    [{ batchSize: 1.5 }],
    [{ prefetch: -1 }],
    [{ seed: 0.5 }],
    [{ seed: -1 }],
    [{ shuffle: "yes" }],
    [{ collate: {} }],
    [{ shuffel: true }],
    [{ batch_size: 3 }],
  ])("refuses %o", (options) => {
    const chosen = options as DataLoaderOptions<{ readonly id: NdArray }>;
    expect(() => new DataLoader(counting(3), chosen)).toThrow(expect.objectContaining({ code: "NF_OPTION" }));
  });

  it("refuses what is no dataset or state", () => {
    const nothing: unknown = undefined;
    const array: unknown = [1, 2, 3];
    const refused = expect.objectContaining({ code: "NF_OPTION" });
    expect(() => new DataLoader(nothing as Dataset<number>)).toThrow(refused);
    expect(() => new DataLoader(array as Dataset<number>)).toThrow(refused);
    expect(() => new DataLoader(counting(3)).setState(nothing as DataLoaderState)).toThrow(refused);
    expect(() => new DataLoader(counting(3)).setState({} as DataLoaderState)).toThrow(refused);
  });

  it("feeds the embedded digits", async () => {
    const { test } = await embeddedMnist();
    const loader = new DataLoader(test, { batchSize: 64, shuffle: true });
    expect(loader.length).toBe(32);
    for await (const { image, label } of loader) {
      expect([image.shape, image.dtype, label.shape, label.dtype]).toEqual([
        [64, 1, 28, 28],
        "f32",
        [64],
        "i32",
      ]);
      break;
    }
  });
});

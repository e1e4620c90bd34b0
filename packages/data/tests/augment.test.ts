import { Generator } from "@nf/core";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import {
  augment,
  compose,
  type Dataset,
  embeddedMnist,
  type ImageTransform,
  NdArray,
  normalize,
  randomCrop,
  randomHorizontalFlip,
  randomRotate,
  randomShift,
  randomVerticalFlip,
} from "../src/index.ts";

const picture = (channels: number, height: number, width: number): NdArray =>
  new NdArray(
    Float32Array.from({ length: channels * height * width }, (_, i) => i + 1),
    [channels, height, width],
  );
const run = (transform: ImageTransform, image: NdArray, seed = 0): NdArray =>
  transform(image, new Generator(seed));
const option = expect.objectContaining({ code: "NF_OPTION" });

/** A picture as its value at each place, `fill` outside. */
const at = (image: NdArray, channel: number, y: number, x: number, fill: number): number => {
  const [, height = 0, width = 0] = image.shape;
  if (y < 0 || y >= height || x < 0 || x >= width) return fill;
  return image.data[(channel * height + y) * width + x] as number;
};

describe("randomShift and randomCrop", () => {
  const sizes = fc.record({
    channels: fc.integer({ min: 1, max: 3 }),
    height: fc.integer({ min: 1, max: 7 }),
    width: fc.integer({ min: 1, max: 7 }),
    pixels: fc.nat(8),
    seed: fc.nat(),
  });

  it("show the picture moved by whole pixels, all channels alike", () => {
    fc.assert(
      fc.property(sizes, ({ channels, height, width, pixels, seed }) => {
        const image = picture(channels, height, width);
        const moved = run(randomShift({ pixels, fill: -1 }), image, seed);
        expect(moved.shape).toEqual(image.shape);
        const shifts: string[] = [];
        for (let dy = -pixels; dy <= pixels; dy++)
          for (let dx = -pixels; dx <= pixels; dx++) {
            const same = Array.from(moved.data).every((value, i) => {
              const [channel, y, x] = [
                Math.floor(i / (height * width)),
                Math.floor(i / width) % height,
                i % width,
              ];
              return value === at(image, channel, y - dy, x - dx, -1);
            });
            if (same) shifts.push(`${dy},${dx}`);
          }
        expect(shifts.length).toBeGreaterThan(0);
      }),
      { numRuns: 60 },
    );
  });

  it("cut out a part of the padded picture", () => {
    fc.assert(
      fc.property(sizes, fc.nat(3), ({ channels, height, width, seed }, padding) => {
        const image = picture(channels, height, width);
        const size = [height + padding, Math.max(1, width - 1)] as const;
        const part = run(randomCrop({ size, padding, fill: 0 }), image, seed);
        expect(part.shape).toEqual([channels, ...size]);
        const own = part.data.filter((value) => value !== 0);
        expect(own.every((value) => image.data.includes(value))).toBe(true);
        expect(new Set(own).size).toBe(own.length);
      }),
      { numRuns: 60 },
    );
    expect(() => run(randomCrop({ size: 5 }), picture(1, 4, 9))).toThrow(
      expect.objectContaining({ code: "NF_DATA" }),
    );
  });

  it("reach all places, corners among them", () => {
    const image = picture(1, 3, 3);
    const first = new Set<number>();
    for (let seed = 0; seed < 200; seed++)
      first.add(run(randomShift({ pixels: 1, fill: 0 }), image, seed).data[4] as number);
    expect([...first].sort()).toEqual([1, 2, 3, 4, 5, 6, 7, 8, 9]);
    const corners = new Set<number>();
    for (let seed = 0; seed < 200; seed++)
      corners.add(run(randomCrop({ size: 2 }), image, seed).data[0] as number);
    expect([...corners].sort()).toEqual([1, 2, 4, 5]);
  });
});

describe("randomHorizontalFlip", () => {
  it("mirrors left and right, in all channels or not at all", () => {
    const image = picture(2, 2, 3);
    expect([...run(randomHorizontalFlip({ probability: 1 }), image).data]).toEqual([
      3, 2, 1, 6, 5, 4, 9, 8, 7, 12, 11, 10,
    ]);
    expect(run(randomHorizontalFlip({ probability: 0 }), image)).toBe(image);
    expect(image.data[0]).toBe(1);
    let mirrored = 0;
    for (let seed = 0; seed < 1000; seed++)
      if (run(randomHorizontalFlip(), image, seed) !== image) mirrored++;
    expect(Math.abs(mirrored - 500)).toBeLessThan(70);
  });
});

describe("randomVerticalFlip", () => {
  it("mirrors top and bottom, in all channels or not at all", () => {
    const image = picture(2, 3, 2);
    expect([...run(randomVerticalFlip({ probability: 1 }), image).data]).toEqual([
      5, 6, 3, 4, 1, 2, 11, 12, 9, 10, 7, 8,
    ]);
    expect(run(randomVerticalFlip({ probability: 0 }), image)).toBe(image);
    expect(image.data[0]).toBe(1);
  });
});

describe("randomRotate", () => {
  it("leaves the picture as it is at no angle, and its middle at any", () => {
    const image = picture(2, 5, 5);
    expect(run(randomRotate({ degrees: 0 }), image).data).toEqual(image.data);
    for (let seed = 0; seed < 10; seed++)
      expect(run(randomRotate({ degrees: 180 }), image, seed).data[12]).toBeCloseTo(13, 3);
  });

  it("turns by an angle up to the one given: a point goes around the centre", () => {
    const size = 41;
    const data = new Float32Array(size * size);
    const [y0, x0] = [20, 35];
    for (let y = y0 - 1; y <= y0 + 1; y++) for (let x = x0 - 1; x <= x0 + 1; x++) data[y * size + x] = 1;
    const angles: number[] = [];
    for (let seed = 0; seed < 60; seed++) {
      const turned = run(randomRotate({ degrees: 30 }), new NdArray(data, [1, size, size]), seed).data;
      let [mass, ys, xs] = [0, 0, 0];
      turned.forEach((value, i) => {
        mass += value;
        ys += value * (Math.floor(i / size) - 20);
        xs += value * ((i % size) - 20);
      });
      expect(Math.hypot(ys / mass, xs / mass)).toBeCloseTo(15, 0);
      angles.push((Math.atan2(-ys, xs) * 180) / Math.PI);
    }
    expect(Math.max(...angles.map(Math.abs))).toBeLessThan(30.5);
    expect(Math.max(...angles)).toBeGreaterThan(20);
    expect(Math.min(...angles)).toBeLessThan(-20);
  });

  it("rounds where pixels are whole numbers, and fills what comes in", () => {
    const image = new NdArray(new Uint8Array(25).fill(200), [1, 5, 5]);
    const turned = run(randomRotate({ degrees: 45, fill: 100 }), image, 3);
    expect(turned.data).toBeInstanceOf(Uint8Array);
    expect(turned.data.every((value) => value >= 100 && value <= 200)).toBe(true);
    expect(turned.data[12]).toBe(200);
    expect(Math.min(...turned.data)).toBeLessThan(150);
  });
});

describe("normalize and compose", () => {
  it("normalise each channel, and go one after the other", () => {
    const image = new NdArray(Uint8Array.of(10, 20, 30, 40), [2, 1, 2]);
    expect(run(normalize({ mean: [10, 30], std: [1, 10] }), image).data).toEqual(
      Float32Array.of(0, 10, 0, 1),
    );
    const both = compose([randomHorizontalFlip({ probability: 1 }), normalize({ mean: 20, std: 10 })]);
    expect(run(both, image).data).toEqual(Float32Array.of(0, -1, 2, 1));
    expect(() => run(normalize({ mean: [1, 2, 3], std: [1, 1, 1] }), image)).toThrow(
      /3 means for 2 channels/,
    );
  });
});

describe("augment", () => {
  const dataset: Dataset<{ image: NdArray; label: NdArray }> = {
    length: 6,
    get: () => ({ image: picture(1, 6, 6), label: new NdArray(Int32Array.of(3), []) }),
  };
  const transform = compose([randomShift({ pixels: 3 }), randomHorizontalFlip(), randomRotate()]);
  const show = async (data: typeof dataset, index: number, epoch?: number): Promise<string> =>
    String((await data.get(index, epoch)).image.data);

  it("depends on seed, epoch and index alone", async () => {
    const varied = augment(dataset, transform, { seed: 5 });
    const first = await show(varied, 2, 1);
    await show(varied, 3, 1);
    expect(await show(varied, 2, 1)).toBe(first);
    expect(await show(augment(dataset, transform, { seed: 5 }), 2, 1)).toBe(first);
    const others = [
      show(varied, 3, 1),
      show(varied, 2, 2),
      show(varied, 2),
      show(augment(dataset, transform, { seed: 6 }), 2, 1),
    ];
    expect(new Set([first, ...(await Promise.all(others))]).size).toBe(5);
    expect((await varied.get(0)).label.data[0]).toBe(3);
  });

  it("keeps digits digits: the ink stays about the same", async () => {
    const { test } = await embeddedMnist();
    const varied = augment(test, compose([randomShift({ pixels: 2 }), randomRotate({ degrees: 10 })]));
    for (let index = 0; index < 20; index++) {
      const ink = async (data: Dataset<{ image: NdArray }>): Promise<number> =>
        Array.from((await data.get(index)).image.data).reduce((sum, value) => sum + value, 0);
      const ratio = (await ink(varied)) / (await ink(test));
      expect(ratio).toBeGreaterThan(0.9);
      expect(ratio).toBeLessThan(1.1);
    }
  });
});

it("transforms refuse options they do not know and images of another rank", () => {
  const wrong: object = { pixel: 3 };
  for (const make of [randomShift, randomRotate, randomHorizontalFlip, randomVerticalFlip])
    expect(() => make(wrong)).toThrow(option);
  expect(() => randomCrop(wrong as { size: number })).toThrow(option);
  expect(() => randomShift({ pixels: -1 })).toThrow(option);
  expect(() => randomRotate({ degrees: 200 })).toThrow(option);
  expect(() => randomHorizontalFlip({ probability: 2 })).toThrow(option);
  expect(() => normalize({ mean: 0, std: 0 })).toThrow(option);
  expect(() => normalize({ mean: [1], std: [1, 2] })).toThrow(option);
  const flat = new NdArray(new Float32Array(4), [2, 2]);
  for (const transform of [randomShift(), randomRotate(), randomHorizontalFlip(), randomCrop({ size: 1 })])
    expect(() => run(transform, flat)).toThrow(/\[channels, height, width\], got \[2, 2\]/);
});

import { type LabelledImage, NdArray } from "@nf/data";
import { describe, expect, it } from "vitest";
import { decide, score } from "../src/train/digits/evaluate.ts";
import { type ImageSource, ShiftedImages } from "../src/train/digits/shift.ts";
import { warmUpCosine } from "../src/train/schedule.ts";

/** Images of 5 by 5 with ink 1 in the middle, on a ground of -1. */
const dots: ImageSource = {
  length: 200,
  get: (index) => dots.getBatch([index]),
  getBatch(indices): LabelledImage {
    const pixels = new Float32Array(indices.length * 25).fill(-1);
    for (let position = 0; position < indices.length; position++) pixels[position * 25 + 12] = 1;
    return {
      image: new NdArray(pixels, [indices.length, 1, 5, 5]),
      label: new NdArray(Int32Array.from(indices), [indices.length]),
    };
  },
};

const all = Array.from({ length: 200 }, (_, index) => index);

/** Where each image's ink is. */
function placesOf(images: ShiftedImages): number[] {
  const { data } = images.getBatch(all).image;
  return all.map((index) => data.subarray(index * 25, (index + 1) * 25).indexOf(1));
}

describe("shifted images", () => {
  it("move by up to a pixel, in all nine ways, and leave ground behind", () => {
    const shifted = new ShiftedImages(dots, 7, -1);
    expect(new Set(placesOf(shifted))).toEqual(new Set([6, 7, 8, 11, 12, 13, 16, 17, 18]));
    const { image, label } = shifted.getBatch(all);
    expect(Array.from(image.data).reduce((sum, value) => sum + value, 0)).toBe(200 * (1 - 24));
    expect([...label.data]).toEqual(all);
  });

  it("move alike for the same seed and epoch, whatever the batch, and otherwise not", () => {
    const first = new ShiftedImages(dots, 7, -1);
    const places = placesOf(first);
    expect(placesOf(new ShiftedImages(dots, 7, -1))).toEqual(places);
    expect(first.getBatch([41]).image.data.indexOf(1)).toBe(places[41]);
    expect(first.get(41).image.shape).toEqual([1, 5, 5]);
    expect(placesOf(new ShiftedImages(dots, 8, -1))).not.toEqual(places);
    first.epoch = 2;
    expect(placesOf(first)).not.toEqual(places);
  });
});

describe("decisions", () => {
  it("take the highest logit, with softmax probability and cross-entropy, and do not overflow", () => {
    const [even, sure] = decide([0, 0, 1000, 0], [1, 0]);
    expect(even).toEqual({ label: 1, predicted: 0, confidence: 0.5, loss: Math.LN2 });
    expect(sure).toEqual({ label: 0, predicted: 0, confidence: 1, loss: 0 });
    const outcomes = decide([0, 0, 1000, 0], [1, 0]);
    expect(score(outcomes)).toEqual({ loss: Math.LN2 / 2, accuracy: 0.5 });
  });
});

describe("learning rate", () => {
  it("rises over a tenth of the run, then falls to nearly 0", () => {
    const rates = Array.from({ length: 100 }, (_, step) => warmUpCosine(0.01, step, 100));
    const peak = rates.indexOf(Math.max(...rates));
    expect(peak).toBe(10);
    expect(rates[peak]).toBeCloseTo(0.01, 12);
    for (let step = 1; step < 100; step++) {
      expect(Math.sign((rates[step] ?? 0) - (rates[step - 1] ?? 0))).toBe(step <= peak ? 1 : -1);
    }
    expect(rates[0]).toBeGreaterThan(0);
    expect(rates[99]).toBeGreaterThan(0);
    expect(rates[99]).toBeLessThan(1e-5);
  });

  it("is of use in the shortest run", () => {
    expect(warmUpCosine(0.01, 0, 1)).toBeGreaterThan(0);
  });
});

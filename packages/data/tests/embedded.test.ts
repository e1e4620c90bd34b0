import { beforeAll, describe, expect, it } from "vitest";
import { embeddedMnist, type ImageDataset, type ImageSplits } from "../src/index.ts";

let splits: ImageSplits;
beforeAll(async () => {
  splits = await embeddedMnist();
});

const PIXELS = 784;
const imageKey = (dataset: ImageDataset, index: number): string =>
  Buffer.from(dataset.images.data.subarray(index * PIXELS, (index + 1) * PIXELS)).toString("latin1");
const keysOf = ({ train, test }: ImageSplits): string[] =>
  [train, test].flatMap((dataset) => Array.from(dataset.labels, (_, index) => imageKey(dataset, index)));

/** Mean image of every class. */
function means({ images, labels, classes }: ImageDataset): Float64Array[] {
  const sums = classes.map(() => new Float64Array(PIXELS));
  const counts = classes.map(() => 0);
  labels.forEach((label, index) => {
    const sum = sums[label] as Float64Array;
    counts[label] = (counts[label] as number) + 1;
    for (let i = 0; i < PIXELS; i++)
      sum[i] = (sum[i] as number) + (images.data[index * PIXELS + i] as number) / 255;
  });
  return sums.map((sum, label) => sum.map((value) => value / (counts[label] as number)));
}

describe("embeddedMnist", () => {
  it("has 8,000 images to train and 2,000 to test, all different", () => {
    expect(splits.train.images.shape).toEqual([8000, 1, 28, 28]);
    expect(splits.test.images.shape).toEqual([2000, 1, 28, 28]);
    expect(new Set(keysOf(splits)).size).toBe(10_000);
  });

  it("has the class counts of MNIST's first 10,000 training images, spread over both parts", () => {
    const [train, test] = [splits.train.classCounts(), splits.test.classCounts()];
    expect(train.map((count, label) => count + (test[label] as number))).toEqual([
      1001, 1127, 991, 1032, 980, 863, 1014, 1070, 944, 978,
    ]);
    expect(Math.min(...test)).toBeGreaterThan(150);
    expect(Math.max(...test)).toBeLessThan(250);
  });

  it("says what it must not be used for", () => {
    expect(splits.train.name).toBe("mnist-embedded/train");
    expect(splits.test.name).toBe("mnist-embedded/test");
    expect(splits.test.source).toContain("not for scoring models trained on full MNIST");
  });

  it("gives items and batches of f32 pixels in 0 to 1 and i32 labels", () => {
    const { image, label } = splits.train.getBatch([5, 0]);
    expect(image.shape).toEqual([2, 1, 28, 28]);
    expect(image.data).toBeInstanceOf(Float32Array);
    expect(label.shape).toEqual([2]);
    expect(label.data).toBeInstanceOf(Int32Array);
    expect(Math.min(...image.data)).toBe(0);
    expect(Math.max(...image.data)).toBeGreaterThan(0.9);
    expect(Math.max(...image.data)).toBeLessThanOrEqual(1);
    const item = splits.train.get(5);
    expect(item.image.shape).toEqual([1, 28, 28]);
    expect(item.image.data).toEqual(image.data.slice(0, PIXELS));
    expect(item.label.data).toEqual(label.data.slice(0, 1));
    expect(() => splits.train.get(8000)).toThrow(expect.objectContaining({ code: "NF_INDEX" }));
  });

  it("has labels that belong to the images: the nearest class mean is right on most test images", () => {
    const centers = means(splits.train);
    for (let a = 0; a < 10; a++) {
      for (let b = 0; b < a; b++) {
        const distance = Math.hypot(
          ...(centers[a] as Float64Array).map((v, i) => v - (centers[b]?.[i] as number)),
        );
        expect(distance).toBeGreaterThan(2);
      }
    }
    let right = 0;
    const { images, labels } = splits.test;
    labels.forEach((label, index) => {
      const distances = centers.map((center) =>
        center.reduce((sum, v, i) => sum + (v - (images.data[index * PIXELS + i] as number) / 255) ** 2, 0),
      );
      if (distances.indexOf(Math.min(...distances)) === label) right++;
    });
    expect(right / 2000).toBeGreaterThan(0.75);
  });

  it("is the same every time, and another split of the same images for another seed", async () => {
    const again = await embeddedMnist({ seed: 0 });
    expect(again.test.labels).toEqual(splits.test.labels);
    expect(keysOf(again)).toEqual(keysOf(splits));
    const other = await embeddedMnist({ seed: 1 });
    expect(keysOf(other)).not.toEqual(keysOf(splits));
    expect(keysOf(other).sort()).toEqual(keysOf(splits).sort());
    expect(other.test.source).toContain("seed 1");
  });

  it("normalises when asked", async () => {
    const { test } = await embeddedMnist({ normalize: { mean: 0.1307, std: 0.3081 } });
    const plain = splits.test.get(0).image.data;
    expect(test.get(0).image.data).toEqual(
      Float32Array.from(plain, (_, i) => ((splits.test.images.data[i] as number) / 255 - 0.1307) / 0.3081),
    );
    await expect(embeddedMnist({ normalize: { mean: 0, std: 0 } })).rejects.toMatchObject({
      code: "NF_OPTION",
    });
    await expect(embeddedMnist(Object.assign({ seed: 3 }, { sed: 3 }))).rejects.toMatchObject({
      code: "NF_OPTION",
    });
  });
});

import { cpu } from "@nf/backend-cpu";
import { type Backend, conv2d, fromData, grad, ones, type Tensor, use } from "@nf/core";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { native } from "../src/index.ts";
import { missing } from "./built.ts";

describe.skipIf(missing !== undefined)("convolution", () => {
  let backend: Backend;
  let reference: Backend;
  beforeAll(async () => {
    [backend, reference] = [await native({ threads: 2 }), await cpu()];
  });
  afterAll(async () => {
    await backend.dispose();
    await reference.dispose();
  });

  it.each([2 ** 53 - 8, 2 ** 45, 2 ** 30])(
    "takes a padding of %d under windows that far apart",
    async (padding) => {
      await use(backend);
      const y = conv2d(ones([1, 1, 1, 2048]), ones([1, 1, 2, 1]), undefined, {
        stride: [padding + 7, 1],
        padding: [padding, 0],
      });
      // The first window ends before the image, the second begins after it.
      expect(y.shape).toEqual([1, 1, 2, 2048]);
      expect(new Set(await y.data())).toEqual(new Set([0]));
    },
  );

  it.each([
    ["an image", 5, -1],
    ["a weight", -1, 2],
  ])("lets what is not finite in %s reach only what it belongs to", async (_, badPixel, badTap) => {
    const loss = (x: Tensor, weight: Tensor): Tensor => conv2d(x, weight, undefined, { padding: 1 }).sum();
    const results: number[][] = [];
    for (const one of [reference, backend]) {
      await use(one);
      const pixels = Float32Array.from({ length: 36 }, (_, i) => (i % 6 === badPixel ? Infinity : i / 8));
      const taps = Float32Array.from({ length: 9 }, (_, i) => (i % 3 === badTap ? NaN : i - 3.5));
      const gradients = grad(loss, { argnums: [0, 1] })(
        fromData(pixels, [1, 1, 6, 6]),
        fromData(taps, [1, 1, 3, 3]),
      );
      const data = await Promise.all(gradients.map((gradient) => gradient.data()));
      results.push(data.flatMap((values) => [...(values as Float32Array)]));
    }
    // Sums of few eighths and halves: exact in any order.
    expect(results[1]).toEqual(results[0]);
    expect(results[0]?.some(Number.isFinite)).toBe(true);
    expect(results[0]?.every(Number.isFinite)).toBe(false);
  });
});

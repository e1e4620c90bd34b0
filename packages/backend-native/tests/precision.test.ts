import { fromData, grad, type Tensor, use } from "@nf/core";
import { describe, expect, it } from "vitest";
import { type NativeOptions, native } from "../src/index.ts";
import { missing } from "./built.ts";

const noise = (count: number, seed: number): Float32Array =>
  Float32Array.from({ length: count }, (_, i) => Math.sin(i * 12.9898 + seed * 78.233));

/** The product under options of the backend, and its gradient by the first factor. */
async function product(
  options: NativeOptions,
  [rows, depth, columns]: readonly [number, number, number],
): Promise<{ value: Float32Array; slope: Float32Array }> {
  const backend = await use(native(options));
  const a = fromData(noise(rows * depth, 1), [rows, depth]);
  const b = fromData(noise(depth * columns, 2), [depth, columns]);
  const value = a.matmul(b).dataSync() as Float32Array;
  const slope = (grad((x: Tensor) => x.matmul(b).sum())(a) as Tensor).dataSync() as Float32Array;
  await backend.dispose();
  return { value, slope };
}

/** The greatest error of a product as a share of the sum of its terms' sizes. */
function worstShare(value: Float32Array, [rows, depth, columns]: readonly [number, number, number]): number {
  const a = noise(rows * depth, 1);
  const b = noise(depth * columns, 2);
  let worst = 0;
  for (let i = 0; i < rows; i++) {
    for (let j = 0; j < columns; j++) {
      let [sum, size] = [0, 0];
      for (let k = 0; k < depth; k++) {
        const term = (a[i * depth + k] as number) * (b[k * columns + j] as number);
        sum += term;
        size += Math.abs(term);
      }
      worst = Math.max(worst, Math.abs((value[i * columns + j] as number) - sum) / size);
    }
  }
  return worst;
}

describe.skipIf(missing !== undefined)("matmulPrecision", () => {
  const sizes = [40, 70, 50] as const;

  it("rounds factors to bf16 where it is asked to, and only there", async () => {
    const plain = await product({ threads: 2 }, sizes);
    const stated = await product({ threads: 2, matmulPrecision: "f32" }, sizes);
    const short = await product({ threads: 2, matmulPrecision: "bf16" }, sizes);
    expect(worstShare(plain.value, sizes)).toBeLessThan(2e-7);
    expect(stated.value).toEqual(plain.value);
    expect(worstShare(short.value, sizes)).toBeGreaterThan(1e-5);
    // Each factor is off by half of 2^-8 of itself at most.
    expect(worstShare(short.value, sizes)).toBeLessThan(2 ** -8 + 2 ** -16);
    expect(short.slope).not.toEqual(plain.slope);
    const furthest = short.slope.map((value, i) => Math.abs(value - (plain.slope[i] as number)));
    expect(Math.max(...furthest)).toBeLessThan(50 * 2 ** -8);
  });

  it("gives the same bits for any number of threads, also asynchronously", async () => {
    const large = [300, 600, 130] as const;
    const one = await product({ threads: 1, matmulPrecision: "bf16" }, large);
    const two = await product({ threads: 2, matmulPrecision: "bf16" }, large);
    const later = await product({ threads: 2, matmulPrecision: "bf16", async: true }, large);
    expect(two).toEqual(one);
    expect(later).toEqual(one);
  });

  it("leaves products with few rows as they are", async () => {
    const few = [3, 400, 200] as const;
    const plain = await product({ threads: 2 }, few);
    const short = await product({ threads: 2, matmulPrecision: "bf16" }, few);
    expect(short.value).toEqual(plain.value);
  });
});

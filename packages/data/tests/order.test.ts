import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { epochOrder } from "../src/order.ts";

/** Computed by a separate implementation of Threefry2x32-20 and the shuffle in Python. */
const KNOWN = {
  seed0: [5, 2, 3, 1, 4, 8, 7, 9, 6, 0],
  seed42epoch3: [6, 8, 2, 9, 5, 7, 0, 4, 1, 3],
  large: [16145, 18140, 49844, 3485, 58410, 25256],
};

describe("epochOrder", () => {
  it("holds every number once", () => {
    fc.assert(
      fc.property(fc.nat(300), fc.maxSafeNat(), fc.nat(1000), (length, seed, epoch) => {
        const order = epochOrder(length, seed, epoch);
        expect([...order].sort((a, b) => a - b)).toEqual(Array.from({ length }, (_, i) => i));
      }),
    );
  });

  it("is another one for another seed, high half of the seed, or epoch", () => {
    const cases = [
      [0, 0],
      [1, 0],
      [2 ** 32, 0],
      [0, 1],
      [1, 1],
      [0, 2 ** 32],
    ] as const;
    const orders = cases.map(([seed, epoch]) => epochOrder(50, seed, epoch).join());
    expect(new Set(orders).size).toBe(cases.length);
    expect(epochOrder(50, 1, 1).join()).toBe(orders[4]);
  });

  // Guards every published result: a shuffle that changes is a breaking change.
  it("gives the known orders", () => {
    expect([...epochOrder(10, 0, 0)]).toEqual(KNOWN.seed0);
    expect([...epochOrder(10, 42, 3)]).toEqual(KNOWN.seed42epoch3);
    expect([...epochOrder(60_000, 2 ** 40 + 7, 0)].slice(0, 6)).toEqual(KNOWN.large);
  });

  it("puts every number on every place about equally often over the epochs", () => {
    const length = 6;
    const trials = 6000;
    const counts = new Float64Array(length * length);
    for (let epoch = 0; epoch < trials; epoch++) {
      epochOrder(length, 9, epoch).forEach((value, place) => {
        counts[place * length + value] = (counts[place * length + value] as number) + 1;
      });
    }
    const expected = trials / length;
    const chiSquare = counts.reduce((sum, count) => sum + (count - expected) ** 2 / expected, 0);
    // 25 degrees of freedom: 99.9 % of random tables stay below 52.6.
    expect(chiSquare).toBeLessThan(52.6);
  });
});

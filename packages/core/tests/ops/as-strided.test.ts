import { beforeAll, describe, expect, it } from "vitest";
import * as core from "../../src/index.ts";
import { scoped, setUp, valuesOf } from "./helper.ts";

beforeAll(setUp);

const { arange, asStrided } = core;

describe("asStrided", () => {
  it(
    "looks at elements by number, several times where they overlap, backwards too",
    scoped(() => {
      expect(valuesOf(asStrided(arange(5), [3, 3], [1, 1]))).toEqual([0, 1, 2, 1, 2, 3, 2, 3, 4]);
      expect(valuesOf(asStrided(arange(5), [2, 2], [-2, 1], 2))).toEqual([2, 3, 0, 1]);
      expect(valuesOf(asStrided(arange(5), [], [], 4))).toEqual([4]);
      expect(asStrided(arange(5), [0, 3], [9, 9]).shape).toEqual([0, 3]);
    }),
  );

  it(
    "shares the memory of what lies without gaps, and copies what does not",
    scoped(() => {
      const x = arange(6).reshape([2, 3]);
      expect(asStrided(x, [2, 2], [3, 1]).storage).toBe(x.storage);
      expect(valuesOf(asStrided(x.transpose(), [6], [1]))).toEqual([0, 3, 1, 4, 2, 5]);
      expect(valuesOf(asStrided(x.slice(1), [2], [2]))).toEqual([3, 5]);
    }),
  );

  it(
    "adds the gradients of an element that comes up several times",
    scoped(() => {
      const x = core.tensor([1, 2, 3, 4], { requiresGrad: true });
      asStrided(x, [2, 3], [1, 1]).sum().backward();
      expect(valuesOf(x.grad as core.Tensor)).toEqual([1, 2, 2, 1]);
    }),
  );

  it(
    "refuses to reach outside",
    scoped(() => {
      expect(() => asStrided(arange(5), [2, 3], [3, 1])).toThrow(core.IndexError);
      expect(() => asStrided(arange(5), [3], [-1], 1)).toThrow(
        /reaches elements -1 to 1, x \[5\] has 0 to 4/,
      );
      expect(() => asStrided(arange(5), [3], [1, 1])).toThrow(core.ShapeError);
    }),
  );
});

import { beforeAll, describe, expect, it } from "vitest";
import * as core from "../../src/index.ts";
import { expectClose, scoped, setUp, tensorOf, valuesOf } from "./helper.ts";
import { checkOrders, inputsOf } from "./paths.ts";

beforeAll(setUp);

const { upsample } = core;

describe("upsample", () => {
  it(
    "repeats the nearest element",
    scoped(() => {
      const x = tensorOf([1, 2, 3, 4], [1, 1, 2, 2]);
      expect(valuesOf(upsample(x, { scaleFactor: 2 }))).toEqual([
        1, 1, 2, 2, 1, 1, 2, 2, 3, 3, 4, 4, 3, 3, 4, 4,
      ]);
      expect(valuesOf(upsample(x, { size: [3, 1] }))).toEqual([1, 1, 3]);
      const line = tensorOf([1, 2, 3], [1, 1, 3]);
      // By a size and by a factor go different ways, as PyTorch's do.
      expect(valuesOf(upsample(line, { size: 4 }))).toEqual([1, 1, 2, 3]);
      expect(valuesOf(upsample(line, { scaleFactor: 1.5 }))).toEqual([1, 1, 2, 3]);
    }),
  );

  it(
    "goes linearly between neighbours",
    scoped(() => {
      const x = tensorOf([0, 1], [1, 1, 2]);
      expect(valuesOf(upsample(x, { size: 4, mode: "linear" }))).toEqual([0, 0.25, 0.75, 1]);
      const corners = upsample(x, { size: 5, mode: "linear", alignCorners: true });
      expectClose(valuesOf(corners), [0, 0.25, 0.5, 0.75, 1]);
      const image = tensorOf([0, 2, 4, 6], [1, 1, 2, 2]);
      const larger = upsample(image, { size: 3, mode: "bilinear", alignCorners: true });
      expectClose(valuesOf(larger), [0, 1, 2, 2, 3, 4, 4, 5, 6]);
    }),
  );

  it("has gradients of first and second order", async () => {
    await checkOrders((x) => core.square(upsample(x!, { scaleFactor: 2 })), inputsOf(3, [1, 2, 2, 2]));
    await checkOrders((x) => core.square(upsample(x!, { size: 5 })), inputsOf(4, [1, 2, 3]));
    for (const alignCorners of [false, true]) {
      const options = { size: [4, 2], mode: "bilinear", alignCorners } as const;
      await checkOrders((x) => core.square(upsample(x!, options)), inputsOf(5, [1, 2, 3, 3]));
    }
  });

  it(
    "keeps what has the size already, and takes empty batches and 16-bit floats",
    scoped(() => {
      const [x] = inputsOf(6, [2, 3, 4]);
      expect(valuesOf(upsample(x!, { size: 4 }))).toEqual(valuesOf(x!));
      expect(valuesOf(upsample(x!, { size: 4, mode: "linear" }))).toEqual(valuesOf(x!));
      expect(upsample(core.ones([0, 1, 2, 2]), { size: 3, mode: "bilinear" }).shape).toEqual([0, 1, 3, 3]);
      expect(upsample(core.ones([1, 1, 2], { dtype: "f16" }), { size: 3, mode: "linear" }).dtype).toBe("f16");
    }),
  );

  it(
    "refuses what does not fit, by name",
    scoped(() => {
      const x = core.ones([1, 1, 4]);
      expect(() => upsample(x, {})).toThrow(/either size or scaleFactor/);
      expect(() => upsample(x, { size: 2, scaleFactor: 2 })).toThrow(/either size or scaleFactor/);
      expect(() => upsample(x, { size: 2, mode: "bilinear" })).toThrow(/"bilinear" needs x/);
      expect(() => upsample(x, { size: 2, mode: "cubic" as never })).toThrow(core.OptionError);
      expect(() => upsample(x, { size: 2, alignCorners: true })).toThrow(/alignCorners/);
      expect(() => upsample(x, { scaleFactor: 0.1 })).toThrow(/leaves nothing/);
      expect(() => upsample(x, { scaleFactor: [1, 2] })).toThrow(core.OptionError);
      expect(() => upsample(core.ones([1, 1, 0]), { size: 2 })).toThrow(/nothing to take from/);
      expect(() => upsample(x, { factor: 2 } as object)).toThrow(/unknown option "factor"/);
    }),
  );
});

import fc from "fast-check";
import { beforeAll, describe, expect, it } from "vitest";
import * as core from "../../src/index.ts";
import { examples, expectClose, scoped, setUp, tensorOf, valuesOf } from "./helper.ts";
import { checkOrders, inputsOf } from "./paths.ts";

beforeAll(setUp);

/** Distinct repeatable values: no ties for the maximum. */
function distinct(...shape: number[]): core.Tensor {
  const size = shape.reduce((product, one) => product * one, 1);
  return tensorOf(
    Array.from({ length: size }, (_, i) => ((i * 37) % 101) / 8),
    shape,
    "f64",
  );
}

describe("adaptive pooling", () => {
  it("takes floor(i in / out) to ceil((i + 1) in / out), for any sizes", () => {
    const sizes = fc.record({ size: fc.integer({ min: 1, max: 9 }), count: fc.integer({ min: 1, max: 11 }) });
    fc.assert(
      fc.property(sizes, ({ size, count }) =>
        scoped(() => {
          const [x] = inputsOf(3, [2, 1, size]);
          const values = valuesOf(x!);
          const rows = [0, 1].flatMap((b) =>
            Array.from({ length: count }, (_, i) =>
              values.slice(
                b * size + Math.floor((i * size) / count),
                b * size + Math.ceil(((i + 1) * size) / count),
              ),
            ),
          );
          const means = rows.map((row) => row.reduce((sum, one) => sum + one, 0) / row.length);
          const close = { relative: 1e-14, absolute: 1e-14 };
          expectClose(valuesOf(core.adaptiveAvgPool1d(x!, { outputSize: count })), means, close);
          const greatest = rows.map((row) => Math.max(...row));
          expect(valuesOf(core.adaptiveMaxPool1d(x!, { outputSize: count }))).toEqual(greatest);
        })(),
      ),
      examples(60),
    );
  });

  it("has gradients of first and second order", async () => {
    await checkOrders(
      (x) => core.square(core.adaptiveAvgPool2d(x!, { outputSize: [2, 3] })),
      inputsOf(4, [1, 2, 3, 5]),
    );
    await checkOrders(
      (x) => core.square(core.adaptiveMaxPool2d(x!, { outputSize: [2, 3] })),
      [distinct(1, 2, 3, 5)],
    );
    await checkOrders(
      (x) => core.square(core.adaptiveAvgPool1d(x!, { outputSize: 2 })),
      inputsOf(4, [1, 2, 4]),
    );
  });

  it(
    "keeps a size that is null, and sends the gradient to the first of equals",
    scoped(() => {
      expect(core.adaptiveAvgPool2d(core.ones([1, 1, 5, 4]), { outputSize: [null, 3] }).shape).toEqual([
        1, 1, 5, 3,
      ]);
      const x = core.ones([1, 1, 5], { requiresGrad: true });
      core.sum(core.adaptiveMaxPool1d(x, { outputSize: 3 })).backward();
      expect(valuesOf(x.grad!)).toEqual([1, 1, 0, 1, 0]);
    }),
  );

  it(
    "refuses what does not fit, by name",
    scoped(() => {
      const x = core.ones([1, 1, 4]);
      expect(() => core.adaptiveAvgPool1d(x, { outputSize: 0 })).toThrow(/adaptiveAvgPool1d: outputSize/);
      expect(() => core.adaptiveAvgPool1d(x, { outputSize: [1, 2] })).toThrow(core.OptionError);
      expect(() => core.adaptiveAvgPool2d(x, { outputSize: 1 })).toThrow(core.ShapeError);
      expect(() => core.adaptiveMaxPool1d(core.ones([1, 1, 0]), { outputSize: 1 })).toThrow(
        /nothing to pool/,
      );
      expect(() => core.adaptiveMaxPool1d(x, { size: 1 } as never)).toThrow(/unknown option "size"/);
    }),
  );
});

describe("global pooling", () => {
  it(
    "reduces all spatial dimensions",
    scoped(() => {
      const x = tensorOf([1, 2, 3, 6, NaN, 1, 2, 3], [1, 2, 2, 2]);
      expect(valuesOf(core.globalAvgPool(x))).toEqual([3, NaN]);
      expect(valuesOf(core.globalMaxPool(x))).toEqual([6, NaN]);
      expect(core.globalAvgPool(x, { keepDims: true }).shape).toEqual([1, 2, 1, 1]);
      expect(() => core.globalMaxPool(core.ones([2, 3]))).toThrow(
        /globalMaxPool: expected x \[batch, channels/,
      );
    }),
  );

  it("has gradients of first and second order", async () => {
    await checkOrders((x) => core.square(core.globalAvgPool(x!)), inputsOf(5, [2, 2, 3]));
    await checkOrders((x) => core.square(core.globalMaxPool(x!)), [distinct(2, 2, 3)]);
  });
});

import fc from "fast-check";
import { beforeAll, describe, expect, it } from "vitest";
import * as core from "../../src/index.ts";
import { examples, expectClose, scoped, setUp, tensorOf, valuesOf } from "./helper.ts";
import { checkOrders, expectSamePaths, HALF, inputsOf } from "./paths.ts";

beforeAll(setUp);

const { rope, ropeTables } = core;

describe("rope", () => {
  it("turns pairs by the position times the frequency; every path agrees", () => {
    const shapes = fc.record({
      lead: fc.array(fc.integer({ min: 1, max: 3 }), { maxLength: 2 }),
      positions: fc.integer({ min: 1, max: 4 }),
      half: fc.integer({ min: 1, max: 3 }),
      offset: fc.nat(20),
      interleaved: fc.boolean(),
    });
    fc.assert(
      fc.property(shapes, ({ lead, positions, half, offset, interleaved }) =>
        scoped(() => {
          const size = 2 * half;
          const [x] = inputsOf(3, [...lead, positions, size]);
          const from = valuesOf(x!);
          const expected = from.map((_, i) => {
            const d = i % size;
            const position = (Math.floor(i / size) % positions) + offset;
            const isFirst = interleaved ? d % 2 === 0 : d < half;
            const pair = interleaved ? Math.floor(d / 2) : d % half;
            const angle = position * 10000 ** ((-2 * pair) / size);
            const partner = from[i + (isFirst ? 1 : -1) * (interleaved ? 1 : half)]!;
            return from[i]! * Math.cos(angle) + (isFirst ? -1 : 1) * partner * Math.sin(angle);
          });
          const close = { relative: 1e-12, absolute: 1e-12 };
          expectClose(valuesOf(rope(x!, { offset, interleaved })), expected, close);
          expectSamePaths((one) => rope(one!, { offset, interleaved }), [x!]);
        })(),
      ),
      examples(60),
    );
  });

  it("has gradients of first and second order, also of tables", async () => {
    const [x, cos, sin] = inputsOf(5, [2, 3, 4], [3, 2], [3, 2]);
    await checkOrders((one) => core.square(rope(one!, { interleaved: true })), [x!]);
    await checkOrders((one, c, s) => rope(one!, { tables: { cos: c!, sin: s! } }), [x!, cos!, sin!]);
  });

  it(
    "reads the rows of tables from the offset on",
    scoped(() => {
      const [x] = inputsOf(6, [2, 3, 6]);
      const scaling = { type: "linear", factor: 2 } as const;
      const tables = ropeTables(10, 6, { base: 50, scaling, dtype: "f64" });
      expect(tables.cos.shape).toEqual([10, 3]);
      const direct = rope(x!, { offset: 4, base: 50, scaling });
      expect(valuesOf(rope(x!, { offset: 4, tables }))).toEqual(valuesOf(direct));
      expect(valuesOf(ropeTables(3, 6, { offset: 4, base: 50, scaling, dtype: "f64" }).sin)).toEqual(
        valuesOf(core.slice(tables.sin, [4, 7])),
      );
    }),
  );

  it(
    "keeps the length, and products of two rotated rows depend on their distance alone",
    scoped(() => {
      const x = core.expand(tensorOf([1, 2, -1, 0.5], [4], "f64"), [6, 4]);
      const turned = rope(x);
      const products = valuesOf(core.matmul(turned, core.transpose(turned)));
      for (let i = 0; i < 6; i++)
        for (let j = 0; j < 6; j++)
          expectClose([products[i * 6 + j]!], [products[Math.abs(i - j)]!], {
            relative: 1e-12,
            absolute: 1e-12,
          });
    }),
  );

  it(
    "computes 16-bit floats in f32, and takes empty tensors",
    scoped(() => {
      const x = core.cast(inputsOf(9, [3, 4])[0]!, "f16");
      expect(rope(x).dtype).toBe("f16");
      expectSamePaths((one) => rope(one!, { offset: 7 }), [x], HALF);
      expect(rope(core.ones([0, 3, 4])).shape).toEqual([0, 3, 4]);
      expect(rope(core.ones([2, 0, 4])).shape).toEqual([2, 0, 4]);
    }),
  );

  it(
    "refuses what does not fit, by name",
    scoped(() => {
      const x = core.ones([3, 4]);
      expect(() => rope(core.ones([3, 5]))).toThrow(/headDim must be an even number/);
      expect(() => rope(core.ones([4]))).toThrow(core.ShapeError);
      expect(() => rope(x, { tables: ropeTables(2, 4) })).toThrow(/at least 3 positions/);
      expect(() => rope(x, { offset: 2, tables: ropeTables(4, 4) })).toThrow(/at offset 2/);
      expect(() => rope(x, { base: 10, tables: ropeTables(4, 4) })).toThrow(/already in the tables/);
      expect(() => rope(x, { offset: -1 })).toThrow(core.OptionError);
      expect(() => rope(x, { base: 0 })).toThrow(core.OptionError);
      expect(() => rope(x, { scaling: { type: "yarn", factor: 2 } as never })).toThrow(/"linear", "llama3"/);
      expect(() => rope(x, { scaling: { type: "linear", factor: 0 } })).toThrow(/factor/);
      expect(() => rope(x, { theta: 1 } as object)).toThrow(/unknown option "theta"/);
      expect(() => ropeTables(2, 4, { requiresGrad: true } as object)).toThrow(
        /unknown option "requiresGrad"/,
      );
      expect(() => ropeTables(2, 4, { dtype: "i32" })).toThrow(core.DTypeError);
    }),
  );
});

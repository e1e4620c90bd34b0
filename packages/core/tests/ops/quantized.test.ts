import fc from "fast-check";
import { beforeAll, describe, expect, it } from "vitest";
import * as core from "../../src/index.ts";
import { examples, expectClose, numbers, scoped, setUp, tensorOf, valuesOf } from "./helper.ts";
import { checkOrders, expectSamePaths, inputsOf } from "./paths.ts";

beforeAll(setUp);

const { quantize, quantizedFromBytes, dequantize, quantizedMatmul } = core;
const FORMATS = ["q8_0", "q4_0"] as const;

/** Values of blocks by the format's definition. */
function unpack(bytes: Uint8Array, format: core.QuantizedFormat): number[] {
  const size = format === "q8_0" ? 34 : 18;
  const values: number[] = [];
  for (let at = 0; at < bytes.length; at += size) {
    const scale = core.fromHalfBits(bytes[at]! + 256 * bytes[at + 1]!);
    const block = bytes.subarray(at + 2, at + size);
    if (format === "q8_0") values.push(...Array.from(new Int8Array(block), (q) => q * scale));
    else {
      values.push(...Array.from(block, (byte) => ((byte & 15) - 8) * scale));
      values.push(...Array.from(block, (byte) => ((byte >> 4) - 8) * scale));
    }
  }
  return values;
}

describe("quantize and dequantize", () => {
  it.each(FORMATS)("%s: bytes of any kind unpack by the definition", (format) => {
    const bytes = fc.uint8Array({ minLength: 4 * 34, maxLength: 4 * 34 });
    fc.assert(
      fc.property(bytes, (random) =>
        scoped(() => {
          const size = format === "q8_0" ? 34 : 18;
          const own = random.slice(0, 4 * size);
          const expected = unpack(own, format);
          const weight = quantizedFromBytes(own, [2, 64], format);
          expect(weight.bytes.shape).toEqual([2, 2 * size]);
          expectClose(valuesOf(dequantize(weight)), expected.map(Math.fround), {
            relative: 2 ** -23,
            absolute: 0,
          });
          expectClose(valuesOf(dequantize(weight, { dtype: "f64" })), expected, {
            relative: 2 ** -23,
            absolute: 0,
          });
        })(),
      ),
      examples(60),
    );
  });

  it.each([
    ["q8_0", 127],
    ["q4_0", 8],
  ] as const)("%s misses by at most half a step and the scale's rounding", (format, steps) => {
    const values = numbers(256, 5).map((one) => one * 3);
    scoped(() => {
      const back = valuesOf(dequantize(quantize(Float64Array.from(values), [4, 64], format)));
      back.forEach((value, i) => {
        const block = values.slice(i - (i % 32), i - (i % 32) + 32);
        const step = Math.max(...block.map(Math.abs)) / steps;
        // The far end of q4_0 reaches 7 steps only.
        const miss = format === "q4_0" ? 1.01 * step : 0.51 * step;
        expect(Math.abs(value - values[i]!)).toBeLessThanOrEqual(miss + step * steps * 2 ** -10);
      });
    })();
  });

  it(
    "keeps the shape, and lays q4_0's nibbles out low ones first",
    scoped(() => {
      const ramp = Float32Array.from({ length: 32 }, (_, i) => (i < 16 ? -8 : 7));
      const weight = quantize(ramp, [1, 1, 32], "q4_0");
      expect(Array.from(weight.bytes.dataSync()).slice(2)).toEqual(new Array(16).fill(0xf0));
      expect(dequantize(weight).shape).toEqual([1, 1, 32]);
      expect(valuesOf(dequantize(weight))).toEqual(Array.from(ramp));
      expect(valuesOf(dequantize(quantize(new Float32Array(32), [32], "q8_0")))).toEqual(
        new Array(32).fill(0),
      );
    }),
  );

  it("is found by scopes as the tensor it holds", () => {
    const before = core.memory().liveTensors;
    const weight = core.scope(() => quantize(new Float32Array(32), [1, 32], "q8_0"));
    expect(core.memory().liveTensors).toBe(before + 1);
    weight.bytes.dispose();
  });

  it(
    "refuses what does not fit, by name",
    scoped(() => {
      expect(() => quantize(new Float32Array(33), [33], "q8_0")).toThrow(/multiple of the block size 32/);
      expect(() => quantize(new Float32Array(32), [2, 32], "q8_0")).toThrow(core.ShapeError);
      expect(() => quantize(new Float32Array(32), [32], "q2_k" as never)).toThrow(/"q8_0", "q4_0"/);
      expect(() => quantizedFromBytes(new Uint8Array(35), [32], "q8_0")).toThrow(/takes 34 bytes, got 35/);
      expect(() => dequantize(quantize(new Float32Array(32), [32], "q8_0"), { dtype: "i32" })).toThrow(
        core.DTypeError,
      );
    }),
  );
});

describe("quantizedMatmul", () => {
  const weights = FORMATS.map(
    (format) => [format, () => quantize(Float64Array.from(numbers(3 * 64, 2)), [3, 64], format)] as const,
  );

  it.each(weights)("%s: x times the transposed values; every path agrees", (_format, make) => {
    scoped(() => {
      const weight = make();
      const [x] = inputsOf(3, [2, 2, 64]);
      const expected = core.matmul(x!, core.transpose(dequantize(weight, { dtype: "f64" })));
      const close = { relative: 1e-6, absolute: 1e-5 };
      expect(quantizedMatmul(x!, weight).shape).toEqual([2, 2, 3]);
      expectClose(valuesOf(quantizedMatmul(x!, weight)), valuesOf(expected), close);
      expectSamePaths((one) => quantizedMatmul(one!, weight), [x!], close);
      expect(quantizedMatmul(core.ones([64], { dtype: "f16" }), weight).dtype).toBe("f16");
      expect(quantizedMatmul(core.ones([0, 64]), weight).shape).toEqual([0, 3]);
    })();
  });

  it("has gradients of first and second order", async () => {
    for (const [, make] of weights) {
      const weight = make();
      await checkOrders((x) => core.square(quantizedMatmul(x!, weight)), inputsOf(4, [2, 64]));
      weight.bytes.dispose();
    }
  });

  it(
    "refuses what does not fit, by name",
    scoped(() => {
      const weight = weights[0]![1]();
      expect(() => quantizedMatmul(core.ones([2, 32]), weight)).toThrow(
        /x \[2, 32\] does not fit weight \[3, 64\]/,
      );
      expect(() => quantizedMatmul(tensorOf([1], [1], "i32"), weight)).toThrow(core.DTypeError);
    }),
  );
});

describe("embedding", () => {
  it(
    "adds repeated rows up in the gradient; every path agrees",
    scoped(() => {
      const index = core.tensor(
        [
          [3, 0, 3],
          [1, 3, 0],
        ],
        { dtype: "i32" },
      );
      expectSamePaths((table) => core.embedding(table!, index), inputsOf(3, [4, 3]));
      const table = core.ones([4, 2], { requiresGrad: true });
      core.sum(core.embedding(table, index)).backward();
      expect(valuesOf(table.grad!)).toEqual([2, 2, 1, 1, 0, 0, 3, 3]);
    }),
  );

  it("has gradients of first and second order", async () => {
    const index = core.tensor([1, 1, 0], { dtype: "i32" });
    await checkOrders((table) => core.square(core.embedding(table!, index)), inputsOf(5, [3, 2]));
  });

  it(
    "takes no indices and no columns",
    scoped(() => {
      const none = core.zeros([0], { dtype: "i32" });
      const table = core.ones([3, 2], { requiresGrad: true });
      core.sum(core.embedding(table, none)).backward();
      expect(valuesOf(table.grad!)).toEqual([0, 0, 0, 0, 0, 0]);
      const thin = core.ones([3, 0], { requiresGrad: true });
      core.sum(core.embedding(thin, core.tensor([1], { dtype: "i32" }))).backward();
      expect(thin.grad!.shape).toEqual([3, 0]);
      expect(() => core.embedding(table, core.tensor([3], { dtype: "i32" }))).toThrow(core.IndexError);
    }),
  );
});

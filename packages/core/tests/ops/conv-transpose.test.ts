import fc from "fast-check";
import { beforeAll, describe, expect, it } from "vitest";
import * as core from "../../src/index.ts";
import { examples, expectClose, scoped, setUp, valuesOf } from "./helper.ts";
import { checkOrders, expectSamePaths, inputsOf } from "./paths.ts";

beforeAll(setUp);

const { convTranspose1d, convTranspose2d } = core;

describe("convTranspose1d and convTranspose2d", () => {
  it("spread every element over the result; every path agrees", () => {
    const problem = fc.record({
      length: fc.integer({ min: 1, max: 4 }),
      kernel: fc.integer({ min: 1, max: 3 }),
      stride: fc.integer({ min: 1, max: 3 }),
      dilation: fc.integer({ min: 1, max: 3 }),
      padding: fc.nat(2),
      outputPadding: fc.nat(2),
      groups: fc.integer({ min: 1, max: 2 }),
    });
    fc.assert(
      fc.property(problem, ({ length, kernel, ...options }) => {
        const { stride, dilation, padding, outputPadding, groups } = options;
        fc.pre(outputPadding < Math.max(stride, dilation));
        const size = (length - 1) * stride - 2 * padding + dilation * (kernel - 1) + outputPadding + 1;
        fc.pre(size >= 1);
        scoped(() => {
          const [x, weight, bias] = inputsOf(
            3,
            [2, 2 * groups, length],
            [2 * groups, 2, kernel],
            [2 * groups],
          );
          const [xs, ws, bs] = [x!, weight!, bias!].map(valuesOf) as [number[], number[], number[]];
          const expected = Array.from(
            { length: 2 * 2 * groups * size },
            (_, i) => bs[Math.floor(i / size) % (2 * groups)]!,
          );
          for (let b = 0; b < 2; b++)
            for (let c = 0; c < 2 * groups; c++)
              for (let o = 0; o < 2; o++)
                for (let i = 0; i < length; i++)
                  for (let k = 0; k < kernel; k++) {
                    const at = i * stride + k * dilation - padding;
                    const channel = Math.floor(c / 2) * 2 + o;
                    if (at < 0 || at >= size) continue;
                    const place = (b * 2 * groups + channel) * size + at;
                    expected[place] =
                      expected[place]! +
                      xs[(b * 2 * groups + c) * length + i]! * ws[(c * 2 + o) * kernel + k]!;
                  }
          const run = (...inputs: core.Tensor[]): core.Tensor =>
            convTranspose1d(inputs[0]!, inputs[1]!, inputs[2], options);
          expect(run(x!, weight!, bias!).shape).toEqual([2, 2 * groups, size]);
          expectClose(valuesOf(run(x!, weight!, bias!)), expected, { relative: 1e-12, absolute: 1e-12 });
          expectSamePaths(run, [x!, weight!, bias!]);
        })();
      }),
      examples(100),
    );
  });

  it("have gradients of first and second order", async () => {
    const inputs = inputsOf(4, [1, 2, 2, 3], [2, 2, 2, 2], [2]);
    await checkOrders(
      (x, weight, bias) => convTranspose2d(x!, weight!, bias!, { stride: 2, padding: 1 }),
      inputs,
    );
    await checkOrders(
      (x, weight) => convTranspose2d(x!, weight!, undefined, { dilation: [3, 1], outputPadding: [2, 0] }),
      inputs.slice(0, 2),
    );
  });

  it(
    "are the gradient of a convolution",
    scoped(() => {
      const [x, weight, g] = inputsOf(6, [2, 3, 5, 4], [4, 3, 3, 2], [2, 4, 3, 4]);
      const options = { stride: [2, 1], padding: [1, 0], dilation: 1 };
      const [value, pullback] = core.vjp((one) => core.conv2d(one!, weight!, undefined, options), x!);
      const cotangent = core.slice(g!, null, null, null, [0, value.shape[3]!]);
      const spread = convTranspose2d(cotangent, weight!, undefined, options);
      expectClose(valuesOf(spread), valuesOf(pullback(cotangent)[0]!), { relative: 1e-12, absolute: 1e-12 });
    }),
  );

  it(
    "take empty batches",
    scoped(() => {
      expect(convTranspose1d(core.ones([0, 1, 3]), core.ones([1, 2, 2])).shape).toEqual([0, 2, 4]);
    }),
  );

  it(
    "refuse what does not fit, by name",
    scoped(() => {
      const [x, weight] = [core.ones([1, 2, 3]), core.ones([2, 1, 2])];
      expect(() => convTranspose1d(x, core.ones([1, 2, 2]))).toThrow(/convTranspose1d: weight \[1, 2, 2\]/);
      expect(() => convTranspose1d(x, weight, core.ones([2]))).toThrow(/bias must be \[1\]/);
      expect(() => convTranspose1d(x, weight, undefined, { outputPadding: 1 })).toThrow(
        /less than stride or dilation/,
      );
      expect(() => convTranspose1d(x, weight, undefined, { padding: 3 })).toThrow(/leaves nothing/);
      expect(() => convTranspose2d(x, weight)).toThrow(core.ShapeError);
      expect(() => convTranspose1d(x, weight, undefined, { bias: 1 } as object)).toThrow(
        /unknown option "bias"/,
      );
    }),
  );
});

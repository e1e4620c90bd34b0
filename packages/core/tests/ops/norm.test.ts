import fc from "fast-check";
import { beforeAll, describe, expect, it } from "vitest";
import * as core from "../../src/index.ts";
import { examples, expectClose, lay, layouts, scoped, setUp, tensorOf, valuesOf } from "./helper.ts";
import { checkOrders, expectSamePaths, HALF, inputsOf } from "./paths.ts";

beforeAll(setUp);

const { layerNorm, rmsNorm, batchNorm, batchNormPure, groupNorm, instanceNorm } = core;

describe("layerNorm and rmsNorm", () => {
  const variants: readonly (readonly [string, (...inputs: core.Tensor[]) => core.Tensor, number])[] = [
    ["layerNorm", (x) => layerNorm(x!), 1],
    ["layerNorm, weight", (x, weight) => layerNorm(x!, { weight: weight! }), 2],
    ["layerNorm, bias", (x, bias) => layerNorm(x!, { bias: bias! }), 2],
    ["layerNorm, both", (x, weight, bias) => layerNorm(x!, { weight: weight!, bias: bias!, eps: 0.1 }), 3],
    ["rmsNorm", (x) => rmsNorm(x!, { eps: 1e-5 }), 1],
    ["rmsNorm, weight", (x, weight) => rmsNorm(x!, { weight: weight!, eps: 1e-5 }), 2],
  ];

  it.each(variants)("%s: every path agrees", (_name, fn, count) => {
    for (const shape of [[3, 5], [2, 2, 4], [6], [2, 1]]) {
      const row = shape.slice(-1);
      scoped(() => expectSamePaths(fn, inputsOf(1, shape, row, row).slice(0, count)))();
    }
  });

  it.each(variants)("%s: gradients of first and second order", async (_name, fn, count) => {
    await checkOrders(fn, inputsOf(7, [3, 4], [4], [4]).slice(0, count));
  });

  it("agrees with itself on strided views", () => {
    const problem = fc.tuple(fc.constantFrom([2, 3, 4], [3, 5]), fc.nat(99)).chain(([shape, seed]) =>
      fc.record({
        shape: fc.constant(shape),
        seed: fc.constant(seed),
        layout: layouts(shape.length, false),
      }),
    );
    fc.assert(
      fc.property(problem, ({ shape, seed, layout }) =>
        scoped(() => {
          const { view } = lay(shape, layout, seed);
          const dense = core.fromData(view.dataSync(), shape);
          expectClose(valuesOf(layerNorm(view)), valuesOf(layerNorm(dense)), {
            relative: 0,
            absolute: 1e-14,
          });
          const [, pullback] = core.vjp((x) => layerNorm(x), view);
          const [, expected] = core.vjp((x) => layerNorm(x), dense);
          const g = core.flip(
            core.fromData(
              Float64Array.from({ length: dense.size }, (_, i) => i % 7),
              shape,
            ),
            0,
          );
          expectClose(valuesOf(pullback(g)[0]!), valuesOf(expected(g)[0]!), {
            relative: 1e-12,
            absolute: 1e-12,
          });
        })(),
      ),
      examples(40),
    );
  });

  it(
    "computes 16-bit floats in f32",
    scoped(() => {
      const values = [100.5, 101, 99.5, 100];
      for (const dtype of ["f16", "bf16"] as const) {
        const x = tensorOf(values, [1, 4], dtype);
        const y = layerNorm(x);
        expect(y.dtype).toBe(dtype);
        const exact = valuesOf(layerNorm(core.cast(x, "f64")));
        expectClose(valuesOf(y), exact, HALF);
        expectSamePaths((one) => layerNorm(one!, { bias: core.zeros([4], { dtype }) }), [x], HALF);
      }
    }),
  );

  it("gives no NaN for rows without spread", () => {
    for (const mode of ["auto", "off"] as const) {
      for (const eps of [1e-5, 0]) {
        scoped(() =>
          core.withFusion(mode, () => {
            const x = tensorOf([5, 5, 5, 0, 0, 0, 1, 2, 3], [3, 3], "f64");
            const [y, pullback] = core.vjp((one) => layerNorm(one, { eps }), x);
            expect(valuesOf(y).slice(0, 6)).toEqual([0, 0, 0, 0, 0, 0]);
            const dx = valuesOf(pullback(tensorOf([1, 2, 3, 1, 2, 3, 1, 2, 3], [3, 3], "f64"))[0]!);
            expect(dx.every(Number.isFinite)).toBe(true);
            expect(valuesOf(rmsNorm(core.zeros([2, 3]), { eps }))).toEqual([0, 0, 0, 0, 0, 0]);
          }),
        )();
      }
    }
  });

  it(
    "stays finite at ±1e4, and lets NaN through in its row alone",
    scoped(() => {
      const x = tensorOf([1e4, -1e4, 1e4, NaN, 1, 2], [2, 3]);
      const y = valuesOf(layerNorm(x));
      expectClose(y.slice(0, 3), [Math.SQRT1_2, -Math.SQRT2, Math.SQRT1_2], { relative: 1e-6, absolute: 0 });
      expect(y.slice(3)).toEqual([NaN, NaN, NaN]);
    }),
  );

  it(
    "takes empty tensors",
    scoped(() => {
      expect(layerNorm(core.zeros([0, 3])).shape).toEqual([0, 3]);
      expect(layerNorm(core.zeros([2, 0])).shape).toEqual([2, 0]);
      const [weight, x] = [core.ones([3], { requiresGrad: true }), core.zeros([0, 3])];
      core.sum(layerNorm(x, { weight })).backward();
      expect(valuesOf(weight.grad!)).toEqual([0, 0, 0]);
    }),
  );

  it("leaves nothing behind but its result", () => {
    const x = core.ones([2, 3]);
    const before = core.memory().liveTensors;
    const y = layerNorm(x);
    expect(core.memory().liveTensors).toBe(before + 1);
    y.dispose();
    x.dispose();
  });

  it(
    "refuses what does not fit, by name",
    scoped(() => {
      const x = core.ones([2, 3]);
      expect(() => layerNorm(x, { weight: core.ones([2]) })).toThrow(/layerNorm.*\[2, 3\].*\[2\]/);
      expect(() => layerNorm(x, { normalizedShape: [3], bias: core.ones([2]) })).toThrow(
        /bias must be \[3\], got \[2\]/,
      );
      expect(() => layerNorm(core.ones([]))).toThrow(core.ShapeError);
      expect(() => layerNorm(core.ones([3], { dtype: "i32" }))).toThrow(core.DTypeError);
      expect(() => layerNorm(x, { eps: -1 })).toThrow(core.OptionError);
      expect(() => layerNorm(x, { axis: 1 } as object)).toThrow(/unknown option "axis"/);
      expect(() => rmsNorm(x, { bias: core.ones([3]) } as object)).toThrow(/unknown option "bias"/);
    }),
  );
});

describe("batchNorm", () => {
  const shape = [3, 2, 2];

  it("has gradients of first and second order, training and not", async () => {
    const inputs = inputsOf(3, shape, [2], [2]);
    await checkOrders(
      (x, weight, bias) => batchNorm(x!, { weight: weight!, bias: bias!, training: true }),
      inputs,
    );
    const running = {
      runningMean: tensorOf([0.5, -1], [2], "f64"),
      runningVariance: tensorOf([0.25, 2], [2], "f64"),
    };
    await checkOrders(
      (x, weight, bias) => batchNorm(x!, { weight: weight!, bias: bias!, ...running }),
      inputs,
    );
  });

  it(
    "moves the running statistics in place, the variance unbiased",
    scoped(() => {
      const x = tensorOf(
        [1, 2, 3, 10, 20, 30].flatMap((one) => [one, one + 1]),
        [3, 2, 2],
      );
      const channel = (c: number): number[] =>
        [0, 1, 2].flatMap((b) => valuesOf(x).slice(b * 4 + c * 2, b * 4 + c * 2 + 2));
      const [runningMean, runningVariance] = [tensorOf([1, -1], [2]), tensorOf([2, 3], [2])];
      batchNorm(x, { runningMean, runningVariance, training: true, momentum: 0.25 });
      const means = [0, 1].map((c) => channel(c).reduce((sum, one) => sum + one, 0) / 6);
      const unbiased = [0, 1].map(
        (c) => channel(c).reduce((sum, one) => sum + (one - means[c]!) ** 2, 0) / 5,
      );
      const close = { relative: 1e-6, absolute: 0 };
      expectClose(valuesOf(runningMean), [0.75 + means[0]! / 4, -0.75 + means[1]! / 4], close);
      expectClose(valuesOf(runningVariance), [1.5 + unbiased[0]! / 4, 2.25 + unbiased[1]! / 4], close);

      const old = { runningMean: tensorOf([1, -1], [2]), runningVariance: tensorOf([2, 3], [2]) };
      const pure = batchNormPure(x, { ...old, momentum: 0.25 });
      expect(valuesOf(pure.runningMean)).toEqual(valuesOf(runningMean));
      expect(valuesOf(pure.runningVariance)).toEqual(valuesOf(runningVariance));
      expect(valuesOf(old.runningMean)).toEqual([1, -1]);
      expect(valuesOf(pure.output)).toEqual(valuesOf(batchNorm(x, { training: true })));
    }),
  );

  it(
    "trains on with the same statistics tensors",
    scoped(() => {
      const weight = core.ones([2], { requiresGrad: true });
      const running = { runningMean: core.zeros([2]), runningVariance: core.ones([2]) };
      for (let step = 0; step < 3; step++) {
        core.zeroGrad([weight]);
        const y = batchNorm(core.randn([4, 2, 3]), { weight, ...running, training: true });
        core.sum(core.square(y)).backward();
        expect(valuesOf(weight.grad!).every(Number.isFinite)).toBe(true);
      }
      expect(running.runningMean.requiresGrad).toBe(false);
    }),
  );

  it(
    "refuses what does not fit, by name",
    scoped(() => {
      const x = core.ones([2, 3]);
      const one = core.ones([3]);
      expect(() => batchNorm(x)).toThrow(/outside training runningMean and runningVariance/);
      expect(() => batchNorm(x, { runningMean: one })).toThrow(/go together/);
      expect(() => batchNorm(x, { training: true, weight: core.ones([2]) })).toThrow(/weight must be \[3\]/);
      expect(() => batchNorm(core.ones([1, 3]), { training: true })).toThrow(/more than one value a channel/);
      expect(() => batchNorm(x, { training: true, momentum: 2 })).toThrow(/momentum/);
      expect(() => batchNorm(core.ones([3]), { training: true })).toThrow(core.ShapeError);
      expect(() => batchNorm(x, { train: true } as object)).toThrow(/unknown option "train"/);
    }),
  );
});

describe("groupNorm and instanceNorm", () => {
  it("have gradients of first and second order", async () => {
    const inputs = inputsOf(5, [2, 4, 3], [4], [4]);
    await checkOrders(
      (x, weight, bias) => groupNorm(x!, { groups: 2, weight: weight!, bias: bias! }),
      inputs,
    );
    await checkOrders((x, weight, bias) => instanceNorm(x!, { weight: weight!, bias: bias! }), inputs);
  });

  it(
    "groupNorm: every path agrees",
    scoped(() => {
      expectSamePaths(
        (x, weight, bias) => groupNorm(x!, { groups: 2, weight: weight!, bias: bias! }),
        inputsOf(8, [2, 4, 3], [4], [4]),
      );
    }),
  );

  it(
    "are layerNorm for one group, and take empty batches",
    scoped(() => {
      const x = core.randn([2, 3, 4]);
      const flat = core.reshape(layerNorm(core.reshape(x, [2, 12])), [2, 3, 4]);
      expectClose(valuesOf(groupNorm(x, { groups: 1 })), valuesOf(flat));
      expect(instanceNorm(core.zeros([0, 2, 3])).shape).toEqual([0, 2, 3]);
      expect(groupNorm(core.zeros([2, 4, 0]), { groups: 2 }).shape).toEqual([2, 4, 0]);
    }),
  );

  it(
    "refuse what does not fit, by name",
    scoped(() => {
      const x = core.ones([2, 3, 2]);
      expect(() => groupNorm(x, { groups: 2 })).toThrow(/3 channels cannot be cut into 2 groups/);
      expect(() => groupNorm(x, { groups: 0 })).toThrow(core.OptionError);
      expect(() => instanceNorm(x, { bias: core.ones([2]) })).toThrow(/bias must be \[3\]/);
    }),
  );
});

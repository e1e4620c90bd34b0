import { beforeAll, describe, expect, it } from "vitest";
import * as core from "../../src/index.ts";
import { scoped, setUp, tensorOf, valuesOf } from "./helper.ts";

beforeAll(setUp);

describe("numbers beside integers", () => {
  const CALLS: readonly (readonly [string, core.DType, (x: core.Tensor) => core.Tensor])[] = [
    ["less", "u8", (x) => core.less(x, -1)],
    ["greater", "u32", (x) => core.greater(x, -1)],
    ["less", "i32", (x) => core.less(x, 3e9)],
    ["equal", "i32", (x) => core.equal(x, 2 ** 32 + 1)],
    ["maximum", "u8", (x) => core.maximum(x, -5)],
    ["add", "i32", (x) => core.add(x, 3e9)],
    ["where", "u8", (x) => core.where(core.isNaN(x.cast("f32")), 300, x)],
    ["maskedFill", "i8", (x) => core.maskedFill(x, core.equal(x, 1), -129)],
  ];
  it.each(CALLS)("are refused where they would wrap around: %s of %s", (name, dtype, call) => {
    const scope = new core.Scope();
    scope.run(() => {
      const message = new RegExp(`^${name}: -?\\d+ is not in the range of ${dtype}, `);
      expect(() => call(tensorOf([1, 2], [2], dtype))).toThrow(message);
      expect(() => call(tensorOf([1, 2], [2], dtype))).toThrow(core.DTypeError);
    });
    scope.dispose();
  });

  it(
    "limit as far as the dtype reaches in clip",
    scoped(() => {
      const x = tensorOf([0, 100, 255], [3], "u8");
      expect(valuesOf(core.clip(x, { min: -5, max: 300 }))).toEqual([0, 100, 255]);
      expect(valuesOf(core.clip(x, { min: 300 }))).toEqual([255, 255, 255]);
      expect(valuesOf(core.clip(x, { max: Infinity }))).toEqual([0, 100, 255]);
    }),
  );
});

describe("means of 16-bit floats", () => {
  it.each(["f16", "bf16"] as const)("do not overflow on the way: %s", (dtype) => {
    const scope = new core.Scope();
    scope.run(() => {
      const [value] = valuesOf(core.mean(core.full([1000], 100, { dtype })));
      expect(value).toBe(100);
      expect(core.mean(core.ones([2], { dtype })).dtype).toBe(dtype);
      const [deviation] = valuesOf(core.std(tensorOf([300, -300], [2], dtype)));
      expect(Math.abs((deviation as number) - 424.26) / 424.26).toBeLessThan(0.004);
      expect(valuesOf(core.var(tensorOf([100, -100], [2], dtype), { ddof: 0 }))[0]).toBeCloseTo(1e4, -2);
      expect(valuesOf(core.logSumExp(core.zeros([70000], { dtype })))[0]).toBeCloseTo(11.16, 1);
      expect(valuesOf(core.mseLoss(core.full([1000], 10, { dtype }), core.zeros([1000], { dtype })))).toEqual(
        [100],
      );
      expect(valuesOf(core.globalAvgPool(core.full([1, 1, 40, 40], 60, { dtype })))).toEqual([60]);
      const x = core.parameter(core.full([1000], 100, { dtype }));
      core.mean(x).backward();
      expect((x.grad as core.Tensor).dtype).toBe(dtype);
    });
    scope.dispose();
  });
});

describe("scalars along an axis", () => {
  it(
    "count as a line of one element, as in PyTorch",
    scoped(() => {
      const x = core.tensor(3);
      for (const axis of [0, -1]) {
        for (const reduce of [core.max, core.sum, core.mean, core.argmax, core.logSumExp])
          expect(reduce(x, { axis }).shape).toEqual([]);
      }
      expect(valuesOf(core.max(x, { axis: 0 }))).toEqual([3]);
      expect(() => core.max(x, { axis: 1 })).toThrow(/max: axis 1 is outside a scalar, which has none/);
    }),
  );
});

describe("edges of single operations", () => {
  it(
    "linspace of one number is its start",
    scoped(() => expect(valuesOf(core.linspace(2, 5, 1))).toEqual([2])),
  );

  it(
    "pad refuses numbers that the dtype does not hold",
    scoped(() => {
      for (const [dtype, value] of [
        ["u8", 300],
        ["i32", 3e9],
        ["u32", -1],
        ["bool", 2],
      ] as const) {
        const x = tensorOf([0, 1], [2], dtype);
        expect(() => core.pad(x, [[1, 0]], { value }), dtype).toThrow(core.NanoFluxError);
      }
    }),
  );

  it(
    "flags are true or false",
    scoped(() => {
      const x = tensorOf([1, 2], [2]);
      expect(() => core.sum(x, { keepDims: 1 as never })).toThrow(
        /sum: keepDims must be true or false, got 1/,
      );
      expect(() => core.sort(x, { descending: "yes" as never })).toThrow(core.OptionError);
      expect(() => core.tensor([1], { requiresGrad: 1 as never })).toThrow(core.OptionError);
    }),
  );

  it(
    "klDiv of a negative share is NaN, of 0 it is 0",
    scoped(() => {
      const [value] = valuesOf(core.klDiv(tensorOf([-1], [1]), tensorOf([-0.5], [1])));
      expect(value).toBeNaN();
      const zero = core.klDiv(tensorOf([-Infinity, -1], [2]), tensorOf([0, 1], [2]), { reduction: "none" });
      expect(valuesOf(zero)).toEqual([0, 1]);
    }),
  );

  it(
    "hardSwish is steep where it is a line, however far out",
    scoped(() => {
      const x = tensorOf([-Infinity, -4, 4, 3e38, Infinity], [5], "f32", true);
      core.hardSwish(x).sum().backward();
      expect(valuesOf(x.grad as core.Tensor)).toEqual([0, 0, 1, 1, 1]);
    }),
  );

  it.each<[string, readonly number[], number, boolean]>([
    ["none possible", [0, 0, 0], 1, false],
    ["negative", [-0.5, 0.5, 0], 1, false],
    ["NaN", [Number.NaN, 0.5], 1, true],
    ["infinite", [Infinity, 0.5], 1, false],
    ["more than are possible", [0.5, 0.5, 0], 3, false],
    ["none possible, with replacement", [0, 0], 2, true],
  ])("multinomial refuses weights: %s", (_name, weights, count, replacement) => {
    scoped(() => {
      const draw = (): unknown =>
        valuesOf(core.multinomial(tensorOf(weights, [weights.length]), count, { replacement }));
      expect(draw).toThrow(core.ArithmeticError);
    })();
  });
});

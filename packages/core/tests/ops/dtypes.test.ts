import { beforeAll, describe, expect, it } from "vitest";
import * as core from "../../src/index.ts";
import { each, gives, INF, ints, NAN, of, type T } from "./corners.ts";
import { expectClose, scoped, setUp, tensorOf, valuesOf } from "./helper.ts";

/* Rounding, division, casts, the dtypes themselves, and the functions that make tensors. */

beforeAll(setUp);

describe("rounding and division", () => {
  each({
    "remainder has the divisor's sign": () => {
      gives(core.remainder(of(5, -5, 5, -5), of(3, 3, -3, -3)), 2, 1, -1, -2);
      gives(core.remainder(ints(5, -5, 5, -5), ints(3, 3, -3, -3)), 2, 1, -1, -2);
      gives(core.remainder(of(1), 0), NAN);
    },
    "floorDivide goes down, and fits the remainder": () => {
      gives(core.floorDivide(of(5, -5, 5, -5), of(3, 3, -3, -3)), 1, -2, -2, 1);
      gives(core.floorDivide(ints(5, -5, 5, -5), ints(3, 3, -3, -3)), 1, -2, -2, 1);
      gives(core.floorDivide(core.tensor(1, { dtype: "f64" }), 0.1), 9);
      gives(core.floorDivide(of(1, -1), 0), INF, -INF);
    },
    "round takes half to even": () => {
      gives(core.round(of(0.5, 1.5, 2.5, 3.5, 1.4, 1.6, -1.6)), 0, 2, 2, 4, 1, 2, -2);
      expectClose(valuesOf(core.round(of(-0.5, -1.5, -2.5))), [0, -2, -2]);
    },
    "integer division by zero throws, floats give infinities": () => {
      expect(() => core.remainder(ints(1), 0)).toThrow(core.ArithmeticError);
      expect(() => core.floorDivide(ints(1), ints(0))).toThrow(core.ArithmeticError);
      gives(core.div(of(1, -1, 0), 0), INF, -INF, NAN);
      gives(core.div(ints(1), 0), INF);
    },
    "32-bit integers wrap around": () => {
      gives(core.add(ints(2147483647), 1), -2147483648);
      gives(core.mul(ints(65536, 46341), ints(65536, 46341)), 0, -2147479015);
      gives(core.neg(ints(-2147483648)), -2147483648);
      gives(core.sub(core.tensor([0], { dtype: "u32" }), 1), 4294967295);
      gives(core.leftShift(ints(1, 1), ints(31, 0)), -2147483648, 1);
      gives(core.rightShift(ints(-8), 1), -4);
      gives(core.rightShift(core.tensor([4294967288], { dtype: "u32" }), 1), 2147483644);
    },
    "small integers wrap around when they are stored": () => {
      gives(core.add(core.tensor([250, 5], { dtype: "u8" }), 10), 4, 15);
      gives(
        core.add(core.tensor([120, -120], { dtype: "i8" }), core.tensor([10, -10], { dtype: "i8" })),
        -126,
        126,
      );
    },
    "sums of small integers and bool are counted in 32 bits": () => {
      const bytes = core.full([300], 255, { dtype: "u8" });
      expect(bytes.sum().dtype).toBe("u32");
      gives(bytes.sum(), 76_500);
      expect(core.full([300], 1, { dtype: "bool" }).sum().dtype).toBe("i32");
      gives(core.full([300], -100, { dtype: "i8" }).sum(), -30_000);
    },
  });
});

describe("casts", () => {
  const from = (values: readonly number[], dtype: core.DType): T => tensorOf(values, [values.length], dtype);
  const TABLE: readonly (readonly [
    from: core.DType,
    to: core.DType,
    values: number[],
    expected: number[],
  ])[] = [
    [
      "f32",
      "i32",
      [1.9, -1.9, 3e9, -3e9, INF, -INF, NAN],
      [1, -1, 2147483647, -2147483648, 2147483647, -2147483648, 0],
    ],
    ["f64", "u32", [1.9, -1.9, 5e9, INF, NAN], [1, 0, 4294967295, 4294967295, 0]],
    ["f32", "u8", [300, -3, 255.9, 12.7, NAN, INF], [255, 0, 255, 12, 0, 255]],
    ["f32", "i8", [300, -300, -128.5, 127.5, NAN], [127, -128, -128, 127, 0]],
    ["i32", "u8", [256, -1, 511], [0, 255, 255]],
    ["i32", "i8", [128, -129, 255], [-128, 127, -1]],
    ["i32", "u32", [-1, 5], [4294967295, 5]],
    ["u32", "i32", [4294967295, 5], [-1, 5]],
    ["u8", "i8", [200, 100], [-56, 100]],
    ["f32", "bool", [0, 0.1, -2, NAN], [0, 1, 1, 1]],
    ["i32", "bool", [0, 256, -1], [0, 1, 1]],
    ["bool", "f32", [0, 1], [0, 1]],
    ["bool", "i32", [0, 1], [0, 1]],
    ["u32", "f32", [4294967295], [4294967296]],
    ["f64", "f32", [1 + 2 ** -24, 1e40, -1e-50], [1, INF, -0]],
    [
      "f32",
      "f16",
      [1 + 2 ** -11, 1 + 3 * 2 ** -11, 65504, 65519, 65520, 2 ** -24, 2 ** -26],
      [1, 1 + 2 ** -9, 65504, 65504, INF, 2 ** -24, 0],
    ],
    ["f32", "bf16", [1 + 2 ** -8, 1 + 3 * 2 ** -8, 3.4e38, NAN], [1, 1 + 2 ** -6, INF, NAN]],
  ];
  it.each(TABLE)("%s to %s", (source, target, values, expected) => {
    scoped(() => {
      const result = from(values, source).cast(target);
      expect(result.dtype).toBe(target);
      expectClose(valuesOf(result), expected);
    })();
  });

  it(
    "to its own dtype shares the memory, under a handle of its own",
    scoped(() => {
      const x = of(1);
      const y = x.cast("f32");
      expect(y.storage).toBe(x.storage);
      y.dispose();
      expect(x.isDisposed).toBe(false);
    }),
  );
});

describe("dtypes", () => {
  /** What two dtypes meet in, by row and column of DTYPE_NAMES: f32 f64 f16 bf16 i32 u32 u8 i8 bool. */
  const PROMOTION: Readonly<Record<core.DType, string>> = {
    f32: "f32 f64 f32 f32 f32 f32 f32 f32 f32",
    f64: "f64 f64 f64 f64 f64 f64 f64 f64 f64",
    f16: "f32 f64 f16 f32 f16 f16 f16 f16 f16",
    bf16: "f32 f64 f32 bf16 bf16 bf16 bf16 bf16 bf16",
    i32: "f32 f64 f16 bf16 i32 - i32 i32 i32",
    u32: "f32 f64 f16 bf16 - u32 u32 - u32",
    u8: "f32 f64 f16 bf16 i32 u32 u8 i32 u8",
    i8: "f32 f64 f16 bf16 i32 - i32 i8 i8",
    bool: "f32 f64 f16 bf16 i32 u32 u8 i8 bool",
  };
  it("promote by the table", () => {
    for (const a of core.DTYPE_NAMES) {
      const row = core.DTYPE_NAMES.map((b) => {
        try {
          return core.promoteTypes(a, b);
        } catch (error) {
          expect(error).toBeInstanceOf(core.DTypeError);
          return "-";
        }
      });
      expect(row.join(" "), a).toBe(PROMOTION[a]);
    }
  });

  it.each(core.DTYPE_NAMES)("%s is stored, computed with and read back", (dtype) => {
    scoped(() => {
      const x = core.tensor(
        [
          [1, 0],
          [1, 1],
        ],
        { dtype },
      );
      expect(x.dtype).toBe(dtype);
      gives(x, 1, 0, 1, 1);
      gives(x.transpose(), 1, 1, 0, 1);
      gives(core.concat([x, x.flip()]), 1, 0, 1, 1, 1, 1, 0, 1);
      gives(core.gather(x, 1, core.tensor([[1], [0]], { dtype: "i32" })), 0, 1);
      gives(core.equal(x, x.transpose()), 1, 0, 0, 1);
      gives(core.zerosLike(x), 0, 0, 0, 0);
      gives(x.sum({ axis: 0 }), 2, 1);
      gives(x.any({ axis: 1 }), 1, 1);
      gives(x.argmax({ axis: 1 }), 0, 0);
      if (dtype === "bool") return;
      const sum = core.add(x, x);
      expect(sum.dtype).toBe(dtype);
      gives(sum, 2, 0, 2, 2);
      gives(core.max(x), 1);
      gives(core.matmul(x, x), 1, 0, 2, 1);
      expect(core.matmul(x, x).dtype).toBe(dtype);
    })();
  });

  each({
    "numbers take the dtype beside them, fractions make integers float": () => {
      expect(core.add(ints(1), 2).dtype).toBe("i32");
      expect(core.add(ints(1), 2.5).dtype).toBe("f32");
      expect(core.mul(core.tensor(1, { dtype: "f64" }), 0.1).dtype).toBe("f64");
      gives(core.mul(core.tensor([1], { dtype: "f64" }), 0.1), 0.1);
      expect(core.mul(core.tensor(1, { dtype: "f16" }), 0.1).dtype).toBe("f16");
      expect(core.add(core.tensor([true]), 1).dtype).toBe("i32");
      expect(core.sub(1, ints(3)).dtype).toBe("i32");
    },
    "results of integers that are not whole are f32": () => {
      for (const result of [
        core.div(ints(1), ints(2)),
        core.exp(ints(1)),
        core.sqrt(ints(4)),
        core.mean(ints(1, 2)),
      ])
        expect(result.dtype).toBe("f32");
      gives(core.div(ints(1), ints(2)), 0.5);
    },
    "16-bit floats round their results": () => {
      const x = core.tensor([2048, 1], { dtype: "f16" });
      gives(x.sum(), 2048);
      gives(core.add(x, 1), 2048, 2);
      expectClose(valuesOf(core.exp(core.tensor([1], { dtype: "bf16" }))), [Math.E], {
        relative: 1e-2,
        absolute: 0,
      });
      // Accumulated in f32, rounded once: 4096 ones are 4096, where steps of f16 would stop at 2048.
      gives(core.ones([4096], { dtype: "f16" }).sum(), 4096);
      gives(
        core.matmul(core.ones([1, 4096], { dtype: "f16" }), core.ones([4096, 1], { dtype: "f16" })),
        4096,
      );
    },
    "u32 keeps its upper half": () => {
      const x = core.tensor([4294967295, 2147483648], { dtype: "u32" });
      gives(x, 4294967295, 2147483648);
      gives(x.max(), 4294967295);
      gives(core.greater(x, 1), 1, 1);
      gives(core.maximum(x, core.tensor([7, 4294967294], { dtype: "u32" })), 4294967295, 4294967294);
      gives(core.bitwiseNot(x), 0, 2147483647);
      gives(core.floorDivide(x, 2), 2147483647, 1073741824);
    },
  });
});

describe("makers", () => {
  each({
    "arange counts in its dtype": () => {
      gives(core.arange(3), 0, 1, 2);
      gives(core.arange(5, 1, -2), 5, 3);
      gives(core.arange(0, 1, 0.25), 0, 0.25, 0.5, 0.75);
      expect(core.arange(3, 3).shape).toEqual([0]);
      gives(core.arange(16777216, 16777219, 1, { dtype: "i32" }), 16777216, 16777217, 16777218);
    },
    "linspace has both ends exactly": () => {
      gives(core.linspace(0, 1, 3), 0, 0.5, 1);
      gives(core.linspace(2, 2, 1), 2);
      expect(core.linspace(0, 1, 0).shape).toEqual([0]);
      const tenths = valuesOf(core.linspace(0, 0.7, 8, { dtype: "f64" }));
      expect(tenths.at(-1)).toBe(0.7);
    },
    "integers are whole and in range, or refused": () => {
      const refused = [
        () => core.full([1], 2.5, { dtype: "i32" }),
        () => core.full([1], 256, { dtype: "u8" }),
        () => core.full([1], -1, { dtype: "u32" }),
        () => core.arange(0, 1, 0.25, { dtype: "i32" }),
        () => core.arange(0, 300, 1, { dtype: "u8" }),
        () => core.randint(0, 300, [1], { dtype: "i8" }),
        () => core.randperm(300, { dtype: "u8" }),
      ];
      for (const make of refused) expect(make).toThrow(core.DTypeError);
      gives(core.arange(250, 256, 5, { dtype: "u8" }), 250, 255);
    },
    "eye, trilMask, triuMask": () => {
      gives(core.eye(2, 3), 1, 0, 0, 0, 1, 0);
      gives(core.trilMask(2, 3), 1, 0, 0, 1, 1, 0);
      gives(core.trilMask(2, 3, 1), 1, 1, 0, 1, 1, 1);
      gives(core.triuMask(2, 3, 1), 0, 1, 1, 0, 0, 1);
      gives(core.triuMask(2, 2, -1, { dtype: "f32" }), 1, 1, 1, 1);
    },
    "tensor infers shapes and dtypes": () => {
      expect(core.tensor([[[1], [2]]]).shape).toEqual([1, 2, 1]);
      expect(core.tensor([]).shape).toEqual([0]);
      expect(core.tensor([[], []]).shape).toEqual([2, 0]);
      expect(core.tensor([true, false]).dtype).toBe("bool");
      expect(core.tensor([true, 2]).dtype).toBe("f32");
      expect(core.tensor(Int8Array.of(1)).dtype).toBe("i8");
      expect(core.tensor(Float64Array.of(1)).dtype).toBe("f64");
    },
    "requiresGrad marks leaves everywhere": () => {
      const options = { requiresGrad: true };
      const made = [
        core.tensor([1], options),
        core.zeros([1], options),
        core.ones([1], options),
        core.full([1], 2, options),
        core.arange(0, 3, 1, options),
        core.linspace(0, 1, 2, options),
        core.eye(2, 2, options),
        core.trilMask(2, 2, 0, { dtype: "f32", ...options }),
        core.rand([1], options),
        core.randn([1], options),
        core.randperm(3, { dtype: "f32", ...options }),
        core.zerosLike(of(1), options),
      ];
      for (const x of made) expect(x.requiresGrad && x.isLeaf).toBe(true);
    },
  });
});

import { cpu } from "@nf/backend-cpu";
import { beforeAll, describe, expect, it } from "vitest";
import { arange, type DType, tensor, use, zeros } from "../../src/index.ts";
import { formatValues } from "../../src/tensor/format.ts";

beforeAll(async () => {
  await use(cpu());
});

/** What NumPy 2.4 prints with `separator=", "` and `precision=4`. */
const NUMPY: readonly (readonly [dtype: DType, values: readonly number[], text: string])[] = [
  ["f32", [-0], "[-0.]"],
  ["f32", [0, -0], "[ 0., -0.]"],
  ["f32", [1e20], "[1.e+20]"],
  ["f32", [1e-5], "[1.e-05]"],
  ["f32", [-1e-5], "[-1.e-05]"],
  ["f32", [3], "[3.]"],
  ["f32", [-1.5, 10], "[-1.5, 10. ]"],
  ["f32", [0.5, 0.25, -0.125], "[ 0.5  ,  0.25 , -0.125]"],
  ["f32", [1e-5, 1], "[1.e-05, 1.e+00]"],
  ["f32", [0.0001], "[0.0001]"],
  ["f32", [1, 1000], "[   1., 1000.]"],
  ["f32", [1, 1001], "[1.000e+00, 1.001e+03]"],
  ["f32", [999999], "[999999.]"],
  ["f32", [1000000], "[1.e+06]"],
  ["f32", [0.00012345, 1], "[1.2345e-04, 1.0000e+00]"],
  ["f32", [1.5, NaN, Infinity], "[1.5, nan, inf]"],
  ["f32", [-Infinity, 1.25], "[-inf, 1.25]"],
  ["f32", [NaN], "[nan]"],
  ["f32", [Infinity, -Infinity], "[ inf, -inf]"],
  ["f32", [NaN, 1e20], "[   nan, 1.e+20]"],
  ["f32", [0.03125, 0.09375], "[0.0312, 0.0938]"],
  ["f32", [-0.03125], "[-0.0312]"],
  ["f32", [0.3333333333333333, 0.6666666666666666], "[0.3333, 0.6667]"],
  ["f32", [-33320.8125, 22254.5], "[-33320.812,  22254.5  ]"],
  ["f32", [-130207.0859375, 117449.8671875], "[-130207.086,  117449.87 ]"],
  ["f32", [1.99999], "[2.]"],
  ["f32", [1.99999e20, 1e20], "[2.e+20, 1.e+20]"],
  ["f32", [-1e-30, 0], "[-1.e-30,  0.e+00]"],
  ["f64", [-0], "[-0.]"],
  ["f64", [1e20], "[1.e+20]"],
  ["f64", [1e-5], "[1.e-05]"],
  ["f64", [10000000], "[10000000.]"],
  ["f64", [12345678.9], "[12345678.9]"],
  ["f64", [99999999], "[99999999.]"],
  ["f64", [100000000], "[1.e+08]"],
  ["f64", [1e100, -1e99], "[ 1.e+100, -1.e+099]"],
  ["f64", [1e-300], "[1.e-300]"],
  ["f64", [5e-324], "[5.e-324]"],
  ["f64", [0.000123445, 0.000123455], "[0.0001, 0.0001]"],
  ["f64", [0.30000000000000004], "[0.3]"],
  ["f16", [0.1], "[0.1]"],
  ["f16", [0.3333333333333333], "[0.3333]"],
  ["f16", [999], "[999.]"],
  ["f16", [65504], "[6.55e+04]"],
  ["f16", [1094, -524, -96.125], "[ 1.094e+03, -5.240e+02, -9.612e+01]"],
  ["f16", [6e-8], "[6.e-08]"],
  ["i32", [1, -20, 300], "[  1, -20, 300]"],
];

describe("numbers", () => {
  it.each(NUMPY)("%s %j as %s", (dtype, values, text) => {
    const printed = String(tensor([...values], { dtype }));
    expect(printed.slice("Tensor(".length, printed.indexOf(", shape="))).toBe(text);
  });

  it("bf16 by the same rules: two digits are sure", () => {
    const print = (value: number): string =>
      String(tensor(value, { dtype: "bf16" })).split(", shape")[0] as string;
    expect([0.1, 99, 100, 256].map(print)).toEqual([
      "Tensor(0.1",
      "Tensor(99.",
      "Tensor(1.e+02",
      "Tensor(2.56e+02",
    ]);
  });

  it("booleans in JavaScript's words", () => {
    expect(String(tensor([true, false]))).toContain("Tensor([ true, false],");
  });
});

describe("layout", () => {
  const count = (length: number, step = 1): Float32Array =>
    Float32Array.from({ length }, (_, index) => index * step);

  it("breaks long rows below the first entry", () => {
    expect(formatValues(count(24, 1 / 7), [24], "f32")).toBe(
      [
        "[0.    , 0.1429, 0.2857, 0.4286, 0.5714, 0.7143, 0.8571, 1.    ,",
        " 1.1429, 1.2857, 1.4286, 1.5714, 1.7143, 1.8571, 2.    , 2.1429,",
        " 2.2857, 2.4286, 2.5714, 2.7143, 2.8571, 3.    , 3.1429, 3.2857]",
      ].join("\n"),
    );
    expect(
      formatValues(Int32Array.from(count(30, 1000)), [30], "i32")
        .split("\n")
        .map(({ length }) => length),
    ).toEqual([63, 63, 63, 21]);
  });

  it("keeps matrices apart", () => {
    expect(formatValues(count(12, 0.5), [2, 3, 2], "f32")).toBe(
      "[[[0. , 0.5],\n  [1. , 1.5],\n  [2. , 2.5]],\n\n [[3. , 3.5],\n  [4. , 4.5],\n  [5. , 5.5]]]",
    );
  });

  it("shortens what has over 1,000 entries to the ends", () => {
    const lines = formatValues(count(4000), [40, 100], "f32").split("\n");
    expect(lines.slice(0, 2)).toEqual([
      "[[0.000e+00, 1.000e+00, 2.000e+00, ..., 9.700e+01, 9.800e+01,",
      "  9.900e+01],",
    ]);
    expect(lines[6]).toBe(" ...,");
    expect(lines.slice(-2)).toEqual([
      " [3.900e+03, 3.901e+03, 3.902e+03, ..., 3.997e+03, 3.998e+03,",
      "  3.999e+03]]",
    ]);
    expect(lines).toHaveLength(13);
  });

  it("shows many dimensions", () => {
    const shape = Array.from({ length: 7 }, () => 7);
    expect(formatValues(new Uint8Array(7 ** 7), shape, "u8").match(/0/g)).toHaveLength(6 ** 7);
  });

  it("shows that there is nothing", () => {
    expect(formatValues(count(0), [0, 3], "f32")).toBe("[]");
  });
});

describe("a tensor as text", () => {
  it("has nothing on the blank lines between matrices, and columns below each other", () => {
    const x = arange(12).reshape([2, 3, 2]).mul(0.5);
    expect(String(x)).toBe(
      [
        "Tensor([[[0. , 0.5],",
        "         [1. , 1.5],",
        "         [2. , 2.5]],",
        "",
        "        [[3. , 3.5],",
        "         [4. , 4.5],",
        "         [5. , 5.5]]], shape=[2, 3, 2], dtype=f32, backend=cpu)",
      ].join("\n"),
    );
    const deep = String(zeros([2, 2, 2, 2]));
    expect(deep).toContain("\n\n\n");
    expect(deep.split("\n").filter((line) => line.endsWith(" "))).toEqual([]);
  });
});

import { describe, expect, it } from "vitest";
import { fromBfloatBits, fromHalfBits, toBfloatBits, toHalfBits } from "../../src/scalar/half.ts";
import { castValue, floorMod, reinterpret, roundTo } from "../../src/scalar/ops.ts";
import { erf, erfc, roundHalfEven } from "../../src/scalar/special.ts";
import { threefry2x32, threefryWord } from "../../src/scalar/threefry.ts";

const float = new Float32Array(1);
const bits = new Uint32Array(float.buffer);

describe("f16 and bf16", () => {
  it("come back from all 65,536 bit patterns", () => {
    for (const [from, to] of [
      [fromHalfBits, toHalfBits],
      [fromBfloatBits, toBfloatBits],
    ] as const) {
      for (let pattern = 0; pattern < 65536; pattern++) {
        const value = from(pattern);
        if (Number.isNaN(value)) expect(Number.isNaN(from(to(value)))).toBe(true);
        else if (to(value) !== pattern) expect.fail(`${pattern} became ${to(value)}`);
      }
    }
  });

  it("know the landmarks of their formats", () => {
    expect(
      [0x3c00, 0x0001, 0x03ff, 0x0400, 0x7bff, 0x7c00, 0xfc00, 0x8000, 0xc000].map(fromHalfBits),
    ).toEqual([1, 2 ** -24, 1023 * 2 ** -24, 2 ** -14, 65504, Infinity, -Infinity, -0, -2]);
    expect(fromHalfBits(0x7e00)).toBeNaN();
    expect([0x3f80, 0x0080, 0x7f7f, 0x7f80, 0xff80, 0x8000, 0x4049].map(fromBfloatBits)).toEqual([
      1,
      2 ** -126,
      255 * 2 ** 120,
      Infinity,
      -Infinity,
      -0,
      3.140625,
    ]);
    expect(fromBfloatBits(0x7fc0)).toBeNaN();
    expect([NaN, 1e6, -1e6, 65519, 65520].map(toHalfBits)).toEqual([0x7e00, 0x7c00, 0xfc00, 0x7bff, 0x7c00]);
    expect(fromBfloatBits(toBfloatBits(NaN))).toBeNaN();
    expect(toBfloatBits(3.4e38)).toBe(0x7f80);
  });

  it("round to the nearest neighbour, half to even", () => {
    for (const [from, to] of [
      [fromHalfBits, toHalfBits],
      [fromBfloatBits, toBfloatBits],
    ] as const) {
      for (let pattern = 0; pattern < 0x7b00; pattern += 7) {
        const [low, high] = [from(pattern), from(pattern + 1)];
        const middle = (low + high) / 2;
        float[0] = middle;
        if (float[0] === middle) expect(to(middle)).toBe(pattern + (pattern & 1));
        float[0] = middle;
        if (middle > 2 ** -120) {
          (bits[0] as number)--;
          expect(to(float[0])).toBe(pattern);
          bits[0] = (bits[0] as number) + 2;
          expect(to(float[0])).toBe(pattern + 1);
          expect(to(-(float[0] as number))).toBe(0x8000 | (pattern + 1));
        }
      }
    }
  });
});

describe("Threefry2x32-20", () => {
  it("gives the known answers of Random123", () => {
    expect(threefry2x32(0, 0, 0, 0)).toEqual([0x6b200159, 0x99ba4efe]);
    expect(threefry2x32(0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff)).toEqual([0x1cb996fc, 0xbb002be7]);
    expect(threefry2x32(0x13198a2e, 0x03707344, 0x243f6a88, 0x85a308d3)).toEqual([0xc4923a9c, 0x483df7a0]);
    expect(threefry2x32(-1, -1, -1, -1)).toEqual([0x1cb996fc, 0xbb002be7]);
    expect([0, 1].map((word) => threefryWord(word, 0, 0, 0, 0))).toEqual([0x6b200159, 0x99ba4efe]);
  });
});

describe("erf and erfc", () => {
  // Values of Abramowitz & Stegun's functions to 16 digits and more.
  const known: [number, number, number][] = [
    [0, 0, 1],
    [1e-10, 1.1283791670955126e-10, 0.9999999998871621],
    [0.1, 0.1124629160182849, 0.8875370839817151],
    [0.25, 0.2763263901682369, 0.7236736098317631],
    [0.5, 0.5204998778130465, 0.4795001221869535],
    [0.8, 0.7421009647076605, 0.2578990352923395],
    [1, 0.8427007929497149, 0.1572992070502851],
    [1.2, 0.9103139782296354, 0.08968602177036462],
    [1.5, 0.9661051464753108, 0.03389485352468927],
    [2, 0.9953222650189527, 0.004677734981047266],
    [2.5, 0.999593047982555, 0.0004069520174449589],
    [3, 0.9999779095030014, 2.209049699858544e-5],
    [4, 0.9999999845827421, 1.541725790028002e-8],
    [5, 0.9999999999984626, 1.537459794428035e-12],
    [10, 1, 2.088487583762545e-45],
    [20, 1, 5.395865611607901e-176],
  ];

  it("agree with tables to the last digits, on both sides", () => {
    for (const [x, value, complement] of known) {
      expect(Math.abs(erf(x) - value)).toBeLessThanOrEqual(3e-16 * Math.abs(value));
      expect(erf(-x)).toBe(-erf(x));
      expect(Math.abs(erfc(x) - complement)).toBeLessThanOrEqual(1e-15 * complement);
      expect(Math.abs(erfc(-x) - (1 + value))).toBeLessThanOrEqual(5e-16 * (1 + value));
    }
  });

  it("have the right ends and stay monotone across their intervals", () => {
    expect([
      erf(Infinity),
      erf(-Infinity),
      erf(-0),
      erfc(Infinity),
      erfc(-Infinity),
      erfc(30),
      erfc(-30),
    ]).toEqual([1, -1, -0, 0, 2, 0, 2]);
    expect([erf(NaN), erfc(NaN)]).toEqual([NaN, NaN]);
    for (let x = -6; x < 6; x += 0.001) expect(erf(x + 0.001)).toBeGreaterThanOrEqual(erf(x));
  });
});

describe("conversions", () => {
  it("round half to even, keeping -0 and what is whole already", () => {
    expect(
      [0.5, 1.5, -0.5, -1.5, 2.4999, 4503599627370497.5, 2 ** 53, -0, -0.2, 0.49999999999999994].map(
        roundHalfEven,
      ),
    ).toEqual([0, 2, -0, -2, 2, 4503599627370498, 2 ** 53, -0, -0, 0]);
    expect([NaN, Infinity, -Infinity].map(roundHalfEven)).toEqual([NaN, Infinity, -Infinity]);
  });

  it("wrap between integers, saturate from floats, test against zero for bool", () => {
    expect([castValue(4294967295, "u32", "i32"), castValue(-1, "i32", "u32")]).toEqual([-1, 4294967295]);
    expect([3e9, -3e9, 1.9, -1.9, NaN, Infinity].map((x) => castValue(x, "f32", "i32"))).toEqual([
      2147483647, -2147483648, 1, -1, 0, 2147483647,
    ]);
    expect([5e9, -1, 1.9, NaN].map((x) => castValue(x, "f64", "u32"))).toEqual([4294967295, 0, 1, 0]);
    expect([0, -0, 0.1, NaN, Infinity].map((x) => castValue(x, "f32", "bool"))).toEqual([0, 0, 1, 1, 1]);
    expect(castValue(16777217, "i32", "f32")).toBe(16777216);
    expect([
      roundTo("f64", 0.1),
      roundTo("f32", 0.1),
      roundTo("i32", 2 ** 31),
      roundTo("u32", -1),
      roundTo("bool", 7),
    ]).toEqual([0.1, Math.fround(0.1), -(2 ** 31), 2 ** 32 - 1, 1]);
  });

  it("reinterpret bits both ways", () => {
    expect(reinterpret(1, "f32", "u32")).toBe(0x3f800000);
    expect(reinterpret(0xbf800000, "u32", "f32")).toBe(-1);
    expect(reinterpret(-1, "i32", "u32")).toBe(4294967295);
    expect(reinterpret(4294967295, "u32", "i32")).toBe(-1);
    expect(reinterpret(-0, "f32", "i32")).toBe(-2147483648);
  });

  it("take remainders exactly, with the divisor's sign", () => {
    expect(
      [
        [5.5, 2],
        [-5.5, 2],
        [5.5, -2],
        [1e17, 3],
        [-1, Infinity],
        [0, 5],
        [7, 0],
      ].map(([a, b]) => floorMod(a as number, b as number)),
    ).toEqual([1.5, 0.5, -0.5, 1, Infinity, 0, NaN]);
  });
});

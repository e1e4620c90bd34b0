import { cpu } from "@nf/backend-cpu";
import { type Backend, program, scalar as s } from "@nf/core";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { native } from "../src/index.ts";
import { wordsOf } from "../src/programs/programs.ts";
import { missing } from "./built.ts";
import { blank, download, runMap, upload } from "./helper.ts";

describe("encoded programs", () => {
  it("never write where they read", () => {
    const chain = program("chain", ["f32", "f32"], ["f32"], ([x, y], [k]) => {
      const a = s.add(x as s.Expr, y as s.Expr);
      const b = s.mul(a, a);
      return [s.sub(s.exp(b), s.mul(b, k as s.Expr)), s.neg(a)];
    });
    const words = wordsOf(chain);
    const [inputs = 0, outputs = 0, coordinates = 0, scalars = 0, instructions = 0] = words;
    const first = 8 + inputs + coordinates + 2 * outputs + 4 * scalars;
    expect(words).toHaveLength(first + 10 * instructions);
    expect(instructions).toBeGreaterThan(4);
    for (let i = 0; i < instructions; i++) {
      const [, , , dst, ...rest] = words.slice(first + 10 * i, first + 10 * (i + 1));
      expect(rest.slice(0, 4)).not.toContain(dst);
    }
  });
});

describe.skipIf(missing !== undefined)("programs", () => {
  let backend: Backend;
  let reference: Backend;
  beforeAll(async () => {
    [backend, reference] = [await native({ threads: 2 }), await cpu()];
  });
  afterAll(async () => {
    await backend.dispose();
    await reference.dispose();
  });

  it("exchange two tensors in place", () => {
    const swap = program("swap", ["f32", "f32"], [], ([x, y]) => [y as s.Expr, x as s.Expr]);
    const x = upload(
      backend,
      "f32",
      [1500],
      Array.from({ length: 1500 }, (_, i) => i),
    );
    const y = upload(
      backend,
      "f32",
      [1500],
      Array.from({ length: 1500 }, (_, i) => -i),
    );
    runMap(backend, swap, [x, y], [x, y]);
    expect(download(backend, x)[1400]).toBe(-1400);
    expect(download(backend, y)[1400]).toBe(1400);
  });

  it("marked strict give the bits of the cpu backend", () => {
    const strict = program(
      "strict",
      ["f32", "f32"],
      ["f32"],
      ([x, y], [k]) => {
        const product = s.mul(x as s.Expr, y as s.Expr);
        const sum = s.add(product, k as s.Expr);
        return s.div(s.sub(sum, s.mul(sum, sum)), s.sqrt(s.add(s.abs(product), 1)));
      },
      { strict: true },
    );
    const numbers = (seed: number): number[] =>
      Array.from({ length: 4099 }, (_, i) => Math.fround(Math.sin(i * seed) * 10 ** ((i % 30) - 15)));
    const bits = (on: Backend): Uint8Array => {
      const [x, y] = [upload(on, "f32", [4099], numbers(1.7)), upload(on, "f32", [4099], numbers(3.1))];
      const out = blank(on, "f32", [4099]);
      runMap(on, strict, [x, y], [out], [0.3]);
      return on.readSync?.(out.buffer, 0, 4099 * 4) as Uint8Array;
    };
    expect(Buffer.compare(bits(backend), bits(reference))).toBe(0);
  });

  it("divide integers by zero with an error that names the program", () => {
    const divide = program("quotient", ["i32", "i32"], [], ([x, y]) =>
      s.floorDiv(
        s.check(x as s.Expr, s.ne(y as s.Expr, s.constant(0, "i32")), "integer division by zero"),
        y as s.Expr,
      ),
    );
    const x = upload(backend, "i32", [3], [7, -7, 1]);
    const y = upload(backend, "i32", [3], [2, 2, 0]);
    const out = blank(backend, "i32", [3]);
    expect(() => runMap(backend, divide, [x, y], [out])).toThrow(
      expect.objectContaining({ code: "NF_ARITHMETIC", message: expect.stringMatching(/^quotient:/) }),
    );
    runMap(backend, divide, [x, upload(backend, "i32", [3], [2, 2, 3])], [out]);
    expect(download(backend, out)).toEqual([3, -4, 0]);
  });

  it("make erfc and the exponential of its square together, right for numbers of all sizes", () => {
    const twins = program("twins", ["f32"], [], ([x]) => {
      const input = x as s.Expr;
      return [s.erfc(s.mul(input, -Math.SQRT1_2)), s.exp(s.mul(s.mul(input, input), -0.5))];
    });
    // One product and one instruction for both.
    expect(wordsOf(twins)[4]).toBe(2);
    for (const points of [1, 7, 2051]) {
      const special = [0, -0, NaN, 1e-30, 12, -13.5, Infinity, -Infinity];
      const values = Array.from({ length: points }, (_, i) =>
        Math.fround(special[i] ?? Math.sin(i * 12.9898) * 6),
      );
      const outputs = [blank(backend, "f32", [points]), blank(backend, "f32", [points])];
      runMap(backend, twins, [upload(backend, "f32", [points], values)], outputs);
      const [tails = [], bells = []] = outputs.map((out) => [...download(backend, out)]);
      values.forEach((value, i) => {
        const bell = Math.exp((value * value) / -2);
        // The argument is rounded, which the power shows.
        expect(Math.abs((bells[i] as number) - bell)).not.toBeGreaterThan(
          bell * (value * value + 4) * 1e-7 + 1e-44,
        );
        expect([Number.isNaN(bells[i]), Number.isNaN(tails[i])]).toEqual(Array(2).fill(Number.isNaN(value)));
        if (value === 0) expect(tails[i]).toBe(1);
        if (value === Infinity) expect([tails[i], bells[i]]).toEqual([2, 0]);
        if (value === -Infinity) expect([tails[i], bells[i]]).toEqual([0, 0]);
      });
    }
  });
});

import { type Backend, makeView, program, SCALAR_OPS, type ScalarOp, scalar as s } from "@nf/core";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { decode, upload } from "../../backend-cpu/tests/helper.ts";
import { webgpu } from "../src/index.ts";
import { provideAdapter, testOptions } from "./adapter.ts";

const missing = await provideAdapter("functions on webgpu");

type Build = (x: s.Expr) => s.Expr;
type Build2 = (x: s.Expr, y: s.Expr) => s.Expr;

/** Each with the greatest error that is relative to the true value; most are several times better. */
const ONE: readonly (readonly [op: ScalarOp, build: Build, limit: number])[] = [
  ["exp", s.exp, 5e-7],
  ["expm1", s.expm1, 5e-7],
  ["log", s.log, 5e-7],
  ["log2", s.log2, 5e-7],
  ["log1p", s.log1p, 5e-7],
  ["sin", s.sin, 5e-7],
  ["cos", s.cos, 5e-7],
  ["tan", s.tan, 1e-6],
  ["asin", s.asin, 1e-6],
  ["acos", s.acos, 1e-6],
  ["atan", s.atan, 5e-7],
  ["sinh", s.sinh, 1e-6],
  ["cosh", s.cosh, 1e-6],
  ["tanh", s.tanh, 5e-7],
  ["asinh", s.asinh, 1e-6],
  ["acosh", s.acosh, 1e-6],
  ["atanh", s.atanh, 1e-6],
  ["erf", s.erf, 5e-7],
  ["erfc", s.erfc, 1e-6],
  ["sqrt", s.sqrt, 5e-7],
  ["sign", s.sign, 0],
  ["round", s.round, 0],
  ["trunc", s.trunc, 0],
];
const TWO: readonly (readonly [op: ScalarOp, build: Build2, limit: number])[] = [
  ["pow", s.pow, 1e-6],
  ["atan2", s.atan2, 1e-6],
  ["mod", s.mod, 0],
  ["max", s.max, 0],
  ["min", s.min, 0],
];

const SPECIAL = [
  ...[
    0,
    -0,
    NaN,
    Infinity,
    -Infinity,
    1,
    -1,
    1e-30,
    -1e-30,
    1e-40,
    -1e-40,
    3.4e38,
    -3.4e38,
    1.5e-45,
    0.5,
    -2,
  ],
  ...[88, 88.5, 88.72, 88.73, 89, 89.4, 89.5, 128, -87.3, -87.4, -88, -100, -103, -103.9, -104, -105],
  ...[0.625, -0.625, 0.84375, 1.25, 4, 4.1, -4, 2.5, 3.5, -2.5, 9.6, -9.1, 9.3, 10.1, 0.9999999, -0.9999999],
  ...[
    29_999, 30_001, 99_999, 1e6, 1e10, -1e10, 1e20, -1e30, 16_777_217, 1.0000001, 1e4, 10_001, 22, 355,
    0.41421357,
  ],
];

/** Numbers of all magnitudes and signs, alike in every run. */
function spread(count: number, seed: number): number[] {
  let state = seed;
  return Array.from({ length: count }, (_, i) => {
    state = (Math.imul(state, 1_103_515_245) + 12_345) >>> 0;
    return Math.fround((state / 2 ** 31 - 1) * 10 ** ((i % 1000) / 100 - 5));
  });
}

/** All pairs of special numbers, and pairs of many sizes. */
function pairs(): [number[], number[]] {
  const a: number[] = [];
  const b: number[] = [];
  for (const x of SPECIAL) {
    for (const y of SPECIAL) {
      a.push(Math.fround(x));
      b.push(Math.fround(y));
    }
  }
  a.push(
    ...spread(4_000, 7),
    ...[1.0001, 0.999, 1e30, 1e-30, -1.5, -3, 1e-40, 2, 2, 10, 10, 2].map(Math.fround),
  );
  b.push(...spread(4_000, 9).reverse(), ...[1e5, 1e4, 1.25, -1.25, 101, 1e7, 0.5, -149, -126, 38, 39, 127]);
  return [a, b];
}

const spaced = (values: readonly number[]): number[] => values.flatMap((value) => [value, 7]);

describe.skipIf(missing !== undefined)("functions in WGSL, against float64", () => {
  let backend: Backend;
  let keepsSmall = false;
  beforeAll(async () => {
    backend = await webgpu(testOptions);
    const [small] = await run("mul", 1, (x) => s.mul(x as s.Expr, s.constant(0.5, "f32")), [[1e-39]]);
    keepsSmall = small !== 0;
  });
  afterAll(() => backend.dispose());

  /** Vectors of four for step 1; step 2 takes them one by one. */
  async function run(
    name: string,
    step: number,
    build: (...operands: s.Expr[]) => s.Expr,
    columns: readonly (readonly number[])[],
  ): Promise<number[]> {
    const shape = [(columns[0] as readonly number[]).length];
    const given = step === 1 ? columns : columns.map(spaced);
    const inputs = given.map((values) => {
      const { buffer } = upload(backend, "f32", [values.length], values);
      return makeView(buffer, "f32", shape, [step], 0);
    });
    const output = upload(backend, "f32", shape, new Array(shape[0] as number).fill(0));
    const apply = program(
      name,
      inputs.map(() => "f32"),
      [],
      (xs) => build(...xs),
    );
    backend.execute({
      kernel: "map",
      program: apply,
      buffers: [...inputs, output].map(({ buffer }) => buffer),
      inputs,
      outputs: [output],
      params: [],
    });
    const bytes = await backend.read(output.buffer, 0, 4 * (shape[0] as number));
    for (const { buffer } of [...inputs, output]) backend.free(buffer);
    return decode("f32", bytes);
  }

  function wrong(
    op: ScalarOp,
    limit: number,
    columns: readonly (readonly number[])[],
    got: readonly number[],
  ): string[] {
    const found: string[] = [];
    const small = (x: number): boolean => x !== 0 && Math.abs(x) < 1.1754944e-38;
    for (let i = 0; i < got.length; i++) {
      const [x = 0, y = 0] = columns.map((values) => values[i] as number);
      const exact = SCALAR_OPS[op].evaluate("f32", x, y, 0, 0, 0);
      const wanted = Math.fround(exact);
      const value = got[i] as number;
      if (Object.is(value, wanted)) continue;
      // Adapters may take subnormal numbers as zeros.
      if (!keepsSmall && (small(x) || small(y) || small(wanted))) continue;
      // Subnormal results are steps of 1.4e-45. Where the true value is past the greatest number by a rounding, both will do.
      const near = Math.abs(value - exact) <= limit * Math.abs(exact) + 1.5e-45;
      const edge = Math.abs(exact) > 3.4028e38 && Math.abs(exact) < 3.40283e38 && Math.abs(value) > 3.4028e38;
      if (!(near && (value !== 0 || exact !== 0 || Object.is(value, exact))) && !edge)
        found.push(`${op}(${x}${columns.length > 1 ? `, ${y}` : ""}) is ${exact}, not ${value}`);
    }
    return found;
  }

  const xs = [...SPECIAL, ...spread(8_000, 12_345)].map(Math.fround);
  for (const [step, how] of [
    [1, "four at a time"],
    [2, "one at a time"],
  ] as const) {
    for (const [op, build, limit] of ONE) {
      it(`${op}, ${how}`, async () => {
        const got = await run(op, step, (x) => build(x as s.Expr), [xs]);
        expect(wrong(op, limit, [xs], got).slice(0, 20)).toEqual([]);
      });
    }
    for (const [op, build, limit] of TWO) {
      it(`${op}, ${how}`, async () => {
        const columns = pairs();
        const got = await run(op, step, (x, y) => build(x as s.Expr, y as s.Expr), columns);
        expect(wrong(op, limit, columns, got).slice(0, 20)).toEqual([]);
      });
    }
  }
});

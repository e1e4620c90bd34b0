import { type Backend, program, SCALAR_OPS, type ScalarOp, scalar as s } from "@nf/core";
import { afterAll, beforeAll, expect, it } from "vitest";
import { wasm } from "../src/index.ts";
import { blank, download, runMap, upload } from "./helper.ts";

let backend: Backend;
beforeAll(async () => {
  backend = await wasm({ threads: 1 });
});
afterAll(() => backend.dispose());

const FUNCTIONS = {
  exp: s.exp,
  expm1: s.expm1,
  log: s.log,
  log1p: s.log1p,
  log2: s.log2,
  sin: s.sin,
  cos: s.cos,
  tan: s.tan,
  asin: s.asin,
  acos: s.acos,
  atan: s.atan,
  sinh: s.sinh,
  cosh: s.cosh,
  tanh: s.tanh,
  asinh: s.asinh,
  acosh: s.acosh,
  atanh: s.atanh,
  erf: s.erf,
  erfc: s.erfc,
  sqrt: s.sqrt,
  abs: s.abs,
  sign: s.sign,
  floor: s.floor,
  ceil: s.ceil,
  round: s.round,
  trunc: s.trunc,
  neg: s.neg,
} satisfies Partial<Record<ScalarOp, (x: s.Expr) => s.Expr>>;

/** What activations are made of: nearer to the truth in f32 than was promised. */
const CLOSE: ReadonlySet<string> = new Set(["exp", "expm1", "log", "tanh", "erf", "erfc"]);

/** Special values, the ends of every range that an approximation has, and a sweep over magnitudes and signs. */
function arguments32(): number[] {
  const values = [0, -0, NaN, Infinity, -Infinity, 1, -1, 1e-30, -1e-30, 1e-40, 3.4e38, -3.4e38];
  values.push(88, 88.5, 88.72, 88.73, 89, 89.5, 128, -87.3, -87.4, -88, -100, -103, -103.9, -104, -105);
  values.push(
    0.625,
    -0.625,
    0.84375,
    1.25,
    4,
    4.1,
    -4,
    2.5,
    3.5,
    -2.5,
    9.6,
    -9.1,
    9.3,
    10.1,
    29_999,
    30_001,
    1e6,
    1e10,
    16_777_217,
  );
  let state = 12_345;
  for (let i = 0; i < 20_000; i++) {
    state = (Math.imul(state, 1_103_515_245) + 12_345) >>> 0;
    const mantissa = state / 2 ** 31 - 1;
    values.push(mantissa * 10 ** ((i % 1000) / 100 - 5));
  }
  return values.map(Math.fround);
}

for (const [name, build] of Object.entries(FUNCTIONS)) {
  for (const dtype of ["f32", "f64"] as const) {
    it(`${name} of ${dtype} is within its promise, specials exact`, () => {
      const xs = arguments32();
      const apply = program(name, [dtype], [], ([x]) => build(x as s.Expr));
      const out = blank(backend, dtype, [xs.length]);
      runMap(backend, apply, [upload(backend, dtype, [xs.length], xs)], [out]);
      const got = download(backend, out);
      const limit = dtype === "f64" ? 1e-12 : CLOSE.has(name) ? 5e-7 : 1.3e-6;
      const wrong = xs.filter((x, i) => {
        const exact = SCALAR_OPS[name as ScalarOp].evaluate(dtype, x, 0, 0, 0, 0);
        const wanted = dtype === "f32" ? Math.fround(exact) : exact;
        const value = got[i] as number;
        if (Object.is(value, wanted)) return false;
        // Subnormal results are steps of 1.4e-45.
        return !(Math.abs(value - exact) <= limit * Math.abs(exact) + (dtype === "f32" ? 1.5e-45 : 0));
      });
      expect(wrong).toEqual([]);
    });
  }
}

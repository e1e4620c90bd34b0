import { type Backend, contiguousView, type DType, program, scalar as s, type View } from "@nf/core";
import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { cpu } from "../src/index.ts";
import { blank, callOf, download, lay, RUNS, run, upload } from "./helper.ts";

let backend: Backend;
beforeAll(async () => {
  backend = await cpu();
});
afterAll(async () => {
  await backend.dispose();
});

const wave = (i: number): number => Math.fround(Math.sin(i * 1.7) * 2);

function naive(a: View, b: View, out: View): number[] {
  const [as, bs] = [download(backend, a), download(backend, b)];
  const rank = out.shape.length;
  const [m, n, k] = [
    out.shape[rank - 2] as number,
    out.shape[rank - 1] as number,
    a.shape[rank - 1] as number,
  ];
  const result: number[] = [];
  for (let batch = 0; batch < out.size / (m * n); batch++) {
    for (let i = 0; i < m; i++) {
      for (let j = 0; j < n; j++) {
        let sum = 0;
        for (let l = 0; l < k; l++)
          sum += (as[(batch * m + i) * k + l] as number) * (bs[(batch * k + l) * n + j] as number);
        result.push(sum);
      }
    }
  }
  return result;
}

function multiply(a: View, b: View, out: View): number[] {
  run(backend, { kernel: "matmul", inputs: [a, b], outputs: [out] });
  return download(backend, out);
}

const matrixLayout = (batch: number) =>
  fc.record({
    order: fc.constantFrom(
      ...(batch === 0
        ? [
            [0, 1],
            [1, 0],
          ]
        : [
            [0, 1, 2],
            [0, 2, 1],
            [1, 0, 2],
            [2, 1, 0],
          ]),
    ),
    flip: fc.array(fc.boolean(), { minLength: batch + 2, maxLength: batch + 2 }),
    still: fc.tuple(
      ...[...Array(batch + 2).keys()].map((axis) => (axis < batch ? fc.boolean() : fc.constant(false))),
    ),
    lead: fc.nat(2),
    gap: fc.integer({ min: 1, max: 2 }),
  });

describe("matmul", () => {
  it("equals a naive product for any sizes, strides and batches, in every float dtype", () => {
    const sizes = fc.oneof(fc.integer({ min: 1, max: 7 }), fc.integer({ min: 8, max: 40 }));
    fc.assert(
      fc.property(
        fc
          .tuple(
            sizes,
            sizes,
            sizes,
            fc.integer({ min: 0, max: 1 }),
            fc.integer({ min: 1, max: 3 }),
            fc.constantFrom<DType>("f32", "f64", "f16", "bf16"),
          )
          .chain(([m, k, n, rank, batch, dtype]) =>
            fc.record({
              m: fc.constant(m),
              k: fc.constant(k),
              n: fc.constant(n),
              batch: fc.constant(rank === 0 ? [] : [batch]),
              dtype: fc.constant(dtype),
              la: matrixLayout(rank),
              lb: matrixLayout(rank),
              lo: matrixLayout(rank),
            }),
          ),
        ({ m, k, n, batch, dtype, la, lb, lo }) => {
          const a = lay(backend, dtype, [...batch, m, k], la, wave);
          const b = lay(backend, dtype, [...batch, k, n], lb, (i) => wave(i + 50));
          const out = lay(
            backend,
            dtype,
            [...batch, m, n],
            { ...lo, still: lo.still.map(() => false) },
            () => 99,
          );
          const expected = naive(a, b, out);
          const tolerance = { f32: 1e-5, f64: 1e-13, f16: 2e-3, bf16: 1e-2 }[dtype as "f32"];
          multiply(a, b, out).forEach((value, i) => {
            expect(Math.abs(value - (expected[i] as number))).toBeLessThanOrEqual(
              tolerance * (1 + Math.abs(expected[i] as number)) + tolerance * k * 0.05,
            );
          });
        },
      ),
      { numRuns: RUNS },
    );
  });

  it("is right across block borders", () => {
    for (const [m, k, n] of [
      [193, 257, 194],
      [400, 300, 5],
      [4, 600, 385],
      [192, 256, 192],
      [1, 500, 300],
      [300, 500, 1],
      [2, 3, 400],
    ] as const) {
      const a = upload(
        backend,
        "f32",
        [m, k],
        Array.from({ length: m * k }, (_, i) => (i % 7) - 3),
      );
      const b = upload(
        backend,
        "f32",
        [k, n],
        Array.from({ length: k * n }, (_, i) => (i % 5) - 2),
      );
      const out = blank(backend, "f32", [m, n]);
      const expected = naive(a, b, out);
      expect(multiply(a, b, out)).toEqual(expected);
    }
  });

  it("shares one right matrix over a batch, folded into rows", () => {
    const a = upload(
      backend,
      "f32",
      [4, 5, 6],
      Array.from({ length: 120 }, (_, i) => i % 7),
    );
    const plain = upload(
      backend,
      "f32",
      [6, 8],
      Array.from({ length: 48 }, (_, i) => i % 5),
    );
    const b: View = { ...plain, shape: [4, 6, 8], strides: [0, 8, 1], size: 192, contiguous: false };
    const out = blank(backend, "f32", [4, 5, 8]);
    const expected = naive(a, b, out);
    expect(multiply(a, b, out)).toEqual(expected);
  });

  it("wraps integer products at 32 bits", () => {
    for (const dtype of ["i32", "u32"] as const) {
      const a = upload(backend, dtype, [2, 2], [65536, 3, 100000, 100000]);
      const b = upload(backend, dtype, [2, 2], [65536, 2, 5, 100000]);
      const wrap = dtype === "i32" ? (x: number) => x | 0 : (x: number) => x >>> 0;
      const sum = (x: number, y: number, z: number, w: number): number =>
        wrap(Math.imul(x, y) + Math.imul(z, w));
      expect(multiply(a, b, blank(backend, dtype, [2, 2]))).toEqual([
        sum(65536, 65536, 3, 5),
        sum(65536, 2, 3, 100000),
        sum(100000, 65536, 100000, 5),
        sum(100000, 2, 100000, 100000),
      ]);
    }
  });

  it("lets NaN and infinities through zeros", () => {
    for (const size of [2, 40]) {
      const zeros = new Array<number>(size * size).fill(0);
      const b = [...zeros];
      b[0] = NaN;
      b[1] = Infinity;
      const got = multiply(
        upload(backend, "f32", [size, size], zeros),
        upload(backend, "f32", [size, size], b),
        blank(backend, "f32", [size, size]),
      );
      for (let row = 0; row < size; row++) {
        expect(got.slice(row * size, row * size + 2)).toEqual([NaN, NaN]);
        expect(got.slice(row * size + 2, (row + 1) * size).every((x) => x === 0)).toBe(true);
      }
    }
  });

  it("runs a program over the product, and says where it cannot", () => {
    const biasRelu = program("biasRelu", ["f32", "f32"], ["f32"], ([x, bias], [p]) =>
      s.max(s.add(x as s.Expr, s.mul(bias as s.Expr, p as s.Expr)), 0),
    );
    const a = upload(
      backend,
      "f32",
      [3, 4],
      Array.from({ length: 12 }, (_, i) => i - 6),
    );
    const b = upload(
      backend,
      "f32",
      [4, 2],
      Array.from({ length: 8 }, (_, i) => i - 3),
    );
    const row = upload(backend, "f32", [2], [10, -10]);
    const bias: View = { ...row, shape: [3, 2], strides: [0, 1], size: 6, contiguous: false };
    const out = blank(backend, "f32", [3, 2]);
    const call = callOf({
      kernel: "matmul",
      program: biasRelu,
      inputs: [a, b, bias],
      outputs: [out],
      params: [0.5],
    });
    expect(backend.supports(call)).toBe("yes");
    const expected = naive(a, b, out).map((x, i) => Math.max(x + (i % 2 === 0 ? 5 : -5), 0));
    backend.execute(call);
    expect(download(backend, out)).toEqual(expected);

    const inPlace = contiguousView(out.buffer, "f32", [3, 2]);
    expect(
      backend.supports(
        callOf({ kernel: "matmul", program: biasRelu, inputs: [a, b, inPlace], outputs: [out], params: [1] }),
      ),
    ).toEqual({ reason: expect.any(String) });
    const half = blank(backend, "f16", [3, 2]);
    expect(
      backend.supports(
        callOf({ kernel: "matmul", program: biasRelu, inputs: [a, b, bias], outputs: [half], params: [1] }),
      ),
    ).toEqual({ reason: expect.any(String) });
  });
});

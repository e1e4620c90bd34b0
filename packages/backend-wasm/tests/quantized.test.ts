import { cpu } from "@nf/backend-cpu";
import { type Backend, toHalfBits } from "@nf/core";
import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { wasm } from "../src/index.ts";
import { expectClose, type Operand, plain, resultsOn, someFloat, TOLERANCES, wave } from "./compare.ts";
import { layoutOf, RUNS } from "./helper.ts";

let backends: readonly [Backend, Backend];
beforeAll(async () => {
  backends = [await wasm({ threads: 2 }), await cpu()];
});
afterAll(async () => {
  for (const backend of backends) await backend.dispose();
});

type Format = "q8_0" | "q4_0";
const BYTES = { q8_0: 34, q4_0: 18 } as const;

/** Blocks with arbitrary levels and scales; `scaleOf` a block's number. */
function blocksOf(
  format: Format,
  columns: number,
  blocks: number,
  scaleOf: (block: number) => number,
): Operand {
  const size = BYTES[format];
  const fill = (position: number): number => {
    const [block, at] = [Math.floor(position / size), position % size];
    const bits = toHalfBits(scaleOf(block));
    if (at < 2) return at === 0 ? bits & 255 : bits >>> 8;
    return Math.imul(position + 17, 0x9e3779b1) >>> 24;
  };
  return { dtype: "u8", shape: [columns, blocks * size], layout: plain(2), fill };
}

function both(format: Format, x: Operand, weight: Operand): [number[], number[]] {
  const [rows, inner] = x.shape as [number, number];
  const columns = weight.shape[0] as number;
  const parts = { kernel: "quantizedMatmul", attributes: { format, inner, columns } } as const;
  const out: Operand = { dtype: x.dtype, shape: [rows, columns], layout: plain(2) };
  return backends.map((backend) => resultsOn(backend, parts, [x, weight], [out])[0]) as [number[], number[]];
}

const formats = fc.constantFrom<Format>("q8_0", "q4_0");

describe("quantizedMatmul", () => {
  it("equals cpu for few and many rows, down to single blocks", () => {
    const cases = fc.record({
      format: formats,
      rows: fc.oneof(fc.constant(1), fc.integer({ min: 2, max: 20 })),
      blocks: fc.integer({ min: 1, max: 12 }),
      columns: fc.oneof(fc.integer({ min: 1, max: 9 }), fc.integer({ min: 60, max: 150 })),
      dtype: someFloat,
      layout: layoutOf(2),
      seed: fc.nat(1000),
    });
    fc.assert(
      fc.property(cases, ({ format, rows, blocks, columns, dtype, layout, seed }) => {
        const x: Operand = { dtype, shape: [rows, blocks * 32], layout, fill: wave(2, seed) };
        const weight = blocksOf(format, columns, blocks, (block) => 0.01 + (block % 5) * 0.02);
        const [got, wanted] = both(format, x, weight);
        const terms = Math.sqrt(blocks * 32) * 10;
        expectClose(got, wanted, Math.max(1e-5 * terms, (TOLERANCES[dtype] as number) * 2));
      }),
      { numRuns: RUNS },
    );
  });

  it("misses the exact product by far less than quantising the weight does", () => {
    for (const format of ["q8_0", "q4_0"] as const) {
      const x: Operand = { dtype: "f32", shape: [1, 2048], layout: plain(2), fill: wave(3, 1) };
      const [got, wanted] = both(
        format,
        x,
        blocksOf(format, 300, 64, () => 0.02),
      );
      const squares = wanted.reduce((sum, y) => sum + y * y, 0);
      const error = wanted.reduce((sum, y, i) => sum + (y - (got[i] as number)) ** 2, 0);
      expect(error / squares).toBeLessThan(1e-8);
    }
  });

  it("reads subnormal, negative and infinite scales", () => {
    const scales = [2 ** -24, -1.5, 6e-5, 65504, 0];
    for (const format of ["q8_0", "q4_0"] as const) {
      for (const rows of [1, 20]) {
        const x: Operand = { dtype: "f32", shape: [rows, 32 * 20], layout: plain(2), fill: wave(1, 3) };
        // One column for each scale, all of its blocks with it.
        const weight = blocksOf(format, 60, 20, (block) => scales[Math.floor(block / 20) % 5] as number);
        const [got, wanted] = both(format, x, weight);
        for (let column = 0; column < 5; column++) {
          const each = (all: number[]): number[] => all.filter((_, i) => i % 5 === column);
          const scale = scales[column] as number;
          const unit = (all: number[]): number[] => each(all).map((y) => (scale === 0 ? y : y / scale));
          expectClose(unit(got), unit(wanted), 2e-4);
        }
        const endless = both(
          format,
          x,
          blocksOf(format, 60, 20, () => Infinity),
        );
        expect(endless[0].some(Number.isFinite)).toBe(false);
      }
    }
  });

  it("lets NaN and infinities of x through", () => {
    for (const special of [NaN, Infinity, -Infinity]) {
      const x: Operand = {
        dtype: "f32",
        shape: [1, 512],
        layout: plain(2),
        fill: (i) => (i === 77 ? special : 1),
      };
      const [got, wanted] = both(
        "q8_0",
        x,
        blocksOf("q8_0", 100, 16, () => 0.5),
      );
      expect(got).toEqual(wanted);
    }
  });
});

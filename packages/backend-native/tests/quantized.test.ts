import { cpu } from "@nf/backend-cpu";
import { type Backend, type DType, toHalfBits } from "@nf/core";
import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { native } from "../src/index.ts";
import { missing } from "./built.ts";
import { callOf, download, type LayoutChoice, lay, layoutOf, RUNS } from "./helper.ts";

type Format = "q8_0" | "q4_0";
type Fill = (position: number) => number;

const BYTES = { q8_0: 34, q4_0: 18 } as const;
/** How far results may be apart, relative to the largest (at least 1): half a step of their dtype or more. */
const ROUNDING: Readonly<Partial<Record<DType, number>>> = { f32: 4e-6, f16: 2e-3, bf16: 1.6e-2 };
const PLAIN: LayoutChoice = { order: [0, 1], flip: [false, false], still: [false, false], lead: 0, gap: 1 };

const wave =
  (size: number, seed: number): Fill =>
  (position) =>
    Math.sin(position * 12.9898 + seed * 78.233) * size;

/** Numbers up to a size without any pattern: products of patterns cancel, and errors are measured against what is left. */
const noise =
  (size: number): Fill =>
  (position) => {
    let bits = Math.imul(position + 1, 0x85ebca6b);
    bits = Math.imul(bits ^ (bits >>> 13), 0xc2b2ae35);
    return (((bits ^ (bits >>> 16)) >>> 0) / 2 ** 31 - 1) * size;
  };

/** Bytes of blocks with arbitrary levels; `scaleOf` a block's number. */
function blocksOf(format: Format, scaleOf: (block: number) => number): Fill {
  const size = BYTES[format];
  return (position) => {
    const [block, at] = [Math.floor(position / size), position % size];
    const bits = toHalfBits(scaleOf(block));
    if (at < 2) return at === 0 ? bits & 255 : bits >>> 8;
    return Math.imul(position + 17, 0x9e3779b1) >>> 24;
  };
}

interface Case {
  readonly format: Format;
  readonly rows: number;
  readonly blocks: number;
  readonly columns: number;
  readonly x: Fill;
  readonly weight: Fill;
  readonly dtype?: DType;
  readonly layout?: LayoutChoice;
}

function resultOn(backend: Backend, one: Case): number[] {
  const { format, rows, blocks, columns, dtype = "f32", layout = PLAIN } = one;
  const inner = blocks * 32;
  const x = lay(backend, dtype, [rows, inner], layout, one.x);
  const weight = lay(backend, "u8", [columns, blocks * BYTES[format]], PLAIN, one.weight);
  const out = lay(backend, dtype, [rows, columns], PLAIN, () => 99);
  const attributes = { format, inner, columns };
  backend.execute(callOf({ kernel: "quantizedMatmul", attributes, inputs: [x, weight], outputs: [out] }));
  const result = download(backend, out);
  for (const { buffer } of [x, weight, out]) backend.free(buffer);
  return result;
}

/** Whether rows of x may be rounded to 8 bits: of many, where the processor multiplies bytes. */
const maybeBytes = (rows: number): boolean => rows >= 16;

/** @param slack what each may be off besides */
function expectClose(got: readonly number[], wanted: readonly number[], tolerance: number, slack = 0): void {
  const size = wanted.reduce((most, y) => Math.max(most, Math.abs(y)), 1);
  expect(got.length).toBe(wanted.length);
  got.forEach((y, i) => {
    if (!(Math.abs(y - (wanted[i] as number)) <= tolerance * size + slack))
      expect.fail(`at ${i}: ${y} instead of ${wanted[i]}, allowed ${tolerance} of ${size}`);
  });
}

describe.skipIf(missing !== undefined)("quantizedMatmul", () => {
  let backends: readonly [Backend, Backend];
  beforeAll(async () => {
    backends = [await native({ threads: 2 }), await cpu()];
  });
  afterAll(async () => {
    for (const backend of backends) await backend.dispose();
  });
  const both = (one: Case): [number[], number[]] =>
    backends.map((backend) => resultOn(backend, one)) as [number[], number[]];

  it("equals cpu for few and many rows, down to single blocks", () => {
    const cases = fc.record({
      format: fc.constantFrom<Format>("q8_0", "q4_0"),
      rows: fc.oneof(fc.constant(1), fc.integer({ min: 2, max: 20 })),
      blocks: fc.integer({ min: 1, max: 12 }),
      columns: fc.oneof(fc.integer({ min: 1, max: 9 }), fc.integer({ min: 60, max: 150 })),
      dtype: fc.constantFrom<DType>("f32", "f32", "f32", "f16", "bf16"),
      layout: layoutOf(2),
      seed: fc.nat(1000),
    });
    fc.assert(
      fc.property(cases, ({ seed, ...one }) => {
        const weight = blocksOf(one.format, (block) => 0.01 + (block % 5) * 0.02);
        const [got, wanted] = both({ ...one, x: wave(2, seed), weight });
        const terms = Math.sqrt(one.blocks * 32) * 10;
        // Eight deviations of a sum of rounded x (up to 2, so steps of 2 / 127) times weights of this size.
        const deviation = (2 / 127 / Math.sqrt(12)) * (one.format === "q8_0" ? 6.6 : 0.42);
        const slack = maybeBytes(one.rows) ? 8 * deviation * Math.sqrt(one.blocks * 32) : 0;
        expectClose(got, wanted, Math.max(1e-5 * terms, (ROUNDING[one.dtype] as number) * 2), slack);
      }),
      { numRuns: RUNS },
    );
  });

  it("misses the exact product by far less than quantising the weight does", () => {
    for (const format of ["q8_0", "q4_0"] as const) {
      for (const rows of [1, 3, 40]) {
        const weight = blocksOf(format, () => 0.02);
        const [got, wanted] = both({ format, rows, blocks: 64, columns: 300, x: noise(3), weight });
        const squares = wanted.reduce((sum, y) => sum + y * y, 0);
        const error = wanted.reduce((sum, y, i) => sum + (y - (got[i] as number)) ** 2, 0);
        expect(error / squares).toBeLessThan(maybeBytes(rows) ? 3e-5 : 5e-8);
      }
    }
  });

  it("loses nothing where one value of each block is great and its weights are small", () => {
    for (const format of ["q8_0", "q4_0"] as const) {
      for (const rows of [1, 16]) {
        const usual = blocksOf(format, () => 0.02);
        const few = noise(1);
        // The sixth level of each block is 1 or -1; in q4_0 its byte has the 22nd as well.
        const weight: Fill = (position) => {
          if (position % BYTES[format] !== 7) return usual(position);
          const level = few(position) < 0 ? -1 : 1;
          return format === "q8_0" ? level & 255 : (usual(position) & 0xf0) | (level + 8);
        };
        const x: Fill = (position) => few(position) * (position % 32 === 5 ? 60 : 1);
        const [got, wanted] = both({ format, rows, blocks: 16, columns: 64, x, weight });
        const squares = wanted.reduce((sum, y) => sum + y * y, 0);
        const error = wanted.reduce((sum, y, i) => sum + (y - (got[i] as number)) ** 2, 0);
        expect(error / squares).toBeLessThan(5e-6);
      }
    }
  });

  it("lets NaN and infinities of x through, in their row alone", () => {
    for (const special of [Number.NaN, Infinity, -Infinity]) {
      for (const rows of [1, 20]) {
        const x: Fill = (i) => (i === 77 ? special : 1);
        const weight = blocksOf("q8_0", () => 0.5);
        const [got, wanted] = both({ format: "q8_0", rows, blocks: 16, columns: 100, x, weight });
        expect(got.slice(0, 100)).toEqual(wanted.slice(0, 100));
        expectClose(got.slice(100), wanted.slice(100), 1e-4);
      }
    }
  });

  it("and infinite scales", () => {
    for (const rows of [1, 20]) {
      const weight = blocksOf("q4_0", () => Infinity);
      const [got] = both({ format: "q4_0", rows, blocks: 20, columns: 60, x: wave(1, 3), weight });
      expect(got.some(Number.isFinite)).toBe(false);
    }
  });

  it("keeps no second copy of a weight", async () => {
    const backend = await native({ threads: 2 });
    const inner = 1024;
    const x = lay(backend, "f32", [1, inner], PLAIN, wave(1, 1));
    const weight = lay(backend, "u8", [512, (inner / 32) * 18], PLAIN, () => 0x2e);
    const out = lay(backend, "f32", [1, 512], PLAIN, () => 0);
    const attributes = { format: "q4_0", inner, columns: 512 } as const;
    const call = callOf({ kernel: "quantizedMatmul", attributes, inputs: [x, weight], outputs: [out] });
    backend.execute(call);
    const first = download(backend, out);
    // Other bytes in the same buffer give another product at once: nothing of the weight is kept from call to call.
    backend.write(weight.buffer, 0, new Uint8Array(weight.buffer.byteLength));
    backend.execute(call);
    expect(first.every((y) => y !== 0)).toBe(true);
    expect(download(backend, out).every((y) => y === 0)).toBe(true);
    await backend.dispose();
  });
});

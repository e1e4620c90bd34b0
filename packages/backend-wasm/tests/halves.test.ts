import { cpu } from "@nf/backend-cpu";
import { type Backend, type DType, fromBfloatBits, fromHalfBits } from "@nf/core";
import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { wasm } from "../src/index.ts";
import { expectClose, type Operand, plain, resultLayoutOf, resultsOn, wave } from "./compare.ts";
import { layoutOf, RUNS, upload } from "./helper.ts";

let one: Backend;
let others: readonly Backend[];
let reference: Backend;
beforeAll(async () => {
  one = await wasm({ threads: 1 });
  others = [await wasm({ threads: 2 }), await wasm({ threads: 4 }), await wasm({ threads: 8 })];
  reference = await cpu();
});
afterAll(async () => {
  for (const backend of [one, ...others, reference]) await backend.dispose();
});

const MATMUL = { kernel: "matmul", attributes: {} } as const;
const weights = fc.constantFrom<DType>("bf16", "f16");
/** A weight as layers multiply with it: its lines lie along the depth. */
const transposed = { ...plain(2), order: [1, 0] };

function check(x: Operand, weight: Operand, out: Operand, threads = others): void {
  const [got, wanted] = [one, reference].map(
    (backend) => resultsOn(backend, MATMUL, [x, weight], [out])[0],
  ) as [number[], number[]];
  expectClose(got, wanted, 2e-6 * Math.sqrt(x.shape.at(-1) as number));
  for (const backend of threads) expect(resultsOn(backend, MATMUL, [x, weight], [out])[0]).toEqual(got);
}

describe("matmul with 16-bit weights", () => {
  it("equals cpu for few and many rows in any layout, with the same bits for 1, 2, 4 and 8 threads", () => {
    const cases = fc.record({
      rows: fc.integer({ min: 1, max: 20 }),
      depth: fc.integer({ min: 1, max: 70 }),
      columns: fc.integer({ min: 1, max: 90 }),
      dtype: weights,
      lines: fc.oneof(fc.constant(transposed), fc.constant(plain(2)), layoutOf(2)),
      x: layoutOf(2),
      out: resultLayoutOf(2),
      seed: fc.nat(1000),
    });
    fc.assert(
      fc.property(cases, ({ rows, depth, columns, dtype, lines, x, out, seed }) => {
        check(
          { dtype: "f32", shape: [rows, depth], layout: x, fill: wave(2, seed) },
          { dtype, shape: [depth, columns], layout: lines, fill: wave(1, seed + 1) },
          { dtype: "f32", shape: [rows, columns], layout: out },
        );
      }),
      { numRuns: RUNS },
    );
  });

  it("equals cpu where threads share the work", () => {
    for (const dtype of ["bf16", "f16"] as const) {
      for (const rows of [1, 5, 40]) {
        check(
          { dtype: "f32", shape: [rows, 1030], layout: plain(2), fill: wave(1, 1) },
          { dtype, shape: [1030, 137], layout: transposed, fill: wave(0.05, 2) },
          { dtype: "f32", shape: [rows, 137], layout: plain(2) },
        );
      }
    }
  });

  it("equals cpu where the weight is more than one tile", () => {
    for (const layout of [transposed, plain(2)]) {
      check(
        { dtype: "f32", shape: [13, 1030], layout: plain(2), fill: wave(1, 1) },
        { dtype: "bf16", shape: [1030, 1037], layout, fill: wave(0.05, 2) },
        { dtype: "f32", shape: [13, 1037], layout: plain(2) },
        others.slice(0, 1),
      );
    }
  });

  it("equals cpu for stacks of x, one weight for all of them or one each", () => {
    for (const still of [true, false]) {
      const layout = { ...plain(3), order: [0, 2, 1], still: [still, false, false] };
      check(
        { dtype: "f32", shape: [3, 2, 40], layout: { ...plain(3), order: [1, 0, 2] }, fill: wave(1, 1) },
        { dtype: "bf16", shape: [3, 40, 17], layout, fill: wave(1, 2) },
        { dtype: "f32", shape: [3, 2, 17], layout: plain(3) },
      );
    }
  });

  it("knows every 16-bit float", () => {
    for (const [dtype, value] of [
      ["bf16", fromBfloatBits],
      ["f16", fromHalfBits],
    ] as const) {
      // A line of 8 for each float, alone in its place: the rest is 0.
      const codes = Array.from({ length: 65_536 }, (_, code) => code);
      const lines = new Uint16Array(65_536 * 8);
      for (const code of codes) lines[code * 8 + (code % 8)] = code;
      const weight = one.allocate(lines.byteLength);
      one.write(weight, 0, new Uint8Array(lines.buffer));
      const right = { ...upload(one, dtype, [1], [0]), buffer: weight };
      const expected = codes.map((code) => value(code));
      for (const rows of [1, 4, 13]) {
        const x = upload(one, "f32", [rows, 8], new Array<number>(rows * 8).fill(1));
        const y = upload(one, "f32", [rows, 65_536], new Array<number>(rows * 65_536).fill(7));
        const view = { ...right, shape: [8, 65_536], strides: [1, 8], size: lines.length, contiguous: false };
        const buffers = [x.buffer, weight, y.buffer];
        one.execute({ kernel: "matmul", buffers, inputs: [x, view], outputs: [y], params: [] });
        const bytes = one.readSync?.(y.buffer, 0, rows * 65_536 * 4) as Uint8Array;
        const got = new Float32Array(bytes.buffer, bytes.byteOffset);
        for (let row = 0; row < rows; row++) {
          const wrong = codes.filter((code) => {
            const [is, should] = [got[row * 65_536 + code] as number, expected[code] as number];
            return is !== should && !(Number.isNaN(is) && Number.isNaN(should));
          });
          expect(wrong).toEqual([]);
        }
        for (const { buffer } of [x, y]) one.free(buffer);
      }
    }
  });
});

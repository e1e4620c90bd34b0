import { cpu } from "@nf/backend-cpu";
import type { Backend, DType } from "@nf/core";
import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { wasm } from "../src/index.ts";
import {
  expectClose,
  expectSame,
  type Operand,
  plain,
  resultLayoutOf,
  resultsOn,
  someFloat,
  wave,
} from "./compare.ts";
import { layoutOf, RUNS } from "./helper.ts";

let backends: readonly [Backend, Backend];
beforeAll(async () => {
  backends = [await wasm({ threads: 2 }), await cpu()];
});
afterAll(async () => {
  for (const backend of backends) await backend.dispose();
});

const sizes = fc.record({
  lead: fc.array(fc.integer({ min: 1, max: 5 }), { minLength: 1, maxLength: 3 }),
  width: fc.oneof(fc.integer({ min: 1, max: 13 }), fc.integer({ min: 14, max: 700 })),
  dtype: someFloat,
  size: fc.constantFrom(0.1, 3, 100, 1e4),
  seed: fc.nat(1000),
});
/** Sizes with as many layouts of operands and results as a test draws from. */
const problem = sizes.chain((chosen) => {
  const rank = chosen.lead.length + 1;
  const layouts = fc.record({
    layouts: fc.array(layoutOf(rank), { minLength: 2, maxLength: 2 }),
    results: fc.array(resultLayoutOf(rank), { minLength: 3, maxLength: 3 }),
  });
  return layouts.map((drawn) => ({ ...chosen, ...drawn }));
});
const compute = (dtype: DType): DType => (dtype === "f16" || dtype === "bf16" ? "f32" : dtype);

describe("softmax", () => {
  it("equals cpu forward and backward, plain and as a logarithm", () => {
    fc.assert(
      fc.property(problem, fc.boolean(), ({ lead, width, dtype, size, seed, layouts, results }, log) => {
        const shape = [...lead, width];
        const x: Operand = { dtype, shape, layout: layouts[0]!, fill: wave(size, seed) };
        const to: Operand = { dtype, shape, layout: results[0]! };
        expectSame(backends, { kernel: "softmax", attributes: { pass: "forward", log } }, [x], [to]);
        const g: Operand = { dtype, shape, layout: layouts[1]!, fill: wave(1, seed + 1) };
        const y = wave(log ? 10 : 1 / width, seed + 2);
        const output: Operand = {
          ...x,
          fill: (position) => (log ? -Math.abs(y(position)) : Math.abs(y(position))),
        };
        expectSame(
          backends,
          { kernel: "softmax", attributes: { pass: "backward", log } },
          [g, output],
          [to],
          10,
        );
      }),
      { numRuns: RUNS },
    );
  });

  it("treats NaN, infinities and large values as promised", () => {
    const rows = [
      [1e4, 1e4, -1e4],
      [1, NaN, 2],
      [-Infinity, 0, 0],
      [-Infinity, -Infinity, -Infinity],
      [Infinity, 0, 1],
      [NaN, NaN, NaN],
      [3e38, -3e38, 0],
    ];
    for (const log of [false, true]) {
      for (const row of rows) {
        const x: Operand = { dtype: "f32", shape: [1, 3], layout: plain(2), fill: (i) => row[i] as number };
        const to: Operand = { dtype: "f32", shape: [1, 3], layout: plain(2) };
        expectSame(backends, { kernel: "softmax", attributes: { pass: "forward", log } }, [x], [to]);
      }
    }
  });

  it("adds up rows of 65,536 terms without losing digits", () => {
    const shape = [1, 65_536];
    const x: Operand = { dtype: "f32", shape, layout: plain(2), fill: (i) => (i % 7) * 0.01 };
    const [y] = resultsOn(
      backends[0],
      { kernel: "softmax", attributes: { pass: "forward", log: false } },
      [x],
      [{ dtype: "f32", shape, layout: plain(2) }],
    );
    expect(Math.abs((y as number[]).reduce((sum, p) => sum + p, 0) - 1)).toBeLessThan(4e-7);
  });
});

describe("norm", () => {
  const kinds = fc.record({ centered: fc.boolean(), weight: fc.boolean(), bias: fc.boolean() });

  it("equals cpu forward and backward, with and without mean, weight and bias", () => {
    fc.assert(
      fc.property(problem, kinds, ({ lead, width, dtype, seed, layouts, results }, kind) => {
        const { centered, weight, bias } = kind;
        const shape = [...lead, width];
        const rows = [...lead, 1];
        const vector = (salt: number): Operand => ({
          dtype,
          shape: [width],
          layout: plain(1),
          fill: (i) => 1 + 0.5 * wave(1, seed + salt)(i),
        });
        const statistic = compute(dtype);
        // Neighbours differ, so that the variance is not near 0 where rounding would decide.
        const x: Operand = {
          dtype,
          shape,
          layout: { ...layouts[0]!, still: layouts[0]!.still.map(() => false) },
          fill: (i) => 2 + (i % 2) * 3 + wave(2, seed)(i),
        };
        const to: Operand = { dtype, shape, layout: results[0]! };
        const row: Operand = { dtype: statistic, shape: rows, layout: results[1]! };
        const params = [1e-5];
        expectSame(
          backends,
          { kernel: "norm", params, attributes: { pass: "forward", ...kind } },
          [x, ...(weight ? [vector(1)] : []), ...(bias ? [vector(2)] : [])],
          [to, row, ...(centered ? [{ ...row, layout: results[2]! }] : [])],
          width === 1 || !centered ? 10 : 4,
        );
        const g: Operand = { dtype, shape, layout: layouts[1]!, fill: wave(1, seed + 1) };
        const inverse: Operand = { ...row, fill: (i) => 0.4 + 0.1 * wave(1, seed)(i) };
        const mean: Operand = { ...row, fill: (i) => 3 + wave(1, seed)(i) };
        const column: Operand = { dtype, shape: [width], layout: plain(1) };
        expectSame(
          backends,
          { kernel: "norm", params, attributes: { pass: "backward", ...kind } },
          [g, x, inverse, ...(centered ? [mean] : []), ...(weight ? [vector(1)] : [])],
          [to, ...(weight ? [column] : []), ...(bias ? [column] : [])],
          5,
        );
      }),
      { numRuns: RUNS },
    );
  });

  it("keeps digits far from zero, gives zeros without spread, and passes NaN on", () => {
    const run = (values: readonly number[], eps: number): number[][] => {
      const shape = [1, values.length];
      const to: Operand = { dtype: "f32", shape, layout: plain(2) };
      const one: Operand = { dtype: "f32", shape: [1, 1], layout: plain(2) };
      const attributes = { pass: "forward", centered: true, weight: false, bias: false };
      return resultsOn(
        backends[0],
        { kernel: "norm", params: [eps], attributes },
        [{ ...to, fill: (i) => values[i] as number }],
        [to, one, one],
      );
    };
    const far = Array.from({ length: 64 }, (_, i) => 1e4 + (i % 8) * 0.25);
    const mean = far.reduce((sum, x) => sum + x, 0) / far.length;
    const deviation = Math.sqrt(far.reduce((sum, x) => sum + (x - mean) ** 2, 0) / far.length);
    expectClose(
      run(far, 0)[0] as number[],
      far.map((x) => (x - mean) / deviation),
      1e-6,
    );
    expect(run([7, 7, 7], 0)[0]).toEqual([0, 0, 0]);
    expect(run([1, NaN, 7], 1e-5)[0]).toEqual([NaN, NaN, NaN]);
  });
});

describe("crossEntropy", () => {
  it("equals cpu with smoothing and ignored rows", () => {
    const cases = fc.record({
      rows: fc.integer({ min: 1, max: 9 }),
      classes: fc.integer({ min: 1, max: 300 }),
      dtype: someFloat,
      size: fc.constantFrom(1, 30, 1e4),
      smoothing: fc.constantFrom(0, 0.1),
      seed: fc.nat(1000),
      layouts: fc.tuple(layoutOf(2), layoutOf(1)),
      result: resultLayoutOf(2),
    });
    fc.assert(
      fc.property(cases, ({ rows, classes, dtype, size, smoothing, seed, layouts, result }) => {
        const params = [-100, smoothing];
        const logits: Operand = {
          dtype,
          shape: [rows, classes],
          layout: layouts[0],
          fill: wave(size, seed),
        };
        const target: Operand = {
          dtype: "i32",
          shape: [rows],
          layout: layouts[1],
          fill: (i) => ((i + seed) % 5 === 4 ? -100 : (i * 37 + seed) % classes),
        };
        const row: Operand = { dtype, shape: [rows], layout: plain(1) };
        const forward = { kernel: "crossEntropy", params, attributes: { pass: "forward" } } as const;
        expectSame(backends, forward, [logits, target], [row, row]);
        const g: Operand = { dtype, shape: [rows], layout: layouts[1], fill: wave(1, seed + 1) };
        const sums: Operand = { ...row, fill: () => 0 };
        const backward = { ...forward, attributes: { pass: "backward" } } as const;
        expectSame(
          backends,
          backward,
          [g, logits, target, sums],
          [{ dtype, shape: [rows, classes], layout: result }],
        );
      }),
      { numRuns: RUNS },
    );
  });
});

describe("rope", () => {
  it("equals cpu for neighbours and halves, forwards and back", () => {
    const cases = fc
      .record({
        lead: fc.array(fc.integer({ min: 1, max: 3 }), { maxLength: 2 }),
        positions: fc.integer({ min: 1, max: 6 }),
        half: fc.integer({ min: 1, max: 19 }),
        dtype: someFloat,
        interleaved: fc.boolean(),
        inverse: fc.boolean(),
      })
      .chain((chosen) =>
        fc.tuple(
          fc.constant(chosen),
          layoutOf(chosen.lead.length + 2),
          resultLayoutOf(chosen.lead.length + 2),
          layoutOf(2),
        ),
      );
    fc.assert(
      fc.property(
        cases,
        ([{ lead, positions, half, dtype, interleaved, inverse }, layout, result, table]) => {
          const shape = [...lead, positions, 2 * half];
          const angles: Operand = {
            dtype: compute(dtype),
            shape: [positions, half],
            layout: table,
            fill: wave(1, 5),
          };
          expectSame(
            backends,
            { kernel: "rope", attributes: { interleaved, inverse } },
            [{ dtype, shape, layout, fill: wave(2, 1) }, angles, { ...angles, fill: wave(1, 9) }],
            [{ dtype, shape, layout: result }],
          );
        },
      ),
      { numRuns: RUNS },
    );
  });
});

describe("embeddingGrad", () => {
  it("equals cpu for repeated and missing rows", () => {
    const cases = fc.record({
      count: fc.integer({ min: 1, max: 200 }),
      table: fc.integer({ min: 1, max: 20 }),
      width: fc.integer({ min: 1, max: 40 }),
      dtype: someFloat,
      layouts: fc.tuple(layoutOf(2), layoutOf(1), resultLayoutOf(2)),
      seed: fc.nat(1000),
    });
    fc.assert(
      fc.property(cases, ({ count, table, width, dtype, layouts, seed }) => {
        expectSame(
          backends,
          { kernel: "embeddingGrad", attributes: {} },
          [
            { dtype, shape: [count, width], layout: layouts[0], fill: wave(1, seed) },
            { dtype: "i32", shape: [count], layout: layouts[1], fill: (i) => (i * i + seed) % table },
          ],
          [{ dtype, shape: [table, width], layout: layouts[2] }],
          5,
        );
      }),
      { numRuns: RUNS },
    );
  });

  it("adds up 65,536 rows of one index without losing digits", () => {
    const count = 65_536;
    const [sum] = resultsOn(
      backends[0],
      { kernel: "embeddingGrad", attributes: {} },
      [
        { dtype: "f32", shape: [count, 1], layout: plain(2), fill: (i) => 1 + (i % 3) * 1e-3 },
        { dtype: "i32", shape: [count], layout: plain(1), fill: () => 0 },
      ],
      [{ dtype: "f32", shape: [1, 1], layout: plain(2) }],
    );
    let exact = 0;
    for (let i = 0; i < count; i++) exact += Math.fround(1 + (i % 3) * 1e-3);
    expect(Math.abs((sum as number[])[0]! / exact - 1)).toBeLessThan(3e-7);
  });
});

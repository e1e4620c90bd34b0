import { cpu } from "@nf/backend-cpu";
import type { Backend, DType } from "@nf/core";
import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { wasm } from "../src/index.ts";
import { expectSame, type Operand, plain, resultLayoutOf, resultsOn, someFloat, wave } from "./compare.ts";
import { layoutOf, RUNS } from "./helper.ts";

let backends: readonly [Backend, Backend];
beforeAll(async () => {
  backends = [await wasm({ threads: 2 }), await cpu()];
});
afterAll(async () => {
  for (const backend of backends) await backend.dispose();
});

const size = (max: number): fc.Arbitrary<number> => fc.integer({ min: 1, max });
const problem = fc.record({
  batch: size(2),
  kvHeads: size(3),
  group: size(4),
  queries: fc.oneof(fc.constant(1), size(6), size(40)),
  keys: fc.oneof(size(6), size(70)),
  headDim: fc.oneof(size(9), fc.constantFrom(16, 32, 64)),
  dtype: someFloat,
  causal: fc.boolean(),
  mask: fc.constantFrom("none", "float", "closed"),
  strength: fc.constantFrom(1, 5),
  seed: fc.nat(1000),
  layouts: fc.array(layoutOf(4), { minLength: 4, maxLength: 4 }),
  results: fc.array(resultLayoutOf(4), { minLength: 3, maxLength: 3 }),
});
type Problem = typeof problem extends fc.Arbitrary<infer T> ? T : never;

/** Operands of forward: q, k, v and the mask where there is one. */
function operandsOf({ batch, kvHeads, group, queries, keys, headDim, ...rest }: Problem): Operand[] {
  const { dtype, mask, strength, seed, layouts } = rest;
  const heads = kvHeads * group;
  const operand = (shape: number[], index: number, values: number): Operand => ({
    dtype,
    shape,
    layout: layouts[index]!,
    fill: wave(values, seed + index),
  });
  const closed = (position: number): number => ((position * 7 + seed) % 3 === 0 ? 0.5 : -Infinity);
  const added: Operand = {
    ...operand([batch, heads, queries, keys], 3, 1),
    ...(mask === "closed" && { fill: closed }),
  };
  return [
    operand([batch, heads, queries, headDim], 0, strength),
    operand([batch, kvHeads, keys, headDim], 1, 1),
    operand([batch, kvHeads, keys, headDim], 2, 1),
    ...(mask === "none" ? [] : [added]),
  ];
}

describe("attention", () => {
  it("equals cpu forward and backward, for any heads, masks and layouts", () => {
    fc.assert(
      fc.property(problem, (chosen) => {
        const { batch, kvHeads, group, queries, keys, headDim, dtype, causal, mask, results } = chosen;
        const operands = operandsOf(chosen);
        const params = [1 / Math.sqrt(headDim)];
        const attributes = { causal, mask: mask !== "none" };
        const compute: DType = "f32";
        const q = [batch, kvHeads * group, queries, headDim];
        const k = [batch, kvHeads, keys, headDim];
        const logs: Operand = { dtype: compute, shape: q.slice(0, 3), layout: plain(3) };
        expectSame(
          backends,
          { kernel: "attention", params, attributes: { pass: "forward", ...attributes } },
          operands,
          [{ dtype, shape: q, layout: results[0]! }, logs],
          10,
        );
        const g: Operand = { dtype, shape: q, layout: chosen.layouts[0]!, fill: wave(1, chosen.seed + 9) };
        const saved: Operand[] = [
          { dtype, shape: q, layout: plain(4), fill: () => 0 },
          { ...logs, fill: () => 0 },
        ];
        const shapes = [q, k, k];
        expectSame(
          backends,
          { kernel: "attention", params, attributes: { pass: "backward", ...attributes } },
          [g, ...operands, ...saved],
          shapes.map((shape, i) => ({ dtype, shape, layout: results[i]! })),
          20,
        );
      }),
      { numRuns: RUNS },
    );
  });

  const square = (shape: readonly number[], fill: (i: number) => number): Operand => ({
    dtype: "f32",
    shape,
    layout: plain(shape.length),
    fill,
  });

  it("equals cpu on rows of several thousand keys and on few heads cut into parts", () => {
    for (const [queries, keys] of [
      [1, 3000],
      [3, 2100],
      [150, 700],
    ] as const) {
      const q = [1, 2, queries, 20];
      const k = [1, 1, keys, 20];
      const operands = [square(q, wave(2, 1)), square(k, wave(1, 2)), square(k, wave(1, 3))];
      const logs: Operand = { dtype: "f32", shape: [1, 2, queries], layout: plain(3) };
      const to = (shape: readonly number[]): Operand => ({ dtype: "f32", shape, layout: plain(4) });
      const parts = { kernel: "attention", params: [0.2] } as const;
      const attributes = { causal: true, mask: false };
      expectSame(
        backends,
        { ...parts, attributes: { pass: "forward", ...attributes } },
        operands,
        [to(q), logs],
        4,
      );
      const saved = [square(q, () => 0), { ...logs, fill: () => 0 }];
      expectSame(
        backends,
        { ...parts, attributes: { pass: "backward", ...attributes } },
        [square(q, wave(1, 4)), ...operands, ...saved],
        [to(q), to(k), to(k)],
        20,
      );
    }
  });

  const forward = (q: Operand, k: Operand, v: Operand, mask?: Operand): number[][] =>
    resultsOn(
      backends[0],
      {
        kernel: "attention",
        params: [1],
        attributes: { pass: "forward", causal: false, mask: mask !== undefined },
      },
      [q, k, v, ...(mask === undefined ? [] : [mask])],
      [
        { dtype: "f32", shape: q.shape, layout: plain(4) },
        { dtype: "f32", shape: q.shape.slice(0, 3), layout: plain(3) },
      ],
    );

  it("gives zeros and no gradient where there is nothing to attend to", () => {
    for (const queries of [1, 11]) {
      const q = square([1, 1, queries, 4], wave(1, 1));
      const k = square([1, 1, 5, 4], wave(1, 2));
      const mask = square([1, 1, queries, 5], () => -Infinity);
      const [out, logs] = forward(q, k, k, mask);
      expect(out).toEqual(new Array<number>(queries * 4).fill(0));
      expect(logs).toEqual(new Array<number>(queries).fill(-Infinity));
      const gradients = resultsOn(
        backends[0],
        { kernel: "attention", params: [1], attributes: { pass: "backward", causal: false, mask: true } },
        [q, q, k, k, mask, q, square([1, 1, queries], () => -Infinity)],
        [q, k, k].map(({ shape }) => ({ dtype: "f32", shape, layout: plain(4) })),
      );
      expect(gradients.flat().every((x) => x === 0)).toBe(true);
    }
  });

  it("lets NaN through and stays finite for large scores", () => {
    for (const queries of [1, 11]) {
      const shape = [1, 1, queries, 4];
      const k = square([1, 1, 5, 4], (i) => (i < 4 ? 100 : -100));
      const v = square([1, 1, 5, 4], (i) => i);
      const sharp = forward(
        square(shape, () => 25),
        k,
        v,
      );
      expect(sharp[0]).toEqual(Array.from({ length: queries * 4 }, (_, i) => i % 4));
      expect(sharp[1]).toEqual(new Array<number>(queries).fill(1e4));
      const spoilt = forward(
        square(shape, (i) => (i < 4 ? NaN : 1)),
        k,
        v,
      );
      expect((spoilt[0] as number[]).slice(0, 4)).toEqual([NaN, NaN, NaN, NaN]);
      expect((spoilt[0] as number[]).slice(4).every(Number.isFinite)).toBe(true);
    }
  });
});

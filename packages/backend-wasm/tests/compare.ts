import type { Backend, Call, DType, View } from "@nf/core";
import fc from "fast-check";
import { expect } from "vitest";
import { callOf, download, type LayoutChoice, lay, layoutOf } from "./helper.ts";

/** An operand or result of a call: what it holds, and how it lies in memory. */
export interface Operand {
  readonly dtype: DType;
  readonly shape: readonly number[];
  readonly layout: LayoutChoice;
  /** The value at a position of its memory; results need none. */
  readonly fill?: (position: number) => number;
}

/** A call without its views. */
export type Parts = Pick<Call, "kernel"> & {
  readonly attributes: object;
  readonly params?: readonly number[];
};

/** Row-major. */
export function plain(rank: number): LayoutChoice {
  const none = Array.from({ length: rank }, () => false);
  return { order: none.map((_, axis) => axis), flip: none, still: none, lead: 0, gap: 1 };
}

/** Layouts that a result can have: no element twice. */
export function resultLayoutOf(rank: number): fc.Arbitrary<LayoutChoice> {
  return layoutOf(rank).map((layout) => ({ ...layout, still: layout.still.map(() => false) }));
}

/** How far results may be apart, relative to the largest (at least 1). */
export const TOLERANCES: Readonly<Partial<Record<DType, number>>> = { f32: 4e-6, f16: 2e-3, bf16: 1.6e-2 };

/** Float types, mostly f32. */
export const someFloat: fc.Arbitrary<DType> = fc.constantFrom("f32", "f32", "f32", "f16", "bf16");

/** Numbers between -size and size that follow from a position and a seed. */
export function wave(size: number, seed: number): (position: number) => number {
  return (position) => Math.sin(position * 12.9898 + seed * 78.233) * size;
}

/** Runs a call on a backend; the results as numbers. */
export function resultsOn(
  backend: Backend,
  parts: Parts,
  inputs: readonly Operand[],
  outputs: readonly Operand[],
): number[][] {
  const views = (operands: readonly Operand[]): View[] =>
    operands.map(({ dtype, shape, layout, fill }) => lay(backend, dtype, shape, layout, fill ?? (() => 99)));
  const [reads, writes] = [views(inputs), views(outputs)];
  const call = callOf({ ...parts, inputs: reads, outputs: writes } as never);
  backend.execute(call);
  const results = writes.map((view) => download(backend, view));
  for (const { buffer } of [...reads, ...writes]) backend.free(buffer);
  return results;
}

/** Expects close numbers; NaN and infinities at the same places. */
export function expectClose(got: readonly number[], wanted: readonly number[], tolerance: number): void {
  expect(got.length).toBe(wanted.length);
  const size = wanted.reduce((most, x) => (Number.isFinite(x) ? Math.max(most, Math.abs(x)) : most), 1);
  got.forEach((value, i) => {
    const other = wanted[i] as number;
    const fits = Number.isFinite(other)
      ? Math.abs(value - other) <= tolerance * size
      : Object.is(value, other);
    if (!fits) expect.fail(`at ${i}: ${value} instead of ${other}, allowed ${tolerance} of ${size}`);
  });
}

/** Expects the same results of a call from both backends, the second one right. */
export function expectSame(
  [tested, right]: readonly [Backend, Backend],
  parts: Parts,
  inputs: readonly Operand[],
  outputs: readonly Operand[],
  factor = 1,
): void {
  const [got, wanted] = [tested, right].map((backend) => resultsOn(backend, parts, inputs, outputs)) as [
    number[][],
    number[][],
  ];
  outputs.forEach(({ dtype }, k) => {
    expectClose(got[k] as number[], wanted[k] as number[], (TOLERANCES[dtype] as number) * factor);
  });
}

import { type Backend, type Call, type DType, type Program, sizeOf, type View } from "@nf/core";
import { expect } from "vitest";
import { callOf, decode, type LayoutChoice, lay, positionsOf } from "../../backend-cpu/tests/helper.ts";

/** An operand or result of a call: what it holds, and how it lies in memory. */
export interface Operand {
  readonly dtype: DType;
  readonly shape: readonly number[];
  /** Left out, row-major. */
  readonly layout?: LayoutChoice;
  /** The value at a position of its memory; results need none. */
  readonly fill?: (position: number) => number;
}

/** A call without its views. */
export type Parts = Pick<Call, "kernel"> & {
  readonly attributes?: object;
  readonly program?: Program;
  readonly params?: readonly number[];
};

/** Row-major. */
export function plain(rank: number): LayoutChoice {
  const none = Array.from({ length: rank }, () => false);
  return { order: none.map((_, axis) => axis), flip: none, still: none, lead: 0, gap: 1 };
}

/** Numbers between -size and size that follow from a position and a seed. */
export function wave(size: number, seed: number): (position: number) => number {
  return (position) => Math.fround(Math.sin(position * 12.9898 + seed * 78.233) * size);
}

/** Runs a call on a backend; the results as numbers. */
export async function resultsOn(
  backend: Backend,
  parts: Parts,
  inputs: readonly Operand[],
  outputs: readonly Operand[],
): Promise<number[][]> {
  const views = (operands: readonly Operand[]): View[] =>
    operands.map(({ dtype, shape, layout, fill }) =>
      lay(backend, dtype, shape, layout ?? plain(shape.length), fill ?? (() => 99)),
    );
  const [reads, writes] = [views(inputs), views(outputs)];
  backend.execute(callOf({ ...parts, inputs: reads, outputs: writes } as never));
  const results: number[][] = [];
  for (const view of writes) {
    const all = decode(view.dtype, await backend.read(view.buffer, 0, view.buffer.byteLength));
    results.push(positionsOf(view).map((at) => all[at] as number));
  }
  for (const { buffer } of [...reads, ...writes]) backend.free(buffer);
  return results;
}

/** How far results may be apart, relative to the largest (at least 1). */
const TOLERANCES: Readonly<Partial<Record<DType, number>>> = { f32: 4e-6, f16: 2e-3, bf16: 1.6e-2 };

/**
 * Expects the same results of a call from both backends, the second one right.
 *
 * @param factor of the tolerance, where sums are long
 */
export async function expectSame(
  [tested, right]: readonly [Backend, Backend],
  parts: Parts,
  inputs: readonly Operand[],
  outputs: readonly Operand[],
  factor = 1,
): Promise<void> {
  const got = await resultsOn(tested, parts, inputs, outputs);
  const wanted = await resultsOn(right, parts, inputs, outputs);
  outputs.forEach(({ dtype, shape }, k) => {
    expect(wanted[k]?.length).toBe(sizeOf(shape));
    expectClose(got[k] as number[], wanted[k] as number[], factor * (TOLERANCES[dtype] ?? 0));
  });
}

/** Expects close numbers; NaN and infinities at the same places. */
export function expectClose(got: readonly number[], wanted: readonly number[], tolerance: number): void {
  const size = wanted.reduce((most, x) => (Number.isFinite(x) ? Math.max(most, Math.abs(x)) : most), 1);
  got.forEach((value, i) => {
    const other = wanted[i] as number;
    const fits = Number.isFinite(other)
      ? Math.abs(value - other) <= tolerance * size
      : Object.is(value, other);
    if (!fits) expect.fail(`at ${i}: ${value} instead of ${other}, allowed ${tolerance} of ${size}`);
  });
}

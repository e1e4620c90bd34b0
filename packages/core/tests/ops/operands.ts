import * as fc from "fast-check";
import { expect } from "vitest";
import type * as core from "../../src/index.ts";
import { examples, expectClose, type LayoutChoice, lay, layouts, scoped, valuesOf } from "./helper.ts";
import { count, type Host } from "./oracle.ts";

/** Shapes up to a rank; sizes 0 and 1 among them. */
export function shapes(maxRank = 5, minRank = 0): fc.Arbitrary<number[]> {
  return fc
    .array(fc.constantFrom(2, 3, 1, 4, 0), { minLength: minRank, maxLength: maxRank })
    .filter((shape) => count(shape) <= 96);
}

export interface Operand {
  readonly shape: readonly number[];
  readonly layout: LayoutChoice;
  readonly seed: number;
}

export const operandOf = (shape: readonly number[]): fc.Arbitrary<Operand> =>
  fc.record({ shape: fc.constant(shape), layout: layouts(shape.length), seed: fc.nat(1000) });
export const operands = (maxRank = 5, minRank = 0): fc.Arbitrary<Operand> =>
  shapes(maxRank, minRank).chain(operandOf);

/** The operand as a strided tensor, and as plain numbers. */
export function make(
  { shape, layout, seed }: Operand,
  dtype: core.DType = "f32",
): { x: core.Tensor; host: Host } {
  const x = lay(shape, layout, seed, dtype).view.detach();
  return { x, host: { shape, values: valuesOf(x) } };
}

export function same(result: core.Tensor, expected: Host, tolerance = 0): void {
  expect(result.shape).toEqual(expected.shape);
  expectClose(valuesOf(result), expected.values, { relative: tolerance, absolute: tolerance });
}

export function property<T>(arbitrary: fc.Arbitrary<T>, runs: number, body: (value: T) => void): void {
  fc.assert(
    fc.property(arbitrary, (value) => scoped(() => body(value))()),
    examples(runs),
  );
}

/** A shape that broadcasts with another: some sizes 1, some leading dimensions left out. */
export const partnerOf = (shape: readonly number[]): fc.Arbitrary<number[]> =>
  fc
    .tuple(fc.nat(shape.length), fc.array(fc.boolean(), { minLength: shape.length, maxLength: shape.length }))
    .map(([skip, ones]) => shape.map((size, axis) => (ones[axis] ? 1 : size)).slice(skip));

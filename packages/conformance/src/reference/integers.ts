/*
 * What becomes of integers in float64. Sums of 32-bit ones are exact in it, so that wrapping around can wait for the
 * end; products are not, but their last 32 bits are all that any dtype keeps.
 */
import { type DType, isFloat } from "@nf/core";

/** A product of two values of a dtype. */
export type Multiply = (a: number, b: number) => number;

/** The product of real numbers. */
export const multiply: Multiply = (a, b) => a * b;

/** The product in a dtype: of integers the last 32 bits, signed, which wrap around to the same in every integer dtype. */
export function multiplyIn(dtype: DType): Multiply {
  return isFloat(dtype) ? multiply : Math.imul;
}

/** A value as functions of real numbers take it: integers are rounded to f32 first, which is part of their definition. */
export function asReal(dtype: DType, value: number): number {
  return isFloat(dtype) ? value : Math.fround(value);
}

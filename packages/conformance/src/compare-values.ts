import { type DType, isFloat } from "@nf/core";
import type { Tolerance } from "./model.ts";
import { roundTo } from "./values.ts";

/** Allowed difference: `relative` to the expected value, plus `absolute`. */
export interface Allowed {
  readonly relative: number;
  readonly absolute: number;
}

/** Promise 1: relative errors by dtype. */
const RELATIVE: Readonly<Partial<Record<DType, number>>> = { f64: 1e-12, f32: 1.3e-6, f16: 1e-3, bf16: 1e-2 };
/** Where values are so small that the relative error says nothing. */
const ABSOLUTE: Readonly<Partial<Record<DType, number>>> = { f64: 1e-14, f32: 2e-7, f16: 6e-8, bf16: 1e-7 };

/**
 * What promise 1 allows a result to be off.
 * @param scale size of the terms that met in the results
 * @param widen by how much a backend may be wider, from its published table; default 1
 */
export function allowed(tolerance: Tolerance, dtype: DType, scale: number, widen = 1): Allowed {
  if (!isFloat(dtype) || (tolerance === "exact" && widen === 1)) return { relative: 0, absolute: 0 };
  const relative = RELATIVE[dtype] as number;
  const absolute = ABSOLUTE[dtype] as number;
  const factor = widen * (tolerance === "composed" ? 4 : 1);
  if (tolerance === "exact" || tolerance === "rounded")
    return { relative: relative * factor, absolute: absolute * factor };
  return { relative: relative * factor, absolute: factor * Math.max(absolute, relative * scale) };
}

/** How results differ from what was expected. */
export interface Difference {
  /** What is wrong, or undefined if nothing is. */
  readonly problem: string | undefined;
  /** Largest error, relative to the expected value or to 1 where that is smaller. */
  readonly worst: number;
  /** Largest share of the allowed difference that was used. */
  readonly share: number;
}

/** Compares results with float64 expectations. NaN and infinities must agree; zeros are equal. */
export function difference(
  got: ArrayLike<number>,
  expected: ArrayLike<number>,
  dtype: DType,
  { relative, absolute }: Allowed,
): Difference {
  if (got.length !== expected.length)
    return {
      problem: `${got.length} values instead of ${expected.length}`,
      worst: Infinity,
      share: Infinity,
    };
  let problem: string | undefined;
  let worst = 0;
  let share = 0;
  for (let i = 0; i < got.length; i++) {
    const value = got[i] as number;
    const wanted = expected[i] as number;
    if (value === wanted || (Number.isNaN(value) && Number.isNaN(wanted))) continue;
    if (value === (isFloat(dtype) ? roundTo(dtype, wanted) : wanted)) continue;
    const miss = Math.abs(value - wanted);
    // Nothing is near an infinity.
    const limit = Number.isFinite(wanted) ? relative * Math.abs(wanted) + absolute : 0;
    const error = Number.isFinite(miss) ? miss / Math.max(1, Math.abs(wanted)) : Infinity;
    if (error > worst) worst = error;
    const used = limit > 0 && Number.isFinite(miss) ? miss / limit : Infinity;
    if (used > share) share = used;
    if (!(miss <= limit))
      problem ??= `at ${i}: ${value} instead of ${wanted} (off by ${miss}, allowed ${limit})`;
  }
  return { problem, worst, share };
}

/** Largest absolute value, at least `least`. */
export function scaleOf(values: ArrayLike<number>, least = 1): number {
  let scale = least;
  for (let i = 0; i < values.length; i++) {
    const size = Math.abs(values[i] as number);
    if (size > scale && size < Infinity) scale = size;
  }
  return scale;
}

import { type DType, isFloat } from "@nf/core";
import type { Tolerance } from "./model.ts";
import { roundTo } from "./values.ts";

/** Allowed difference: `relative` to the expected value, plus `absolute`, plus what each element may move. */
export interface Allowed {
  readonly relative: number;
  readonly absolute: number;
  /** Absolute terms of single elements. */
  readonly elements?: ArrayLike<number>;
  /** Whether zeros must have the sign of the expected ones. */
  readonly signedZeros?: boolean;
}

/** Promise 1: relative errors by dtype. */
const RELATIVE: Readonly<Partial<Record<DType, number>>> = { f64: 1e-12, f32: 1.3e-6, f16: 1e-3, bf16: 1e-2 };
/** Steps where numbers have no digits left: the least normal number, which some hardware flushes to 0; for f16 the least of all. */
const ABSOLUTE: Readonly<Partial<Record<DType, number>>> = {
  f64: 2 ** -1022,
  f32: 2 ** -126,
  f16: 2 ** -24,
  bf16: 2 ** -126,
};

/**
 * How far operands are moved to see how much of its digits a result loses: half a step of the dtype. In f64 it is the
 * same share of the relative error as in f32, since the reference is off by some roundings itself.
 */
export const ROUNDING: Readonly<Partial<Record<DType, number>>> = {
  f64: (2 ** -24 / 1.3e-6) * 1e-12,
  f32: 2 ** -24,
  f16: 2 ** -11,
  bf16: 2 ** -8,
};

/**
 * How many times its movement a result may miss by: as much as keeps the absolute terms of all families within four
 * times PyTorch's own misses, which `goldens/misses.json` holds and a test compares.
 */
export const MOVEMENTS = 1.2;

/**
 * Relative error of a class. A single kernel computes 16-bit floats in f32 and rounds once: half a step, and what f32 may
 * miss by. A whole step would let results be cut off instead of rounded.
 */
function relativeOf(tolerance: Tolerance, dtype: DType): number {
  if (tolerance !== "composed" && (dtype === "f16" || dtype === "bf16"))
    return (ROUNDING[dtype] as number) + (RELATIVE.f32 as number);
  return RELATIVE[dtype] as number;
}

/** By how much the limits of a class are wider: 16-bit floats are rounded between the kernels of a composed operation. */
function widenedBy(tolerance: Tolerance, dtype: DType, widen: number): number {
  return tolerance === "composed" && (dtype === "f16" || dtype === "bf16") ? 4 * widen : widen;
}

/**
 * What promise 1 allows a result to be off, where nothing is known about how operands move it.
 * @param scale size of the terms that met in the results; 0 for no absolute term
 * @param widen by how much a backend may be wider, from its published table; default 1
 */
export function allowed(tolerance: Tolerance, dtype: DType, scale: number, widen = 1): Allowed {
  if (!isFloat(dtype) || tolerance === "exact") return { relative: 0, absolute: 0 };
  const factor = widenedBy(tolerance, dtype, widen);
  const relative = factor * relativeOf(tolerance, dtype);
  const absolute = factor * (ABSOLUTE[dtype] as number);
  if (tolerance === "rounded") return { relative, absolute };
  return { relative, absolute: Math.max(absolute, relative * scale) };
}

/** Absolute terms of single elements, from how far each moves. */
export function allowedMovement(
  tolerance: Tolerance,
  dtype: DType,
  movement: ArrayLike<number>,
  widen = 1,
): Float64Array {
  const factor = MOVEMENTS * widenedBy(tolerance, dtype, widen);
  return Float64Array.from(movement, (value) => factor * value);
}

/** Absolute term for roundings of numbers about 1: to the dtype between composed kernels, to f32 within one. */
export function allowedRoundings(tolerance: Tolerance, dtype: DType, roundings: number, widen = 1): number {
  if (tolerance === "exact" || !isFloat(dtype)) return 0;
  const unit = ROUNDING[tolerance === "composed" || dtype === "f64" ? dtype : "f32"] as number;
  return roundings * unit * widenedBy(tolerance, dtype, widen);
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

/** Compares results with float64 expectations. NaN and infinities must agree; zeros are equal unless signs are asked for. */
export function difference(
  got: ArrayLike<number>,
  expected: ArrayLike<number>,
  dtype: DType,
  { relative, absolute, elements, signedZeros = false }: Allowed,
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
    if (signedZeros && isFloat(dtype) && value === 0 && wanted === 0 && !Object.is(value, wanted))
      problem ??= `at ${i}: ${signedZero(value)} instead of ${signedZero(wanted)}`;
    if (value === wanted || (Number.isNaN(value) && Number.isNaN(wanted))) continue;
    if (value === (isFloat(dtype) ? roundTo(dtype, wanted) : wanted)) continue;
    const miss = Math.abs(value - wanted);
    // Nothing is near an infinity.
    const limit = Number.isFinite(wanted) ? relative * Math.abs(wanted) + absolute + (elements?.[i] ?? 0) : 0;
    const error = Number.isFinite(miss) ? miss / Math.max(1, Math.abs(wanted)) : Infinity;
    if (error > worst) worst = error;
    const used = limit > 0 && Number.isFinite(miss) ? miss / limit : Infinity;
    if (used > share) share = used;
    if (!(miss <= limit))
      problem ??= `at ${i}: ${value} instead of ${wanted} (off by ${miss}, allowed ${limit})`;
  }
  return { problem, worst, share };
}

function signedZero(value: number): string {
  return Object.is(value, -0) ? "-0" : String(value);
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

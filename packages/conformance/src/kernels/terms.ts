import { type DType, isFloat } from "@nf/core";
import { ROUNDING } from "../compare-values.ts";
import { count, type Nd, nd } from "../reference/nd.ts";
import type { Source } from "../source.ts";
import { roundTo, valuesFor } from "../values.ts";

/* Values that kernels are called with, and by what their errors are measured. */

const GRID = 32;
/** Values among which one special one is enough: whatever comes after a NaN would never be seen. */
const MANY = 64;

/**
 * A float between two whole numbers: one half lie on a grid of 1/32, where ties and exact results come up, the others use
 * every digit of the dtype, so that no product of two is exact in it and fewer digits show.
 */
export function digits(dtype: DType, low: number, high: number, source: Source): number {
  if (source.chance(2)) return roundTo(dtype, source.between(low * GRID, high * GRID) / GRID);
  // 53 bits, as many as float64 has.
  const fraction = (source.bits() * 2 ** 21 + (source.bits() >>> 11)) / 2 ** 53;
  return roundTo(dtype, low + (high - low) * fraction);
}

/**
 * Values to be added, multiplied and moved: floats in ±3, integers over their whole range, bools that are mostly alike in
 * two of three cases.
 *
 * @param special whether there are infinities and NaN among them: one in six, or about one where they are many
 */
export function terms(dtype: DType, shape: readonly number[], source: Source, special = false): Nd {
  const length = count(shape);
  if (dtype === "bool") return nd(shape, bools(length, source));
  if (!isFloat(dtype)) return nd(shape, valuesFor({ shape }, dtype, source));
  return nd(
    shape,
    Array.from({ length }, () =>
      special && source.chance(length > MANY ? length : 6)
        ? source.pick([NaN, Infinity, -Infinity, 0, -0])
        : digits(dtype, -3, 3, source),
    ),
  );
}

function bools(length: number, source: Source): number[] {
  const usual = source.below(3);
  return Array.from({ length }, () => {
    if (usual === 2) return source.below(2);
    return source.chance(length) ? 1 - usual : usual;
  });
}

/** Factors of about 1, which keep products in range. Integers are any: they wrap around. */
export function factors(dtype: DType, shape: readonly number[], source: Source): Nd {
  if (!isFloat(dtype)) return nd(shape, valuesFor({ shape, domain: { odd: true } }, dtype, source));
  return nd(
    shape,
    Array.from({ length: count(shape) }, () => 1 + digits(dtype, -1, 1, source) / 4).map((value) =>
      roundTo(dtype, value),
    ),
  );
}

/**
 * Values to be put in order. One half are few values, so that ties are common, and neighbours that only every digit of the
 * dtype tells apart; the other half are mostly distinct, so that the greatest may lie anywhere.
 */
export function ordered(dtype: DType, shape: readonly number[], source: Source): Nd {
  if (source.chance(2) || dtype === "bool") {
    if (isFloat(dtype) || dtype === "bool") return terms(dtype, shape, source, true);
    return nd(shape, valuesFor({ shape, domain: { distinct: true } }, dtype, source));
  }
  if (!isFloat(dtype)) return nd(shape, valuesFor({ shape, domain: { integers: "close" } }, dtype, source));
  const step = dtype === "f64" ? 2 ** -52 : 2 * roundingOf(dtype);
  const some = [1, 1 + step, 1 + 2 * step, -1, -1 - step, 0, -0, 2.5, NaN, Infinity, -Infinity];
  return nd(
    shape,
    Array.from({ length: count(shape) }, () => source.pick(some)),
  );
}

/** Roundings of all terms that a sum may be off by: enough for f32 added up in any order, far less than fewer digits cost. */
const ROUNDINGS = 4;

/**
 * How far roundings move a sum. Terms of 16-bit floats meet in f32, and only the result is rounded to 16 bits.
 */
export function summed(dtype: DType, values: readonly number[]): number {
  return ROUNDINGS * size(values) * roundingOf(arithmetic(dtype));
}

/** How far a product of so many factors moves, at most, when every multiplication rounds. */
export function multiplied(dtype: DType, product: number, length: number): number {
  return Math.abs(product) * length * roundingOf(arithmetic(dtype));
}

/** How far a sum moves, at most, that is rounded to its own dtype after every term, in whatever order they come. */
export function accumulated(dtype: DType, values: readonly number[]): number {
  return size(values) * values.length * roundingOf(dtype);
}

const size = (values: readonly number[]): number =>
  values.reduce((total, value) => total + Math.abs(value), 0);
const roundingOf = (dtype: DType): number => ROUNDING[dtype] ?? 0;
const arithmetic = (dtype: DType): DType => (dtype === "f16" || dtype === "bf16" ? "f32" : dtype);

import { type ComputeDType, isFloat, type ReduceKind, roundTo } from "@nf/core";

/** How two values of a group become one, and what the first one is combined with. */
export interface Combination {
  readonly start: number;
  readonly step: (total: number, value: number) => number;
}

/**
 * The combination of a kind of reduction or scan over values of a dtype. Floats are combined in doubles and rounded
 * when they are stored; integers wrap around at every step. `Math.max` and `Math.min` let NaN through.
 */
export function combination(kind: ReduceKind, dtype: ComputeDType): Combination {
  const float = isFloat(dtype);
  switch (kind) {
    case "sum":
      return { start: 0, step: float ? (a, b) => a + b : (a, b) => roundTo(dtype, a + b) };
    case "prod":
      return { start: 1, step: float ? (a, b) => a * b : (a, b) => roundTo(dtype, Math.imul(a, b)) };
    case "max":
      return { start: -Infinity, step: Math.max };
    case "min":
      return { start: Infinity, step: Math.min };
    case "any":
      return { start: 0, step: (a, b) => (a !== 0 || b !== 0 ? 1 : 0) };
    case "all":
      return { start: 1, step: (a, b) => (a !== 0 && b !== 0 ? 1 : 0) };
  }
}

import { type DType, isFloat } from "@nf/core";
import { computeDtype } from "./access.ts";

/*
 * Values as whole numbers in the same order, which compare alike on every adapter: zeros of both signs are equal, and
 * NaN is the greatest whichever way the others go.
 */

/** Functions that {@link keyOf} needs. */
export const KEYS = `fn keyOfFloat(x: f32, back: bool) -> u32 {
  let bits = bitcast<u32>(x);
  let size = bits & 0x7fffffffu;
  if (size > 0x7f800000u) { return 0xffffffffu; }
  let up = select(bits | 0x80000000u, ~bits, bits > 0x80000000u);
  return select(up, ~up, back);
}`;

/** The key of a value, a `u32`; `back` turns the order around. */
export function keyOf(dtype: DType, value: string, back: boolean): string {
  if (isFloat(dtype)) return `keyOfFloat(${value}, ${back})`;
  const compute = computeDtype(dtype);
  const up =
    compute === "i32"
      ? `(bitcast<u32>(${value}) ^ 0x80000000u)`
      : compute === "bool"
        ? `select(0u, 1u, ${value})`
        : value;
  return back ? `(~${up})` : up;
}

import { it } from "vitest";
import * as core from "../../src/index.ts";
import { expectClose, scoped, valuesOf } from "./helper.ts";

/** A tensor, in tables. */
export type T = core.Tensor;

/** Names short enough for tables. */
export const INF = Number.POSITIVE_INFINITY;
export const NAN = Number.NaN;
/** An f32 vector. */
export const of = (...values: number[]): T => core.tensor(values);
/** An i32 vector. */
export const ints = (...values: number[]): T => core.tensor(values, { dtype: "i32" });
/** A table of checks, each in a scope of its own. */
export const each = (rows: Readonly<Record<string, () => void>>): void => {
  for (const [name, body] of Object.entries(rows)) it(name, scoped(body));
};
/** Expects exactly these values; zeros of both signs are equal. */
export const gives = (result: T, ...values: number[]): void => expectClose(valuesOf(result), values);

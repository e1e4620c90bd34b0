import { expect, it } from "vitest";
import * as core from "../../src/index.ts";
import { scoped } from "./helper.ts";

/** One misuse: what is called, the error's code, and what its message must say. */
export type Misuse = readonly [what: string, call: () => unknown, code: core.ErrorCode, says: RegExp];

/** Zeros of a shape. */
export const zeros = (...shape: number[]): core.Tensor => core.zeros(shape);
/** An i32 vector. */
export const ints = (...values: number[]): core.Tensor => core.tensor(values, { dtype: "i32" });

/** Tests that every call of a table fails with a typed error that says what it must. */
export function refuses(cases: readonly Misuse[]): void {
  it.each(cases)(
    "%s",
    scopedWith((call: () => unknown, code: core.ErrorCode, says: RegExp) => {
      let error: unknown;
      try {
        call();
      } catch (thrown) {
        error = thrown;
      }
      expect(error).toBeInstanceOf(core.NanoFluxError);
      expect((error as core.NanoFluxError).code).toBe(code);
      expect((error as Error).message).toMatch(says);
    }),
  );
}

/** A test of a row of a table, in a scope of its own. */
function scopedWith<A extends unknown[]>(body: (...args: A) => void): (what: string, ...args: A) => void {
  return (_what, ...args) => scoped(() => body(...args))();
}

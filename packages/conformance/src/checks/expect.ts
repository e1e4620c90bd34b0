import { type ErrorCode, NanoFluxError } from "@nf/core";
import type { Check, Context } from "../check.ts";
import type { Level } from "../model.ts";
import { describeError } from "../session.ts";

/** A check of a family that is about no single operation. */
export function check(
  family: string,
  level: Level,
  name: string,
  run: Check["run"],
  covers: readonly string[] = [],
): Check {
  return { family, level, name, subject: family, covers, run };
}

/** Fails unless something holds. */
export function expectThat(context: Context, holds: boolean, message: string): void {
  if (!holds) context.fail(message);
}

/** Fails unless two lists are equal, NaN equal to NaN and -0 to 0. */
export function expectValues(
  context: Context,
  label: string,
  got: ArrayLike<number>,
  wanted: readonly number[],
): void {
  const list = Array.from(got);
  const equal =
    list.length === wanted.length &&
    list.every((value, i) => value === wanted[i] || (Number.isNaN(value) && Number.isNaN(wanted[i])));
  expectThat(
    context,
    equal,
    `${label}: [${list.slice(0, 16).join(", ")}] instead of [${wanted.slice(0, 16).join(", ")}]`,
  );
}

/** What a call throws or rejects with; fails if it does neither. A call that never ends is ended by the runner. */
export async function thrownBy(context: Context, label: string, call: () => unknown): Promise<unknown> {
  let result: unknown;
  try {
    result = await call();
  } catch (error) {
    return error;
  }
  return context.fail(`${label}: no error, but ${String(result)}`);
}

/** Fails unless a call throws or rejects with one of the codes and a message that says what it must. */
export async function expectError(
  context: Context,
  label: string,
  call: () => unknown,
  codes: ErrorCode | readonly ErrorCode[] | undefined,
  says: RegExp = /./,
): Promise<NanoFluxError> {
  const error = await thrownBy(context, label, call);
  if (!(error instanceof NanoFluxError))
    return context.fail(`${label}: not a NanoFluxError, but ${describeError(error)}`);
  const allowed = codes === undefined ? undefined : [codes].flat();
  if (allowed !== undefined && !allowed.includes(error.code))
    context.fail(`${label}: code ${error.code} instead of ${allowed.join(" or ")} (${error.message})`);
  if (!says.test(error.message))
    context.fail(`${label}: the message "${error.message}" does not match ${says}`);
  return error;
}

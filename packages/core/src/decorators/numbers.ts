import type { Backend } from "../backend/backend.ts";
import type { Call } from "../backend/call.ts";
import type { View } from "../backend/view.ts";
import { DTYPES, isFloat } from "../dtype.ts";
import { decode, gatherView, spanOf } from "../tensor/host.ts";

/** Where a view first holds what is no finite number; -1 where nowhere. */
export interface NumberFaults {
  readonly nan: number;
  readonly infinite: number;
}

const NONE: NumberFaults = { nan: -1, infinite: -1 };

/** Looks for NaN and infinities in a view, by reading it. */
export function faultsOf(backend: Backend, view: View): NumberFaults {
  if (!isFloat(view.dtype) || backend.readSync === undefined) return NONE;
  const { first, count } = spanOf(view);
  const { bytes } = DTYPES[view.dtype];
  const stretch = decode(backend.readSync(view.buffer, first * bytes, count * bytes), view.dtype);
  const values = view.contiguous ? stretch : gatherView(stretch, view, first);
  return {
    nan: values.findIndex((value) => Number.isNaN(value)),
    infinite: values.findIndex((value) => Math.abs(value) === Infinity),
  };
}

/**
 * What appeared in an output that the call was not given, in words. Infinities turn into NaN by the rules of
 * arithmetic, yet a NaN is worth its report; an infinity that comes of a NaN or an infinity is not.
 */
export function firstFault(
  call: Call,
  output: number,
  before: readonly NumberFaults[],
  { nan, infinite }: NumberFaults,
): string | undefined {
  const numbers = [...call.params, ...constantsOf(call)];
  const hadNaN = before.some((faults) => faults.nan >= 0) || numbers.some((value) => Number.isNaN(value));
  const hadInfinity =
    before.some((faults) => faults.infinite >= 0) || numbers.some((value) => Math.abs(value) === Infinity);
  if (nan >= 0 && !hadNaN) return `NaN at element ${nan}${hadInfinity ? ", of infinite operands" : ""}`;
  // The log-sum-exp of a row with nothing to attend to.
  const meant = call.kernel === "attention" && call.attributes.pass === "forward" && output === 1;
  if (infinite >= 0 && !hadNaN && !hadInfinity && !meant) return `an infinity at element ${infinite}`;
  return undefined;
}

function constantsOf(call: Call): readonly number[] {
  if (!("program" in call) || call.program === undefined) return [];
  return call.program.instructions.filter((expr) => expr.op === "const").map((expr) => expr.value);
}

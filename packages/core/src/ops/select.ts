import { checkDType, DTYPES, type DType, type DTypeInfo } from "../dtype.ts";
import { DTypeError, OptionError } from "../errors.ts";
import type { Expr } from "../scalar/expr.ts";
import * as s from "../scalar/expr.ts";
import { makeProgram, type Program } from "../scalar/program.ts";
import type { Tensor } from "../tensor/tensor.ts";
import { apply } from "./apply.ts";
import {
  callElementwise,
  type Elementwise,
  type ElementwiseSpec,
  elementwise,
  type Operand,
} from "./elementwise.ts";
import type { Op } from "./op.ts";
import { checkOptions, checkTensor, show } from "./options.ts";
import { type MapAttributes, mapOp } from "./programs.ts";
import { ownResult } from "./views.ts";

const CAST: Op<MapAttributes> = /* @__PURE__ */ mapOp("cast");
const castPrograms: Partial<Record<DType, Partial<Record<DType, Program>>>> = {};

/**
 * Converts to another dtype. Floats going to integers are truncated towards zero and saturate, NaN gives 0; integers
 * wrap around; anything to bool is `x != 0`.
 */
export function cast(x: Tensor, dtype: DType): Tensor {
  checkTensor("cast", x);
  checkDType("cast", dtype);
  return ownResult(x, castTo(x, dtype));
}

/** {@link cast} for operations: the tensor itself where it has the dtype already. */
export function castTo(x: Tensor, dtype: DType): Tensor {
  if (x.dtype === dtype) return x;
  const program = castProgram(x.dtype, dtype);
  return apply(CAST, [x], { program, params: [], dtypes: [dtype] })[0] as Tensor;
}

/** The program that converts between two dtypes; what the views store does the rest. */
export function castProgram(from: DType, to: DType): Program {
  castPrograms[from] ??= {};
  castPrograms[from][to] ??= makeCast(DTYPES[from], DTYPES[to]);
  return castPrograms[from][to];
}

function makeCast(source: DTypeInfo, { name, bytes, range, compute }: DTypeInfo): Program {
  let value: Expr = s.input(0, source.compute);
  if (source.kind === "float" && range !== undefined && bytes === 1 && name !== "bool") {
    value = s.select(s.isNaN(value), 0, s.min(s.max(value, range[0]), range[1]));
  }
  return makeProgram("cast", [source.compute], [], [s.cast(value, compute)]);
}

const choose: ElementwiseSpec["body"] = ([mask, a, b]) =>
  s.select(s.cast(mask as Expr, "bool"), a as Expr, b as Expr);
const WHERE: Elementwise = /* @__PURE__ */ elementwise({ name: "where", result: "same", body: choose });
const MASKED_FILL: Elementwise = /* @__PURE__ */ elementwise({
  name: "maskedFill",
  result: "same",
  body: choose,
});

function checkMask(op: string, name: string, mask: Tensor): void {
  checkTensor(op, mask);
  if (mask.dtype !== "bool")
    throw new DTypeError(
      `${op}: the ${name} must be bool, got ${mask.dtype}. Compare first, for example x.greater(0).`,
    );
}

/** a where the condition holds, b elsewhere. The condition is bool; all three broadcast. */
export function where(condition: Tensor, a: Operand, b: Operand): Tensor {
  checkMask("where", "condition", condition);
  return callElementwise(WHERE, [condition, a, b]);
}

/** x with `value` wherever the mask (bool, broadcast) holds. */
export function maskedFill(x: Tensor, mask: Tensor, value: number): Tensor {
  checkTensor("maskedFill", x);
  checkMask("maskedFill", "mask", mask);
  if (typeof value !== "number")
    throw new OptionError(`maskedFill: value must be a number, got ${show(value)}.`);
  return callElementwise(MASKED_FILL, [mask, value, x]);
}

/** The integer of a dtype that is nearest to a whole number; fractions make a float of the integers anyway. */
function withinRange(dtype: DType, bound: number): number {
  const { range } = DTYPES[dtype];
  if (range === undefined || dtype === "bool" || !(Number.isInteger(bound) || Math.abs(bound) === Infinity))
    return bound;
  return Math.min(Math.max(bound, range[0]), range[1]);
}

/** Inside the bounds, strictly: PyTorch's gradient on a bound is 0. */
function clipBody(x: Expr, low: Expr | undefined, high: Expr | undefined): Expr {
  const above = low === undefined ? x : s.max(x, low);
  const value = high === undefined ? above : s.min(above, high);
  const conditions = [
    ...(low === undefined ? [] : [s.gt(x, low)]),
    ...(high === undefined ? [] : [s.lt(x, high)]),
  ];
  const inside = conditions.reduce((both, one) => s.and(both, one));
  return s.stated(value, [x], [s.select(inside, s.constant(1, x.dtype), 0)]);
}

const CLIP_BOTH: Elementwise = /* @__PURE__ */ elementwise({
  name: "clip",
  result: "same",
  takes: ["float", "int"],
  body: ([x, low, high]) => clipBody(x as Expr, low, high),
});
const CLIP_LOW: Elementwise = /* @__PURE__ */ elementwise({
  name: "clip",
  result: "same",
  takes: ["float", "int"],
  body: ([x, low]) => clipBody(x as Expr, low, undefined),
});
const CLIP_HIGH: Elementwise = /* @__PURE__ */ elementwise({
  name: "clip",
  result: "same",
  takes: ["float", "int"],
  body: ([x, high]) => clipBody(x as Expr, undefined, high),
});

/** x limited to `min` … `max`, either of which may be left out. NaN stays. Gradient 0 on and outside the bounds. */
export function clip<K>(x: Tensor<K>, options: { readonly min?: number; readonly max?: number }): Tensor<K> {
  checkOptions("clip", options, ["min", "max"]);
  const { min, max } = options ?? {};
  for (const [name, bound] of Object.entries({ min, max })) {
    if (bound !== undefined && typeof bound !== "number")
      throw new OptionError(`clip: ${name} must be a number, got ${show(bound)}.`);
  }
  checkTensor("clip", x);
  // A bound that the dtype does not reach limits nothing, or everything.
  const within = (bound: number): number => withinRange(x.dtype, bound);
  if (min !== undefined && max !== undefined)
    return callElementwise(CLIP_BOTH, [x, within(min), within(max)]);
  if (min !== undefined) return callElementwise(CLIP_LOW, [x, within(min)]);
  if (max !== undefined) return callElementwise(CLIP_HIGH, [x, within(max)]);
  throw new OptionError("clip: give min, max or both.");
}

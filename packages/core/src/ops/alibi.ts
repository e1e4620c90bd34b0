import { DTYPES, isFloat } from "../dtype.ts";
import { DTypeError } from "../errors.ts";
import * as s from "../scalar/expr.ts";
import { type Program, program } from "../scalar/program.ts";
import type { Tensor } from "../tensor/tensor.ts";
import { apply, composite } from "./apply.ts";
import { asLeaf, type CreateOptions, resolveCreate, upload } from "./create.ts";
import type { Op } from "./op.ts";
import { checkInteger } from "./options.ts";
import { type MapAttributes, mapOp, perDType } from "./programs.ts";

const ALIBI: Op<MapAttributes> = /* @__PURE__ */ mapOp("alibi");

const alibiProgram: (dtype: "f32" | "f64" | "i32" | "u32" | "bool") => Program = /* @__PURE__ */ perDType(
  (dtype) =>
    program("alibi", [dtype], ["i32"], ([slope], [ahead]) => {
      const distance = s.sub(s.coordinate(-1), s.add(s.coordinate(-2), ahead as s.Expr));
      return s.mul(s.neg(s.cast(s.abs(distance), dtype)), slope as s.Expr);
    }),
);

/** Slopes of ALiBi's heads: 2^(-8/n), its square, … for n heads; between them for a number that is no power of two. */
export function alibiSlopes(heads: number): readonly number[] {
  return slopesOf("alibiSlopes", heads);
}

function slopesOf(op: string, heads: number): readonly number[] {
  checkInteger(op, "heads", heads, 1);
  const whole = 2 ** Math.floor(Math.log2(heads));
  const powers = (count: number, over: number, step: number): readonly number[] =>
    Array.from({ length: count }, (_, head) => 2 ** ((-8 * (1 + head * step)) / over));
  return [...powers(whole, whole, 1), ...powers(heads - whole, 2 * whole, 2)];
}

/**
 * Attention with linear biases: -slope · distance as an additive mask `[heads, queries, keys]`, the last query at the
 * last key. Press, Smith, Lewis 2021, arXiv:2108.12409.
 */
export function alibi(
  heads: number,
  queries: number,
  keys: number = queries,
  options: CreateOptions = {},
): Tensor {
  const { device, dtype } = resolveCreate("alibi", options, "f32");
  if (!isFloat(dtype)) throw new DTypeError(`alibi: needs a float dtype, got ${dtype}.`);
  checkInteger("alibi", "queries", queries, 0);
  checkInteger("alibi", "keys", keys, 0);
  const bias = composite([], () => {
    const slopes = Float64Array.from(slopesOf("alibi", heads));
    const values = dtype === "f64" ? slopes : Float32Array.from(slopes);
    const attributes = {
      program: alibiProgram(DTYPES[dtype].compute),
      params: [keys - queries],
      dtypes: [dtype],
      shape: [heads, queries, keys],
    };
    return apply(ALIBI, [upload("alibi", device, values, [heads, 1, 1], dtype)], attributes)[0] as Tensor;
  });
  return asLeaf(bias, options);
}

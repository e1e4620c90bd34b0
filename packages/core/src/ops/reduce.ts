import type { ArgReduceCall, ReduceKind } from "../backend/call.ts";
import { showShape } from "../backend/geometry.ts";
import { type Shape, sizeOf } from "../backend/view.ts";
import { DTYPES, type DType, isFloat } from "../dtype.ts";
import { DTypeError, OptionError, ShapeError } from "../errors.ts";
import type { Expr } from "../scalar/expr.ts";
import * as s from "../scalar/expr.ts";
import { type Program, program } from "../scalar/program.ts";
import type { Tensor } from "../tensor/tensor.ts";
import { apply, composite } from "./apply.ts";
import { add, div, equal, mul, sub } from "./binary.ts";
import { type UnaryFunction, unary } from "./elementwise.ts";
import type { Op } from "./op.ts";
import { checkAxes, checkFloat, checkOptions, checkTensor, show } from "./options.ts";
import { concat } from "./place.ts";
import {
  expandTo,
  filled,
  guarded,
  identityProgram,
  keptShape,
  mapOp,
  perDType,
  type ReduceAttributes,
  reduceOp,
} from "./programs.ts";
import { allocate, callOf, execute } from "./run.ts";
import { castProgram, castTo, where } from "./select.ts";
import { permute, reshape, slice } from "./shape.ts";
import { exp, isInf, log } from "./unary.ts";
import { detach, withUnitDims } from "./views.ts";

/** Options of reductions. */
export interface ReduceOptions {
  /** One axis, several, or (default) all; of no axes, `[]`, nothing is reduced. Negative ones count from the end. */
  readonly axis?: number | readonly number[];
  /** Keep reduced dimensions with size 1; default false. */
  readonly keepDims?: boolean;
}

const REDUCE_OPTIONS = ["axis", "keepDims"];
const SCALAR: Shape = [];

interface Plan {
  readonly axes: readonly number[];
  readonly kept: Shape;
  readonly shape: Shape;
  /** Number of elements that meet in one result. */
  readonly count: number;
}

function plan(op: string, x: Tensor, options: ReduceOptions, allowed = REDUCE_OPTIONS): Plan {
  checkTensor(op, x);
  checkOptions(op, options, allowed);
  const axes = checkAxes(op, options.axis, x.rank);
  const kept = keptShape(x.shape, axes);
  const shape =
    options.keepDims === true
      ? kept
      : axes.length === x.rank
        ? SCALAR
        : x.shape.filter((_, axis) => !axes.includes(axis));
  let count = 1;
  for (let i = 0; i < axes.length; i++) count *= x.shape[axes[i] as number] as number;
  return { axes, kept, shape, count };
}

/** A reduction with a program in front. */
function reduced(
  op: Op<ReduceAttributes>,
  x: Tensor,
  { axes, shape }: Plan,
  kind: ReduceKind,
  made: Program,
  dtype: DType,
): Tensor {
  // An op of its own each time: rare, and nothing asks whether two ops are the same.
  if (axes.length === 0)
    return apply(mapOp(op.name), [x], { program: made, params: [], dtypes: [dtype] })[0] as Tensor;
  const attributes = {
    program: made,
    params: [],
    dtypes: [dtype],
    kinds: [kind],
    axes,
    shape: x.shape,
    resultShape: shape,
  };
  return apply(op, [x], attributes)[0] as Tensor;
}

const SUM: Op<ReduceAttributes> = /* @__PURE__ */ reduceOp("sum");

/** Dtype that sums of a dtype have: bool and small integers are counted in i32. */
export function sumType(dtype: DType): DType {
  return isFloat(dtype) || dtype === "u32" ? dtype : dtype === "u8" ? "u32" : "i32";
}

/** Sum over axes; 0 where there is nothing to add. bool and integers add up in 32-bit integers. */
export function sum(x: Tensor, options: ReduceOptions = {}): Tensor {
  const made = plan("sum", x, options);
  const dtype = sumType(x.dtype);
  return reduced(SUM, x, made, "sum", castProgram(x.dtype, dtype), dtype);
}

/** Mean over axes, a float; NaN where there is nothing. */
export function mean(x: Tensor, options: ReduceOptions = {}): Tensor {
  const made = plan("mean", x, options);
  const dtype = isFloat(x.dtype) ? x.dtype : "f32";
  // The sum of 16-bit numbers may leave their range where its mean does not.
  const wide = DTYPES[dtype].compute;
  return composite([x], () => {
    const total = reduced(SUM, x, made, "sum", castProgram(x.dtype, wide), wide);
    return castTo(div(total, made.count), dtype);
  });
}

/** Product over axes; 1 where there is nothing. With a gradient, a halving tree of products, right also at zeros. */
export function prod(x: Tensor, options: ReduceOptions = {}): Tensor {
  const made = plan("prod", x, options);
  const { axes, shape, count } = made;
  const dtype = sumType(x.dtype);
  if (!x.requiresGrad) return reduced(PROD, x, made, "prod", castProgram(x.dtype, dtype), dtype);
  return composite([x], () => {
    const rest = x.shape.flatMap((_, axis) => (axes.includes(axis) ? [] : [axis]));
    const factors = reshape(permute(x, [...rest, ...axes]), [
      ...rest.map((axis) => x.shape[axis] as number),
      count,
    ]);
    return reshape(halvingProduct(factors, count), shape);
  });
}

const PROD: Op<ReduceAttributes> = /* @__PURE__ */ withoutGradient(reduceOp("prod"));

function halvingProduct(factors: Tensor, count: number): Tensor {
  const lead = factors.shape.slice(0, -1);
  if (count === 0) return filled(factors.device, lead, factors.dtype, 1);
  if (count === 1) return reshape(factors, lead);
  const half = Math.floor(count / 2);
  const whole = lead.map(() => null);
  const pairs = mul(slice(factors, ...whole, [0, half]), slice(factors, ...whole, [half, 2 * half]));
  if (count % 2 === 0) return halvingProduct(pairs, half);
  return halvingProduct(concat([pairs, slice(factors, ...whole, [2 * half, count])], -1), half + 1);
}

/** A reduction whose gradient comes from how it is composed; directly on tensors with gradients it must not be used. */
function withoutGradient(op: Op<ReduceAttributes>): Op<ReduceAttributes> {
  return { name: op.name, forward: op.forward };
}

const EXTREMES: Readonly<Record<"max" | "min", Op<ReduceAttributes>>> = {
  max: /* @__PURE__ */ extremeOp("max"),
  min: /* @__PURE__ */ extremeOp("min"),
};

/** The elements that equal the extreme share its gradient, PyTorch's amax and amin. */
function extremeOp(name: "max" | "min"): Op<ReduceAttributes> {
  const { forward } = reduceOp(name);
  return {
    name,
    forward,
    gradient: {
      save: ([x], [y]) => [x as Tensor, y as Tensor],
      vjp: ({ saved: [x, y], gradients: [g], attributes: { axes, shape } }) => {
        const kept = keptShape(shape, axes);
        const winners = equal(x as Tensor, withUnitDims(y as Tensor, kept));
        const count = castTo(sum(winners, { axis: axes, keepDims: true }), (g as Tensor).dtype);
        return [where(winners, expandTo(div(withUnitDims(g as Tensor, kept), count), shape), 0)];
      },
    },
  };
}

function extreme(kind: "max" | "min", x: Tensor, options: ReduceOptions): Tensor {
  const made = plan(kind, x, options);
  refuseEmpty(kind, x, made.count);
  if (x.dtype === "bool") throw new DTypeError(`${kind}: takes numbers, got bool. Use any or all.`);
  return reduced(EXTREMES[kind], x, made, kind, identityProgram(DTYPES[x.dtype].compute), x.dtype);
}

function refuseEmpty(op: string, x: Tensor, count: number): void {
  if (count === 0)
    throw new ShapeError(
      `${op}: nothing to choose from: shape ${showShape(x.shape)} has size 0 along the reduced axes.`,
    );
}

/** Greatest element over axes; NaN if there is one. Equal elements share the gradient. */
export function max(x: Tensor, options: ReduceOptions = {}): Tensor {
  return extreme("max", x, options);
}

/** Least element over axes; NaN if there is one. Equal elements share the gradient. */
export function min(x: Tensor, options: ReduceOptions = {}): Tensor {
  return extreme("min", x, options);
}

const ANY: Op<ReduceAttributes> = /* @__PURE__ */ withoutGradient(reduceOp("any"));
const ALL: Op<ReduceAttributes> = /* @__PURE__ */ withoutGradient(reduceOp("all"));

/** Whether any element over axes is true (not 0); false where there is nothing. */
export function any(x: Tensor, options: ReduceOptions = {}): Tensor {
  return reduced(ANY, x, plan("any", x, options), "any", castProgram(x.dtype, "bool"), "bool");
}

/** Whether all elements over axes are true (not 0); true where there is nothing. */
export function all(x: Tensor, options: ReduceOptions = {}): Tensor {
  return reduced(ALL, x, plan("all", x, options), "all", castProgram(x.dtype, "bool"), "bool");
}

/** Number of elements over axes that are not 0, as i32. */
export function countNonzero(x: Tensor, options: ReduceOptions = {}): Tensor {
  plan("countNonzero", x, options);
  return composite([x], () => sum(castTo(x, "bool"), options));
}

/** log(Σ e^x) over axes, finite at ±1e4; -infinity where there is nothing. */
export function logSumExp(x: Tensor, options: ReduceOptions = {}): Tensor {
  const { kept, shape, axes, count } = plan("logSumExp", x, options);
  checkFloat("logSumExp", x);
  return composite([x], () => {
    if (count === 0) return filled(x.device, shape, x.dtype, -Infinity);
    // The shift is a constant: any value gives the same result, so it needs no gradient.
    const wide = castTo(x, DTYPES[x.dtype].compute);
    const top = max(detach(wide), { axis: axes, keepDims: true });
    const shift = where(isInf(top), 0, top);
    const total = sum(exp(sub(wide, shift)), { axis: axes, keepDims: true });
    return castTo(withUnitDims(add(log(total), expandTo(shift, kept)), shape), x.dtype);
  });
}

/** Options of variance and deviation. */
export interface VarianceOptions extends ReduceOptions {
  /** What is taken off the count in the divisor: 1 (default, PyTorch's) for samples, 0 for the whole population. */
  readonly ddof?: number;
}

const MOMENTS: Op<ReduceAttributes> = /* @__PURE__ */ reduceOp("var");
const momentsProgram: (dtype: "f32" | "f64" | "i32" | "u32" | "bool") => Program = /* @__PURE__ */ perDType(
  (dtype) =>
    program("var", [dtype, dtype], [], ([x, center]) => {
      const difference = s.sub(x as Expr, center as Expr);
      return [s.mul(difference, difference), difference];
    }),
);

/** Variance over axes, in two passes with a correction for the rounding of the mean. NaN where there is too little. */
export function variance(x: Tensor, options: VarianceOptions = {}): Tensor {
  return composite([x], () => castTo(varianceOf("var", x, options), x.dtype));
}

/** The variance in the dtype that x is computed in. Call it in a composite. */
function varianceOf(op: string, x: Tensor, options: VarianceOptions): Tensor {
  const { axes, shape, count } = plan(op, x, options, [...REDUCE_OPTIONS, "ddof"]);
  checkFloat(op, x);
  const ddof = options.ddof ?? 1;
  if (!Number.isFinite(ddof))
    throw new OptionError(`${op}: ddof must be a finite number, got ${show(ddof)}.`);
  // Squares of 16-bit numbers soon leave their range.
  const wide = castTo(x, DTYPES[x.dtype].compute);
  if (axes.length === 0) return mul(sub(wide, wide), 1 / Math.max(0, 1 - ddof));
  const center = mean(wide, { axis: axes, keepDims: true });
  const made = momentsProgram(DTYPES[x.dtype].compute);
  const kinds = ["sum", "sum"] as const;
  const attributes = {
    program: made,
    params: [],
    dtypes: [wide.dtype, wide.dtype],
    kinds,
    axes,
    shape: x.shape,
    resultShape: shape,
  };
  const [squares, rest] = apply(MOMENTS, [wide, center], attributes) as [Tensor, Tensor];
  const corrected = sub(squares, div(mul(rest, rest), count));
  return div(corrected, Math.max(0, count - ddof));
}

/** √x with gradient 0 at 0: where all elements are equal none is to blame for the deviation. */
const root: UnaryFunction = /* @__PURE__ */ unary("std", (x) => {
  const y = s.sqrt(x);
  return s.stated(y, [x], [s.select(s.eq(y, 0), 0, s.div(s.constant(0.5, x.dtype), y))]);
});

/** Standard deviation over axes: the root of {@link variance}. Its gradient is 0 where it is 0. */
export function std(x: Tensor, options: VarianceOptions = {}): Tensor {
  return composite([x], () => castTo(root(varianceOf("std", x, options)), x.dtype));
}

const ARG: Op<{ readonly kind: "max" | "min"; readonly axes: readonly number[] }> = {
  name: "argReduce",
  forward([x], { kind, axes }, device) {
    const source = (x as Tensor).view;
    const output = allocate(
      device,
      "i32",
      source.shape.map((size, axis) => (axes.includes(axis) ? 1 : size)),
      `arg${kind}`,
    );
    if (output.size === 0) return [output];
    const parts = { kernel: "argReduce", attributes: { kind, axes } } as const;
    const call = callOf<ArgReduceCall>(parts, [source], [output.view]);
    guarded([output], () => execute(device, call));
    output.storage.range = [0, sizeOf(axes.map((axis) => source.shape[axis] as number)) - 1];
    return [output];
  },
};

function argExtreme(kind: "max" | "min", x: Tensor, options: ReduceOptions): Tensor {
  const { axes, shape, count } = plan(`arg${kind}`, x, options);
  refuseEmpty(`arg${kind}`, x, count);
  return composite([x], () => {
    if (axes.length === 0) return filled(x.device, shape, "i32", 0);
    return withUnitDims(apply(ARG, [x], { kind, axes })[0] as Tensor, shape);
  });
}

/** Position of the greatest element over axes (row-major among several), as i32: the first on ties; NaN wins. */
export function argmax(x: Tensor, options: ReduceOptions = {}): Tensor {
  return argExtreme("max", x, options);
}

/** Position of the least element over axes (row-major among several), as i32: the first on ties; NaN wins. */
export function argmin(x: Tensor, options: ReduceOptions = {}): Tensor {
  return argExtreme("min", x, options);
}

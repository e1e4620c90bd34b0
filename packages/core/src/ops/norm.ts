import { showShape } from "../backend/geometry.ts";
import type { Shape } from "../backend/view.ts";
import { type ComputeDType, DTYPES } from "../dtype.ts";
import { OptionError, ShapeError } from "../errors.ts";
import type { Expr } from "../scalar/expr.ts";
import * as s from "../scalar/expr.ts";
import { type Program, program } from "../scalar/program.ts";
import type { Tensor } from "../tensor/tensor.ts";
import { composite } from "./apply.ts";
import { div } from "./binary.ts";
import { callElementwise, type Elementwise, elementwise, type UnaryFunction, unary } from "./elementwise.ts";
import { checkAxes, checkAxis, checkFloat, checkNumber, checkOptions, show } from "./options.ts";
import { keptShape, perDType, sumOfProgram } from "./programs.ts";
import { max, min, type ReduceOptions } from "./reduce.ts";
import { castTo, clip } from "./select.ts";
import { abs } from "./unary.ts";
import { withUnitDims } from "./views.ts";

/** Options of {@link norm}. */
export interface NormOptions extends ReduceOptions {
  /** Which norm: 2 (default), 1, Infinity (greatest absolute value), -Infinity (least), 0 (how many are not 0), any other. */
  readonly p?: number;
}

/** What is added up under the root, where that has no parameter. */
const TERMS: Readonly<Record<0 | 1 | 2, (dtype: ComputeDType) => Program>> = {
  0: /* @__PURE__ */ perDType((dtype) =>
    program("norm", [dtype], [], ([x]) => s.select(s.ne(x as Expr, 0), s.constant(1, dtype), 0)),
  ),
  1: /* @__PURE__ */ perDType((dtype) => program("norm", [dtype], [], ([x]) => s.abs(x as Expr))),
  2: /* @__PURE__ */ perDType((dtype) => program("norm", [dtype], [], ([x]) => s.mul(x as Expr, x as Expr))),
};

/** |x|^p with derivative 0 at 0, also where the true one is infinite: PyTorch's choice. */
const powerProgram: (dtype: ComputeDType) => Program = /* @__PURE__ */ perDType((dtype) =>
  program("norm", [dtype], [dtype], ([x], [p]) => {
    const size = s.abs(x as Expr);
    const slope = s.mul(s.mul(p as Expr, s.pow(size, s.sub(p as Expr, 1))), s.sign(x as Expr));
    return s.stated(s.pow(size, p as Expr), [x as Expr], [s.select(s.eq(size, 0), 0, slope)]);
  }),
);

/** √x with derivative 0 at 0: at the origin the norm has no direction. */
const root: UnaryFunction = /* @__PURE__ */ unary("norm", (x) => {
  const y = s.sqrt(x);
  return s.stated(y, [x], [s.select(s.eq(y, 0), 0, s.div(s.constant(0.5, x.dtype), y))]);
});

/** x^(1/p) with derivative 0 at 0. */
const ROOT: Elementwise = /* @__PURE__ */ elementwise({
  name: "norm",
  result: "float",
  body: ([x], [inverse]) => {
    const total = x as Expr;
    const power = inverse as Expr;
    const slope = s.mul(power, s.pow(total, s.sub(power, 1)));
    return s.stated(s.pow(total, power), [total], [s.select(s.eq(total, 0), 0, slope)]);
  },
});

/**
 * Norm of the vectors along axes (all by default), (Σ |x|^p)^(1/p). Its gradient is 0 at the origin. Equal extremes share
 * the gradient of the infinite norms.
 */
export function norm(x: Tensor, options: NormOptions = {}): Tensor {
  checkFloat("norm", x);
  checkOptions("norm", options, ["p", "axis", "keepDims"]);
  const { p = 2, keepDims = false } = options;
  if (typeof p !== "number" || Number.isNaN(p))
    throw new OptionError(`norm: p must be a number, Infinity and -Infinity included, got ${show(p)}.`);
  const axes = checkAxes("norm", options.axis, x.rank);
  if ((p < 0 || p === Infinity) && axes.some((axis) => x.shape[axis] === 0)) {
    throw new ShapeError(
      `norm: shape ${showShape(x.shape)} has size 0 along the reduced axes; nothing has no norm for p ${p}.`,
    );
  }
  const shape = keepDims ? keptShape(x.shape, axes) : x.shape.filter((_, axis) => !axes.includes(axis));
  return composite([x], () => {
    // The sum of squares of 16-bit numbers would leave their range long before its root does.
    const wide = DTYPES[x.dtype].bytes === 2 ? castTo(x, "f32") : x;
    return castTo(vectorNorm(wide, p, axes, shape), x.dtype);
  });
}

function vectorNorm(x: Tensor, p: number, axes: readonly number[], shape: Shape): Tensor {
  if (p === Infinity || p === -Infinity) {
    return withUnitDims((p > 0 ? max : min)(abs(x), { axis: axes, keepDims: true }), shape);
  }
  // A scalar is a vector of one element.
  const source = axes.length > 0 ? x : withUnitDims(x, [...x.shape, 1]);
  const over = axes.length > 0 ? axes : [x.rank];
  const compute = DTYPES[x.dtype].compute;
  const total = (made: Program, params: readonly number[] = []): Tensor =>
    sumOfProgram(made, params, [source], source.shape, over, shape, x.dtype);
  if (p === 0 || p === 1) return total(TERMS[p](compute));
  if (p === 2) return root(total(TERMS[2](compute)));
  return callElementwise(ROOT, [total(powerProgram(compute), [p])], [1 / p]);
}

/** Options of {@link l2Normalize}. */
export interface NormalizeOptions {
  /** Axis of the vectors; default 1, PyTorch's. */
  readonly axis?: number;
  /** Least length to divide by; default 1e-12. */
  readonly eps?: number;
}

/** x divided by the length of its vectors along an axis, or by `eps` where they are shorter. */
export function l2Normalize<K>(x: Tensor<K>, options: NormalizeOptions = {}): Tensor<K> {
  checkFloat("l2Normalize", x);
  checkOptions("l2Normalize", options, ["axis", "eps"]);
  const { axis = 1, eps = 1e-12 } = options;
  checkNumber("l2Normalize", "eps", eps, 0);
  const along = checkAxis("l2Normalize", axis, x.rank);
  return composite([x], () => div(x, clip(norm(x, { axis: along, keepDims: true }), { min: eps })));
}

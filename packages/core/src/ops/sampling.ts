import { showShape } from "../backend/geometry.ts";
import { type ComputeDType, DTYPES, isFloat } from "../dtype.ts";
import { DTypeError, OptionError, ShapeError } from "../errors.ts";
import type { Expr } from "../scalar/expr.ts";
import * as s from "../scalar/expr.ts";
import { type Program, program } from "../scalar/program.ts";
import { strictLog } from "../scalar/random.ts";
import type { Tensor } from "../tensor/tensor.ts";
import { apply, composite } from "./apply.ts";
import { add, div, equal, sub } from "./binary.ts";
import { arange } from "./create.ts";
import { type UnaryFunction, unary } from "./elementwise.ts";
import type { Op } from "./op.ts";
import { checkAxis, checkFloat, checkInteger, checkNumber, checkOptions, checkTensor } from "./options.ts";
import { type MapAttributes, mapOp, perDType } from "./programs.ts";
import { type Generator, rand, sourceOf } from "./random.ts";
import { argmax, argmin, min } from "./reduce.ts";
import { castTo } from "./select.ts";
import { softmax } from "./softmax.ts";
import { topk } from "./sort.ts";
import { detach, withUnitDims } from "./views.ts";

/** Options of {@link multinomial}. */
export interface MultinomialOptions {
  /** Whether an index may be drawn several times; default false. */
  readonly replacement?: boolean;
  /** Source of randomness; default the one `manualSeed` seeds. */
  readonly generator?: Generator;
}

const RACE: Op<MapAttributes> = /* @__PURE__ */ mapOp("multinomial");

/**
 * Arrival times of an exponential race: -log(1 - u) / weight. Who arrives first is distributed as the weights, and who
 * arrives among the first as drawn without replacement. Impossible ones never arrive. Strict, for equal bits everywhere.
 */
const raceProgram: (dtype: ComputeDType) => Program = /* @__PURE__ */ perDType((dtype) =>
  program(
    "multinomial",
    [dtype, dtype],
    [],
    ([u, given]) => {
      const share = given as Expr;
      const sound = s.and(s.ge(share, 0), s.lt(share, Infinity));
      const weight = s.check(share, sound, "probability negative or not finite");
      const time = s.div(s.neg(strictLog(s.sub(1, u as Expr))), weight);
      return s.select(s.gt(weight, 0), time, Infinity);
    },
    { strict: true },
  ),
);

/** Those who arrived; who never does was not to be drawn. */
const ARRIVED: Op<MapAttributes> = /* @__PURE__ */ mapOp("multinomial");
const arrivedProgram: (dtype: ComputeDType) => Program = /* @__PURE__ */ perDType((dtype) =>
  program("multinomial", ["i32", dtype], [], ([index, time]) => {
    const arrived = s.lt(time as Expr, Infinity);
    return s.check(index as Expr, arrived, "more drawn than there are possible classes");
  }),
);

/**
 * Indices drawn with the given probabilities, i32: from `[classes]` `[count]`, from `[rows, classes]` `[rows, count]`.
 * Probabilities need not add up to 1. Without replacement indices come in the order drawn. The same seed and
 * probabilities give the same indices on every backend.
 *
 * @throws ArithmeticError for a probability that is negative or not finite, and where more is drawn from a row than has a
 * probability above 0 (at the next read, on backends that work asynchronously)
 */
export function multinomial(probabilities: Tensor, count: number, options: MultinomialOptions = {}): Tensor {
  checkTensor("multinomial", probabilities);
  checkOptions("multinomial", options, ["replacement", "generator"]);
  const { shape, dtype, backend } = probabilities;
  if (shape.length !== 1 && shape.length !== 2) {
    throw new ShapeError(
      `multinomial: expected probabilities [classes] or [rows, classes], got ${showShape(shape)}.`,
    );
  }
  if (!isFloat(dtype))
    throw new DTypeError(`multinomial: probabilities must be a float tensor, got ${dtype}.`);
  const classes = shape.at(-1) as number;
  const replacement = options.replacement === true;
  checkInteger("multinomial", "count", count, 0);
  if (count > classes && (!replacement || classes === 0)) {
    throw new OptionError(
      `multinomial: cannot draw ${count} of ${classes} classes${replacement ? "" : " without replacement"}.`,
    );
  }
  return composite([probabilities], () => {
    const compute = DTYPES[dtype].compute === "f64" ? "f64" : "f32";
    const weights = castTo(detach(probabilities), compute);
    const lead = shape.slice(0, -1);
    const runs = replacement ? [...lead, count, classes] : shape;
    const u = rand(runs, { dtype: compute, backend, generator: sourceOf("multinomial", options) });
    const against = replacement ? withUnitDims(weights, [...lead, 1, classes]) : weights;
    const attributes = { program: raceProgram(compute), params: [], dtypes: [compute] } as const;
    const times = apply(RACE, [u, against], attributes)[0] as Tensor;
    const first = replacement
      ? { indices: argmin(times, { axis: -1 }), values: min(times, { axis: -1 }) }
      : topk(times, { k: count, largest: false });
    const checked = { program: arrivedProgram(compute), params: [], dtypes: ["i32"] } as const;
    return apply(ARRIVED, [first.indices, first.values], checked)[0] as Tensor;
  });
}

/** Options of {@link gumbelSoftmax}. */
export interface GumbelSoftmaxOptions {
  /** Temperature: the lower, the nearer to one class; default 1. */
  readonly tau?: number;
  /** Give one class 1 and the others 0, with the gradient of the soft result; default false. */
  readonly hard?: boolean;
  /** Axis of the classes; default the last. */
  readonly axis?: number;
  /** Source of randomness; default the one `manualSeed` seeds. */
  readonly generator?: Generator;
}

/** -log(-log(1 - u)) of uniform numbers; the inner logarithm is held above 0, where u is exactly 0. */
const gumbel: UnaryFunction = /* @__PURE__ */ unary("gumbel", (u) =>
  s.neg(s.log(s.max(s.neg(s.log1p(s.neg(u))), 2 ** -54))),
);

/** Samples of a categorical distribution, relaxed so that logits get a gradient. Jang et al. 2017, Maddison et al. 2017. */
export function gumbelSoftmax(logits: Tensor, options: GumbelSoftmaxOptions = {}): Tensor {
  checkFloat("gumbelSoftmax", logits);
  checkOptions("gumbelSoftmax", options, ["tau", "hard", "axis", "generator"]);
  const { tau = 1, hard = false } = options;
  if (checkNumber("gumbelSoftmax", "tau", tau, 0) === 0)
    throw new OptionError("gumbelSoftmax: tau must be above 0.");
  const axis = checkAxis("gumbelSoftmax", options.axis ?? -1, logits.rank);
  if (hard && logits.shape[axis] === 0)
    throw new ShapeError(`gumbelSoftmax: shape ${showShape(logits.shape)} has no class to choose.`);
  return composite([logits], () => {
    const { shape, dtype, backend } = logits;
    const u = rand(shape, {
      dtype: dtype === "f64" ? "f64" : "f32",
      backend,
      generator: sourceOf("gumbelSoftmax", options),
    });
    const soft = softmax(div(add(logits, castTo(gumbel(u), dtype)), tau), { axis });
    if (!hard) return soft;
    const along = shape.map((size, position) => (position === axis ? size : 1));
    const positions = withUnitDims(arange(0, shape[axis] as number, 1, { dtype: "i32", backend }), along);
    const chosen = castTo(equal(positions, argmax(detach(soft), { axis, keepDims: true })), dtype);
    return add(sub(chosen, detach(soft)), soft);
  });
}

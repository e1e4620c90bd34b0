import type { ScanCall } from "../backend/call.ts";
import { DTypeError } from "../errors.ts";
import type { Device } from "../runtime/device.ts";
import type { Tensor } from "../tensor/tensor.ts";
import { apply, composite } from "./apply.ts";
import { equal, logicalOr, mul } from "./binary.ts";
import { arange } from "./create.ts";
import { scatterAdd } from "./index-ops.ts";
import type { Op } from "./op.ts";
import { checkAxis, checkOptions, checkTensor } from "./options.ts";
import { concat } from "./place.ts";
import { filled, guarded } from "./programs.ts";
import { sumType } from "./reduce.ts";
import { allocate, callOf, execute } from "./run.ts";
import { castTo, where } from "./select.ts";
import { flip, slice } from "./shape.ts";
import { isNaN as isNotANumber, neg } from "./unary.ts";
import { withUnitDims } from "./views.ts";

type ScanAttributes = ScanCall["attributes"];

/** Options of running sums, products and maxima. */
export interface ScanOptions {
  /** Axis to run along; default the last. */
  readonly axis?: number;
  /** Run from the far end; default false. */
  readonly reverse?: boolean;
}

const NAMES: Readonly<Record<ScanAttributes["kind"], string>> = {
  sum: "cumsum",
  prod: "cumprod",
  max: "cummax",
};

function runScan([x]: readonly Tensor[], attributes: ScanAttributes, device: Device): readonly Tensor[] {
  const source = (x as Tensor).view;
  const output = allocate(device, source.dtype, source.shape, NAMES[attributes.kind]);
  if (output.size === 0) return [output];
  return guarded([output], () =>
    execute(device, callOf<ScanCall>({ kernel: "scan", attributes }, [source], [output.view])),
  );
}

/** An element counts in all running sums from its own on, so its gradient is the running sum from the other end. */
const CUMSUM: Op<ScanAttributes> = {
  name: "cumsum",
  forward: runScan,
  gradient: {
    save: () => [],
    vjp: ({ gradients: [g], attributes }) =>
      apply(CUMSUM, [g as Tensor], { ...attributes, reverse: !attributes.reverse }),
  },
};

/** Only where no gradient is wanted: {@link logStepProduct} otherwise. */
const CUMPROD: Op<ScanAttributes> = { name: "cumprod", forward: runScan };

/** The gradient of a running maximum goes to where it was reached, the last time if several times. */
const CUMMAX: Op<ScanAttributes> = {
  name: "cummax",
  forward: runScan,
  gradient: {
    save: ([x], [y]) => [x as Tensor, y as Tensor],
    vjp({ saved: [x, y], gradients: [g], attributes: { axis, reverse } }) {
      const gradient = g as Tensor;
      const index = winners(x as Tensor, y as Tensor, axis, reverse);
      const zeros = filled(gradient.device, gradient.shape, gradient.dtype, 0);
      return [scatterAdd(zeros, axis, index, gradient)];
    },
  },
};

const LAST_MAX: Op<ScanAttributes> = { name: "cummax", forward: runScan };

/** Position of the element that each running maximum y of x is: the last place so far where x reached y. */
function winners(x: Tensor, y: Tensor, axis: number, reverse: boolean): Tensor {
  const length = x.shape[axis] as number;
  const along = x.shape.map((size, position) => (position === axis ? size : 1));
  const counted = withUnitDims(arange(0, length, 1, { dtype: "i32", backend: x.backend }), along);
  // From the far end the last one reached has the least position, and so the greatest negative one.
  const order = reverse ? neg(counted) : counted;
  const reached = where(logicalOr(equal(x, y), isNotANumber(x)), order, 1 - length);
  const last = apply(LAST_MAX, [reached], { kind: "max", axis, reverse })[0] as Tensor;
  const index = reverse ? neg(last) : last;
  index.storage.range = [0, length - 1];
  return index;
}

/** Runs along one axis of x; a scalar is a line of one element. */
function along(
  op: string,
  x: Tensor,
  options: ScanOptions,
  run: (line: Tensor, axis: number, reverse: boolean) => Tensor,
): Tensor {
  checkTensor(op, x);
  checkOptions(op, options, ["axis", "reverse"]);
  const line = x.rank === 0 ? [1] : x.shape;
  const axis = checkAxis(op, options.axis ?? -1, line.length);
  return composite([x], () =>
    withUnitDims(run(withUnitDims(x, line), axis, options.reverse === true), x.shape),
  );
}

/** Running sum along an axis, each element included. bool and integers add up in 32-bit integers. */
export function cumsum(x: Tensor, options: ScanOptions = {}): Tensor {
  return along("cumsum", x, options, (line, axis, reverse) => {
    const terms = castTo(line, sumType(x.dtype));
    return apply(CUMSUM, [terms], { kind: "sum", axis, reverse })[0] as Tensor;
  });
}

/**
 * Running product along an axis, each element included. bool and integers multiply in 32-bit integers. With a gradient,
 * log2(n) steps of products, whose derivatives of every order are right at zeros too.
 */
export function cumprod(x: Tensor, options: ScanOptions = {}): Tensor {
  return along("cumprod", x, options, (line, axis, reverse) => {
    if (x.requiresGrad) {
      return reverse ? flip(logStepProduct(flip(line, axis), axis), axis) : logStepProduct(line, axis);
    }
    const factors = castTo(line, sumType(x.dtype));
    return apply(CUMPROD, [factors], { kind: "prod", axis, reverse })[0] as Tensor;
  });
}

/** Products of all up to each element, by products of the last 2, 4, 8, … Hillis and Steele 1986. */
function logStepProduct(x: Tensor, axis: number): Tensor {
  const length = x.shape[axis] as number;
  const part = (y: Tensor, start: number, end: number): Tensor =>
    slice(y, ...x.shape.map((_, position) => (position === axis ? ([start, end] as const) : null)));
  let products = x;
  for (let reach = 1; reach < length; reach *= 2) {
    const longer = mul(part(products, reach, length), part(products, 0, length - reach));
    products = concat([part(products, 0, reach), longer], axis);
  }
  return products;
}

/** Running maximum along an axis; NaN from the first one on. Its gradient goes to the last of equal elements. */
export function cummax(x: Tensor, options: ScanOptions = {}): Tensor {
  checkTensor("cummax", x);
  if (x.dtype === "bool")
    throw new DTypeError('cummax: takes numbers, got bool. Convert with x.cast("i32").');
  return along(
    "cummax",
    x,
    options,
    (line, axis, reverse) => apply(CUMMAX, [line], { kind: "max", axis, reverse })[0] as Tensor,
  );
}

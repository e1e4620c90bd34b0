import { showShape } from "../backend/geometry.ts";
import type { View } from "../backend/view.ts";
import { IndexError, ShapeError } from "../errors.ts";
import type { Tensor } from "../tensor/tensor.ts";
import { apply, composite } from "./apply.ts";
import type { Op } from "./op.ts";
import { checkAxis, checkInteger, checkOptions, checkTensor } from "./options.ts";
import { place } from "./place.ts";
import { sum } from "./reduce.ts";
import { type Layout, viewOp } from "./views.ts";

/** Options of {@link diag}. */
export interface DiagOptions {
  /** Which diagonal: 0 (default) the main one, positive ones above it, negative ones below. */
  readonly offset?: number;
}

/** Options of {@link diagonal}. */
export interface DiagonalOptions extends DiagOptions {
  /** Axis of the rows; default 0. */
  readonly axis1?: number;
  /** Axis of the columns; default 1. */
  readonly axis2?: number;
}

interface DiagonalAttributes {
  readonly offset: number;
  readonly axis1: number;
  readonly axis2: number;
}

function diagonalLayout(view: View, { offset, axis1, axis2 }: DiagonalAttributes): Layout {
  const { shape, strides } = view;
  const [row, column] = [Math.max(0, -offset), Math.max(0, offset)];
  const length = Math.max(0, Math.min((shape[axis1] as number) - row, (shape[axis2] as number) - column));
  const [down, right] = [strides[axis1] as number, strides[axis2] as number];
  const rest = shape.flatMap((_, axis) => (axis === axis1 || axis === axis2 ? [] : [axis]));
  return {
    shape: [...rest.map((axis) => shape[axis] as number), length],
    strides: [...rest.map((axis) => strides[axis] as number), down + right],
    offset: length === 0 ? view.offset : view.offset + row * down + column * right,
  };
}

const DIAGONAL: Op<DiagonalAttributes> = /* @__PURE__ */ viewOp(
  "diagonal",
  diagonalLayout,
  (gradient, inputShape, attributes) =>
    place(gradient, inputShape, (whole) => diagonalLayout(whole, attributes)),
);

/** The diagonals over two axes, as a view: those axes go, and the diagonal becomes the last one. */
export function diagonal(x: Tensor, options: DiagonalOptions = {}): Tensor {
  checkTensor("diagonal", x);
  checkOptions("diagonal", options, ["offset", "axis1", "axis2"]);
  const axis1 = checkAxis("diagonal", options.axis1 ?? 0, x.rank);
  const axis2 = checkAxis("diagonal", options.axis2 ?? 1, x.rank);
  if (axis1 === axis2)
    throw new IndexError(`diagonal: axis1 and axis2 must differ, both name dimension ${axis1}.`);
  const offset = checkOffset("diagonal", options);
  return apply(DIAGONAL, [x], { offset, axis1, axis2 })[0] as Tensor;
}

function checkOffset(op: string, { offset = 0 }: DiagOptions): number {
  return checkInteger(op, "offset", offset, Number.MIN_SAFE_INTEGER);
}

/** Of a vector, the matrix with it on a diagonal and zeros elsewhere; of a matrix, a diagonal as a vector, without a copy. */
export function diag(x: Tensor, options: DiagOptions = {}): Tensor {
  checkTensor("diag", x);
  checkOptions("diag", options, ["offset"]);
  const offset = checkOffset("diag", options);
  const attributes = { offset, axis1: 0, axis2: 1 };
  if (x.rank === 2) return apply(DIAGONAL, [x], attributes)[0] as Tensor;
  if (x.rank !== 1) {
    throw new ShapeError(
      `diag: takes a vector or a matrix, got ${showShape(x.shape)}. Use diagonal for more dimensions.`,
    );
  }
  const size = x.size + Math.abs(offset);
  return place(x, [size, size], (whole) => diagonalLayout(whole, attributes));
}

/** Sum of the main diagonal of a matrix. */
export function trace(x: Tensor): Tensor {
  checkTensor("trace", x);
  if (x.rank !== 2) throw new ShapeError(`trace: takes a matrix, got ${showShape(x.shape)}.`);
  return composite([x], () => sum(diag(x)));
}

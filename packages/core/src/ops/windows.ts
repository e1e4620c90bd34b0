import { showShape } from "../backend/geometry.ts";
import { makeView, type Shape, type View } from "../backend/view.ts";
import { DTYPES, isFloat } from "../dtype.ts";
import { DTypeError, OptionError, ShapeError } from "../errors.ts";
import type { Expr } from "../scalar/expr.ts";
import * as s from "../scalar/expr.ts";
import { program } from "../scalar/program.ts";
import type { Tensor } from "../tensor/tensor.ts";
import { apply } from "./apply.ts";
import type { Op } from "./op.ts";
import { checkInteger, checkTensor, show } from "./options.ts";
import { place } from "./place.ts";
import { fillProgram, guarded, perDType } from "./programs.ts";
import { allocate, runMap } from "./run.ts";
import { slice } from "./shape.ts";
import { type Layout, viewOp } from "./views.ts";

/** Padding before and after each dimension. */
export type Padding = readonly (readonly [number, number])[];

/** Windows over the trailing dimensions: their size, the step between them, the step inside. One entry a dimension. */
export interface WindowGeometry {
  readonly kernelSize: readonly number[];
  readonly stride: readonly number[];
  readonly dilation: readonly number[];
}

interface WindowsAttributes extends WindowGeometry {
  readonly inputShape: Shape;
}

function windowsLayout(view: View, { kernelSize, stride, dilation }: WindowGeometry): Layout {
  const lead = view.shape.length - kernelSize.length;
  const along = (i: number): number => view.strides[lead + i] as number;
  const counts = kernelSize.map((size, i) =>
    windowCount(view.shape[lead + i] as number, size, stride[i] as number, dilation[i] as number),
  );
  return {
    shape: [...view.shape.slice(0, lead), ...counts, ...kernelSize],
    strides: [
      ...view.strides.slice(0, lead),
      ...stride.map((step, i) => step * along(i)),
      ...dilation.map((step, i) => step * along(i)),
    ],
    offset: view.offset,
  };
}

/** Number of windows that fit into a dimension. */
export function windowCount(size: number, kernelSize: number, stride: number, dilation: number): number {
  return Math.floor((size - dilation * (kernelSize - 1) - 1) / stride) + 1;
}

const WINDOWS: Op<WindowsAttributes> = /* @__PURE__ */ viewOp<WindowsAttributes>(
  "windows",
  windowsLayout,
  (gradient, _shape, attributes) => fold(gradient, attributes.inputShape, attributes),
);

/** All windows over the trailing dimensions as a view: `[…lead, …positions, …kernelSize]`. No copy. */
export function windows(x: Tensor, geometry: WindowGeometry): Tensor {
  const { kernelSize, stride, dilation } = geometry;
  return apply(WINDOWS, [x], { kernelSize, stride, dilation, inputShape: x.shape })[0] as Tensor;
}

const addProgram = /* @__PURE__ */ perDType((dtype) =>
  program("fold", [dtype, dtype], [], ([a, b]) => s.add(a as Expr, b as Expr)),
);

const FOLD: Op<WindowsAttributes> = {
  name: "fold",
  forward([x], attributes, device) {
    const source = (x as Tensor).view;
    const { inputShape, kernelSize } = attributes;
    const output = allocate(device, source.dtype, inputShape, "fold");
    const compute = DTYPES[source.dtype].compute;
    const rank = kernelSize.length;
    const lead = inputShape.length - rank;
    return guarded([output], () => {
      runMap(device, fillProgram(compute), [], [output.view], [0]);
      if (source.size === 0) return;
      const whole = windowsLayout(output.view, attributes);
      // One addition for each place in the kernel: windows of one place never overlap.
      for (const offsets of positionsOf(kernelSize)) {
        const part = ({ buffer }: View, { strides, offset }: Layout): View =>
          makeView(
            buffer,
            source.dtype,
            source.shape.slice(0, lead + rank),
            strides.slice(0, lead + rank),
            offsets.reduce((sum, at, i) => sum + at * (strides[lead + rank + i] as number), offset),
          );
        const to = part(output.view, whole);
        runMap(device, addProgram(compute), [to, part(source, source)], [to], []);
      }
    });
  },
  gradient: {
    save: () => [],
    vjp: ({ gradients: [g], attributes }) => [windows(g as Tensor, attributes)],
  },
};

function positionsOf(sizes: readonly number[]): readonly (readonly number[])[] {
  return sizes.reduce<readonly (readonly number[])[]>(
    (all, size) => all.flatMap((head) => Array.from({ length: size }, (_, at) => [...head, at])),
    [[]],
  );
}

/** The reverse of {@link windows}: adds every window up at its place in a tensor of `shape`. */
export function fold(x: Tensor, shape: Shape, geometry: WindowGeometry): Tensor {
  const { kernelSize, stride, dilation } = geometry;
  return apply(FOLD, [x], { kernelSize, stride, dilation, inputShape: shape })[0] as Tensor;
}

/** x with a value before and after its trailing dimensions; negative amounts cut off. */
export function padTrailing(x: Tensor, padding: Padding, value: number): Tensor {
  if (padding.every(([before, after]) => before === 0 && after === 0)) return x;
  const lead = x.rank - padding.length;
  const cut = padding.some(([before, after]) => before < 0 || after < 0);
  const kept = cut ? slice(x, ...x.shape.map((size, axis) => cutOf(size, padding[axis - lead]))) : x;
  const grow = padding.map(([before, after]): [number, number] => [Math.max(before, 0), Math.max(after, 0)]);
  const shape = kept.shape.map((size, axis) => size + bothSides(grow, axis - lead));
  return place(
    kept,
    shape,
    (whole) => ({
      shape: kept.shape,
      strides: whole.strides,
      offset: grow.reduce(
        (offset, [before], i) => offset + before * (whole.strides[lead + i] as number),
        whole.offset,
      ),
    }),
    value,
  );
}

/** Padding before and after a dimension together; none where the dimension is not padded. */
export function bothSides(padding: Padding, i: number): number {
  const sides = padding[i];
  return sides === undefined ? 0 : sides[0] + sides[1];
}

function cutOf(size: number, amounts: readonly [number, number] | undefined): readonly [number, number] {
  const [before, after] = amounts ?? [0, 0];
  return [Math.max(0, -before), size - Math.max(0, -after)];
}

/** The part of x inside the padding: the reverse of {@link padTrailing}. */
export function unpadTrailing(x: Tensor, padding: Padding): Tensor {
  return padTrailing(
    x,
    padding.map(([before, after]): [number, number] => [-before, -after]),
    0,
  );
}

/** A number for every dimension, or one for all. */
export type PerDimension = number | readonly number[];

/** Spreads an option over the spatial dimensions and checks its values. */
export function perDimension(
  op: string,
  name: string,
  value: PerDimension,
  rank: number,
  low: number,
): readonly number[] {
  const isNumber = typeof value === "number";
  if (!isNumber && !(Array.isArray(value) && value.length === rank)) {
    throw new OptionError(`${op}: ${name} must be a number or an array of ${rank}, got ${show(value)}.`);
  }
  const values = new Array<number>(rank);
  for (let i = 0; i < rank; i++)
    values[i] = checkInteger(op, name, isNumber ? value : (value[i] as number), low);
  return values;
}

/** Refuses input that is not `[batch, channels, …spatial]` of a float dtype. */
export function checkSpatial(op: string, x: Tensor, rank: number): void {
  checkTensor(op, x);
  const names = ["length", "height, width", "depth, height, width"][rank - 1] as string;
  if (x.rank !== rank + 2)
    throw new ShapeError(`${op}: expected x [batch, channels, ${names}], got ${showShape(x.shape)}.`);
  if (!isFloat(x.dtype))
    throw new DTypeError(`${op}: takes float tensors, got ${x.dtype}. Convert with x.cast("f32").`);
}

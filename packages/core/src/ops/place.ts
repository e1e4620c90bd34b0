import { sameShape } from "../backend/geometry.ts";
import { makeView, type Shape, type View } from "../backend/view.ts";
import { DTYPES, type DType, promoteTypes } from "../dtype.ts";
import { ShapeError } from "../errors.ts";
import type { Device } from "../runtime/device.ts";
import type { Tensor } from "../tensor/tensor.ts";
import { apply, composite, together } from "./apply.ts";
import type { Op } from "./op.ts";
import { checkAxis, checkList } from "./options.ts";
import { fillProgram, guarded, identityProgram } from "./programs.ts";
import { allocate, runMap } from "./run.ts";
import { castTo } from "./select.ts";
import { type Layout, viewOp, withUnitDims } from "./views.ts";

/*
 * Operations that write their inputs into parts of one output, several kernel calls each: the reverse of slicing,
 * concatenation, constant padding.
 */

/** Where an input lands in the output: a layout of the part it fills, given the whole. */
export type Part = (whole: View) => Layout;

interface PlaceAttributes {
  readonly shape: Shape;
  readonly dtype: DType;
  readonly parts: readonly Part[];
  /** Value where no part lies; undefined if the parts cover everything. */
  readonly fill: number | undefined;
}

const PLACE: Op<PlaceAttributes> = {
  name: "place",
  forward(inputs, { shape, dtype, parts, fill }, device) {
    const output = allocate(device, dtype, shape, "place");
    return guarded([output], () => {
      if (fill !== undefined) fillView(device, output.view, fill);
      inputs.forEach((input, index) => {
        const part = viewOf(output.view, parts[index] as Part);
        runMap(device, identityProgram(DTYPES[dtype].compute), [input.view], [part], []);
      });
    });
  },
  gradient: {
    save: () => [],
    vjp: ({ gradients, needs, attributes }) =>
      needs.map((need, index) =>
        need
          ? takePart(gradients[0] as Tensor, attributes.shape, attributes.parts[index] as Part)
          : undefined,
      ),
  },
};

function fillView(device: Device, view: View, value: number): void {
  runMap(device, fillProgram(DTYPES[view.dtype].compute), [], [view], [value]);
}

function viewOf(whole: View, part: Part): View {
  const { shape, strides, offset } = part(whole);
  return makeView(whole.buffer, whole.dtype, shape, strides, offset);
}

const TAKE: Op<{ readonly part: Part; readonly shape: Shape }> = /* @__PURE__ */ viewOp(
  "slice",
  (view, { part }) => part(view),
  (gradient, shape, { part }) => place(gradient, shape, part),
);

function takePart(x: Tensor, shape: Shape, part: Part): Tensor {
  return apply(TAKE, [x], { part, shape })[0] as Tensor;
}

/** A tensor of zeros (or `fill`) of a shape with x written into a part of it. */
export function place(x: Tensor, shape: Shape, part: Part, fill = 0): Tensor {
  return apply(PLACE, [x], { shape, dtype: x.dtype, parts: [part], fill })[0] as Tensor;
}

function checkTensors(op: string, tensors: readonly Tensor[]): void {
  checkList(op, "the tensors", tensors);
  together(op, tensors);
}

/** Joins tensors along a dimension (default 0). All other sizes must be equal; dtypes promote. */
export function concat(tensors: readonly Tensor[], axis = 0): Tensor {
  checkTensors("concat", tensors);
  const first = tensors[0];
  if (first === undefined) throw new ShapeError("concat: needs at least one tensor.");
  const along = checkAxis("concat", axis, first.rank);
  const dtype = tensors.reduce<DType>(
    (common, tensor) => promoteTypes(common, tensor.dtype, "concat"),
    first.dtype,
  );
  let total = 0;
  const parts = tensors.map((tensor, index): Part => {
    const fits =
      tensor.rank === first.rank &&
      tensor.shape.every((size, position) => position === along || size === first.shape[position]);
    if (!fits) {
      throw new ShapeError(
        `concat: tensor ${index} has shape [${tensor.shape.join(", ")}], the first [${first.shape.join(", ")}]; they may differ in dimension ${along} only.`,
      );
    }
    const start = total;
    total += tensor.shape[along] as number;
    return (whole) => ({
      shape: tensor.shape,
      strides: whole.strides,
      offset: whole.offset + start * (whole.strides[along] as number),
    });
  });
  const shape = first.shape.map((size, position) => (position === along ? total : size));
  const attributes = { shape, dtype, parts, fill: undefined };
  return composite(
    tensors,
    () =>
      apply(
        PLACE,
        tensors.map((tensor) => castTo(tensor, dtype)),
        attributes,
      )[0] as Tensor,
  );
}

/** Joins tensors of one shape along a new dimension (default 0). */
export function stack(tensors: readonly Tensor[], axis = 0): Tensor {
  checkTensors("stack", tensors);
  const first = tensors[0];
  if (first === undefined) throw new ShapeError("stack: needs at least one tensor.");
  const along = checkAxis("stack", axis, first.rank + 1);
  tensors.forEach((tensor, index) => {
    if (!sameShape(tensor.shape, first.shape)) {
      throw new ShapeError(
        `stack: tensor ${index} has shape [${tensor.shape.join(", ")}], the first [${first.shape.join(", ")}].`,
      );
    }
  });
  const shape = [...first.shape.slice(0, along), 1, ...first.shape.slice(along)];
  return composite(tensors, () =>
    concat(
      tensors.map((tensor) => withUnitDims(tensor, shape)),
      along,
    ),
  );
}

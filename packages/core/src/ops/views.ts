import { isContiguous, type Shape, type View } from "../backend/view.ts";
import { Tensor } from "../tensor/tensor.ts";
import { apply } from "./apply.ts";
import type { Op } from "./op.ts";
import { checkTensor } from "./options.ts";
import { checkSize } from "./run.ts";

/** Shape, strides and offset of another look at the same buffer. */
export interface Layout {
  readonly shape: Shape;
  readonly strides: readonly number[];
  readonly offset: number;
}

/** A tensor that shares the memory of another under another layout. */
export function alias(source: Tensor, layout: Layout, origin: string): Tensor {
  const { shape, strides, offset } = layout;
  const size = checkSize(origin, shape);
  const { buffer, dtype } = source.view;
  const view: View = {
    buffer,
    dtype,
    shape,
    strides,
    offset,
    size,
    contiguous: isContiguous(shape, strides),
  };
  return new Tensor(source.storage.retain(), view, origin);
}

/** An operation that only changes the layout: no memory, no kernel. */
export function viewOp<A>(
  name: string,
  layout: (view: View, attributes: A) => Layout,
  vjp: (gradient: Tensor, inputShape: Shape, attributes: A) => Tensor,
): Op<A> {
  return {
    name,
    forward(inputs, attributes) {
      const source = inputs[0] as Tensor;
      return [alias(source, layout(source.view, attributes), name)];
    },
    gradient: {
      save: () => [],
      vjp: ({ gradients, inputs, attributes }) => [
        vjp(gradients[0] as Tensor, (inputs[0] as { shape: Shape }).shape, attributes),
      ],
    },
  };
}

const UNIT_DIMS: Op<{ readonly shape: Shape }> = viewOp(
  "reshape",
  (view, { shape }) => {
    const kept = view.strides.filter((_, axis) => view.shape[axis] !== 1);
    let next = 0;
    return {
      shape,
      strides: shape.map((size) => (size === 1 ? 0 : (kept[next++] as number))),
      offset: view.offset,
    };
  },
  (gradient, inputShape) => withUnitDims(gradient, inputShape),
);

/** Inserts and removes dimensions of size 1, which never needs a copy. `shape` must otherwise be the same. */
export function withUnitDims(x: Tensor, shape: Shape): Tensor {
  if (x.shape.length === shape.length && x.shape.every((size, axis) => size === shape[axis])) return x;
  return apply(UNIT_DIMS, [x], { shape })[0] as Tensor;
}

const PERMUTE: Op<{ readonly order: readonly number[] }> = viewOp(
  "permute",
  (view, { order }) => ({
    shape: order.map((axis) => view.shape[axis] as number),
    strides: order.map((axis) => view.strides[axis] as number),
    offset: view.offset,
  }),
  (gradient, _shape, { order }) =>
    permuteTo(
      gradient,
      order.map((_, axis) => order.indexOf(axis)),
    ),
);

/** Reorders dimensions: dimension i of the result is dimension `order[i]` of x. */
export function permuteTo(x: Tensor, order: readonly number[]): Tensor {
  if (order.every((axis, position) => axis === position)) return x;
  return apply(PERMUTE, [x], { order })[0] as Tensor;
}

const ALIAS: Op<undefined> = viewOp(
  "alias",
  (view) => view,
  (gradient) => gradient,
);

/** Another handle to the same value, at its own place on the tape. */
export function identityView(x: Tensor): Tensor {
  return apply(ALIAS, [x], undefined)[0] as Tensor;
}

/** The result of an operation; a handle of its own where there was nothing to do, so that ending it does not end x. */
export function ownResult<K>(x: Tensor<K>, result: Tensor<K>): Tensor<K> {
  return result === x ? (identityView(x) as Tensor<K>) : result;
}

const DETACH: Op<undefined> = {
  name: "detach",
  forward: ([x]) => [alias(x as Tensor, (x as Tensor).view, "detach")],
};

/** The same value cut off from the tape. */
export function detach<K>(x: Tensor<K>): Tensor<K> {
  checkTensor("detach", x);
  return apply(DETACH, [x], undefined)[0] as Tensor;
}

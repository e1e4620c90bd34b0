import { ShapeError } from "../errors.ts";
import { contiguousStrides, makeView, type Shape, type View } from "./view.ts";

/** Whether two shapes are equal. */
export function sameShape(a: Shape, b: Shape): boolean {
  if (a === b) return true;
  if (a.length !== b.length) return false;
  for (let axis = 0; axis < a.length; axis++) if (a[axis] !== b[axis]) return false;
  return true;
}

/** A shape for messages: `[2, 3]`. */
export function showShape(shape: Shape): string {
  return `[${shape.join(", ")}]`;
}

/**
 * The common shape of operands: aligned at the last dimension, where sizes are equal or one of them is 1.
 * @throws ShapeError naming the operation, both shapes and the dimension.
 */
export function broadcastShapes(op: string, a: Shape, b: Shape): Shape {
  if (sameShape(a, b)) return a;
  const rank = Math.max(a.length, b.length);
  const shape = new Array<number>(rank);
  for (let axis = 0; axis < rank; axis++) {
    const left = a[axis - rank + a.length] ?? 1;
    const right = b[axis - rank + b.length] ?? 1;
    if (left !== right && left !== 1 && right !== 1) {
      throw new ShapeError(
        `${op}: shapes ${showShape(a)} and ${showShape(b)} do not broadcast: ${left} meets ${right} in dimension ${axis - rank}. ` +
          "Sizes must be equal, or one of them 1.",
      );
    }
    shape[axis] = left === 1 ? right : left;
  }
  return shape;
}

/** A view repeated (stride 0) to a shape that it broadcasts to. */
export function expandView(view: View, shape: Shape): View {
  if (sameShape(view.shape, shape)) return view;
  const lead = shape.length - view.shape.length;
  const strides = shape.map((size, axis) => {
    const own = view.shape[axis - lead];
    return own === undefined || (own === 1 && size !== 1) ? 0 : (view.strides[axis - lead] as number);
  });
  return makeView(view.buffer, view.dtype, shape, strides, view.offset);
}

/** Axes along which a value of shape `own` was repeated to reach `shape`, counted in `shape`. */
export function broadcastAxes(own: Shape, shape: Shape): readonly number[] {
  const lead = shape.length - own.length;
  const axes: number[] = [];
  for (let axis = 0; axis < shape.length; axis++) {
    if (axis < lead || (own[axis - lead] === 1 && shape[axis] !== 1)) axes.push(axis);
  }
  return axes;
}

/**
 * Strides under which a strided view reads as another shape without a copy, or undefined if there are none. Works
 * like NumPy's: groups of dimensions of equal product must each be gapless.
 */
export function reshapedStrides(view: View, shape: Shape): readonly number[] | undefined {
  if (view.contiguous) return contiguousStrides(shape);
  const kept = view.shape.flatMap((size, axis) =>
    size === 1 ? [] : [{ size, stride: view.strides[axis] as number }],
  );
  const strides = new Array<number>(shape.length).fill(0);
  let source = kept.length - 1;
  let target = shape.length - 1;
  while (target >= 0) {
    if (shape[target] === 1) {
      strides[target] = source < 0 ? 1 : (kept[Math.max(source, 0)] as { stride: number }).stride;
      target--;
      continue;
    }
    const dimension = kept[source];
    if (dimension === undefined) return undefined;
    let product = dimension.size;
    let wanted = shape[target] as number;
    const stop = { source: source - 1, target: target - 1 };
    while (product !== wanted) {
      if (product < wanted) {
        const next = kept[stop.source--];
        const inner = kept[stop.source + 2];
        if (next === undefined || inner === undefined || next.stride !== inner.stride * inner.size)
          return undefined;
        product *= next.size;
      } else {
        const next = shape[stop.target--];
        if (next === undefined) return undefined;
        wanted *= next;
      }
    }
    let step = dimension.stride;
    for (let axis = target; axis > stop.target; axis--) {
      strides[axis] = step;
      step *= shape[axis] as number;
    }
    source = stop.source;
    target = stop.target;
  }
  return strides;
}

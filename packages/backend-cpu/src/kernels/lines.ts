import type { View } from "@nf/core";

/** A row-major tensor seen as lines along one axis: element `k` of line `(o, i)` lies at `(o * length + k) * inner + i`. */
export interface Lines {
  readonly outer: number;
  readonly length: number;
  readonly inner: number;
}

/** The lines of a view's shape along an axis. */
export function linesAlong({ shape }: View, axis: number): Lines {
  let outer = 1;
  let inner = 1;
  for (let i = 0; i < axis; i++) outer *= shape[i] as number;
  for (let i = axis + 1; i < shape.length; i++) inner *= shape[i] as number;
  return { outer, length: shape[axis] as number, inner };
}

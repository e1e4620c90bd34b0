import type { View } from "../backend/view.ts";
import { DTYPES } from "../dtype.ts";
import { spanOf } from "../tensor/host.ts";

/** First byte and end of the stretch of buffer that a non-empty view touches. */
export function byteSpan(view: View): readonly [start: number, end: number] {
  const { first, count } = spanOf(view);
  const { bytes } = DTYPES[view.dtype];
  return [first * bytes, (first + count) * bytes];
}

/** Bytes of the distinct elements that a view reaches: what was broadcast counts once. */
export function distinctBytes(view: View): number {
  if (view.size === 0) return 0;
  const { bytes } = DTYPES[view.dtype];
  if (view.contiguous) return view.size * bytes;
  const reached = view.shape.reduce(
    (count, size, axis) => (view.strides[axis] === 0 ? count : count * size),
    1,
  );
  return Math.min(reached, spanOf(view).count) * bytes;
}

/** Whether two views show the same elements in the same order. */
export function sameElements(a: View, b: View): boolean {
  return (
    a.buffer === b.buffer &&
    a.dtype === b.dtype &&
    a.offset === b.offset &&
    a.shape.length === b.shape.length &&
    a.shape.every(
      (size, axis) => size === b.shape[axis] && (size === 1 || a.strides[axis] === b.strides[axis]),
    )
  );
}

/** Whether two non-empty views share a byte. Exact: views that interleave without touching do not overlap. */
export function overlap(a: View, b: View): boolean {
  if (a.buffer !== b.buffer) return false;
  const [startA, endA] = byteSpan(a);
  const [startB, endB] = byteSpan(b);
  const start = Math.max(startA, startB);
  const end = Math.min(endA, endB);
  if (start >= end) return false;
  if (a.contiguous && b.contiguous) return true;
  const taken = new Uint8Array(end - start);
  forEachElement(a, (from, to) => {
    if (to > start && from < end) taken.fill(1, Math.max(0, from - start), to - start);
  });
  let met = false;
  forEachElement(b, (from, to) => {
    for (let at = Math.max(from, start); at < Math.min(to, end); at++)
      if (taken[at - start] === 1) met = true;
  });
  return met;
}

/** Whether two positions of a non-empty view are one element, which must never be written to. */
export function overlapsItself(view: View): boolean {
  if (view.contiguous) return false;
  const steps = view.shape
    .map((size, axis) => ({ size, stride: Math.abs(view.strides[axis] as number) }))
    .filter(({ size }) => size > 1)
    .sort((a, b) => a.stride - b.stride);
  if (steps[0]?.stride === 0) return true;
  // Where each dimension steps over all that lies inside it, nothing can meet.
  let reach = 0;
  const nested = steps.every(({ size, stride }) => {
    const clear = stride > reach;
    reach += stride * (size - 1);
    return clear;
  });
  if (nested) return false;
  const [start, end] = byteSpan(view);
  const taken = new Uint8Array(end - start);
  let met = false;
  forEachElement(view, (from) => {
    if (taken[from - start] === 1) met = true;
    taken[from - start] = 1;
  });
  return met;
}

/** Calls `visit` with the bytes of every element. */
function forEachElement(view: View, visit: (from: number, to: number) => void): void {
  const { bytes } = DTYPES[view.dtype];
  const walk = (axis: number, at: number): void => {
    const size = view.shape[axis];
    if (size === undefined) {
      visit(at * bytes, (at + 1) * bytes);
      return;
    }
    const stride = view.strides[axis] as number;
    for (let i = 0; i < size; i++) walk(axis + 1, at + i * stride);
  };
  walk(0, view.offset);
}

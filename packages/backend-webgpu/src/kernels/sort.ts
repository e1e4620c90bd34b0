import type { SortCall, View } from "@nf/core";
import { type Context, type KernelEntry, own } from "../context.ts";
import type { Gpu } from "../device/gpu.ts";
import { lineSpace } from "../wgsl/lines.ts";
import { BLOCK, blocksSource, mergeSource, storeSource, WORKGROUP } from "../wgsl/sort.ts";
import { STORED, spaceNumbers, viewsKey } from "../wgsl/views.ts";

/**
 * The `sort` kernel: keys that are compared as whole numbers are merged in runs of doubling length, where every element
 * finds its own place. Stable, for any length, in as many dispatches as the length has doublings.
 */
export function makeSort({ gpu }: Context): KernelEntry<SortCall> {
  return { dtypes: STORED, run: (call) => runSort(gpu, call) };
}

function runSort(gpu: Gpu, call: SortCall): void {
  const { inputs, outputs, attributes } = call;
  const { axis, descending } = attributes;
  const input = inputs[0] as View;
  const views = [input, ...outputs];
  const { kept, shape, strides } = lineSpace(views, [], [axis]);
  const length = input.shape[axis];
  const count = input.size;
  const groups = Math.ceil(count / WORKGROUP);
  const place = (some: number): number[] =>
    spaceNumbers(
      shape.slice(0, kept),
      strides.slice(0, some).map((list) => list.slice(0, kept)),
      views.slice(0, some).map(({ offset }) => offset),
    );
  let [keys, places] = [gpu.scratch.take(4 * count), gpu.scratch.take(4 * count)];
  let [toKeys, toPlaces] = [keys, places];
  if (length > BLOCK) [toKeys, toPlaces] = [gpu.scratch.take(4 * count), gpu.scratch.take(4 * count)];
  const blocks = gpu.shader(`sort blocks ${descending} ${kept} ${input.dtype}`, () =>
    blocksSource(call, kept),
  );
  gpu.dispatch(
    blocks,
    [...own([input.buffer]), keys, places],
    [count, length, input.strides[axis], ...place(1)],
    [],
    groups,
  );
  const merge = gpu.shader("sort merge", mergeSource);
  for (let run = BLOCK; run < length; run *= 2) {
    gpu.dispatch(merge, [keys, places, toKeys, toPlaces], [count, length, run], [], groups);
    [keys, places, toKeys, toPlaces] = [toKeys, toPlaces, keys, places];
  }
  const store = gpu.shader(`sort store ${kept} ${viewsKey(call)}`, () => storeSource(call, kept));
  gpu.dispatch(
    store,
    [...own(call.buffers), places],
    [count, length, ...views.map((view) => view.strides[axis]), ...place(3)],
    [],
    groups,
  );
  gpu.scratch.give(keys, places);
  if (toKeys !== keys) gpu.scratch.give(toKeys, toPlaces);
}

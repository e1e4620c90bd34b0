import type { GatherCall, ScatterCall, View } from "@nf/core";
import { cellsOf } from "../buffer.ts";
import { CELL_TYPES } from "../cells.ts";
import { type Walked, walk, writeAll } from "../walk.ts";

/** A view that is addressed through the index along an axis, and therefore stands still along it in a walk. */
const still = (view: View, axis: number): Walked => ({
  strides: view.strides.map((stride, i) => (i === axis ? 0 : stride)),
  offset: view.offset,
});

/** `gather`: elements of a source, picked by an index along an axis. */
export function gather({ inputs: [source, index], outputs: [out], attributes: { axis } }: GatherCall): void {
  const [from, indices] = [cellsOf(source), cellsOf(index)];
  const step = source.strides[axis];
  const values: number[] = [];
  walk(index.shape, [index, still(source, axis)], (count, [indexAt, sourceAt]) => {
    for (let i = 0; i < count; i++) values.push(from[sourceAt[i] + indices[indexAt[i]] * step]);
  });
  writeAll(values, out);
}

type Combine = (old: number, update: number) => number;

const COMBINE: Readonly<Record<ScatterCall["attributes"]["mode"], Combine>> = {
  add: (old, update) => old + update,
  set: (_old, update) => update,
  max: Math.max,
};

/** `scatter`: updates put onto what the output holds, one after the other, so that duplicates accumulate. */
export function scatter({ inputs: [updates, index], outputs: [out], attributes }: ScatterCall): void {
  const [from, indices, to] = [cellsOf(updates), cellsOf(index), cellsOf(out)];
  const { axis, mode } = attributes;
  const step = out.strides[axis];
  const combine = COMBINE[mode];
  const { store } = CELL_TYPES[out.dtype];
  walk(index.shape, [index, updates, still(out, axis)], (count, [indexAt, updateAt, outAt]) => {
    for (let i = 0; i < count; i++) {
      const place = outAt[i] + indices[indexAt[i]] * step;
      to[place] = store(combine(to[place], from[updateAt[i]]));
    }
  });
}

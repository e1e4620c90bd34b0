import type { ArgReduceCall } from "@nf/core";
import { axesLast, readAll, writeAll } from "../walk.ts";

/** `argReduce`: where the greatest or least element of each group lies. */
export function argReduce({ inputs, outputs, attributes: { kind, axes } }: ArgReduceCall): void {
  const values = readAll(axesLast(inputs[0], axes));
  const length = values.length / outputs[0].size;
  const better = kind === "max" ? (a: number, b: number) => a > b : (a: number, b: number) => a < b;
  const found: number[] = [];
  for (let start = 0; start < values.length; start += length) {
    found.push(firstBest(values, start, length, better));
  }
  writeAll(found, outputs[0]);
}

/** The first of the best elements of a run; the first NaN is better than everything. */
function firstBest(
  values: readonly number[],
  start: number,
  length: number,
  better: (a: number, b: number) => boolean,
): number {
  let best = 0;
  for (let i = 0; i < length; i++) {
    const value = values[start + i];
    if (Number.isNaN(value)) return i;
    if (better(value, values[start + best])) best = i;
  }
  return best;
}

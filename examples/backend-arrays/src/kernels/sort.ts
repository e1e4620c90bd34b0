import type { SortCall } from "@nf/core";
import { axesLast, readAll, writeAll } from "../walk.ts";

/** `sort`: values and where they were, along an axis. JavaScript's own sort is stable. */
export function sort({ inputs: [input], outputs, attributes: { axis, descending } }: SortCall): void {
  const values = readAll(axesLast(input, [axis]));
  const length = input.shape[axis];
  const sign = descending ? -1 : 1;
  const sorted: number[] = [];
  const positions: number[] = [];
  for (let start = 0; start < values.length; start += length) {
    const line = values.slice(start, start + length);
    const order = line.map((_value, position) => position);
    order.sort((a, b) => compare(line[a], line[b], sign));
    for (const position of order) {
      sorted.push(line[position]);
      positions.push(position);
    }
  }
  writeAll(sorted, axesLast(outputs[0], [axis]));
  writeAll(positions, axesLast(outputs[1], [axis]));
}

/** NaN comes last in both directions; a difference would not do, since infinities have none. */
function compare(a: number, b: number, sign: number): number {
  if (Number.isNaN(a) || Number.isNaN(b)) return Number(Number.isNaN(a)) - Number(Number.isNaN(b));
  return a < b ? -sign : a > b ? sign : 0;
}

import type { SortCall, View } from "@nf/core";
import type { Context } from "../context.ts";
import { readDoubles, writeDoubles } from "../dense.ts";
import { linesAlong } from "./lines.ts";

/** Makes the `sort` kernel: stable in both directions, NaN last in both. */
export function makeSort({ workspace }: Context): (call: SortCall) => void {
  return ({ inputs, outputs, attributes }) => {
    const input = inputs[0] as View;
    const values = readDoubles(input, workspace, "sort values");
    const positions = workspace.float64("sort positions", input.size);
    const { outer, length, inner } = linesAlong(input, attributes.axis);
    const line = new Float64Array(length);
    const order = new Int32Array(length);
    const sign = attributes.descending ? -1 : 1;
    // TypedArray.prototype.sort is stable; comparing positions instead of values carries them along.
    const compare = (a: number, b: number): number => {
      const left = line[a];
      const right = line[b];
      if (Number.isNaN(left)) return Number.isNaN(right) ? 0 : 1;
      if (Number.isNaN(right)) return -1;
      return left < right ? -sign : left > right ? sign : 0;
    };
    for (let o = 0; o < outer; o++) {
      for (let i = 0; i < inner; i++) {
        const start = o * length * inner + i;
        for (let k = 0; k < length; k++) {
          line[k] = values[start + k * inner];
          order[k] = k;
        }
        order.sort(compare);
        for (let k = 0; k < length; k++) {
          values[start + k * inner] = line[order[k]];
          positions[start + k * inner] = order[k];
        }
      }
    }
    writeDoubles(values, outputs[0] as View);
    writeDoubles(positions, outputs[1] as View);
  };
}

import type { RopeCall, View } from "@nf/core";
import type { Context } from "../context.ts";
import { readFloats, writeFloats } from "../dense.ts";

/** Makes the `rope` kernel: (a, b) becomes (a cos - b sin, b cos + a sin), or the other way round for the inverse. */
export function makeRope({ workspace }: Context): (call: RopeCall) => void {
  return ({ inputs, outputs, attributes }) => {
    const shape = (inputs[0] as View).shape;
    const [positions, headDim] = shape.slice(-2) as [number, number];
    const half = headDim / 2;
    // The partners of a pair, and neighbouring pairs, lie so far apart.
    const [apart, step] = attributes.interleaved ? [1, 2] : [half, 1];
    const sign = attributes.inverse ? -1 : 1;
    const x = readFloats(inputs[0] as View, workspace, "rope x");
    const cos = readFloats(inputs[1] as View, workspace, "rope cos");
    const sin = readFloats(inputs[2] as View, workspace, "rope sin");
    const rows = (inputs[0] as View).size / headDim;
    writeFloats(outputs[0] as View, workspace, "rope result", (to) => {
      for (let row = 0; row < rows; row++) {
        const angles = (row % positions) * half;
        for (let pair = 0; pair < half; pair++) {
          const c = cos.data[cos.offset + angles + pair];
          const s = sin.data[sin.offset + angles + pair] * sign;
          const first = row * headDim + pair * step;
          const a = x.data[x.offset + first];
          const b = x.data[x.offset + first + apart];
          to.data[to.offset + first] = a * c - b * s;
          to.data[to.offset + first + apart] = b * c + a * s;
        }
      }
    });
  };
}

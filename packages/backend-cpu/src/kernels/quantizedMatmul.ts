import { fromHalfBits, type QuantizedMatmulCall, type View } from "@nf/core";
import { elementsOf } from "../buffer.ts";
import type { Context } from "../context.ts";
import { readDoubles, readFloats, writeFloats } from "../dense.ts";
import type { Workspace } from "../workspace.ts";

const BLOCK_SIZE = 32;

/** Makes the `quantizedMatmul` kernel: each row of the weight is unpacked once and multiplied with all rows of x. */
export function makeQuantizedMatmul({ workspace }: Context): (call: QuantizedMatmulCall) => void {
  return ({ inputs, outputs, attributes }) => {
    const { format, inner, columns } = attributes;
    const result = outputs[0] as View;
    const rows = result.shape[0] as number;
    const x = readFloats(inputs[0] as View, workspace, "quantizedMatmul x");
    const bytes = readBytes(inputs[1] as View, workspace);
    const unpack = format === "q8_0" ? unpackBytes : unpackNibbles;
    const size = format === "q8_0" ? 34 : 18;
    const blocks = inner / BLOCK_SIZE;
    const weight = workspace.float64("quantizedMatmul weight", inner);
    writeFloats(result, workspace, "quantizedMatmul result", (to) => {
      for (let column = 0; column < columns; column++) {
        for (let block = 0; block < blocks; block++) {
          const at = bytes.offset + (column * blocks + block) * size;
          const scale = fromHalfBits(bytes.data[at] + bytes.data[at + 1] * 256);
          unpack(bytes.data, at + 2, scale, weight, block * BLOCK_SIZE);
        }
        for (let row = 0; row < rows; row++) {
          const from = x.offset + row * inner;
          let sum = 0;
          for (let i = 0; i < inner; i++) sum += x.data[from + i] * weight[i];
          to.data[to.offset + row * columns + column] = sum;
        }
      }
    });
  };
}

interface Bytes {
  readonly data: Uint8Array | Float64Array;
  readonly offset: number;
}

function readBytes(view: View, workspace: Workspace): Bytes {
  if (view.contiguous) return { data: elementsOf(view) as Uint8Array, offset: view.offset };
  return { data: readDoubles(view, workspace, "quantizedMatmul bytes"), offset: 0 };
}

type Unpack = (bytes: Bytes["data"], start: number, scale: number, to: Float64Array, at: number) => void;

/** q8_0: a signed byte a value. */
const unpackBytes: Unpack = (bytes, start, scale, to, at) => {
  for (let i = 0; i < BLOCK_SIZE; i++) to[at + i] = scale * ((bytes[start + i] << 24) >> 24);
};

/** q4_0: two values a byte, 8 above themselves; the low nibbles are the first half of the block. */
const unpackNibbles: Unpack = (bytes, start, scale, to, at) => {
  for (let i = 0; i < BLOCK_SIZE / 2; i++) {
    to[at + i] = scale * ((bytes[start + i] & 15) - 8);
    to[at + i + BLOCK_SIZE / 2] = scale * ((bytes[start + i] >> 4) - 8);
  }
};

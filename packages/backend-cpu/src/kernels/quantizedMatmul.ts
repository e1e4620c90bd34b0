import type { QuantizedMatmulCall, View } from "@nf/core";
import { elementsOf } from "../buffer.ts";
import type { Context } from "../context.ts";
import { readDoubles, readFloats, writeFloats } from "../dense.ts";
import type { Workspace } from "../workspace.ts";
import { halfTable } from "./halfs.ts";

const BLOCK_SIZE = 32;

type Floats = Float32Array | Float64Array;

/** How one format is read. Blocks of a row lie one after the other, from byte `at` on; `scales` are all halves. */
interface Format {
  /** Bytes of a block. */
  readonly size: number;
  /** Writes the values of blocks. */
  readonly unpack: (
    bytes: Uint8Array,
    at: number,
    blocks: number,
    scales: Float32Array,
    to: Float64Array,
  ) => void;
  /** The product of blocks with x from `from` on. */
  readonly dot: (
    bytes: Uint8Array,
    at: number,
    blocks: number,
    scales: Float32Array,
    x: Floats,
    from: number,
  ) => number;
}

/**
 * Makes the `quantizedMatmul` kernel. One row of x is multiplied with the blocks as they are; for several, each row of the
 * weight is unpacked once.
 */
export function makeQuantizedMatmul({ workspace }: Context): (call: QuantizedMatmulCall) => void {
  return ({ inputs, outputs, attributes }) => {
    const { inner, columns } = attributes;
    const { size, unpack, dot } = attributes.format === "q8_0" ? Q8_0 : Q4_0;
    const result = outputs[0] as View;
    const rows = result.shape[0] as number;
    const x = readFloats(inputs[0] as View, workspace, "quantizedMatmul x");
    const { bytes, offset } = readBytes(inputs[1] as View, workspace);
    const blocks = inner / BLOCK_SIZE;
    const scales = halfTable();
    const weight = workspace.float64("quantizedMatmul weight", inner);
    writeFloats(result, workspace, "quantizedMatmul result", (to) => {
      for (let column = 0; column < columns; column++) {
        const at = offset + column * blocks * size;
        if (rows === 1) {
          to.data[to.offset + column] = dot(bytes, at, blocks, scales, x.data, x.offset);
          continue;
        }
        unpack(bytes, at, blocks, scales, weight);
        for (let row = 0; row < rows; row++) {
          const sum = dotDoubles(weight, inner, x.data, x.offset + row * inner);
          to.data[to.offset + row * columns + column] = sum;
        }
      }
    });
  };
}

function readBytes(
  view: View,
  workspace: Workspace,
): { readonly bytes: Uint8Array; readonly offset: number } {
  if (view.contiguous) return { bytes: elementsOf(view) as Uint8Array, offset: view.offset };
  const values = readDoubles(view, workspace, "quantizedMatmul bytes").subarray(0, view.size);
  return { bytes: Uint8Array.from(values), offset: 0 };
}

/** Four sums do not wait for each other's additions; the length is a multiple of 32. */
function dotDoubles(weight: Float64Array, length: number, x: Floats, from: number): number {
  let s0 = 0;
  let s1 = 0;
  let s2 = 0;
  let s3 = 0;
  for (let i = 0; i < length; i += 4) {
    s0 += x[from + i] * weight[i];
    s1 += x[from + i + 1] * weight[i + 1];
    s2 += x[from + i + 2] * weight[i + 2];
    s3 += x[from + i + 3] * weight[i + 3];
  }
  return s0 + s1 + (s2 + s3);
}

/** A signed byte a value. */
const Q8_0: Format = {
  size: 34,
  unpack(bytes, at, blocks, scales, to) {
    for (let block = 0; block < blocks; block++) {
      const start = at + block * 34;
      const scale = scales[bytes[start] + bytes[start + 1] * 256];
      const first = block * BLOCK_SIZE;
      for (let i = 0; i < BLOCK_SIZE; i++) to[first + i] = scale * ((bytes[start + 2 + i] << 24) >> 24);
    }
  },
  dot(bytes, at, blocks, scales, x, from) {
    let total = 0;
    for (let block = 0; block < blocks; block++) {
      const start = at + block * 34;
      const scale = scales[bytes[start] + bytes[start + 1] * 256];
      const codes = start + 2;
      const first = from + block * BLOCK_SIZE;
      let s0 = 0;
      let s1 = 0;
      let s2 = 0;
      let s3 = 0;
      for (let i = 0; i < BLOCK_SIZE; i += 4) {
        s0 += x[first + i] * ((bytes[codes + i] << 24) >> 24);
        s1 += x[first + i + 1] * ((bytes[codes + i + 1] << 24) >> 24);
        s2 += x[first + i + 2] * ((bytes[codes + i + 2] << 24) >> 24);
        s3 += x[first + i + 3] * ((bytes[codes + i + 3] << 24) >> 24);
      }
      total += scale * (s0 + s1 + (s2 + s3));
    }
    return total;
  },
};

/** Two values a byte, 8 above themselves; the low nibbles are the first half of the block. */
const Q4_0: Format = {
  size: 18,
  unpack(bytes, at, blocks, scales, to) {
    for (let block = 0; block < blocks; block++) {
      const start = at + block * 18;
      const scale = scales[bytes[start] + bytes[start + 1] * 256];
      const first = block * BLOCK_SIZE;
      for (let i = 0; i < 16; i++) {
        const code = bytes[start + 2 + i];
        to[first + i] = scale * ((code & 15) - 8);
        to[first + 16 + i] = scale * ((code >> 4) - 8);
      }
    }
  },
  dot(bytes, at, blocks, scales, x, from) {
    let total = 0;
    for (let block = 0; block < blocks; block++) {
      const start = at + block * 18;
      const scale = scales[bytes[start] + bytes[start + 1] * 256];
      const codes = start + 2;
      const first = from + block * BLOCK_SIZE;
      let s0 = 0;
      let s1 = 0;
      let s2 = 0;
      let s3 = 0;
      for (let i = 0; i < 16; i += 2) {
        const a = bytes[codes + i];
        const b = bytes[codes + i + 1];
        s0 += x[first + i] * ((a & 15) - 8);
        s1 += x[first + 16 + i] * ((a >> 4) - 8);
        s2 += x[first + i + 1] * ((b & 15) - 8);
        s3 += x[first + 17 + i] * ((b >> 4) - 8);
      }
      total += scale * (s0 + s1 + (s2 + s3));
    }
    return total;
  },
};

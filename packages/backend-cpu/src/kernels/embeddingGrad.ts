import type { EmbeddingGradCall, View } from "@nf/core";
import type { Context } from "../context.ts";
import { readDoubles, readFloats, writeDoubles } from "../dense.ts";

/** Makes the `embeddingGrad` kernel: adds each row's gradient to the table's row it was taken from, in double precision. */
export function makeEmbeddingGrad({ workspace }: Context): (call: EmbeddingGradCall) => void {
  return ({ inputs, outputs }) => {
    const [count, width] = (inputs[0] as View).shape as readonly [number, number];
    const table = outputs[0] as View;
    const g = readFloats(inputs[0] as View, workspace, "embeddingGrad gradient");
    const index = readDoubles(inputs[1] as View, workspace, "embeddingGrad index");
    const sums = workspace.float64("embeddingGrad sums", table.size).fill(0, 0, table.size);
    for (let row = 0; row < count; row++) {
      const from = g.offset + row * width;
      const at = index[row] * width;
      for (let i = 0; i < width; i++) sums[at + i] += g.data[from + i];
    }
    writeDoubles(sums, table);
  };
}

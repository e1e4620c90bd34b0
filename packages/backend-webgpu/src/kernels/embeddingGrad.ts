import {
  type EmbeddingGradCall,
  type MapCall,
  makeView,
  program,
  type ScatterCall,
  scalar as s,
  type View,
} from "@nf/core";
import type { Context, KernelEntry } from "../context.ts";
import { makeMap } from "./map.ts";
import { makeScatter } from "./scatter.ts";

const ZERO = program("zero", [], [], () => s.constant(0, "f32"));

/** The `embeddingGrad` kernel: zeros, and on top of them the rows, added one after the other along each column. */
export function makeEmbeddingGrad(context: Context): KernelEntry<EmbeddingGradCall> {
  const map = makeMap(context);
  const scatter = makeScatter(context);
  return {
    dtypes: ["f32"],
    run: ({ inputs, outputs, buffers }) => {
      const [g, index] = inputs as readonly [View, View];
      const table = outputs[0] as View;
      const zero: MapCall = {
        kernel: "map",
        program: ZERO,
        buffers: [table.buffer],
        inputs: [],
        outputs,
        params: [],
      };
      map.run(zero);
      const rows = makeView(index.buffer, index.dtype, g.shape, [index.strides[0], 0], index.offset);
      const add: ScatterCall = {
        kernel: "scatter",
        attributes: { axis: 0, mode: "add" },
        buffers,
        inputs: [g, rows],
        outputs: [table],
        params: [],
      };
      scatter.run(add);
    },
  };
}

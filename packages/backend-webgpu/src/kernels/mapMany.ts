import type { MapCall, MapManyCall } from "@nf/core";
import type { KernelEntry } from "../context.ts";
import { STORED } from "../wgsl/views.ts";

/** The `mapMany` kernel: one program over many groups of tensors, a dispatch each. */
export function makeMapMany(map: KernelEntry<MapCall>): KernelEntry<MapManyCall> {
  return {
    dtypes: STORED,
    run: ({ program, inputs, outputs, params, attributes: { groups } }) => {
      const reads = program.inputs.length;
      const writes = program.results.length;
      for (let group = 0; group < groups; group++) {
        const own = inputs.slice(group * reads, (group + 1) * reads);
        const results = outputs.slice(group * writes, (group + 1) * writes);
        const buffers = [...new Set([...own, ...results].map(({ buffer }) => buffer))];
        map.run({ kernel: "map", program, buffers, inputs: own, outputs: results, params });
      }
    },
  };
}

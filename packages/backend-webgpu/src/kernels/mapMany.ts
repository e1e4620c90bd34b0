import type { MapCall, MapManyCall, View } from "@nf/core";
import type { KernelEntry } from "../context.ts";
import { STORED } from "../wgsl/views.ts";

/** The views of one group of a call. */
function groupOf(
  { program, inputs, outputs }: MapManyCall,
  group: number,
): { readonly reads: readonly View[]; readonly writes: readonly View[] } {
  const of = (views: readonly View[], count: number): readonly View[] =>
    views.slice(group * count, (group + 1) * count);
  return { reads: of(inputs, program.inputs.length), writes: of(outputs, program.results.length) };
}

/** The `mapMany` kernel: one program over many groups of tensors, a dispatch each. */
export function makeMapMany(map: KernelEntry<MapCall>): KernelEntry<MapManyCall> {
  return {
    dtypes: STORED,
    binds: (call) => {
      let most = 0;
      for (let group = 0; group < call.attributes.groups; group++) {
        const { reads, writes } = groupOf(call, group);
        // Results lie where state was, mostly.
        const apart = writes.filter(({ buffer }) => reads.every((view) => view.buffer !== buffer));
        most = Math.max(most, reads.length + apart.length);
      }
      // And the word for failed checks.
      return most + 1;
    },
    run: (call) => {
      const { program, params, attributes } = call;
      for (let group = 0; group < attributes.groups; group++) {
        const { reads, writes } = groupOf(call, group);
        const buffers = [...new Set([...reads, ...writes].map(({ buffer }) => buffer))];
        map.run({ kernel: "map", program, buffers, inputs: reads, outputs: writes, params });
      }
    },
  };
}

import type { MapCall, MapManyCall } from "@nf/core";

/** Makes the `mapMany` kernel: one program over many groups of tensors, as an optimiser step needs it. */
export function makeMapMany(map: (call: MapCall) => void): (call: MapManyCall) => void {
  return ({ program, inputs, outputs, params, buffers, attributes }) => {
    const reads = program.inputs.length;
    const writes = program.results.length;
    for (let group = 0; group < attributes.groups; group++) {
      map({
        kernel: "map",
        program,
        buffers,
        inputs: inputs.slice(group * reads, (group + 1) * reads),
        outputs: outputs.slice(group * writes, (group + 1) * writes),
        params,
      });
    }
  };
}

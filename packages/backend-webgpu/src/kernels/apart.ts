import {
  type Call,
  contiguousView,
  DTYPES,
  type Kernel,
  type MapCall,
  makeView,
  type Program,
  program,
  type View,
} from "@nf/core";
import type { Gpu } from "../device/gpu.ts";
import { computeDtype } from "../wgsl/access.ts";
import type { AnyKernel } from "./table.ts";

/** Kernels whose invocations read all that they need of a place before anybody writes to it. */
const IN_PLACE: ReadonlySet<Kernel> = new Set<Kernel>([
  "map",
  "mapMany",
  "reduce",
  "argReduce",
  "scan",
  "softmax",
  "crossEntropy",
  "rope",
  // Its output overlaps no input.
  "scatter",
]);

const copies = new Map<string, Program>();

function copyOf(view: View): Program {
  const dtype = computeDtype(view.dtype);
  let copy = copies.get(dtype);
  if (copy === undefined) {
    copy = program("copy", [dtype], [], ([x]) => x);
    copies.set(dtype, copy);
  }
  return copy;
}

/** Whether an output of a call goes to a buffer apart: where it is an input's own view, which other invocations may still read. */
function goesApart({ kernel, inputs }: Call, output: View): boolean {
  return (
    !IN_PLACE.has(kernel) &&
    inputs.some(({ buffer, offset }) => buffer === output.buffer && offset === output.offset)
  );
}

/** How many buffers {@link runApart} binds besides those of a call. */
export function countApart(call: Call): number {
  return call.outputs.filter((output) => goesApart(call, output)).length;
}

/**
 * Runs a kernel. An output that is an input's own view goes to a buffer apart first, where other invocations may still read
 * what it would overwrite.
 */
export function runApart(gpu: Gpu, call: Call, kernel: AnyKernel, map: AnyKernel): void {
  const { inputs, outputs } = call;
  const same = (output: View): boolean => goesApart(call, output);
  if (!outputs.some(same)) {
    kernel.run(call);
    return;
  }
  const apart = outputs.map((output) => {
    if (!same(output)) return output;
    const buffer = gpu.scratch.take(output.size * DTYPES[output.dtype].bytes);
    return contiguousView(buffer, output.dtype, output.shape);
  });
  const buffers = [...new Set([...inputs, ...apart].map(({ buffer }) => buffer))];
  // Of a kernel's own kind, with other views.
  kernel.run({ ...call, buffers, outputs: apart } as Call);
  outputs.forEach((output, i) => {
    const from = apart[i];
    if (from === output) return;
    const copied: MapCall = {
      kernel: "map",
      program: copyOf(output),
      buffers: [from.buffer, output.buffer],
      inputs: [from],
      outputs: [makeView(output.buffer, output.dtype, output.shape, output.strides, output.offset)],
      params: [],
    };
    map.run(copied);
    gpu.scratch.give(from.buffer as Parameters<typeof gpu.scratch.give>[0]);
  });
}

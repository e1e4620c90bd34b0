import type { Call } from "../backend/call.ts";
import type { FusedCall } from "../backend/fused.ts";
import type { Shape, View } from "../backend/view.ts";
import type { DType } from "../dtype.ts";
import { DTYPES } from "../dtype.ts";
import type { Device } from "../runtime/device.ts";
import type { Tensor } from "../tensor/tensor.ts";
import { guarded, identityProgram } from "./programs.ts";
import { allocate, distinctBuffers, runMap } from "./run.ts";

/** What makes a fused call, beside its buffers and views. */
type FusedParts<C extends FusedCall> = C extends FusedCall
  ? Omit<C, "buffers" | "inputs" | "outputs" | "params">
  : never;

/**
 * Runs a fused kernel if the backend takes the call, with dense copies of the inputs if it asks for them. Returns the
 * outputs, or undefined so that `apply` runs the decomposition.
 */
export function runFused(
  device: Device,
  origin: string,
  parts: FusedParts<FusedCall>,
  inputs: readonly Tensor[],
  outputTypes: readonly { readonly shape: Shape; readonly dtype: DType }[],
  params: readonly number[] = [],
): readonly Tensor[] | undefined {
  const { backend } = device;
  if (backend.capabilities.dtypes[parts.kernel] === undefined) return undefined;
  const outputs = outputTypes.map(({ dtype, shape }) => allocate(device, dtype, shape, origin));
  const outputViews = outputs.map((output) => output.view);
  if (outputViews.some((view) => view.size === 0) || inputs.some((input) => input.size === 0)) {
    for (const output of outputs) output.end("there was nothing to compute");
    return undefined;
  }
  const build = (views: readonly View[]): Call => {
    const buffers = distinctBuffers(views, outputViews);
    return { ...parts, buffers, inputs: views, outputs: outputViews, params };
  };
  const call = build(inputs.map((input) => input.view));
  const support = backend.supports(call);
  if (support === "yes") return guarded(outputs, () => backend.execute(call));
  if (support === "after-copy") {
    const copies = inputs.map((input) => (input.view.contiguous ? undefined : denseCopy(device, input)));
    const dense = build(inputs.map((input, i) => (copies[i] ?? input).view));
    try {
      return guarded(outputs, () => backend.execute(dense));
    } finally {
      for (const copy of copies) copy?.end("it was a temporary");
    }
  }
  for (const output of outputs) output.end("the fused kernel declined");
  return undefined;
}

function denseCopy(device: Device, x: Tensor): Tensor {
  const copy = allocate(device, x.dtype, x.shape, "copy");
  runMap(device, identityProgram(DTYPES[x.dtype].compute), [x.view], [copy.view], []);
  return copy;
}

import type { Call } from "../backend/call.ts";
import type { FusedCall } from "../backend/fused.ts";
import type { Shape, View } from "../backend/view.ts";
import type { DType } from "../dtype.ts";
import { DTYPES } from "../dtype.ts";
import type { Device } from "../runtime/device.ts";
import type { Tensor } from "../tensor/tensor.ts";
import { guarded, identityProgram } from "./programs.ts";
import { allocate, allocateEach, distinctBuffers, runMap, withTemporaries } from "./run.ts";

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
  const outputs = allocateEach(outputTypes, ({ dtype, shape }) => allocate(device, dtype, shape, origin));
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
  const fits = call.buffers.length <= backend.capabilities.maxBuffersPerCall;
  const support = fits ? backend.supports(call) : undefined;
  if (support === "yes") return guarded(outputs, () => backend.execute(call));
  if (support === "after-copy") {
    return guarded(outputs, () =>
      withTemporaries((temporaries) => {
        const dense = (input: Tensor): View => {
          if (input.view.contiguous) return input.view;
          const copy = allocate(device, input.dtype, input.shape, "copy");
          temporaries.push(copy);
          runMap(device, identityProgram(DTYPES[input.dtype].compute), [input.view], [copy.view], []);
          return copy.view;
        };
        backend.execute(build(inputs.map(dense)));
      }),
    );
  }
  for (const output of outputs) output.end("the fused kernel declined");
  return undefined;
}

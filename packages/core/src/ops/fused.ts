import type { RequiredCall } from "../backend/call.ts";
import type { Shape, View } from "../backend/view.ts";
import type { DType } from "../dtype.ts";
import { DTYPES } from "../dtype.ts";
import type { Device } from "../runtime/device.ts";
import { type Tensor, viewsOf } from "../tensor/tensor.ts";
import { identityProgram } from "./programs.ts";
import {
  allocate,
  allocateEach,
  callOf,
  endAll,
  NO_PARAMS,
  type PlainCall,
  type PlainParts,
  runMap,
  withTemporaries,
} from "./run.ts";

/**
 * Runs a fused kernel if the backend takes the call, with dense copies of the inputs if it asks for them. Returns the
 * outputs, or undefined so that `apply` runs the decomposition.
 */
export function runFused(
  device: Device,
  origin: string,
  parts: PlainParts<Exclude<PlainCall, RequiredCall>>,
  inputs: readonly Tensor[],
  outputTypes: readonly { readonly shape: Shape; readonly dtype: DType }[],
  params: readonly number[] = NO_PARAMS,
): readonly Tensor[] | undefined {
  const { backend } = device;
  if (backend.capabilities.dtypes[parts.kernel] === undefined) return undefined;
  const outputs = allocateEach(outputTypes, ({ dtype, shape }) => allocate(device, dtype, shape, origin));
  try {
    if (!outputs.some(isEmpty) && !inputs.some(isEmpty)) {
      const call = callOf(parts, viewsOf(inputs), viewsOf(outputs), params);
      const support = backend.supports(call);
      if (support === "yes") {
        backend.execute(call);
        return outputs;
      }
      if (support === "after-copy") {
        withTemporaries((temporaries) => {
          const dense = inputs.map((input) => denseView(device, input, temporaries));
          backend.execute(callOf(parts, dense, call.outputs, params));
        });
        return outputs;
      }
    }
  } catch (error) {
    endAll(outputs);
    throw error;
  }
  endAll(outputs);
  return undefined;
}

function isEmpty(tensor: Tensor): boolean {
  return tensor.view.size === 0;
}

function denseView(device: Device, { view }: Tensor, temporaries: Tensor[]): View {
  if (view.contiguous) return view;
  const copy = allocate(device, view.dtype, view.shape, "copy");
  temporaries.push(copy);
  runMap(device, identityProgram(DTYPES[view.dtype].compute), [view], [copy.view], []);
  return copy.view;
}

import type { Call, MapCall, MatmulCall, ReduceCall, RequiredCall, RequiredKernel } from "../backend/call.ts";
import type { MapManyCall } from "../backend/fused.ts";
import { expandView } from "../backend/geometry.ts";
import { type BackendBuffer, contiguousView, type Shape, sizeOf, type View } from "../backend/view.ts";
import { DTYPES, type DType } from "../dtype.ts";
import { BackendError, ShapeError } from "../errors.ts";
import { Storage } from "../memory/storage.ts";
import type { Device } from "../runtime/device.ts";
import type { Program } from "../scalar/program.ts";
import { splitProgram } from "../scalar/split.ts";
import { Tensor } from "../tensor/tensor.ts";

const MAX_ELEMENTS = 2 ** 31;

/** Refuses a shape with more elements than kernels can number, of a new tensor or of a view. @throws ShapeError */
export function checkSize(origin: string, shape: Shape): number {
  const size = sizeOf(shape);
  if (size < MAX_ELEMENTS) return size;
  throw new ShapeError(
    `${origin}: a tensor of shape [${shape.join(", ")}] has ${size} elements; at most 2^31 - 1 can be addressed.`,
  );
}

/** A new tensor with unspecified contents; it has no owner yet. */
export function allocate(device: Device, dtype: DType, shape: Shape, origin: string): Tensor {
  const size = checkSize(origin, shape);
  // What a backend cannot map it can neither make nor copy nor read back.
  if (device.maps[dtype] !== true) throw undeclared(device, "map", dtype, origin);
  const storage = new Storage(device, size * DTYPES[dtype].bytes);
  return new Tensor(storage, contiguousView(storage.buffer, dtype, shape), origin);
}

/** Allocates a tensor for each item; if there is no room for one, those before it are given back. */
export function allocateEach<T>(items: readonly T[], make: (item: T) => Tensor): readonly Tensor[] {
  if (items.length === 1) return [make(items[0] as T)];
  const tensors: Tensor[] = [];
  try {
    for (const item of items) tensors.push(make(item));
  } catch (error) {
    endAll(tensors);
    throw error;
  }
  return tensors;
}

/** The distinct buffers of views, in order of first use. */
export function distinctBuffers(inputs: readonly View[], outputs: readonly View[]): readonly BackendBuffer[] {
  // As long as it may become: a list that grows by itself makes room for seventeen at once.
  const buffers = new Array<BackendBuffer>(inputs.length + outputs.length);
  let count = 0;
  for (let i = 0; i < buffers.length; i++) {
    const { buffer } = (i < inputs.length ? inputs[i] : outputs[i - inputs.length]) as View;
    if (!buffers.includes(buffer)) buffers[count++] = buffer;
  }
  if (count < buffers.length) buffers.length = count;
  return buffers;
}

/** Runs a required kernel other than `map`, whose dtypes {@link allocate} looks at. @throws BackendError */
export function execute(device: Device, call: RequiredCall): void {
  const { dtype } = (call.inputs[0] ?? call.outputs[0]) as View;
  if (!device.declares(call.kernel, dtype)) throw undeclared(device, call.kernel, dtype, call.kernel);
  device.backend.execute(call);
}

function undeclared(device: Device, kernel: RequiredKernel, dtype: DType, origin: string): BackendError {
  const able = device.backend.capabilities.dtypes[kernel].join(", ");
  // What `map` lacks cannot even be stored, so that there is nothing to convert from.
  const advice =
    kernel === "map"
      ? "Choose one of these dtypes for the result, or use another backend."
      : "Convert the operands to one of these with x.cast(…), or use another backend.";
  return new BackendError(
    `${origin}: backend ${device.label} has no ${dtype} in its kernel "${kernel}", which takes ${able}. ${advice}`,
    "NF_UNSUPPORTED",
  );
}

/** Calls that have attributes and no program. */
export type PlainCall = Exclude<Call, MapCall | MapManyCall | MatmulCall | ReduceCall>;

/** Such a call. Written out: to spread objects of many forms costs more than a small kernel. */
export function callOf<C extends PlainCall>(
  parts: PlainParts<C>,
  inputs: readonly View[],
  outputs: readonly View[],
  params: readonly number[] = NO_PARAMS,
): C {
  const { kernel, attributes }: PlainParts<PlainCall> = parts;
  const buffers = distinctBuffers(inputs, outputs);
  return { kernel, attributes, buffers, inputs, outputs, params } as PlainCall as C;
}

/** What is particular to such a call. */
export type PlainParts<C extends PlainCall> = C extends PlainCall ? Pick<C, "kernel" | "attributes"> : never;

/** No numbers. */
export const NO_PARAMS: readonly number[] = [];

/**
 * Runs a program over views, inputs broadcast to the outputs' shape. Nothing happens where that is empty. A program
 * that needs more buffers than the backend binds at once is cut into several.
 */
export function runMap(
  device: Device,
  program: Program,
  inputs: readonly View[],
  outputs: readonly View[],
  params: readonly number[],
): void {
  const first = outputs[0] as View;
  if (first.size === 0) return;
  const shape = first.shape;
  let expanded: View[] | undefined;
  for (let i = 0; i < inputs.length; i++) {
    const view = inputs[i] as View;
    const repeated = expandView(view, shape);
    if (repeated !== view) {
      expanded ??= inputs.slice();
      expanded[i] = repeated;
    }
  }
  const views = expanded ?? inputs;
  const buffers = distinctBuffers(views, outputs);
  if (buffers.length <= device.backend.capabilities.maxBuffersPerCall) {
    device.backend.execute({ kernel: "map", program, buffers, inputs: views, outputs, params });
  } else {
    runInParts(device, program, views, outputs, params);
  }
}

/** Runs a program too wide for one call as several, with intermediate values in temporaries. */
function runInParts(
  device: Device,
  program: Program,
  inputs: readonly View[],
  outputs: readonly View[],
  params: readonly number[],
): void {
  const shape = (outputs[0] as View).shape;
  const parts = splitProgram(program, device.backend.capabilities.maxBuffersPerCall);
  withTemporaries((temporaries) => {
    for (const part of parts) {
      const views = part.reads.map((read) =>
        read.from === "input" ? (inputs[read.index] as View) : (temporaries[read.index] as Tensor).view,
      );
      let target: View;
      if (part.writes.to === "output") {
        target = outputs[part.writes.index] as View;
      } else {
        const temporary = allocate(device, part.writes.dtype, shape, program.name);
        temporaries.push(temporary);
        target = temporary.view;
      }
      runMap(device, part.program, views, [target], params);
    }
  });
}

/** Runs a function that puts its temporaries into a list. They end with it, also when it throws. */
export function withTemporaries<T>(run: (temporaries: Tensor[]) => T): T {
  const temporaries: Tensor[] = [];
  try {
    return run(temporaries);
  } finally {
    endAll(temporaries, "it was a temporary");
  }
}

/** Ends what was not computed, or is not needed any more. */
export function endAll(tensors: readonly Tensor[], reason = "the operation failed"): void {
  for (const tensor of tensors) tensor.end(reason);
}

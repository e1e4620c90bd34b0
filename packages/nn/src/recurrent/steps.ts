import { makeView, type Program, type View } from "@nf/core";
import {
  type Device,
  distinctBuffers,
  execute,
  fillProgram,
  identityProgram,
  NO_PARAMS,
  runMap,
} from "@nf/core/op";

/* Views of a sequence `[steps, batch, width]` and the calls of a step, put together without tensors: there are hundreds of them. */

/** What a tensor has at one step, `[batch, width]`. */
export function at(view: View, step: number): View {
  const [, batch, width] = view.shape as readonly [number, number, number];
  const [stride, down, along] = view.strides as readonly [number, number, number];
  return makeView(view.buffer, view.dtype, [batch, width], [down, along], view.offset + step * stride);
}

/** Parts of equal width of `[batch, parts * width]`. */
export function parts(view: View, width: number): readonly View[] {
  const [batch, total] = view.shape as readonly [number, number];
  const [, along] = view.strides as readonly [number, number];
  return Array.from({ length: total / width }, (_, part) =>
    makeView(view.buffer, view.dtype, [batch, width], view.strides, view.offset + part * width * along),
  );
}

/** A flag for each sequence of a batch at one step, repeated for each of `width` elements. */
export function flags(view: View, step: number, width: number): View {
  const [, batch] = view.shape as readonly [number, number];
  const [stride, down] = view.strides as readonly [number, number];
  return makeView(view.buffer, view.dtype, [batch, width], [down, 0], view.offset + step * stride);
}

/** Parts of `width` elements of a vector, each repeated for all sequences of a batch. */
export function repeated(
  { buffer, dtype, shape: [size = 0], strides: [along = 1], offset }: View,
  width: number,
  batch: number,
): readonly View[] {
  return Array.from({ length: size / width }, (_, part) =>
    makeView(buffer, dtype, [batch, width], [0, along], offset + part * width * along),
  );
}

/** Consecutive steps. */
export function range(view: View, start: number, count: number): View {
  const shape = [count, ...view.shape.slice(1)];
  return makeView(
    view.buffer,
    view.dtype,
    shape,
    view.strides,
    view.offset + start * (view.strides[0] as number),
  );
}

/** A matrix with its dimensions exchanged. */
export function turned(view: View): View {
  const [rows, columns] = view.shape as readonly [number, number];
  const [down, along] = view.strides as readonly [number, number];
  return makeView(view.buffer, view.dtype, [columns, rows], [along, down], view.offset);
}

/** Multiplies two matrices into a third. */
export function multiply(device: Device, a: View, b: View, output: View): void {
  const [inputs, outputs] = [[a, b], [output]];
  execute(device, {
    kernel: "matmul",
    buffers: distinctBuffers(inputs, outputs),
    inputs,
    outputs,
    params: NO_PARAMS,
  });
}

/** Runs a program over views of one shape. */
export function run(
  device: Device,
  program: Program,
  inputs: readonly View[],
  outputs: readonly View[],
): void {
  runMap(device, program, inputs, outputs, NO_PARAMS);
}

/** Copies into a view, or fills it with zeros where there is no source. */
export function fillView(device: Device, target: View, source: View | undefined): void {
  const compute = target.dtype === "f64" ? "f64" : "f32";
  if (source === undefined) runMap(device, fillProgram(compute), [], [target], [0]);
  else run(device, identityProgram(compute), [source], [target]);
}

import { DTYPES, type GatherCall, mergeDimensions, type View } from "@nf/core";
import { type Context, type KernelEntry, own } from "../context.ts";
import type { Gpu } from "../device/gpu.ts";
import type { ShaderSource } from "../device/shader.ts";
import {
  accessViews,
  coordinatesOf,
  indexOf,
  STORED,
  spaceNames,
  spaceNumbers,
  viewsKey,
} from "../wgsl/views.ts";

const WORKGROUP = 64;

/** The `gather` kernel: elements by themselves, rows of words in vectors. */
export function makeGather({ gpu }: Context): KernelEntry<GatherCall> {
  const perInvocation = gpu.adapterClass === "software" ? 4 : 1;
  return { dtypes: STORED, run: (call) => runGather(gpu, call, perInvocation) };
}

function runGather(gpu: Gpu, call: GatherCall, perInvocation: number): void {
  const { inputs, outputs, attributes } = call;
  const [source, index] = inputs as readonly [View, View];
  const output = outputs[0] as View;
  // The source stands still along the axis: the index moves it there.
  const still = source.strides.map((stride, axis) => (axis === attributes.axis ? 0 : stride));
  const { shape, strides } = mergeDimensions(output.shape, [still, index.strides, output.strides]);
  const rank = shape.length;
  const wide = isWide(call, shape, strides);
  const width = wide ? 4 : 1;
  const shader = gpu.shader(`gather${width} ${rank} ${viewsKey(call)}`, () =>
    wide ? wideSource(call, rank, perInvocation) : elementSource(call, rank, perInvocation),
  );
  const count = output.size / width;
  const place = wide
    ? spaceNumbers(
        shape.map((size, axis) => (axis === rank - 1 ? size / 4 : size)),
        strides.map((steps, view) =>
          steps.map((step, axis) => (axis === rank - 1 || view === 1 ? step : step / 4)),
        ),
        [source.offset / 4, index.offset, output.offset / 4],
      )
    : spaceNumbers(shape, strides, [source.offset, index.offset, output.offset]);
  const numbers = [count, source.strides[attributes.axis] / width, ...place];
  gpu.dispatch(shader, own(call.buffers), numbers, [], Math.ceil(count / (WORKGROUP * perInvocation)));
}

/** Whether whole vectors of words move: the index stands still along the innermost dimension. */
function isWide(
  { inputs, outputs, buffers, attributes }: GatherCall,
  shape: readonly number[],
  [from, index, to]: readonly (readonly number[])[],
): boolean {
  const [source] = inputs;
  const [output] = outputs;
  const last = shape.length - 1;
  if (buffers.length !== 3 || DTYPES[output.dtype].bytes !== 4) return false;
  if (shape[last] % 4 !== 0 || from[last] !== 1 || index[last] !== 0 || to[last] !== 1) return false;
  const whole = (step: number, axis: number): boolean => axis === last || step % 4 === 0;
  if (source.offset % 4 !== 0 || output.offset % 4 !== 0) return false;
  return source.strides[attributes.axis] % 4 === 0 && from.every(whole) && to.every(whole);
}

/** Four words at a time. */
function wideSource(call: GatherCall, rank: number, perInvocation: number): ShaderSource {
  const { buffers, inputs, outputs } = call;
  const name = (view: View): string => `b${buffers.indexOf(view.buffer)}`;
  return {
    label: "gather rows",
    buffers: buffers.map((buffer, i) => ({
      name: `b${i}`,
      type: buffer === inputs[1].buffer ? "i32" : "vec4<u32>",
      access: buffer === outputs[0].buffer ? "write" : "read",
    })),
    geometry: ["count", "step", ...spaceNames(rank, 3)],
    params: [],
    workgroup: WORKGROUP,
    body: `for (var k = 0u; k < ${perInvocation}u; k++) {
let point = i32(invocation * ${perInvocation}u + k);
if (point >= geometry.count) { return; }
${coordinatesOf(rank, "point")}
let position = ${name(inputs[1])}[${indexOf(rank, 1)}];
${name(outputs[0])}[${indexOf(rank, 2)}] = ${name(inputs[0])}[${indexOf(rank, 0)} + position * geometry.step];
}`,
  };
}

/** Element by element. */
function elementSource(call: GatherCall, rank: number, perInvocation: number): ShaderSource {
  const access = accessViews(call);
  return {
    label: "gather",
    buffers: access.buffers,
    geometry: ["count", "step", ...spaceNames(rank, 3)],
    params: [],
    workgroup: WORKGROUP,
    body: `for (var k = 0u; k < ${perInvocation}u; k++) {
let point = i32(invocation * ${perInvocation}u + k);
if (point >= geometry.count) { return; }
${coordinatesOf(rank, "point")}
let position = ${access.load(1, `(${indexOf(rank, 1)})`)};
let origin = ${indexOf(rank, 0)} + position * geometry.step;
let at = ${indexOf(rank, 2)};
let value = ${access.load(0, "origin")};
${access.store(0, "at", "value")}
}`,
  };
}

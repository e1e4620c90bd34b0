import type { PoolCall, View } from "@nf/core";
import { type Context, type KernelEntry, own } from "../context.ts";
import type { Gpu } from "../device/gpu.ts";
import type { ShaderSource } from "../device/shader.ts";
import { accessViews, coordinatesOf, spaceNames, spaceNumbers, viewsKey } from "../wgsl/views.ts";
import { isLong, type PoolWay, poolBody } from "./poolBodies.ts";
import { axesOf, supportsWindows, WINDOW_DTYPES, windowNames, windowNumbers } from "./windows.ts";

const WORKGROUP = 64;

/** The `pool` kernel: an invocation a window, or an element of x where windows overlap in the backward. */
export function makePool({ gpu }: Context): KernelEntry<PoolCall> {
  return { dtypes: WINDOW_DTYPES, supports: supportsWindows, run: (call) => runPool(gpu, call) };
}

function runPool(gpu: Gpu, call: PoolCall): void {
  const { attributes, inputs, outputs } = call;
  const { kernelSize, countIncludePad, countedPadding } = attributes;
  const result = outputs[0] as View;
  const forward = attributes.pass === "forward";
  const x = forward ? (inputs[0] as View) : result;
  const out = forward ? result : (inputs[0] as View);
  const sizes = [x, out].map(({ shape }) => shape.slice(2)) as [number[], number[]];
  const way: PoolWay = forward ? "forward" : tiles(attributes, ...sizes) ? "window" : "element";
  const space = way === "element" ? x : out;
  const views = [...inputs, result];
  const key = `pool ${way} ${attributes.kind} ${kernelSize.length} ${isLong(kernelSize)} ${viewsKey(call)}`;
  const shader = gpu.shader(key, () => source(call, way));
  // How much of the padding counts as elements of a mean's window.
  const counted = countedPadding.flatMap(([before, after]) => (countIncludePad ? [before, after] : [0, 0]));
  gpu.dispatch(
    shader,
    own(call.buffers),
    [
      space.size,
      ...windowNumbers(attributes, ...sizes, kernelSize),
      ...counted,
      ...spaceNumbers(
        space.shape,
        views.map(({ strides }) => strides),
        views.map(({ offset }) => offset),
      ),
    ],
    [],
    Math.ceil(space.size / WORKGROUP),
  );
}

/** Whether each element of x lies in exactly one window. */
function tiles(
  { kernelSize, stride, dilation, padding }: PoolCall["attributes"],
  input: readonly number[],
  output: readonly number[],
): boolean {
  return kernelSize.every(
    (size, d) =>
      size === stride[d] &&
      (dilation[d] === 1 || size === 1) &&
      padding[d]?.[0] === 0 &&
      (output[d] as number) * size === input[d],
  );
}

function source(call: PoolCall, way: PoolWay): ShaderSource {
  const { attributes, inputs } = call;
  const spatial = attributes.kernelSize.length;
  const rank = spatial + 2;
  const access = accessViews(call);
  const { declarations, body } = poolBody(attributes, way, inputs.length, access);
  return {
    label: `pool ${attributes.kind} ${way}`,
    buffers: access.buffers,
    geometry: [
      "count",
      ...windowNames(spatial),
      ...axesOf(spatial).flatMap((d) => [`low${d}`, `high${d}`]),
      ...spaceNames(rank, inputs.length + 1),
    ],
    params: [],
    workgroup: WORKGROUP,
    declarations,
    body: `let point = i32(invocation);
if (point >= geometry.count) { return; }
${coordinatesOf(rank, "point")}
${body}`,
  };
}

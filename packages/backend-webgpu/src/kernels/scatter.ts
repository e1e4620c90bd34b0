import type { ScatterCall, View } from "@nf/core";
import { type Context, type KernelEntry, own } from "../context.ts";
import type { Gpu } from "../device/gpu.ts";
import type { ShaderSource } from "../device/shader.ts";
import { computeDtype } from "../wgsl/access.ts";
import { combinationOf } from "../wgsl/combine.ts";
import { lineCoordinates, lineSpace, lineStart } from "../wgsl/lines.ts";
import { accessViews, STORED, spaceNames, spaceNumbers, viewsKey } from "../wgsl/views.ts";

const WORKGROUP = 64;

/**
 * The `scatter` kernel. An invocation takes the updates of a line along the axis one after the other: no other line
 * meets its targets, and duplicates come in their order.
 */
export function makeScatter({ gpu }: Context): KernelEntry<ScatterCall> {
  return { dtypes: STORED, run: (call) => runScatter(gpu, call) };
}

function runScatter(gpu: Gpu, call: ScatterCall): void {
  const { inputs, outputs, attributes } = call;
  const [updates, index] = inputs as readonly [View, View];
  const output = outputs[0] as View;
  const { axis, mode } = attributes;
  const { kept, lines, shape, strides } = lineSpace(inputs, outputs, [axis]);
  const shader = gpu.shader(`scatter ${mode} ${kept} ${viewsKey(call)}`, () => source(call, kept));
  const numbers = [
    lines,
    index.shape[axis],
    updates.strides[axis],
    index.strides[axis],
    output.strides[axis],
    ...spaceNumbers(
      shape.slice(0, kept),
      strides.map((list) => list.slice(0, kept)),
      [updates.offset, index.offset, output.offset],
    ),
  ];
  gpu.dispatch(shader, own(call.buffers), numbers, [], Math.ceil(lines / WORKGROUP));
}

function source(call: ScatterCall, kept: number): ShaderSource {
  const { outputs, attributes } = call;
  const { mode } = attributes;
  const access = accessViews(call);
  const update = access.load(0, "start0 + i * geometry.step0");
  const dtype = computeDtype((outputs[0] as View).dtype);
  const value =
    mode === "set"
      ? update
      : combinationOf(mode === "add" ? "sum" : "max", dtype).combine(access.loadOutput(0, "at"), update);
  return {
    label: `scatter ${mode}`,
    buffers: access.buffers,
    geometry: ["lines", "length", "step0", "step1", "step2", ...spaceNames(kept, 3)],
    params: [],
    workgroup: WORKGROUP,
    body: `let line = i32(invocation);
if (line >= geometry.lines) { return; }
${lineCoordinates(kept, "line")}
let start0 = ${lineStart(kept, 0)};
let start1 = ${lineStart(kept, 1)};
let start2 = ${lineStart(kept, 2)};
for (var i = 0; i < geometry.length; i++) {
let position = ${access.load(1, "start1 + i * geometry.step1")};
let at = start2 + position * geometry.step2;
let value = ${value};
${access.store(0, "at", "value")}
}`,
  };
}

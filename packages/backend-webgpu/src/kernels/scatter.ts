import type { ScatterCall, View } from "@nf/core";
import { type Context, type KernelEntry, own } from "../context.ts";
import type { Gpu } from "../device/gpu.ts";
import type { ShaderSource } from "../device/shader.ts";
import { computeDtype } from "../wgsl/access.ts";
import { combinationOf } from "../wgsl/combine.ts";
import { lineCoordinates, lineSpace, lineStart } from "../wgsl/lines.ts";
import { accessViews, STORED, spaceNames, spaceNumbers, viewsKey } from "../wgsl/views.ts";

const WORKGROUP = 64;
/** Invocations that keep an adapter busy: lines are split where there are fewer. */
const ENOUGH = { software: 1, integrated: 4_096, discrete: 16_384 } as const;
/** Updates of a line that one dispatch takes: no driver waits long enough for millions. */
const MOST_UPDATES = 1 << 18;

/**
 * The `scatter` kernel. An invocation takes the updates of a line along the axis one after the other: no other line
 * meets its targets, and duplicates come in their order. Where lines are few, each is walked by several invocations with
 * a part of its targets each.
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
  const targets = output.shape[axis] as number;
  const perPart = Math.ceil(targets / Math.min(targets, Math.ceil(ENOUGH[gpu.adapterClass] / lines)));
  const parts = Math.ceil(targets / perPart);
  const length = index.shape[axis] as number;
  const place = spaceNumbers(
    shape.slice(0, kept),
    strides.map((list) => list.slice(0, kept)),
    [updates.offset, index.offset, output.offset],
  );
  const steps = [updates, index, output].map((view) => view.strides[axis] as number);
  for (let from = 0; from < length; from += MOST_UPDATES) {
    const numbers = [lines, parts, perPart, from, Math.min(from + MOST_UPDATES, length), ...steps, ...place];
    gpu.dispatch(shader, own(call.buffers), numbers, [], Math.ceil((lines * parts) / WORKGROUP));
  }
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
  const names = ["lines", "parts", "perPart", "begin", "end", "step0", "step1", "step2"];
  return {
    label: `scatter ${mode}`,
    buffers: access.buffers,
    geometry: [...names, ...spaceNames(kept, 3)],
    params: [],
    workgroup: WORKGROUP,
    body: `let line = i32(invocation) / geometry.parts;
if (line >= geometry.lines) { return; }
let first = (i32(invocation) % geometry.parts) * geometry.perPart;
${lineCoordinates(kept, "line")}
let start0 = ${lineStart(kept, 0)};
let start1 = ${lineStart(kept, 1)};
let start2 = ${lineStart(kept, 2)};
for (var i = geometry.begin; i < geometry.end; i++) {
let position = ${access.load(1, "start1 + i * geometry.step1")};
if (position < first || position - first >= geometry.perPart) { continue; }
let at = start2 + position * geometry.step2;
let value = ${value};
${access.store(0, "at", "value")}
}`,
  };
}

import { type MapCall, type MergedSpace, mergeViews, type Program, type View } from "@nf/core";
import { type Context, type KernelEntry, own } from "../context.ts";
import type { Gpu } from "../device/gpu.ts";
import type { ShaderSource } from "../device/shader.ts";
import { hasChecks, printWgsl } from "../wgsl/printer.ts";
import {
  accessViews,
  coordinatesOf,
  indexOf,
  STORED,
  spaceNames,
  spaceNumbers,
  viewsKey,
} from "../wgsl/views.ts";
import { isWide, wideKey, wideNumbers, wideSource } from "./mapWide.ts";

/** Invocations of a work group. */
const WORKGROUP = 64;
/** Points from which on an invocation's loop is written out: a third faster to run, three times as long to compile. */
const MANY_POINTS = 65_536;

/** The `map` kernel: a program printed to WGSL, four points at a time where the views allow it. */
export function makeMap({ gpu }: Context): KernelEntry<MapCall> {
  // A software adapter pays for each invocation, a GPU wants many of them.
  const perInvocation = gpu.adapterClass === "software" ? 4 : 1;
  return { dtypes: STORED, run: (call) => runMap(gpu, call, perInvocation) };
}

function runMap(gpu: Gpu, call: MapCall, perInvocation: number): void {
  const { program, inputs, outputs, params } = call;
  const space = mergeViews(inputs, outputs, program.coordinates);
  const buffers = own(call.buffers);
  const many = perInvocation === 1 || (outputs[0] as View).size >= MANY_POINTS;
  // As a number of the call it keeps compilers from writing the loop out.
  const each = many ? String(perInvocation) : "geometry.each";
  const shape = `${many} ${program.id} ${space.shape.length} ${space.dimensions.join()} ${viewsKey(call)}`;
  if (isWide(call, space)) {
    const shader = gpu.shader(`map4 ${shape} ${wideKey(space)}`, () =>
      wideSource(call, space, WORKGROUP, each),
    );
    const points = Math.ceil((outputs[0] as View).size / 4);
    gpu.dispatch(
      shader,
      buffers,
      wideNumbers(call, space, perInvocation),
      params,
      groupsOf(points, perInvocation),
    );
    return;
  }
  const checks = hasChecks(program);
  const shader = gpu.shader(`map ${shape}`, () => source(call, space, checks, each));
  if (checks) gpu.expectFaults(program);
  const views = [...inputs, ...outputs];
  const { size } = outputs[0] as View;
  gpu.dispatch(
    shader,
    checks ? [...buffers, gpu.faultWord] : buffers,
    [
      size,
      perInvocation,
      ...spaceNumbers(
        space.shape,
        space.strides,
        views.map(({ offset }) => offset),
      ),
    ],
    params,
    groupsOf(size, perInvocation),
  );
}

const groupsOf = (points: number, perInvocation: number): number =>
  Math.ceil(points / (WORKGROUP * perInvocation));

/** One point at a time, any views. */
function source(call: MapCall, space: MergedSpace, checks: boolean, each: string): ShaderSource {
  const { program, inputs, outputs } = call;
  const rank = space.shape.length;
  const access = accessViews(call, checks);
  const body = printWgsl(program, {
    load: (index) => access.load(index, `(${indexOf(rank, index)})`),
    coordinate: (axis) => coordinateOf(program, space, axis),
    store: (index, value) => {
      const at = `at${index}`;
      return `let ${at} = ${indexOf(rank, inputs.length + index)};\n${access.store(index, at, value)}`;
    },
  });
  return {
    label: `map ${program.name}`,
    buffers: access.buffers,
    geometry: ["count", "each", ...spaceNames(rank, inputs.length + outputs.length)],
    params: program.params,
    workgroup: WORKGROUP,
    body: `for (var k = 0; k < ${each}; k++) {
let point = i32(invocation) * ${each} + k;
if (point >= geometry.count) { return; }
${coordinatesOf(rank, "point")}
${body}
}`,
  };
}

/** The coordinate along an axis that the program reads, counted from the end. */
export function coordinateOf(program: Program, space: MergedSpace, axis: number): string {
  const dimension = space.dimensions[program.coordinates.indexOf(axis)];
  return dimension < 0 ? "I(0)" : `I(c${dimension})`;
}

import {
  type BackendBuffer,
  type ComputeDType,
  contiguousStrides,
  makeView,
  type Program,
  program,
  type ReduceCall,
  scalar as s,
  type View,
} from "@nf/core";
import { type Context, type KernelEntry, own } from "../context.ts";
import type { Gpu } from "../device/gpu.ts";
import { type LineSpace, lineSpace } from "../wgsl/lines.ts";
import { hasChecks } from "../wgsl/printer.ts";
import { cutLines, distinct, reduceSource, WORKGROUP } from "../wgsl/reduce.ts";
import { STORED, spaceNumbers, viewsKey } from "../wgsl/views.ts";
import { wideLines } from "../wgsl/wideLines.ts";

/** Points from which vectors pay on a software adapter. */
const LEAST_WIDE = 16_384;

/** The `reduce` kernel: a program and the combination of its results in one shader, in two where results are few. */
export function makeReduce({ gpu }: Context): KernelEntry<ReduceCall> {
  return { dtypes: STORED, run: (call) => runReduce(gpu, call) };
}

function runReduce(gpu: Gpu, call: ReduceCall): void {
  const { program: made, inputs, outputs, attributes } = call;
  const merged = lineSpace(inputs, outputs, attributes.axes, made.coordinates);
  const wide = paysWide(gpu, merged) ? wideLines(call, merged) : undefined;
  const space = wide?.space ?? merged;
  const { cut, parts } = cutLines(gpu, space, inputs.length, wide !== undefined);
  const checks = hasChecks(made);
  const form = wide === undefined ? "" : `wide ${wide.axis} ${wide.still.join()} `;
  const key = `reduce ${form}${made.id} ${attributes.kinds.join()} ${space.kept} ${space.shape.length} ${space.dimensions.join()} ${cut.split} ${cut.partial} ${cut.abreast} ${viewsKey(call)}`;
  const shader = gpu.shader(key, () => reduceSource(call, space, cut, checks, wide));
  if (checks) gpu.expectFaults(made);
  const jobs = space.lines * parts;
  const length = cut.split < space.shape.length ? space.shape[cut.split] : 1;
  const offsets = [
    ...(wide?.offsets ?? inputs.map(({ offset }) => offset)),
    ...outputs.map(({ offset }) => offset),
  ];
  const place = spaceNumbers(space.shape, space.strides, offsets);
  const numbers = [jobs, space.lines, Math.ceil(length / parts), ...place];
  const groups = cut.abreast >= 0 ? jobs : Math.ceil(jobs / WORKGROUP);
  const faults = checks ? [gpu.faultWord] : [];
  if (!cut.partial) {
    gpu.dispatch(shader, [...own(call.buffers), ...faults], numbers, call.params, groups);
    return;
  }
  const between = gpu.scratch.take(4 * merged.lines * parts * outputs.length);
  gpu.dispatch(shader, [...own(distinct(call)), between, ...faults], numbers, call.params, groups);
  runReduce(gpu, combineCall(call, merged, between, parts));
  gpu.scratch.give(between);
}

/** Of small reductions a software adapter has more from many invocations than from vectors. */
const paysWide = (gpu: Gpu, { lines, length }: LineSpace): boolean =>
  gpu.adapterClass !== "software" || lines * length >= LEAST_WIDE;

/** The call that combines parts, which lie as `[output, part, line]`, into the outputs. */
function combineCall(call: ReduceCall, space: LineSpace, buffer: BackendBuffer, parts: number): ReduceCall {
  const { outputs, attributes, program: made } = call;
  const { kept, lines } = space;
  const shape = [...space.shape.slice(0, kept), parts];
  const strides = [...contiguousStrides(shape.slice(0, -1)), lines];
  const dtypes = made.results.map(({ dtype }): ComputeDType => (dtype === "bool" ? "u32" : dtype));
  const inputs = dtypes.map((dtype, k) => makeView(buffer, dtype, shape, strides, k * lines * parts));
  const results = outputs.map((view: View, k) =>
    makeView(
      view.buffer,
      view.dtype,
      [...shape.slice(0, -1), 1],
      [...space.strides[call.inputs.length + k].slice(0, kept), 1],
      view.offset,
    ),
  );
  return {
    kernel: "reduce",
    program: combiner(made.results.map(({ dtype }) => dtype)),
    attributes: { kinds: attributes.kinds, axes: [kept] },
    buffers: [...new Set([buffer, ...results.map((view) => view.buffer)])],
    inputs,
    outputs: results,
    params: [],
  };
}

const combiners = new Map<string, Program>();

/** The program that reads parts back: bools are words among them. */
function combiner(dtypes: readonly ComputeDType[]): Program {
  const key = dtypes.join();
  let made = combiners.get(key);
  if (made === undefined) {
    const stored = dtypes.map((dtype): ComputeDType => (dtype === "bool" ? "u32" : dtype));
    made = program("parts", stored, [], (parts) =>
      parts.map((part, k) => (dtypes[k] === "bool" ? s.ne(part, 0) : part)),
    );
    combiners.set(key, made);
  }
  return made;
}

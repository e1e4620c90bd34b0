import type { ArgReduceCall, View } from "@nf/core";
import { type Context, type KernelEntry, own } from "../context.ts";
import type { Gpu } from "../device/gpu.ts";
import type { ShaderBuffer, ShaderSource } from "../device/shader.ts";
import { KEYS, keyOf } from "../wgsl/keys.ts";
import { type LineSpace, lineCoordinates, lineSpace, lineStart } from "../wgsl/lines.ts";
import { cutLines, type ReduceCut, WORKGROUP, walk } from "../wgsl/reduce.ts";
import { accessViews, STORED, spaceNames, spaceNumbers, viewsKey } from "../wgsl/views.ts";

/** The `argReduce` kernel: of keys that are compared as whole numbers, the greatest, and of equal ones the first. */
export function makeArgReduce({ gpu }: Context): KernelEntry<ArgReduceCall> {
  return { dtypes: STORED, run: (call) => runArgReduce(gpu, call) };
}

function runArgReduce(gpu: Gpu, call: ArgReduceCall): void {
  const { inputs, outputs, attributes } = call;
  const input = inputs[0] as View;
  const output = outputs[0] as View;
  const space = lineSpace(
    inputs,
    outputs,
    attributes.axes,
    [],
    [positionStrides(input.shape, attributes.axes)],
  );
  const { cut, parts } = cutLines(gpu, space, 1);
  const key = `argReduce ${attributes.kind} ${space.kept} ${space.shape.length} ${cut.split} ${cut.partial} ${cut.abreast} ${viewsKey(call)}`;
  const shader = gpu.shader(key, () => source(call, space, cut));
  const jobs = space.lines * parts;
  const length = cut.split < space.shape.length ? space.shape[cut.split] : 1;
  const place = spaceNumbers(space.shape, space.strides, [input.offset, output.offset, 0]);
  const numbers = [jobs, space.lines, Math.ceil(length / parts), ...place];
  const groups = cut.abreast >= 0 ? jobs : Math.ceil(jobs / WORKGROUP);
  if (!cut.partial) {
    gpu.dispatch(shader, own(call.buffers), numbers, [], groups);
    return;
  }
  const between = gpu.scratch.take(8 * jobs);
  gpu.dispatch(shader, [...own([input.buffer]), between], numbers, [], groups);
  const last = gpu.shader(`argReduce parts ${space.kept}`, () => partsSource(space.kept));
  const shape = space.shape.slice(0, space.kept);
  const strides = [space.strides[1].slice(0, space.kept)];
  gpu.dispatch(
    last,
    [between, ...own([output.buffer])],
    [space.lines, parts, ...spaceNumbers(shape, strides, [output.offset])],
    [],
    Math.ceil(space.lines / WORKGROUP),
  );
  gpu.scratch.give(between);
}

/** Steps of the position within the axes, counted row-major. */
function positionStrides(shape: readonly number[], axes: readonly number[]): readonly number[] {
  const strides = new Array<number>(shape.length).fill(0);
  let step = 1;
  for (let i = axes.length - 1; i >= 0; i--) {
    strides[axes[i]] = step;
    step *= shape[axes[i]];
  }
  return strides;
}

const BETTER = `fn better(key: u32, at: u32, best: u32, spot: u32) -> bool {
  return key > best || (key == best && at < spot);
}`;

function source(
  { inputs, outputs, attributes, buffers }: ArgReduceCall,
  space: LineSpace,
  cut: ReduceCut,
): ShaderSource {
  const { dtype, buffer } = inputs[0] as View;
  const { kept } = space;
  const grouped = cut.abreast >= 0;
  const access = accessViews(
    cut.partial ? { buffers: [buffer], inputs, outputs: [] } : { buffers, inputs, outputs },
  );
  const declared: ShaderBuffer[] = [...access.buffers];
  if (cut.partial) declared.push({ name: "parts", type: "vec2<u32>", access: "write" });
  const shared = grouped ? `var<workgroup> keys: array<vec2<u32>, ${WORKGROUP}>;\n` : "";
  const point = `let key = ${keyOf(dtype, access.load(0, "x0"), attributes.kind === "min")};
if (better(key, u32(x2), best, spot)) { best = key; spot = u32(x2); }`;
  const join = `keys[lane] = vec2<u32>(best, spot);
for (var half = ${WORKGROUP / 2}u; half > 0u; half = half >> 1u) {
workgroupBarrier();
if (lane < half) {
let mine = keys[lane]; let other = keys[lane + half];
if (better(other.x, other.y, mine.x, mine.y)) { keys[lane] = other; }
} }
if (lane > 0u) { return; }
best = keys[0].x; spot = keys[0].y;`;
  return {
    label: `argReduce ${attributes.kind}`,
    buffers: declared,
    geometry: ["count", "lines", "chunk", ...spaceNames(space.shape.length, 3)],
    params: [],
    workgroup: WORKGROUP,
    declarations: `${shared}${KEYS}\n${BETTER}`,
    body: `let job = i32(${grouped ? "group" : "invocation"});
if (job >= geometry.count) { return; }
let line = job % geometry.lines;
let part = job / geometry.lines;
${lineCoordinates(kept, "line")}
let start0 = ${lineStart(kept, 0)};
let start2 = 0;
var best = 0u;
var spot = 0xffffffffu;
${walk(space, cut, [0, 2], point)}
${grouped ? join : ""}
${
  cut.partial
    ? "parts[job] = vec2<u32>(best, spot);"
    : `let at0 = ${lineStart(kept, 1)};\n${access.store(0, "at0", "i32(spot)")}`
}`,
  };
}

/** Finds the best of the parts of each line. */
function partsSource(kept: number): ShaderSource {
  return {
    label: "argReduce parts",
    buffers: [
      { name: "parts", type: "vec2<u32>", access: "read" },
      { name: "out", type: "i32", access: "write" },
    ],
    geometry: ["lines", "parts", ...spaceNames(kept, 1)],
    params: [],
    workgroup: WORKGROUP,
    declarations: BETTER,
    body: `let line = i32(invocation);
if (line >= geometry.lines) { return; }
var best = parts[line];
for (var part = 1; part < geometry.parts; part++) {
let other = parts[part * geometry.lines + line];
if (better(other.x, other.y, best.x, best.y)) { best = other; }
}
${lineCoordinates(kept, "line")}
out[${lineStart(kept, 0)}] = i32(best.y);`,
  };
}

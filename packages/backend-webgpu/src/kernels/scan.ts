import type { ScanCall, View } from "@nf/core";
import { type Context, type KernelEntry, own } from "../context.ts";
import type { Gpu } from "../device/gpu.ts";
import type { ShaderSource } from "../device/shader.ts";
import { computeDtype } from "../wgsl/access.ts";
import { type Combination, combinationOf } from "../wgsl/combine.ts";
import { lineCoordinates, lineSpace, lineStart } from "../wgsl/lines.ts";
import { accessViews, STORED, spaceNames, spaceNumbers, viewsKey } from "../wgsl/views.ts";

const WORKGROUP = 64;
/** Invocations that walk a long line abreast. */
const ABREAST = 256;
/** Terms that are added one after the other. */
const RUN = 64;

/** The `scan` kernel: an invocation a line, on a GPU a work group where lines are long and few. */
export function makeScan({ gpu }: Context): KernelEntry<ScanCall> {
  return { dtypes: STORED, run: (call) => runScan(gpu, call) };
}

function runScan(gpu: Gpu, call: ScanCall): void {
  const { inputs, outputs, attributes } = call;
  const { axis, kind, reverse } = attributes;
  const views = [inputs[0] as View, outputs[0] as View];
  const space = lineSpace(views, [], [axis]);
  const { kept, lines } = space;
  const length = views[0].shape[axis];
  const abreast = gpu.adapterClass !== "software" && length >= 2 * ABREAST && lines < 4_096;
  const shader = gpu.shader(`scan ${kind} ${abreast} ${kept} ${viewsKey(call)}`, () =>
    source(call, kept, abreast),
  );
  const steps = views.map(({ strides }) => (reverse ? -strides[axis] : strides[axis]));
  const offsets = views.map(({ offset, strides }) =>
    reverse ? offset + (length - 1) * strides[axis] : offset,
  );
  const kinds = space.strides.map((strides) => strides.slice(0, kept));
  const place = spaceNumbers(space.shape.slice(0, kept), kinds, offsets);
  const numbers = [lines, length, ...steps, ...place];
  gpu.dispatch(shader, own(call.buffers), numbers, [], abreast ? lines : Math.ceil(lines / WORKGROUP));
}

function source(call: ScanCall, kept: number, abreast: boolean): ShaderSource {
  const { inputs, attributes } = call;
  const access = accessViews(call);
  const total = combinationOf(attributes.kind, computeDtype((inputs[0] as View).dtype));
  const workgroup = abreast ? ABREAST : WORKGROUP;
  return {
    label: `scan ${attributes.kind}`,
    buffers: access.buffers,
    geometry: ["lines", "length", "step0", "step1", ...spaceNames(kept, 2)],
    params: [],
    workgroup,
    declarations: abreast ? `var<workgroup> totals: array<${total.type}, ${ABREAST}>;` : "",
    body: `let line = i32(${abreast ? "group" : "invocation"});
if (line >= geometry.lines) { return; }
${lineCoordinates(kept, "line")}
let start0 = ${lineStart(kept, 0)};
let start1 = ${lineStart(kept, 1)};
var before = ${total.start};
${abreast ? segmentStart(total, access.load(0, "start0 + i * geometry.step0")) : "let begin = 0; let to = geometry.length;"}
{ ${levels(total)}
for (var i = begin; i < to; i++) {
${take(total, access.load(0, "start0 + i * geometry.step0"))}
let at1 = start1 + i * geometry.step1;
let result = ${total.combine("before", sumOf(total))};
${access.store(0, "at1", "result")}
} }`,
  };
}

/** Where an invocation's segment of a line begins and ends, and what comes before it. */
function segmentStart(combination: Combination, load: string): string {
  return `let chunk = (geometry.length + ${ABREAST - 1}) / ${ABREAST};
let begin = min(i32(lane) * chunk, geometry.length);
let to = min(begin + chunk, geometry.length);
{ ${levels(combination)}
for (var i = begin; i < to; i++) { ${take(combination, load)} }
totals[lane] = ${sumOf(combination)}; }
for (var reach = 1u; reach < ${ABREAST}u; reach = reach << 1u) {
workgroupBarrier();
var mine = totals[lane];
if (lane >= reach) { mine = ${combination.combine("totals[lane - reach]", "mine")}; }
workgroupBarrier();
totals[lane] = mine;
}
workgroupBarrier();
if (lane > 0u) { before = totals[lane - 1u]; }`;
}

/** Variables that terms are taken into: a sum that rounds has a level for runs and one for runs of runs. */
function levels({ type, start, rounds }: Combination): string {
  const own = `var acc: ${type} = ${start};`;
  return rounds
    ? `${own} var mid: ${type} = F(0); var top: ${type} = F(0); var terms = 0; var runs = 0;`
    : own;
}

function take({ combine, rounds }: Combination, value: string): string {
  if (!rounds) return `acc = ${combine("acc", value)};`;
  return `if (terms == ${RUN}) {
mid += acc; acc = F(0); terms = 0; runs++;
if (runs == ${RUN}) { top += mid; mid = F(0); runs = 0; }
}
acc += ${value}; terms++;`;
}

const sumOf = ({ rounds }: Combination): string => (rounds ? "(top + (mid + acc))" : "acc");

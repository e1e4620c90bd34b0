import type { ReduceCall } from "@nf/core";
import type { Gpu } from "../device/gpu.ts";
import type { ShaderBuffer, ShaderSource } from "../device/shader.ts";
import { type Combination, combinationOf } from "./combine.ts";
import { type LineSpace, lineCoordinates, lineStart } from "./lines.ts";
import { FAULTS, printWgsl } from "./printer.ts";
import { accessViews, spaceNames } from "./views.ts";
import { loadWide, type WideLines } from "./wideLines.ts";

/** How a reduction is cut up. What is here is part of the shader. */
export interface ReduceCut {
  /** The dimension that is cut into parts, each of an invocation or work group of its own. */
  readonly split: number;
  /** Whether parts go to a scratch buffer of words, to be combined later. */
  readonly partial: boolean;
  /** The dimension along which a work group walks abreast, or -1 where one invocation does all. */
  readonly abreast: number;
}

/** Invocations of a work group. */
export const WORKGROUP = 64;
/**
 * Terms that are added one after the other, sums of such runs, and sums of those: four levels together, so that a sum of
 * 65,536 terms rounds some 80 times at most on the way of each. A run may begin with as many as it has.
 */
const RUN = 8;
const RUNS = 8;
const MORE_RUNS = 32;

/** Points that an invocation should at least have, for a line to be cut. */
const LEAST_PART = 128;
/** Points below which a software adapter has done with one dispatch before it would have begun a second. */
const LEAST_WORK = 16_384;
const ENOUGH_JOBS = 128;

/** How lines are cut up on this adapter: into parts where there are few, and walked abreast where that reads neighbours. */
export function cutLines(
  gpu: Gpu,
  space: LineSpace,
  inputs: number,
  wide = false,
): { readonly cut: ReduceCut; readonly parts: number } {
  const { kept, shape, lines, length } = space;
  let split = kept;
  for (let axis = kept; axis < shape.length; axis++) if (shape[axis] > shape[split]) split = axis;
  // Long runs along the innermost dimension stay whole where another gives parts enough.
  const outer = shape.findIndex((size, axis) => axis >= kept && size * lines >= ENOUGH_JOBS);
  if (outer >= 0 && outer < shape.length - 1) split = outer;
  const whole: ReduceCut = { split, partial: false, abreast: -1 };
  if (kept === shape.length) return { cut: whole, parts: 1 };
  const software = gpu.adapterClass === "software";
  const last = shape.length - 1;
  // Neighbouring invocations should read neighbouring elements: along the line, unless lines lie side by side.
  const along = space.strides.slice(0, inputs).some((strides) => Math.abs(strides[last]) === 1);
  const abreast =
    !software && along && length >= 2 * WORKGROUP ? (shape[last] >= WORKGROUP / 2 ? last : split) : -1;
  const wanted = software ? 512 : abreast >= 0 ? 512 : 16_384;
  const alone = wide ? LEAST_PART / 4 : LEAST_PART;
  const least = abreast >= 0 ? alone * WORKGROUP : alone;
  const most = Math.min(Math.floor(length / least), shape[split]);
  const parts = Math.min(Math.floor(wanted / lines), most);
  const room = gpu.device.limits.maxStorageBuffersPerShaderStage - 2;
  // A second dispatch takes a software adapter as long as some thousand points.
  const small = software && lines * length < (wide ? LEAST_WORK / 2 : LEAST_WORK);
  if (parts < 2 || small || inputs > room) return { cut: { ...whole, abreast }, parts: 1 };
  // Parts of equal length, none of them empty.
  const chunk = Math.ceil(shape[split] / parts);
  return { cut: { split, partial: true, abreast }, parts: Math.ceil(shape[split] / chunk) };
}

/** Coordinates of a point in a space, where the program has some. */
const coordinate = (space: LineSpace, program: ReduceCall["program"], axis: number): string => {
  const dimension = space.dimensions[program.coordinates.indexOf(axis)];
  return dimension < 0 ? "I(0)" : `I(c${dimension})`;
};

/** The shader of one cut. Geometry: see {@link reduceNames}. */
export function reduceSource(
  call: ReduceCall,
  space: LineSpace,
  cut: ReduceCut,
  checks: boolean,
  wide?: WideLines,
): ShaderSource {
  const { program, inputs, outputs, attributes } = call;
  const { kept } = space;
  const rank = space.shape.length;
  const bound = cut.partial ? distinct(call) : call.buffers;
  const viewed = cut.partial ? { buffers: bound, inputs, outputs: [] } : { buffers: bound, inputs, outputs };
  const access = accessViews(viewed, checks);
  const named = (view: number): string => `b${bound.indexOf(inputs[view].buffer)}`;
  const read = new Set(wide === undefined ? [] : inputs.map((_, view) => named(view)));
  const buffers = access.buffers.map(
    (buffer): ShaderBuffer => (read.has(buffer.name) ? { ...buffer, type: "vec4<u32>" } : buffer),
  );
  if (cut.partial) buffers.push({ name: "parts", type: "u32", access: "write" });
  const sums = program.results.map(({ dtype }, k) => combinationOf(attributes.kinds[k], dtype));
  const rounds = sums.some((sum) => sum.rounds);
  const point = printWgsl(program, {
    load: (index) =>
      wide === undefined ? access.load(index, `x${index}`) : loadWide(call, wide, index, named(index)),
    coordinate: (axis) => coordinate(space, program, axis),
    store: (k, value) => `acc${k} = ${sums[k].combine(`acc${k}`, value)};`,
  });
  const grouped = cut.abreast >= 0;
  const lines: string[] = [
    grouped ? "let job = i32(group);" : "let job = i32(invocation);",
    "if (job >= geometry.count) { return; }",
    "let line = job % geometry.lines;",
    "let part = job / geometry.lines;",
    lineCoordinates(kept, "line"),
    ...inputs.map((_, view) => `let start${view} = ${lineStart(kept, view)};`),
    ...sums.map(({ type, start }, k) => `var acc${k}: ${type} = ${start};`),
    ...sums.flatMap((sum, k) =>
      sum.rounds
        ? [
            `var mid${k}: ${sum.type} = ${sum.start}; var high${k}: ${sum.type} = ${sum.start}; var top${k}: ${sum.type} = ${sum.start};`,
          ]
        : [],
    ),
    ...(rounds ? ["var terms = 0; var runs = 0; var moreRuns = 0;"] : []),
    walk(space, cut, [...inputs.keys()], point, rounds ? settle(sums) : undefined),
    ...sums.flatMap((sum, k) =>
      sum.rounds ? [`acc${k} = top${k} + (high${k} + (mid${k} + acc${k}));`] : [],
    ),
  ];
  const declarations: string[] = [];
  if (grouped) {
    sums.forEach(({ type }, k) => {
      declarations.push(`var<workgroup> shared${k}: array<${type}, ${WORKGROUP}>;`);
    });
    lines.push(together(sums));
  }
  // Of a vector of one line all are combined; of four lines each has its own place.
  const each = wide !== undefined && wide.axis < kept ? [0, 1, 2, 3] : [0];
  const result = (k: number, one: number): string => (wide === undefined ? `acc${k}` : `acc${k}[${one}]`);
  if (wide !== undefined && each.length === 1) lines.push(...sums.map(across));
  outputs.forEach((_, k) => {
    if (!cut.partial) lines.push(`let line${k} = ${lineStart(kept, inputs.length + k)};`);
    for (const one of each) {
      const value = result(k, one);
      if (cut.partial) {
        const word = sums[k].type === "B" ? `select(0u, 1u, ${value})` : `bitcast<u32>(${value})`;
        lines.push(`parts[${each.length} * (${k} * geometry.count + job) + ${one}] = ${word};`);
      } else {
        const step = one === 0 ? "" : ` + ${one} * (geometry.s${inputs.length + k}_${kept - 1} >> 2u)`;
        lines.push(`{ let at = line${k}${step};`, access.store(k, "at", value), "}");
      }
    }
  });
  return {
    label: `reduce ${attributes.kinds.join(" ")} ${program.name}`,
    buffers: orderFaults(buffers),
    geometry: reduceNames(rank, inputs.length + outputs.length),
    params: program.params,
    workgroup: WORKGROUP,
    width: wide === undefined ? 1 : 4,
    declarations: declarations.join("\n"),
    body: lines.join("\n"),
  };
}

/** Combines the four numbers of a vector. */
function across({ combine }: Combination, k: number): string {
  const name = `acc${k}`;
  return `${name} = ${combine(name, `${name}.zwxy`)}; ${name} = ${combine(name, `${name}.yxwz`)};`;
}

/** Names of the geometry: how many jobs and lines there are, and how long a part of the split dimension is. */
export function reduceNames(rank: number, views: number): readonly string[] {
  return ["count", "lines", "chunk", ...spaceNames(rank, views)];
}

/** The buffers that a call reads. */
export function distinct({ inputs }: Pick<ReduceCall, "inputs">): ReduceCall["buffers"] {
  return [...new Set(inputs.map(({ buffer }) => buffer))];
}

/** The word for faults comes last. */
function orderFaults(buffers: readonly ShaderBuffer[]): readonly ShaderBuffer[] {
  return [...buffers].sort((a, b) => Number(a.name === FAULTS) - Number(b.name === FAULTS));
}

/**
 * Loops over the points of a part of a line: `start0`, … is where views begin, `x0`, … where they are at a point.
 *
 * @param settled what to do after a run of terms, counted in `terms`
 */
export function walk(
  { shape, kept }: LineSpace,
  { split, abreast }: ReduceCut,
  views: readonly number[],
  body: string,
  settled?: string,
): string {
  const rank = shape.length;
  const place = (axis: number): string => {
    const before =
      axis === kept ? (view: number) => `start${view}` : (view: number) => `x${view}_${axis - 1}`;
    const name = axis === rank - 1 ? (view: number) => `x${view}` : (view: number) => `x${view}_${axis}`;
    return views
      .map((view) => `let ${name(view)} = ${before(view)} + c${axis} * geometry.s${view}_${axis};`)
      .join("\n");
  };
  if (kept === rank) return `${views.map((view) => `let x${view} = start${view};`).join(" ")}\n${body}`;
  let text = "";
  for (let axis = rank - 1; axis >= kept; axis--) {
    const cut = axis === split;
    const from = `${cut ? "part * geometry.chunk" : "0"}${axis === abreast ? " + i32(lane)" : ""}`;
    const to = cut ? `min((part + 1) * geometry.chunk, geometry.n${axis})` : `geometry.n${axis}`;
    const step = axis === abreast ? WORKGROUP : 1;
    const count = axis < rank - 1 || settled === undefined;
    if (count) {
      const inner = axis === rank - 1 ? body : text;
      text = `{ let to${axis} = ${to};
for (var c${axis} = ${from}; c${axis} < to${axis}; c${axis} += ${step}) {
${place(axis)}
${inner}
} }`;
      continue;
    }
    text = `{ let to${axis} = ${to};
for (var first = ${from}; first < to${axis}; first += ${RUN * step}) {
let last = min(first + ${RUN * step}, to${axis});
for (var c${axis} = first; c${axis} < last; c${axis} += ${step}) {
${place(axis)}
${body}
}
terms += ${step === 1 ? "last - first" : `(last - first + ${step - 1}) / ${step}`};
${settled}
} }`;
  }
  return text;
}

/** Takes a run of terms into the next level. */
function settle(sums: readonly Combination[]): string {
  const rounding = sums.flatMap((sum, k) => (sum.rounds ? [k] : []));
  const zero = (name: string): string => rounding.map((k) => `${name}${k} = F(0);`).join(" ");
  return `if (terms >= ${RUN}) {
terms = 0; runs++;
${rounding.map((k) => `mid${k} += acc${k};`).join(" ")} ${zero("acc")}
if (runs >= ${RUNS}) {
runs = 0; moreRuns++;
${rounding.map((k) => `high${k} += mid${k};`).join(" ")} ${zero("mid")}
if (moreRuns >= ${MORE_RUNS}) { moreRuns = 0; ${rounding.map((k) => `top${k} += high${k};`).join(" ")} ${zero("high")} }
}
}`;
}

/** Combines what the invocations of a work group have, in a tree; the first has the result and goes on. */
function together(sums: readonly Combination[]): string {
  const lines = sums.map((_, k) => `shared${k}[lane] = acc${k};`);
  lines.push(`for (var half = ${WORKGROUP / 2}u; half > 0u; half = half >> 1u) {`, "workgroupBarrier();");
  lines.push("if (lane < half) {");
  sums.forEach((sum, k) => {
    lines.push(`shared${k}[lane] = ${sum.combine(`shared${k}[lane]`, `shared${k}[lane + half]`)};`);
  });
  lines.push("}", "}", "if (lane > 0u) { return; }");
  lines.push(...sums.map((_, k) => `acc${k} = shared${k}[0];`));
  return lines.join("\n");
}

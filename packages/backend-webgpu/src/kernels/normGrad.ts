import type { NormCall, View } from "@nf/core";
import { own } from "../context.ts";
import type { Gpu } from "../device/gpu.ts";
import { type Part, Rows } from "../wgsl/rows.ts";
import type { Viewed } from "../wgsl/views.ts";

/*
 * With x̂ = (x - mean) inverse and h = g weight: the gradient of x is inverse (h - mean(h) - x̂ mean(h x̂)), without
 * mean(h) for RMS norm; of weight Σ g x̂ and of bias Σ g over the rows, which is a dispatch of its own.
 */

/** Inputs of both: gradient of y, x, inverse deviation, mean where centered. */
const GRADIENT = 0;
const X = 1;
const INVERSE = 2;
const MEAN = 3;

/** `norm` backward. */
export function runNormGrad(gpu: Gpu, call: NormCall): void {
  const { centered, weight, bias } = call.attributes;
  const [dx, ...sums] = call.outputs;
  const parts: Part[] = ["row", "row", "one"];
  if (centered) parts.push("one");
  const lines = parts.length;
  if (weight) parts.push("line");
  run(gpu, call, part(call, call.inputs, [dx]), [...parts, "row"], "normGrad x", rowText);
  if (!weight && !bias) return;
  const inputs = call.inputs.slice(0, lines);
  const all: Part[] = [...parts.slice(0, lines), ...sums.map((): Part => "line")];
  const viewed = part(call, inputs, sums);
  const rows = new Rows(viewed, all, gpu.adapterClass);
  const columns = gpu.adapterClass === "software" ? 8 : 16;
  const slices = gpu.adapterClass === "software" ? 2 : 16;
  const key = `normGrad weight ${centered} ${weight} ${bias} ${rows.key}`;
  const shader = gpu.shader(key, () => columnSource(rows, call, columns, slices));
  const groups = Math.ceil(rows.numbers[1] / columns);
  gpu.dispatch(shader, own(viewed.buffers), rows.numbers, [], groups);
}

function run(
  gpu: Gpu,
  call: NormCall,
  viewed: Viewed,
  parts: readonly Part[],
  label: string,
  text: (rows: Rows, call: NormCall) => string,
): void {
  const { centered, weight } = call.attributes;
  const rows = new Rows(viewed, parts, gpu.adapterClass);
  const shader = gpu.shader(`${label} ${centered} ${weight} ${rows.key}`, () =>
    rows.source(label, [], text(rows, call)),
  );
  gpu.dispatch(shader, own(viewed.buffers), rows.numbers, [], rows.groups);
}

/** Some of a call's views, with the buffers that they lie in. */
function part({ buffers }: NormCall, inputs: readonly View[], outputs: readonly View[]): Viewed {
  const used = new Set([...inputs, ...outputs].map(({ buffer }) => buffer));
  return { buffers: buffers.filter((buffer) => used.has(buffer)), inputs, outputs };
}

const normalized = (rows: Rows, centered: boolean): string =>
  `${centered ? `(${rows.load(X)} - F(mean))` : rows.load(X)} * F(inverse)`;

function statistics(rows: Rows, centered: boolean): string {
  return `let inverse = ${rows.loadOne(INVERSE)};
${centered ? `let mean = ${rows.loadOne(MEAN)};` : ""}`;
}

function rowText(rows: Rows, { attributes: { centered, weight } }: NormCall): string {
  const element = `let n = ${normalized(rows, centered)};
let h = ${rows.load(GRADIENT)}${weight ? ` * ${rows.load(centered ? 4 : 3)}` : ""};`;
  const terms = { along: "h * n", ...(centered && { level: "h" }) };
  return `let width = f32(geometry.width);
${statistics(rows, centered)}
${rows.sums(terms, element)}
${rows.each(`${element}
${rows.store(0, `F(inverse) * (h - n * F(along / width)${centered ? " - F(level / width)" : ""})`)}`)}`;
}

/** A work group adds up a few columns, its slices every so many rows of them. */
function columnSource(
  rows: Rows,
  { attributes: { centered, weight, bias } }: NormCall,
  columns: number,
  slices: number,
): ReturnType<Rows["frame"]> {
  const sums = [...(weight ? ["weight"] : []), ...(bias ? ["bias"] : [])];
  const terms: Readonly<Record<string, string>> = { weight: "g * n", bias: "g" };
  const each = (text: (name: string, index: number) => string): string => sums.map(text).join("\n");
  return rows.frame({
    label: "normGrad weight",
    params: [],
    workgroup: columns * slices,
    declarations: each((name) => `var<workgroup> ${name}s: array<F, ${columns * slices}>;`),
    body: `let i = i32(group) * ${columns} + i32(lane) % ${columns};
let slice = i32(lane) / ${columns};
let inside = i < geometry.count;
${each((name) => `var ${name} = F(0.0);`)}
if (inside) {
  for (var b = slice; b < geometry.rows; b += ${64 * slices}) {
    let end = min(b + ${64 * slices}, geometry.rows);
    ${each((name) => `var some_${name} = F(0.0);`)}
    for (var row = b; row < end; row += ${slices}) {
      ${rows.place()}
      ${weight ? statistics(rows, centered) : ""}
      let g = ${rows.load(GRADIENT)};
      ${weight ? `let n = ${normalized(rows, centered)};` : ""}
      ${each((name) => `some_${name} += ${terms[name]};`)}
    }
    ${each((name) => `${name} += some_${name};`)}
  }
}
${each((name) => `${name}s[lane] = ${name};`)}
workgroupBarrier();
for (var half = ${(columns * slices) / 2}u; half >= ${columns}u; half = half >> 1u) {
  if (lane < half) { ${each((name) => `${name}s[lane] += ${name}s[lane + half];`)} }
  workgroupBarrier();
}
let live = inside && slice == 0;
let row = 0;
${rows.place()}
${each((name, index) => rows.store(index, `${name}s[lane]`))}`,
  });
}

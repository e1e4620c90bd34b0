import { own } from "../context.ts";
import type { Gpu } from "../device/gpu.ts";
import type { ShaderSource } from "../device/shader.ts";
import { coordinatesOf, indexOf, viewsKey } from "../wgsl/views.ts";
import {
  isRounded,
  type Plan,
  type PlanAccess,
  planAccess,
  planKey,
  planNames,
  planNumbers,
  sumType,
} from "./matmulPlan.ts";
import { axesOf } from "./windows.ts";

/*
 * A product for GPUs: a work group of 16 x 16 invocations copies a slice of both operands to shared memory, four elements
 * an invocation, and each invocation multiplies its tile from there.
 */

const SIDE = 16;
const LANES = SIDE * SIDE;
/** Longest sum of rounded numbers that is added one after the other: parts cost registers. */
const LONGEST_SUM = 1_024;

/** Runs a product by tiles of 4 x 4 or 8 x 8 elements an invocation. */
export function runShared(gpu: Gpu, plan: Plan, side: 4 | 8): void {
  const parts = isRounded(plan) && plan.depth > LONGEST_SUM;
  // Whether neighbouring invocations read along the depth, so that they meet neighbouring elements.
  const alongA = Math.abs(plan.views[0]?.strides.at(-1) ?? 0) === 1;
  const alongB = Math.abs(plan.views[1]?.strides.at(-2) ?? 0) === 1;
  const key = `matmulShared ${side} ${parts} ${alongA} ${alongB} ${planKey(plan)} ${viewsKey(plan.call)}`;
  const shader = gpu.shader(key, () => source(plan, side, parts, [alongA, alongB]));
  const across = Math.ceil(plan.columns / (SIDE * side));
  const down = Math.ceil(plan.rows / (SIDE * side));
  const geometry = [across, down, ...planNumbers(plan)];
  gpu.dispatch(shader, own(plan.call.buffers), geometry, plan.call.params, across * down * plan.batches);
}

function source(plan: Plan, side: 4 | 8, parts: boolean, along: readonly [boolean, boolean]): ShaderSource {
  const access = planAccess(plan);
  const type = sumType(plan);
  const rank = plan.batch.shape.length;
  // Vectors of four lines of a slice, and its depth: one vector of each operand an invocation.
  const vectors = (SIDE * side) / 4;
  const slice = LANES / vectors;
  const row = vectors + 1;
  const fours = side / 4;
  const sums = axesOf(side).flatMap((i) => axesOf(fours).map((j) => `${i}_${j}`));
  const all = (text: (sum: string) => string): string => sums.map(text).join(" ");
  const name = parts ? "total" : "sum";
  const point = plan.batch.shape.map((_, axis) => `c${axis}, `).join("");
  return {
    label: `matmul ${plan.call.program?.name ?? ""}`,
    buffers: access.buffers,
    geometry: ["across", "down", ...planNames(plan)],
    params: plan.call.program?.params ?? [],
    workgroup: LANES,
    declarations: `${access.finish}
var<workgroup> left: array<vec4<${type}>, ${slice * row}>;
var<workgroup> right: array<vec4<${type}>, ${slice * row}>;`,
    body: `let line = i32(group) / geometry.across;
let batch = line / geometry.down;
if (batch >= geometry.batches) { return; }
let top = (line % geometry.down) * ${SIDE * side};
let side = (i32(group) % geometry.across) * ${SIDE * side};
let x = i32(lane % ${SIDE}u);
let y = i32(lane / ${SIDE}u);
${coordinatesOf(rank, "batch")}
let a = ${indexOf(rank, 0)};
let b = ${indexOf(rank, 1)};
${place(0, along[0], vectors, slice)}
${place(1, along[1], vectors, slice)}
${all((s) => `var sum${s} = vec4<${type}>();`)}
${parts ? all((s) => `var total${s} = vec4<${type}>();`) : ""}
for (var k0 = 0; k0 < geometry.depth; k0 += ${slice}) {
workgroupBarrier();
${fill(plan, access, 0, `left[depth0 * ${row} + line0]`)}
${fill(plan, access, 1, `right[depth1 * ${row} + line1]`)}
workgroupBarrier();
for (var k = 0; k < ${slice}; k++) {
${axesOf(fours)
  .map(
    (j) => `let p${j} = left[k * ${row} + y + ${SIDE * j}]; let q${j} = right[k * ${row} + x + ${SIDE * j}];`,
  )
  .join("\n")}
${axesOf(side)
  .flatMap((i) => axesOf(fours).map((j) => `sum${i}_${j} += p${i >> 2}[${i & 3}] * q${j};`))
  .join("\n")}
}
${
  parts
    ? `if ((k0 + ${slice}) % ${LONGEST_SUM} == 0 || k0 + ${slice} >= geometry.depth) { ${all((s) => `total${s} += sum${s}; sum${s} = vec4<${type}>();`)} }`
    : ""
}
}
var tile = array(${sums.map((s) => `${name}${s}`).join(", ")});
for (var i = 0; i < ${side}; i++) {
let row = top + (y + ${SIDE} * (i >> 2u)) * 4 + (i & 3);
for (var j = 0; j < ${fours}; j++) {
let column = side + (x + ${SIDE} * j) * 4;
if (row >= geometry.rows) { continue; }
${
  plan.wideOut
    ? `if (column < geometry.columns) { finish(${point}row, column, tile[i * ${fours} + j]); }`
    : `for (var n = 0; n < min(4, geometry.columns - column); n++) { finish(${point}row, column + n, tile[i * ${fours} + j][n]); }`
}
}
}`,
  };
}

/** Which vector of an operand's slice an invocation copies: `line0` counts four lines, `depth0` the depth. */
function place(operand: 0 | 1, along: boolean, vectors: number, slice: number): string {
  const [line, depth] = along
    ? [`lane / ${slice}u`, `lane % ${slice}u`]
    : [`lane % ${vectors}u`, `lane / ${vectors}u`];
  const [first, count] = operand === 0 ? ["top", "rows"] : ["side", "columns"];
  return `let line${operand} = i32(${line});
let depth${operand} = i32(${depth});
let first${operand} = ${first} + 4 * line${operand};
let count${operand} = geometry.${count};`;
}

/** Copies four lines at one depth; 0 beyond the depth. What lies beyond the lines is never stored. */
function fill(plan: Plan, access: PlanAccess, operand: 0 | 1, to: string): string {
  const { a, b } = plan;
  const type = sumType(plan);
  const base = operand === 0 ? "a" : "b";
  const [byLine, byDepth] = operand === 0 ? ["geometry.r0", "geometry.c0"] : ["geometry.c1", "geometry.r1"];
  const layout = operand === 0 ? a : b;
  const depth = `(k0 + depth${operand})`;
  const four =
    layout === "across"
      ? access.load(operand, `${base} + min(first${operand}, count${operand} - 4) + ${depth} * ${byDepth}`)
      : null;
  const single = (n: number): string => {
    const line = `min(first${operand} + ${n}, count${operand} - 1) * ${byLine}`;
    const at = `(${base} + ${line} + ${depth} * ${byDepth})`;
    return layout === "depth" ? `${access.load(operand, at)}[u32(${at}) & 3u]` : access.load(operand, at);
  };
  return `if (${depth} < geometry.depth) { ${to} = ${four ?? `vec4<${type}>(${axesOf(4).map(single).join(", ")})`}; } else { ${to} = vec4<${type}>(); }`;
}

import { own } from "../context.ts";
import type { Gpu } from "../device/gpu.ts";
import type { ShaderSource } from "../device/shader.ts";
import { coordinatesOf, indexOf, viewsKey } from "../wgsl/views.ts";
import { type Plan, planAccess, planKey, planNames, planNumbers, sumType } from "./matmulPlan.ts";

/*
 * Products of few elements and much depth, as of a matrix and a vector: several invocations share each element, every one
 * with a part of the depth, and add up in a tree.
 */

const WORKGROUP = 64;
/** Terms that are added one after the other. */
const LONGEST_SUM = 64;

/** Runs a product with `split` invocations an element, a power of two up to 64. */
export function runDots(gpu: Gpu, plan: Plan, split: number): void {
  const layout = plan.a === "depth" && plan.b === "depth" ? "depth" : "single";
  const single: Plan = { ...plan, a: layout, b: layout, wideOut: false };
  const key = `matmulDots ${split} ${planKey(single)} ${viewsKey(plan.call)}`;
  const shader = gpu.shader(key, () => source(single, split));
  const elements = plan.rows * plan.columns * plan.batches;
  const geometry = [elements, ...planNumbers(single)];
  const groups = Math.ceil(elements / (WORKGROUP / split));
  gpu.dispatch(shader, own(plan.call.buffers), geometry, plan.call.params, groups);
}

function source(plan: Plan, split: number): ShaderSource {
  const access = planAccess(plan);
  const type = sumType(plan);
  const rank = plan.batch.shape.length;
  const wide = plan.a === "depth";
  const value = wide ? `vec4<${type}>` : type;
  const step = wide ? 4 : 1;
  const point = plan.batch.shape.map((_, axis) => `c${axis}, `).join("");
  return {
    label: `matmul ${plan.call.program?.name ?? ""}`,
    buffers: access.buffers,
    geometry: ["elements", ...planNames(plan)],
    params: plan.call.program?.params ?? [],
    workgroup: WORKGROUP,
    declarations: `${access.finish}\nvar<workgroup> shares: array<${type}, ${WORKGROUP}>;`,
    body: `let element = i32(group) * ${WORKGROUP / split} + i32(lane / ${split}u);
let share = i32(lane % ${split}u);
let inside = min(element, geometry.elements - 1);
let column = inside % geometry.columns;
let line = inside / geometry.columns;
let row = line % geometry.rows;
let batch = line / geometry.rows;
${coordinatesOf(rank, "batch")}
let a = ${indexOf(rank, 0)} + row * geometry.r0;
let b = ${indexOf(rank, 1)} + column * geometry.c1;
var total = ${value}();
for (var first = share * ${step}; first < geometry.depth; first += ${LONGEST_SUM * split * step}) {
var sum = ${value}();
for (var k = first; k < min(first + ${LONGEST_SUM * split * step}, geometry.depth); k += ${split * step}) {
sum += ${access.load(0, "(a + k * geometry.c0)")} * ${access.load(1, "(b + k * geometry.r1)")};
}
total += sum;
}
shares[lane] = ${wide ? "(total.x + total.y) + (total.z + total.w)" : "total"};
for (var half = ${split / 2}u; half > 0u; half = half / 2u) {
workgroupBarrier();
if (lane % ${split}u < half) { shares[lane] += shares[lane + half]; }
}
if (share == 0 && element < geometry.elements) { finish(${point}row, column, shares[lane]); }`,
  };
}

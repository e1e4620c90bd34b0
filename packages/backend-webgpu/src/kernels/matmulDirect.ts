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

/*
 * A product without shared memory: each invocation holds a tile of the result in registers and walks the depth, whatever
 * views there are. For small products, and for software adapters without subgroups.
 */

/** Shape of a kernel: rows and columns (whole vectors) of an invocation's tile, and invocations of a work group. */
export interface DirectShape {
  readonly rows: number;
  readonly columns: number;
  readonly lanesDown: number;
  readonly lanesAcross: number;
}

/** Longest sum of rounded numbers that is added one after the other. */
const LONGEST_SUM = 256;

/** Runs a product by tiles of a shape. */
export function runDirect(gpu: Gpu, given: Plan, shape: DirectShape): void {
  // Element by element: a vector of four costs a software adapter four reads too, and its shaders compile slowly.
  const plan: Plan = { ...given, a: "single", b: "single" };
  const parts = isRounded(plan) && plan.depth > LONGEST_SUM;
  const { rows, columns, lanesDown, lanesAcross } = shape;
  const key = `matmul ${rows} ${columns} ${lanesDown} ${lanesAcross} ${parts} ${planKey(plan)} ${viewsKey(plan.call)}`;
  const shader = gpu.shader(key, () => source(plan, shape, parts));
  const across = Math.ceil(plan.columns / (columns * lanesAcross));
  const down = Math.ceil(plan.rows / (rows * lanesDown));
  gpu.dispatch(
    shader,
    own(plan.call.buffers),
    [across, down, ...planNumbers(plan)],
    plan.call.params,
    across * down * plan.batches,
  );
}

const upTo = (count: number): number[] => Array.from({ length: count }, (_, i) => i);

function source(plan: Plan, shape: DirectShape, parts: boolean): ShaderSource {
  const { lanesAcross, lanesDown } = shape;
  const access = planAccess(plan);
  const rank = plan.batch.shape.length;
  const vectors = shape.columns / 4;
  const type = sumType(plan);
  const sums = upTo(shape.rows).flatMap((i) => upTo(vectors).map((j) => `${i}_${j}`));
  const declare = (name: string): string => sums.map((s) => `var ${name}${s} = vec4<${type}>();`).join(" ");
  const inner = depthLoop(plan, shape, access);
  const work = parts
    ? `${declare("total")}
for (var first = 0; first < geometry.depth; first += ${LONGEST_SUM}) {
let end = min(first + ${LONGEST_SUM}, geometry.depth);
${declare("sum")}
${inner}
${sums.map((s) => `total${s} += sum${s};`).join(" ")}
}`
    : `let first = 0;
let end = geometry.depth;
${declare("sum")}
${inner}`;
  return {
    label: `matmul ${plan.call.program?.name ?? ""}`,
    buffers: access.buffers,
    geometry: ["across", "down", ...planNames(plan)],
    params: plan.call.program?.params ?? [],
    workgroup: lanesAcross * lanesDown,
    declarations: access.finish,
    body: `let line = i32(group) / geometry.across;
let batch = line / geometry.down;
let row = ((line % geometry.down) * ${lanesDown}${lanesDown === 1 ? "" : ` + i32(lane / ${lanesAcross}u)`}) * ${shape.rows};
let column = ((i32(group) % geometry.across) * ${lanesAcross} + i32(lane % ${lanesAcross}u)) * ${shape.columns};
if (batch >= geometry.batches || row >= geometry.rows || column >= geometry.columns) { return; }
${coordinatesOf(rank, "batch")}
let a = ${indexOf(rank, 0)};
let b = ${indexOf(rank, 1)};
${places(shape)}
${work}
${stores(plan, shape, parts ? "total" : "sum")}`,
  };
}

/** Where each line of the operands begins; lines beyond the end are read as the last one, and not stored. */
function places({ rows, columns }: DirectShape): string {
  const lines: string[] = [];
  for (const i of upTo(rows)) lines.push(`let l${i} = a + min(row + ${i}, geometry.rows - 1) * geometry.r0;`);
  for (const j of upTo(columns))
    lines.push(`let r${j} = b + min(column + ${j}, geometry.columns - 1) * geometry.c1;`);
  return lines.join("\n");
}

/** The loop over the depth from `first` to `end`. */
function depthLoop(plan: Plan, { rows, columns }: DirectShape, access: PlanAccess): string {
  const type = sumType(plan);
  const lines: string[] = [];
  for (let j = 0; j < columns; j += 4) {
    const four = [0, 1, 2, 3].map((n) => access.load(1, `(r${j + n} + k * geometry.r1)`));
    lines.push(`let q${j >> 2} = vec4<${type}>(${four.join(", ")});`);
  }
  for (const i of upTo(rows)) {
    lines.push(`let p${i} = ${access.load(0, `(l${i} + k * geometry.c0)`)};`);
    for (const j of upTo(columns / 4)) lines.push(`sum${i}_${j} += p${i} * q${j};`);
  }
  return `for (var k = first; k < end; k++) {\n${lines.join("\n")}\n}`;
}

/** Stores a tile. Its sums are copied to where a loop reaches them: programs are printed once, not for each. */
function stores({ batch, wideOut }: Plan, { rows, columns }: DirectShape, name: string): string {
  const vectors = columns / 4;
  const point = batch.shape.map((_, axis) => `c${axis}, `).join("");
  const all = upTo(rows).flatMap((i) => upTo(vectors).map((j) => `${name}${i}_${j}`));
  if (wideOut) {
    return all
      .map((sum, n) => {
        const [i, j] = [Math.floor(n / vectors), 4 * (n % vectors)];
        return `if (row + ${i} < geometry.rows && column + ${j} < geometry.columns) { finish(${point}row + ${i}, column + ${j}, ${sum}); }`;
      })
      .join("\n");
  }
  return `var tile = array(${all.join(", ")});
for (var i = 0; i < min(${rows}, geometry.rows - row); i++) {
for (var j = 0; j < min(${columns}, geometry.columns - column); j++) {
finish(${point}row + i, column + j, tile[i * ${vectors} + (j >> 2u)][j & 3]);
}
}`;
}

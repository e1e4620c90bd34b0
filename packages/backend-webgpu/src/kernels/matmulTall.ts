import { own } from "../context.ts";
import type { Gpu } from "../device/gpu.ts";
import type { ShaderSource } from "../device/shader.ts";
import { coordinatesOf, indexOf, viewsKey } from "../wgsl/views.ts";
import { type Plan, planAccess, planKey, planNames, planNumbers, sumType } from "./matmulPlan.ts";

/*
 * Products on software adapters with subgroups. They run the invocations of a subgroup as numbers of one vector, and an
 * element read costs a branch for each of them, wherever it lies: some thirty times as much as to multiply and add. So a
 * subgroup reads lines of one operand side by side, one an invocation, and hands them around by broadcasts; of the other
 * operand each invocation has some lines of its own.
 */

/** Lines that a subgroup shares, where there are few and else, and lines that an invocation has for itself. */
const FEW = 4;
const MANY = 16;
const OWN = 4;
/** What a read costs, in products. */
const READ = 30;
/** Places along the depth between two writes of a sum: each write is masked, which costs as much as a product. */
const TOGETHER = 2;
/** Longest sum that is added one after the other. */
const LONGEST_SUM = 256;

/**
 * Runs a product by subgroups that share rows of the left operand, or columns of the right one.
 *
 * @param side which of both; where it is left out, the one that costs less
 */
export function runTall(gpu: Gpu, given: Plan, side?: "left" | "right"): void {
  const plan: Plan = { ...given, a: "single", b: "single", wideOut: false };
  const lanes = gpu.subgroupSize;
  const { rows, columns, batches } = plan;
  const left = tilesOf(true, rows, columns, lanes);
  const right = tilesOf(false, columns, rows, lanes);
  const cheaper = left.cost <= right.cost ? "left" : "right";
  const { across, down, ...shape } = (side ?? cheaper) === "left" ? left : right;
  const key = `matmulTall ${shape.left} ${shape.lines} ${planKey(plan)} ${viewsKey(plan.call)}`;
  const shader = gpu.shader(key, () => source(plan, shape, lanes));
  const geometry = [across, down, ...planNumbers(plan)];
  gpu.dispatch(shader, own(plan.call.buffers), geometry, plan.call.params, across * down * batches);
}

interface Shape {
  /** Whether rows of the left operand are shared, or columns of the right one. */
  readonly left: boolean;
  /** How many lines are. */
  readonly lines: number;
}

interface Tiles extends Shape {
  readonly across: number;
  readonly down: number;
  readonly cost: number;
}

/** How lines that are shared and others fall into tiles. */
function tilesOf(left: boolean, shared: number, others: number, lanes: number): Tiles {
  const lines = shared <= FEW ? FEW : MANY;
  const across = Math.ceil(others / (OWN * lanes));
  const down = Math.ceil(shared / lines);
  const cost = across * down * (READ * (Math.ceil(lines / lanes) + OWN) + lines * OWN);
  return { left, lines, across, down, cost };
}

const upTo = (count: number): number[] => Array.from({ length: count }, (_, i) => i);

/** An operand in text: its number, its steps from line to line and along the depth, and how many lines it has. */
interface Side {
  readonly operand: 0 | 1;
  readonly line: string;
  readonly depth: string;
  readonly lines: string;
}
const LEFT: Side = { operand: 0, line: "geometry.r0", depth: "geometry.c0", lines: "geometry.rows" };
const RIGHT: Side = { operand: 1, line: "geometry.c1", depth: "geometry.r1", lines: "geometry.columns" };

function source(plan: Plan, { left, lines }: Shape, lanes: number): ShaderSource {
  const access = planAccess(plan);
  const rank = plan.batch.shape.length;
  const type = sumType(plan);
  const [shared, other] = left ? [LEFT, RIGHT] : [RIGHT, LEFT];
  // What the subgroup reads at once.
  const reads = upTo(Math.ceil(lines / lanes));
  const [is, js, ds] = [upTo(lines), upTo(OWN), upTo(TOGETHER)];
  const sums = is.flatMap((i) => js.map((j) => `sum${i}_${j}`));
  const load = ({ operand, depth }: Side, from: string, d: number): string => {
    const value = access.load(operand, `(${from} + min(k + ${d}, end - 1) * ${depth})`);
    return d === 0 ? value : `select(${type}(), ${value}, k + ${d} < end)`;
  };
  const step = [
    ...ds.flatMap((d) => [
      ...reads.map((n) => `let h${d}_${n} = ${load(shared, `s${n}`, d)};`),
      ...js.map((j) => `let q${d}_${j} = ${load(other, `o${j}`, d)};`),
      ...is.map((i) => `let p${d}_${i} = subgroupBroadcast(h${d}_${Math.floor(i / lanes)}, ${i % lanes}u);`),
    ]),
    ...is.flatMap((i) =>
      js.map((j) => `sum${i}_${j} += ${ds.map((d) => `p${d}_${i} * q${d}_${j}`).join(" + ")};`),
    ),
  ];
  const point = plan.batch.shape.map((_, axis) => `c${axis}, `).join("");
  return {
    label: `matmul ${plan.call.program?.name ?? ""}`,
    buffers: access.buffers,
    geometry: ["across", "down", ...planNames(plan)],
    params: plan.call.program?.params ?? [],
    workgroup: lanes,
    subgroups: true,
    declarations: access.finish,
    // Lines beyond the end are read as the last one, and not stored.
    body: `let tiles = i32(group) / geometry.across;
let batch = tiles / geometry.down;
if (batch >= geometry.batches) { return; }
let first = (tiles % geometry.down) * ${lines};
let begin = (i32(group) % geometry.across) * ${OWN * lanes} + i32(sublane);
${coordinatesOf(rank, "batch")}
let from0 = ${indexOf(rank, 0)};
let from1 = ${indexOf(rank, 1)};
${reads
  .map(
    (n) =>
      `let s${n} = from${shared.operand} + min(first + ${n * lanes} + i32(sublane), ${shared.lines} - 1) * ${shared.line};`,
  )
  .join("\n")}
${js
  .map(
    (j) =>
      `let o${j} = from${other.operand} + min(begin + ${j * lanes}, ${other.lines} - 1) * ${other.line};`,
  )
  .join("\n")}
var tile = array<${type}, ${sums.length}>();
for (var start = 0; start < geometry.depth; start += ${LONGEST_SUM}) {
let end = min(start + ${LONGEST_SUM}, geometry.depth);
${sums.map((sum) => `var ${sum} = ${type}();`).join(" ")}
for (var k = start; k < end; k += ${TOGETHER}) {
${step.join("\n")}
}
${sums.map((sum, n) => `tile[${n}] += ${sum};`).join(" ")}
}
for (var n = 0; n < min(${lines}, ${shared.lines} - first) * ${OWN}; n++) {
let i = first + n / ${OWN};
let j = begin + (n % ${OWN}) * ${lanes};
if (j < ${other.lines}) { finish(${point}${left ? "i, j" : "j, i"}, tile[n]); }
}`,
  };
}

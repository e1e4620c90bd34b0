import { DTYPES, type DType, type MatmulCall, type Support } from "@nf/core";
import type { Context, KernelEntry } from "../context.ts";
import type { Gpu } from "../device/gpu.ts";
import { computeDtype } from "../wgsl/access.ts";
import { hasChecks } from "../wgsl/printer.ts";
import { STORED } from "../wgsl/views.ts";
import { type DirectShape, runDirect } from "./matmulDirect.ts";
import { runDots } from "./matmulDots.ts";
import { planOf } from "./matmulPlan.ts";
import { runShared } from "./matmulShared.ts";
import { runTall } from "./matmulTall.ts";

/** Numbers; products of bool there are none. */
const NUMBERS: readonly DType[] = STORED.filter((dtype) => DTYPES[dtype].kind !== "bool");

/** The `matmul` kernel: tiles whose shape depends on the adapter and on the product. */
export function makeMatmul({ gpu }: Context): KernelEntry<MatmulCall> {
  return {
    dtypes: NUMBERS,
    run: (call) => run(gpu, call),
    supports,
  };
}

/** Products below which one shader does for all layouts: compiling costs more than it saves. */
const SMALL = 1 << 16;

function run(gpu: Gpu, call: MatmulCall): void {
  const plan = planOf(call);
  const { rows, columns, depth, batches } = plan;
  const elements = rows * columns * batches;
  const software = gpu.adapterClass === "software";
  // Too few elements to keep an adapter busy, or a matrix and a vector.
  const few = elements < (software ? 64 : 4_096) && depth >= 256;
  if (few || (!software && Math.min(rows, columns) === 1 && depth >= 64)) {
    runDots(gpu, plan, software ? 16 : 32);
  } else if (elements * depth < SMALL) {
    runDirect(gpu, { ...plan, wideOut: false }, software ? FEW : ONE);
  } else if (software && gpu.subgroupSize >= 4) {
    runTall(gpu, plan);
  } else if (software) {
    const lanesAcross = [8, 16, 32].find((lanes) => 4 * lanes >= columns) ?? 64;
    runDirect(gpu, plan, { rows: 8, columns: 4, lanesDown: 1, lanesAcross });
  } else runShared(gpu, plan, Math.min(rows, columns) >= 512 ? 8 : 4);
}

const FEW: DirectShape = { rows: 2, columns: 4, lanesDown: 16, lanesAcross: 1 };
const ONE: DirectShape = { rows: 1, columns: 4, lanesDown: 16, lanesAcross: 4 };

/** Whether a product's program can be printed to where the product is stored. */
function supports({ program, outputs }: MatmulCall): Support {
  if (program === undefined) return "yes";
  const [out] = outputs;
  if (out === undefined || program.results.length !== 1)
    return { reason: "the program gives more than a product" };
  const compute = computeDtype(out.dtype);
  if (program.inputs[0] !== compute || program.results[0]?.dtype !== compute)
    return { reason: "the program must take and give the dtype of the product" };
  if (program.coordinates.length > 0 || hasChecks(program))
    return { reason: "the program reads coordinates, or can fail" };
  return "yes";
}

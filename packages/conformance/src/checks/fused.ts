import {
  DTYPES,
  type DType,
  type Expr,
  type FusedCall,
  type FusionMode,
  NanoFluxError,
  program,
  scalar as s,
  type Tensor,
  withFusion,
} from "@nf/core";
import fc from "fast-check";
import { type Check, type Context, NotApplicable } from "../check.ts";
import { scaleOf } from "../compare-values.ts";
import { gradientsOf, type Weights } from "../derivatives.ts";
import { differentiated, listOf, type Point, pointOf, readAll, scoped, tensorsOf } from "../evaluate.ts";
import { anyValue } from "../kernels/map-cases.ts";
import { decode, elementsOf, layOut } from "../kernels/memory.ts";
import { laidCall } from "../kernels/run.ts";
import { anyLayout, LAYOUTS } from "../layout.ts";
import { type Row, rowName } from "../model.ts";
import { build } from "../reference/nd.ts";
import { Source } from "../source.ts";
import { weightsFor } from "./gradient.ts";
import { checkProperty } from "./property.ts";

type FusedKernel = FusedCall["kernel"];

/** Operations that reach each fused kernel. */
const OPERATIONS: Readonly<Partial<Record<FusedKernel, readonly string[]>>> = {
  conv: ["conv1d", "conv2d", "conv3d", "convTranspose1d", "convTranspose2d"],
  pool: ["maxPool1d", "maxPool2d", "maxPool3d", "avgPool1d", "avgPool2d", "avgPool3d"],
  softmax: ["softmax", "logSoftmax"],
  norm: ["layerNorm", "rmsNorm", "groupNorm", "instanceNorm"],
  attention: ["scaledDotProductAttention"],
  rope: ["rope"],
  crossEntropy: ["crossEntropy"],
  embeddingGrad: ["embedding"],
  quantizedMatmul: ["quantizedMatmul"],
};

interface Results {
  readonly values: readonly Tensor[];
  readonly gradients: readonly (Tensor | undefined)[];
  /** First gradients under `createGraph`, and second ones. */
  readonly second: readonly (Tensor | undefined)[];
}

/** Runs a point in a mode; undefined where the backend declines a fused kernel that is forced. */
function runIn(mode: FusionMode, point: Point, weights: Weights, order: 0 | 1 | 2): Results | undefined {
  const inputs = tensorsOf(point);
  const run = (...operands: Tensor[]): readonly Tensor[] => listOf(point.instance.run(operands, point.dtype));
  const wanted = point.instance.operands.map((operand) => differentiated(operand, point.dtype));
  try {
    return withFusion(mode, () => ({
      values: run(...inputs),
      gradients: order === 0 ? [] : gradientsOf(run, inputs, wanted, { results: weights.results }),
      second: order < 2 ? [] : gradientsOf(run, inputs, wanted, weights),
    }));
  } catch (error) {
    if (mode === "force" && error instanceof NanoFluxError && error.code === "NF_UNSUPPORTED")
      return undefined;
    throw error;
  }
}

const flat = ({ values, gradients, second }: Results): readonly Tensor[] =>
  [...values, ...gradients, ...second].filter((one) => one !== undefined);

/** Compares fused kernels with the decomposition; false where the backend declines. */
async function agree(
  context: Context,
  row: Row,
  point: Point,
  source: Source,
  label: string,
): Promise<boolean> {
  const order = point.dtype === "f32" || point.dtype === "f64" ? row.order : 0;
  const weights = weightsFor(point, row, 2, source);
  let taken = true;
  await scoped(
    () => [runIn("force", point, weights, order), runIn("off", point, weights, order)] as const,
    async ([fused, plain]) => {
      if (fused === undefined || plain === undefined) {
        taken = false;
        return;
      }
      const [got, wanted] = [await readAll(flat(fused)), await readAll(flat(plain))];
      got.forEach((read, i) => {
        const what =
          i < fused.values.length
            ? "result"
            : i < fused.values.length + fused.gradients.length
              ? "gradient"
              : "second gradient";
        // Orders of summation differ, and differences of products lose digits: wider than against the reference.
        const scale = 16 * scaleOf(wanted[i]!.data, row.magnitude);
        context.compare(`${label}, fused ${what}`, read.data, wanted[i]!.data, {
          dtype: read.dtype,
          tolerance: "composed",
          scale,
        });
      });
    },
  );
  return taken;
}

async function fusedAgainstPlain(context: Context, kernel: FusedKernel, row: Row): Promise<void> {
  const { backend, seed } = context;
  const declared = backend.capabilities.dtypes[kernel];
  if (declared === undefined) throw new NotApplicable(`no fused ${kernel} is declared`);
  const types = row.dtypes.filter((dtype) => declared.includes(dtype));
  const source = new Source(seed);
  let taken = 0;
  for (const dtype of types) {
    for (const instance of row.instances) {
      for (const layout of [LAYOUTS["contiguous"]!, LAYOUTS["everything at once"]!]) {
        const point = pointOf(instance, dtype, [layout], source.split());
        if (await agree(context, row, point, source.split(), `${instance.label}, ${dtype}`)) taken++;
      }
    }
  }
  if (taken === 0)
    context.fail(`${kernel} is declared for ${types.join(", ")}, but every call of ${row.op} was declined`);
}

async function fusedProperty(context: Context, kernel: FusedKernel, row: Row): Promise<void> {
  const declared = context.backend.capabilities.dtypes[kernel];
  if (declared === undefined) throw new NotApplicable(`no fused ${kernel} is declared`);
  const types = row.dtypes.filter((dtype) => declared.includes(dtype));
  const arbitrary = fc.record({
    instance: row.arbitrary,
    layouts: fc.array(anyLayout, { minLength: 3, maxLength: 3 }),
    dtype: fc.constantFrom(...types),
    seed: fc.nat(0x7fffffff),
  });
  await checkProperty(
    context,
    arbitrary,
    async (batch) => {
      for (const { instance, layouts, dtype, seed } of batch) {
        const source = new Source(seed);
        const point = pointOf(instance, dtype, layouts, source.split());
        await agree(context, row, point, source.split(), instance.label);
      }
    },
    ({ instance, dtype, seed, layouts }) =>
      `${instance.label} in ${dtype}, values ${seed}, layouts ${JSON.stringify(layouts)}`,
  );
}

/** One program over several groups of tensors: the same as a `map` for each. */
async function mapMany(context: Context): Promise<void> {
  const { backend, seed } = context;
  const declared = backend.capabilities.dtypes.mapMany;
  if (declared === undefined) throw new NotApplicable("no fused mapMany is declared");
  const source = new Source(seed);
  const shapes = [[3], [2, 4], [1, 5, 2]];
  for (const dtype of (["f32", "f64"] as const).filter((one) => declared.includes(one))) {
    const made = program("step", [dtype, dtype], [dtype], ([p, g], [rate]) => [
      s.sub(p as Expr, s.mul(g as Expr, rate as Expr)),
      s.neg(g as Expr),
    ]);
    const values = (shape: readonly number[]): ReturnType<typeof build> =>
      build(shape, () => Math.fround(anyFinite(dtype, source)));
    const given = shapes.flatMap((shape) => [values(shape), values(shape)]);
    const inputs = given.map((x, i) =>
      layOut(backend, dtype, x, i % 2 === 0 ? LAYOUTS["contiguous"]! : LAYOUTS["permuted"]!),
    );
    const outputs = shapes.flatMap((shape) =>
      [0, 1].map(() =>
        layOut(
          backend,
          dtype,
          build(shape, () => 9),
          LAYOUTS["offset"]!,
        ),
      ),
    );
    const call = laidCall(
      { kernel: "mapMany", program: made, attributes: { groups: shapes.length } },
      [0.5],
      inputs,
      outputs,
    );
    try {
      if (backend.supports(call) !== "yes") context.fail(`mapMany of ${dtype} is declared and declined`);
      backend.execute(call);
      const reads = await Promise.all(
        outputs.map(({ buffer, memory }) => backend.read(buffer, 0, memory.length * DTYPES[dtype].bytes)),
      );
      outputs.forEach(({ view, memory }, k) => {
        const [p, g] = [given[k - (k % 2)]!, given[k - (k % 2) + 1]!];
        const wanted = g.data.map((value, i) => (k % 2 === 0 ? p.data[i]! - value * 0.5 : -value));
        const own = decode(dtype, reads[k]!).slice(0, memory.length);
        context.compare(`mapMany ${dtype}, output ${k}`, elementsOf(view, own).values, wanted, {
          dtype,
          tolerance: "summed",
          scale: scaleOf(wanted),
        });
      });
    } finally {
      for (const { buffer } of [...inputs, ...outputs]) backend.free(buffer);
    }
  }
}

function anyFinite(dtype: DType, source: Source): number {
  const value = anyValue(dtype, source);
  return Number.isFinite(value) ? value : 1;
}

/** Checks of every fused kernel against the decomposition that core owns. */
export function fusedChecks(rows: readonly Row[]): Check[] {
  const checks: Check[] = [];
  for (const [kernel, operations] of Object.entries(OPERATIONS) as [FusedKernel, readonly string[]][]) {
    for (const row of rows.filter(({ op }) => operations.includes(op))) {
      const common = { family: "fused", subject: kernel } as const;
      const name = `${kernel} equals its decomposition, ${rowName(row)}`;
      checks.push({
        ...common,
        level: "training",
        name,
        run: (context) => fusedAgainstPlain(context, kernel, row),
      });
      checks.push({
        ...common,
        level: "complete",
        name: `${name}, on random examples`,
        run: (context) => fusedProperty(context, kernel, row),
      });
    }
  }
  checks.push({
    family: "fused",
    subject: "mapMany",
    level: "training",
    name: "mapMany equals a map for each group",
    run: mapMany,
  });
  return checks;
}

import {
  type Backend,
  BackendDecorator,
  type Call,
  DTYPES,
  type DType,
  type Expr,
  type FusedCall,
  type FusionMode,
  memory,
  NanoFluxError,
  program,
  releaseMemory,
  scalar as s,
  type Tensor,
  use,
  withFusion,
} from "@nf/core";
import fc from "fast-check";
import { type Check, type Context, NotApplicable } from "../check.ts";
import { allowed, difference, scaleOf } from "../compare-values.ts";
import { gradientsOf, type Weights } from "../derivatives.ts";
import {
  differentiated,
  listOf,
  movedPoint,
  movementOf,
  type Point,
  pointOf,
  type Read,
  readAll,
  scoped,
  tensorsOf,
} from "../evaluate.ts";
import { anyValue } from "../kernels/map-cases.ts";
import { decode, elementsOf, layOut } from "../kernels/memory.ts";
import { laidCall } from "../kernels/run.ts";
import { anyLayout, LAYOUTS } from "../layout.ts";
import { type Row, rowName } from "../model.ts";
import { runnable } from "../needs.ts";
import { build } from "../reference/nd.ts";
import { Source } from "../source.ts";
import { weightsFor } from "./gradient.ts";
import { checkProperty } from "./property.ts";

type FusedKernel = FusedCall["kernel"];

/**
 * How each fused kernel is looked at: the operations that reach it, whose rows run fused and decomposed, or a check of
 * its own where no operation does. One that is missing here does not compile.
 */
const FUSED_CHECKS: Readonly<
  Record<FusedKernel, readonly [string, ...string[]] | ((context: Context) => Promise<void>)>
> = {
  conv: ["conv1d", "conv2d", "conv3d", "convTranspose1d", "convTranspose2d"],
  pool: ["maxPool1d", "maxPool2d", "maxPool3d", "avgPool1d", "avgPool2d", "avgPool3d"],
  softmax: ["softmax", "logSoftmax"],
  norm: ["layerNorm", "rmsNorm", "groupNorm", "instanceNorm"],
  attention: ["scaledDotProductAttention"],
  rope: ["rope"],
  crossEntropy: ["crossEntropy"],
  embeddingGrad: ["embedding"],
  quantizedMatmul: ["quantizedMatmul"],
  mapMany,
};

/** Rows of those operations that are decomposed by design: no kernel takes them. */
const DECOMPOSED: readonly string[] = ["crossEntropy with probabilities"];

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
      let moved: readonly Float64Array[] | undefined;
      let spread: readonly Float64Array[] | undefined;
      for (const [i, read] of got.entries()) {
        if (i < fused.values.length) {
          // Either way may be off by what the reference allows.
          context.compare(`${label}, fused result`, read.data, wanted[i]!.data, {
            dtype: read.dtype,
            tolerance: row.tolerance,
            roundings: 2 * (point.instance.roundings ?? 0),
            movement: () => {
              moved ??= movementOf(point);
              return moved[i]!.map((value) => 2 * value);
            },
          });
          continue;
        }
        const { data } = wanted[i]!;
        const limit = allowed("composed", read.dtype, TERMS * scaleOf(data));
        if (difference(read.data, data, read.dtype, limit).problem !== undefined)
          spread ??= await spreadOf(point, weights, order, source);
        const found = difference(read.data, data, read.dtype, {
          ...limit,
          ...(spread && { elements: spread[i]! }),
        });
        context.note(found, read.dtype);
        const what = i < fused.values.length + fused.gradients.length ? "gradient" : "second gradient";
        if (found.problem !== undefined) context.fail(`${label}, fused ${what}: ${found.problem}`);
      }
    },
  );
  return taken;
}

/** How much larger than the largest derivative the terms may be that cancel in it: those of a norm of two values do. */
const TERMS = 16;
/** Neighbours of a point that show what its derivatives lose. */
const NEIGHBOURS = 6;
/** How many times the largest of those differences two ways to compute a derivative may be apart. */
const APART = 4;

/**
 * What the decomposition's own results differ by when operands are off by a step of their dtype: where a derivative loses
 * digits (differences of nearly equal values, their powers), any way to compute it does.
 */
async function spreadOf(
  point: Point,
  weights: Weights,
  order: 0 | 1 | 2,
  source: Source,
): Promise<readonly Float64Array[]> {
  const run = async (at: Point): Promise<readonly Read[]> => {
    let reads: readonly Read[] = [];
    await scoped(
      () => flat(runIn("off", at, weights, order)!),
      async (results) => {
        reads = await readAll(results);
      },
    );
    return reads;
  };
  const here = await run(point);
  const spread = here.map(({ data }) => new Float64Array(data.length));
  for (let i = 0; i < NEIGHBOURS; i++) {
    const there = await run(movedPoint(point, 2, source));
    for (const [k, { data }] of there.entries()) {
      const most = spread[k]!;
      for (let j = 0; j < most.length; j++) {
        const step = APART * Math.abs(data[j]! - here[k]!.data[j]!);
        if (step > most[j]! && step < Infinity) most[j] = step;
      }
    }
  }
  return spread;
}

/** The dtypes that a fused kernel declares, among those of a row. */
function typesOf({ backend }: Context, kernel: FusedKernel, row: Row): readonly [DType, ...DType[]] {
  const declared = declaredOf(backend, kernel);
  const types = row.dtypes.filter((dtype) => declared.includes(dtype));
  if (types.length === 0)
    throw new NotApplicable(`the fused ${kernel} declares none of ${row.dtypes.join(", ")}`);
  return runnable(backend, row, types);
}

function declaredOf(backend: Backend, kernel: FusedKernel): readonly DType[] {
  const declared = backend.capabilities.dtypes[kernel];
  if (declared === undefined) throw new NotApplicable(`no fused ${kernel} is declared`);
  return declared;
}

/** Notes whether a kernel ran. */
class Watched extends BackendDecorator {
  ran = false;
  private readonly kernel: FusedKernel;

  constructor(wrapped: Backend, kernel: FusedKernel) {
    super("watched", wrapped);
    this.kernel = kernel;
  }

  override execute(call: Call): void {
    if (call.kernel === this.kernel) this.ran = true;
    super.execute(call);
  }
}

/** Does something on the backend and tells whether a kernel ran meanwhile. */
async function ranMeanwhile(
  context: Context,
  kernel: FusedKernel,
  work: () => Promise<void>,
): Promise<boolean> {
  const watched = new Watched(context.backend, kernel);
  await use(watched);
  try {
    await work();
    const { liveTensors, liveBuffers } = memory(watched);
    if (liveTensors !== 0 || liveBuffers !== 0)
      context.fail(`leaves ${liveTensors} tensors and ${liveBuffers} buffers behind`);
  } finally {
    releaseMemory(watched);
    await use(context.backend);
  }
  return watched.ran;
}

async function fusedAgainstPlain(context: Context, kernel: FusedKernel, row: Row): Promise<void> {
  const types = typesOf(context, kernel, row);
  const source = new Source(context.seed);
  let taken = 0;
  const ran = await ranMeanwhile(context, kernel, async () => {
    for (const dtype of types) {
      for (const instance of row.instances) {
        for (const layout of [LAYOUTS["contiguous"]!, LAYOUTS["everything at once"]!]) {
          const point = pointOf(instance, dtype, [layout], source.split());
          if (await agree(context, row, point, source.split(), `${instance.label}, ${dtype}`)) taken++;
        }
      }
    }
  });
  if (taken === 0)
    context.fail(`${kernel} is declared for ${types.join(", ")}, but every call of ${row.op} was declined`);
  if (!ran)
    context.fail(`${kernel} is declared, but ${row.op} never calls it: its op must hand it to runFused`);
}

async function fusedProperty(context: Context, kernel: FusedKernel, row: Row): Promise<void> {
  const types = typesOf(context, kernel, row);
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
  const types = (["f32", "f64"] as const).filter((one) => declaredOf(backend, "mapMany").includes(one));
  if (types.length === 0) throw new NotApplicable("the fused mapMany declares neither f32 nor f64");
  const source = new Source(seed);
  const shapes = [[3], [2, 4], [1, 5, 2]];
  for (const dtype of types) {
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
  for (const kernel of Object.keys(FUSED_CHECKS) as FusedKernel[]) {
    const common = { family: "fused", subject: kernel } as const;
    const way = FUSED_CHECKS[kernel];
    if (typeof way === "function") {
      checks.push({
        ...common,
        level: "training",
        name: `${kernel} equals the calls it stands for`,
        run: way,
      });
      continue;
    }
    for (const row of way.flatMap((op) => rowsOf(rows, op))) {
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
  return checks;
}

/** The rows of an operation; without any, its kernel would pass unseen. */
function rowsOf(rows: readonly Row[], op: string): readonly Row[] {
  const found = rows.filter((row) => row.op === op && !DECOMPOSED.includes(rowName(row)));
  if (found.length === 0)
    throw new Error(`checks/fused.ts names the operation "${op}", which has no row in src/cases/.`);
  return found;
}

import {
  type Backend,
  BackendDecorator,
  type Call,
  type DType,
  type FusedCall,
  memory,
  releaseMemory,
  type Support,
  use,
} from "@nf/core";
import fc from "fast-check";
import { type Check, type Context, NotApplicable } from "../check.ts";
import { pointOf } from "../evaluate.ts";
import { anyLayout, LAYOUTS } from "../layout.ts";
import { type Row, rowName } from "../model.ts";
import { lacking, runnable } from "../needs.ts";
import { Source } from "../source.ts";
import { agree } from "./fused-compare.ts";
import { mapMany } from "./map-many.ts";
import { checkProperty } from "./property.ts";

type FusedKernel = FusedCall["kernel"];

/**
 * How each fused kernel is looked at: the operations that reach it, whose rows run fused and decomposed, or a check of
 * its own where no operation does. One that is missing here does not compile.
 */
const FUSED_CHECKS: Readonly<
  Record<FusedKernel, readonly [string, ...string[]] | ((context: Context) => Promise<void>)>
> = {
  conv: ["conv1d", "conv2d", "conv3d", "convTranspose1d", "convTranspose2d", "convTranspose3d"],
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

/** Notes how often a kernel was offered calls, and how many it ran. */
class Watched extends BackendDecorator {
  offered = 0;
  ran = 0;
  private readonly kernel: FusedKernel;

  constructor(wrapped: Backend, kernel: FusedKernel) {
    super("watched", wrapped);
    this.kernel = kernel;
  }

  override supports(call: Call): Support {
    if (call.kernel === this.kernel) this.offered++;
    return super.supports(call);
  }

  override execute(call: Call): void {
    if (call.kernel === this.kernel) this.ran++;
    super.execute(call);
  }
}

/** Does something on the backend while a kernel is watched. */
async function whileWatched(
  context: Context,
  kernel: FusedKernel,
  work: (watched: Watched) => Promise<void>,
): Promise<void> {
  const watched = new Watched(context.backend, kernel);
  await use(watched);
  try {
    await work(watched);
    const { liveTensors, liveBuffers } = memory(watched);
    if (liveTensors !== 0 || liveBuffers !== 0)
      context.fail(`leaves ${liveTensors} tensors and ${liveBuffers} buffers behind`);
  } finally {
    releaseMemory(watched);
    await use(context.backend);
  }
}

async function fusedAgainstPlain(context: Context, kernel: FusedKernel, row: Row): Promise<void> {
  const types = typesOf(context, kernel, row);
  const source = new Source(context.seed);
  await whileWatched(context, kernel, async (watched) => {
    for (const dtype of types) {
      const { offered } = watched;
      for (const instance of row.instances) {
        for (const layout of [LAYOUTS["contiguous"]!, LAYOUTS["everything at once"]!]) {
          const point = pointOf(instance, dtype, [layout], source.split());
          await agree(context, row, point, source.split(), `${instance.label}, ${dtype}`);
        }
      }
      if (watched.offered === offered)
        context.fail(
          `${kernel} is declared for ${dtype}, but ${row.op} never offers it a call: its op must hand it to runFused`,
        );
    }
    if (watched.ran === 0)
      throw new NotApplicable(`the fused ${kernel} declines every call of ${row.op} in ${types.join(", ")}`);
  });
}

/** A kernel may decline the calls of one operation or pass; a dtype that it takes none of is not one that it computes. */
async function takenInEveryDType(context: Context, kernel: FusedKernel, rows: readonly Row[]): Promise<void> {
  const { backend } = context;
  const source = new Source(context.seed);
  await whileWatched(context, kernel, async (watched) => {
    for (const dtype of declaredOf(backend, kernel)) {
      const own = rows.filter(
        (row) => row.dtypes.includes(dtype) && lacking(backend, row, dtype) === undefined,
      );
      const { ran } = watched;
      const examples = own.flatMap((row) => row.instances.map((instance) => [row, instance] as const));
      for (const [row, instance] of examples) {
        if (watched.ran > ran) break;
        const point = pointOf(instance, dtype, [LAYOUTS["contiguous"]!], source.split());
        await agree(context, row, point, source.split(), `${rowName(row)}, ${instance.label}, ${dtype}`);
      }
      if (examples.length > 0 && watched.ran === ran)
        context.fail(
          `${kernel} is declared for ${dtype}, but declines every call of ${own.map(rowName).join(", ")}`,
        );
    }
  });
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
    const reached = way.flatMap((op) => rowsOf(rows, op));
    checks.push({
      ...common,
      level: "training",
      name: `${kernel} takes calls in every dtype that it declares`,
      run: (context) => takenInEveryDType(context, kernel, reached),
    });
    for (const row of reached) {
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

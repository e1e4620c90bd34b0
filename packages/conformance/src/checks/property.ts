import { type DType, isFloat, type Tensor } from "@nf/core";
import fc from "fast-check";
import { type Check, type Context, undeclared } from "../check.ts";
import { derive, isGradientType, type Weights } from "../derivatives.ts";
import { listOf, type Point, pointOf, readAll, scoped, tensorsOf } from "../evaluate.ts";
import { anyLayout, type Layout } from "../layout.ts";
import { type Instance, type Row, rowName } from "../model.ts";
import { runnable } from "../needs.ts";
import { Source } from "../source.ts";
import { judge } from "./forward.ts";
import { judgeSlope, weightsFor } from "./gradient.ts";

/** An example of a row's property. */
interface Example {
  readonly instance: Instance;
  readonly layouts: readonly Layout[];
  readonly dtype: DType;
  readonly seed: number;
  /** What is looked at: the forward alone, or derivatives along a random direction too. */
  readonly order: 0 | 1 | 2;
}

const BATCH = 40;

function examplesOf(row: Row, dtypes: readonly DType[], gradients: boolean): fc.Arbitrary<Example> {
  const base = fc.record({
    instance: row.arbitrary,
    layouts: fc.array(anyLayout, { minLength: 3, maxLength: 3 }),
    dtype: fc.constantFrom(...dtypes),
    seed: fc.nat(0x7fffffff),
    order: fc.constantFrom<0 | 1 | 2>(0, 0, 0, 1, 1, 2),
  });
  return base.map((example) => {
    const order = gradients && isGradientType(example.dtype) ? Math.min(example.order, row.order) : 0;
    return { ...example, order: order as 0 | 1 | 2 };
  });
}

function describe({ instance, layouts, dtype, seed, order }: Example): string {
  const shown = layouts.slice(0, instance.operands.length).map((one) => JSON.stringify(one));
  return `${instance.label} in ${dtype}, values ${seed}, order ${order}, layouts ${shown.join(" ")}`;
}

interface Prepared {
  readonly example: Example;
  readonly point: Point;
  readonly weights: Weights | undefined;
  readonly source: Source;
}

function prepare(row: Row, example: Example): Prepared {
  const source = new Source(example.seed);
  const point = pointOf(example.instance, example.dtype, example.layouts, source.split());
  const { order } = example;
  const by = order === 0 ? undefined : weightsFor(point, row, order, source.split());
  return { example, point, weights: by, source };
}

interface Ran {
  readonly results: readonly Tensor[];
  readonly gradients: readonly (Tensor | undefined)[];
}

function runOne({ point, weights: by }: Prepared): Ran {
  if (by === undefined)
    return { results: listOf(point.instance.run(tensorsOf(point), point.dtype)), gradients: [] };
  return derive(point, by);
}

/** Runs examples together, then judges them; the first that fails throws. */
async function runBatch(context: Context, row: Row, examples: readonly Example[]): Promise<void> {
  const prepared = examples.map((example) => prepare(row, example));
  await scoped(
    () => prepared.map(runOne),
    async (ran) => {
      const tensors = ran.flatMap(({ results, gradients }) => [
        ...results,
        ...gradients.filter((gradient) => gradient !== undefined),
      ]);
      const reads = await readAll(tensors);
      let next = 0;
      ran.forEach(({ results, gradients }, i) => {
        const one = prepared[i]!;
        judge(context, row, one.point, one.example.instance.label, reads.slice(next, next + results.length));
        next += results.length;
        const values = gradients.map((gradient) =>
          gradient === undefined ? undefined : reads[next++]!.data,
        );
        const { weights: by, example } = one;
        if (by === undefined || example.order === 0 || !isGradientType(example.dtype)) return;
        judgeSlope(context, one.point, by, example.order, values, one.source);
      });
    },
  );
}

/** Random shapes, options, layouts and values. Examples run in batches; one that fails is shrunk. */
async function property(context: Context, row: Row): Promise<void> {
  const dtypes = runnable(context.backend, row);
  // Gradients need sums beside the row's own kernels.
  const gradients = dtypes.some(
    (dtype) => isFloat(dtype) && undeclared(context.backend, ["reduce"], dtype) === undefined,
  );
  const arbitrary = examplesOf(row, dtypes, gradients);
  await checkProperty(context, arbitrary, (batch) => runBatch(context, row, batch), describe);
}

/**
 * Runs a property over batches, which is fast where reading takes its time. When a batch fails, the same examples run
 * one by one, and the first that fails is shrunk.
 */
export async function checkProperty<T>(
  context: Context,
  arbitrary: fc.Arbitrary<T>,
  run: (batch: readonly T[]) => Promise<void>,
  show: (example: T) => string,
): Promise<void> {
  const parameters = { seed: context.seed | 0, numRuns: context.examples };
  const all = fc.sample(arbitrary, parameters);
  for (let start = 0; start < all.length; start += BATCH) {
    try {
      await run(all.slice(start, start + BATCH));
    } catch (failure) {
      const details = await fc.check(
        fc.asyncProperty(arbitrary, (example) => run([example])),
        parameters,
      );
      if (!details.failed) context.fail(`only when run with others: ${messageOf(failure)}`);
      const example = details.counterexample?.[0];
      const cause = messageOf(details.errorInstance);
      context.fail(
        `${cause} — for ${example === undefined ? "?" : show(example)} (fast-check seed ${details.seed}, path ${details.counterexamplePath})`,
      );
    }
  }
}

function messageOf(error: unknown): string {
  return error instanceof Error
    ? `${error.name === "ConformanceError" ? "" : `${error.name}: `}${error.message}`
    : String(error);
}

/** The property check of a row. */
export function propertyCheck(row: Row): Check {
  return {
    family: row.family,
    subject: row.op,
    level: "complete",
    name: `${rowName(row)} on random examples`,
    run: (context) => property(context, row),
  };
}

import { DTYPE_NAMES, type DType, isFloat, isInteger, type Tensor } from "@nf/core";
import { type Check, type Context, NotApplicable } from "../check.ts";
import { scaleOf } from "../compare-values.ts";
import { type Derivatives, gradientsOf } from "../derivatives.ts";
import {
  expectedOf,
  listOf,
  movementOf,
  type Point,
  pointOf,
  type Read,
  readAll,
  scoped,
  tensorOf,
  tensorsOf,
} from "../evaluate.ts";
import { LAYOUTS } from "../layout.ts";
import { type Edge, type Row, rowName } from "../model.ts";
import { lacking } from "../needs.ts";
import { nd } from "../reference/nd.ts";
import { Source } from "../source.ts";
import { roundTo } from "../values.ts";

/** Where terms meet, the order of adding up may decide about the sign of a zero; everywhere else the reference does. */
const signedZeros = ({ tolerance, eitherZero }: Row): boolean =>
  (tolerance === "exact" || tolerance === "rounded") && eitherZero !== true;

/** Compares shape, dtype and values of what was read with the reference. */
export function judge(context: Context, row: Row, point: Point, label: string, reads: readonly Read[]): void {
  const expected = expectedOf(point);
  const { roundings } = point.instance;
  const meets = row.tolerance === "summed" || row.tolerance === "composed";
  let moved: readonly Float64Array[] | undefined;
  if (reads.length !== expected.length)
    context.fail(`${label}: ${reads.length} results instead of ${expected.length}`);
  reads.forEach((read, k) => {
    const wanted = expected[k]!;
    const name = expected.length === 1 ? label : `${label}, result ${k}`;
    if (read.shape.join() !== wanted.shape.join())
      context.fail(`${name}: shape [${read.shape.join()}] instead of [${wanted.shape.join()}]`);
    const dtype = row.result(point.dtype, k);
    if (read.dtype !== dtype) context.fail(`${name}: dtype ${read.dtype} instead of ${dtype}`);
    // Integers wrap around where sums and products leave their range.
    const values = isInteger(dtype) ? wanted.data.map((value) => roundTo(dtype, value)) : wanted.data;
    context.compare(name, read.data, values, {
      dtype,
      tolerance: row.tolerance,
      signedZeros: signedZeros(row),
      ...(roundings !== undefined && { roundings }),
      ...(meets && {
        movement: () => {
          moved ??= movementOf(point);
          return moved[k]!;
        },
      }),
    });
  });
}

/** Runs points in one go and judges them. */
export async function runPoints(
  context: Context,
  row: Row,
  points: readonly { readonly point: Point; readonly label: string }[],
): Promise<void> {
  await scoped(
    () => points.map(({ point }) => listOf(point.instance.run(tensorsOf(point), point.dtype))),
    async (results) => {
      const reads = await readAll(results.flat());
      let next = 0;
      points.forEach(({ point, label }, i) => {
        const length = results[i]!.length;
        judge(context, row, point, label, reads.slice(next, next + length));
        next += length;
      });
    },
  );
}

/** Every fixed instance of a row, on views of every kind. */
async function forward(context: Context, row: Row, dtype: DType): Promise<void> {
  const reason = lacking(context.backend, row, dtype);
  if (reason !== undefined) throw new NotApplicable(reason);
  const source = new Source(context.seed);
  for (const instance of row.instances) {
    const points = Object.entries(LAYOUTS).map(([kind, layout]) => ({
      point: pointOf(instance, dtype, [layout], source.split()),
      label: `${instance.label}, ${kind}`,
    }));
    await runPoints(context, row, points);
  }
}

function edgeTypes(edge: Edge, row: Row): readonly DType[] {
  return (edge.only ?? row.dtypes.filter(isFloat)).filter((dtype) => row.dtypes.includes(dtype));
}

/** Points whose results are known, with their gradients where those are a convention. */
async function edges(context: Context, row: Row): Promise<void> {
  const { backend, compare } = context;
  let ran = 0;
  let reason: string | undefined;
  for (const edge of row.edges) {
    for (const dtype of edgeTypes(edge, row)) {
      const missing = lacking(backend, row, dtype);
      if (missing !== undefined) {
        reason ??= missing;
        continue;
      }
      ran++;
      const label = `${edge.label}, ${dtype}`;
      await scoped(
        () => runEdge(edge, dtype),
        async ({ results, gradients }) => {
          const reads = await readAll(results);
          reads.forEach((read, k) => {
            const wanted = edge.output[k] ?? [];
            compare(label, read.data, wanted, {
              dtype: read.dtype,
              tolerance: row.tolerance,
              scale: 0,
              signedZeros: signedZeros(row),
            });
          });
          for (const [i, gradient] of gradients.entries()) {
            if (gradient === undefined) continue;
            const wanted = edge.grads![i]!;
            compare(`${label}, gradient ${i}`, await gradient.data(), wanted, {
              dtype,
              tolerance: "summed",
              scale: scaleOf(wanted),
            });
          }
        },
      );
    }
  }
  if (ran === 0) throw new NotApplicable(reason ?? "no dtype of the edges is one of the row's");
}

/** Runs an edge, and takes the gradient of the sum of its results where one is expected. */
function runEdge(edge: Edge, dtype: DType): Derivatives {
  const inputs = edge.inputs.map((values, i) => tensorOf(values, edge.dtypes?.[i] ?? dtype));
  const run = (...operands: Tensor[]): readonly Tensor[] => listOf(edge.run(operands));
  const results = run(...inputs);
  const wanted = inputs.map((_, i) => edge.grads?.[i] !== undefined);
  const ones = results.map(({ shape, size, dtype: own }) =>
    isFloat(own) ? nd(shape, new Array<number>(size).fill(1)) : undefined,
  );
  return { results, gradients: gradientsOf(run, inputs, wanted, { results: ones }) };
}

/** Checks of a row's forward results: one for each dtype that core knows, one for its edges. */
export function forwardChecks(row: Row): Check[] {
  const name = rowName(row);
  const common = { family: row.family, subject: row.op, level: "inference" } as const;
  const checks: Check[] = DTYPE_NAMES.filter((dtype) => row.dtypes.includes(dtype)).map((dtype) => ({
    ...common,
    name: `${name} ${dtype}`,
    run: (context) => forward(context, row, dtype),
  }));
  if (row.edges.length > 0)
    checks.push({ ...common, name: `${name} edges`, run: (context) => edges(context, row) });
  return checks;
}

import { type Backend, type Tensor, use } from "@nf/core";
import { type Check, type Context, NotApplicable, undeclared } from "../check.ts";
import { readAll, scoped } from "../evaluate.ts";
import { anyGraph, type Graph, graphValues, isSmooth, nmse, runGraph, showGraph } from "../graphs/graph.ts";
import { checkProperty } from "./property.ts";

/** Promise 2: backend against backend, for f32. */
export const MOST_NMSE = 1e-7;
/** Gradients add up the errors of the results they are computed from. */
export const MOST_GRADIENT_NMSE = 1e-6;

/** Required kernels that graphs and their gradients run. */
const KERNELS = ["map", "reduce", "argReduce", "matmul", "gather", "scatter", "scan"] as const;

/** What graphs gave: by graph, the values of results and gradients. */
export type GraphResults = readonly (readonly ArrayLike<number>[])[];

/** Runs graphs on a backend and reads everything. */
export async function runGraphs(
  backend: Backend,
  graphs: readonly Graph[],
  dtype: "f32" | "f64",
  gradients: boolean,
): Promise<GraphResults> {
  await use(backend);
  const all: (readonly ArrayLike<number>[])[] = [];
  await scoped(
    () => graphs.map((graph) => runGraph(graph, graphValues(graph), dtype, gradients)),
    async (made: readonly (readonly Tensor[])[]) => {
      const reads = await readAll(made.flat());
      let next = 0;
      for (const { length } of made) {
        all.push(reads.slice(next, next + length).map(({ data }) => data));
        next += length;
      }
    },
  );
  return all;
}

/** The backend that graphs are compared with: the given one, or this one's own float64. */
export async function openReference(
  context: Context,
): Promise<{ readonly backend: Backend; readonly own: boolean }> {
  const { backend, createReference } = context;
  if (createReference !== undefined) return { backend: await createReference(), own: true };
  const missing = undeclared(backend, KERNELS, "f64");
  if (missing !== undefined) throw new NotApplicable(`no reference backend is given, and ${missing}`);
  return { backend, own: false };
}

async function randomGraphs(context: Context): Promise<void> {
  const missing = undeclared(context.backend, KERNELS, "f32");
  if (missing !== undefined) throw new NotApplicable(missing);
  const { backend: reference, own } = await openReference(context);
  try {
    await checkProperty(
      context,
      anyGraph,
      async (graphs) => {
        const wanted = await runGraphs(reference, graphs, "f64", true);
        const got = await runGraphs(context.backend, graphs, "f32", true);
        graphs.forEach((graph, i) => {
          judge(context, graph, got[i]!, wanted[i]!);
        });
      },
      showGraph,
    );
  } finally {
    await use(context.backend);
    if (own) await reference.dispose();
  }
}

function judge(
  context: Context,
  graph: Graph,
  got: readonly ArrayLike<number>[],
  wanted: readonly ArrayLike<number>[],
): void {
  const gradients = isSmooth(graph) ? graph.inputs.length : 0;
  got.forEach((values, k) => {
    const isGradient = k >= got.length - gradients;
    // An error of squares: a difference that may be twice as large has four times as much of it.
    const limit = (isGradient ? MOST_GRADIENT_NMSE : MOST_NMSE) * context.widened() ** 2;
    const error = nmse(values, wanted[k]!);
    context.note({ problem: undefined, worst: Math.sqrt(error), share: error / limit }, "f32");
    if (!(error <= limit)) {
      const what = isGradient ? `gradient ${k - (got.length - gradients)}` : `result ${k}`;
      context.fail(
        `${what} of a graph of ${graph.steps.length} steps: normalised mean square error ${error}, allowed ${limit}`,
      );
    }
  });
}

/** Random graphs against float64. */
export function graphChecks(): Check[] {
  return [
    {
      family: "graphs",
      subject: "graphs",
      level: "complete",
      name: "random graphs of 5 to 15 operations",
      run: randomGraphs,
    },
  ];
}

import { grad, type Tensor } from "@nf/core";
import fc from "fast-check";
import { between, shapes } from "../cases/define.ts";
import { weigh, weights } from "../evaluate.ts";
import { anyLayout, type Layout, lay, settle } from "../layout.ts";
import { type Nd, nd } from "../reference/nd.ts";
import { Source } from "../source.ts";
import { valuesFor } from "../values.ts";
import { type Choice, STEPS, trimmed } from "./steps.ts";

interface Step extends Choice {
  readonly kind: number;
  /** Which values it takes, counted back from the latest. */
  readonly a: number;
  readonly b: number;
}

/** A random graph: a few inputs, and steps that each take one or two of the values before. */
export interface Graph {
  readonly inputs: readonly { readonly shape: readonly number[]; readonly layout: Layout }[];
  readonly steps: readonly Step[];
  readonly seed: number;
}

/** Any graph of 5 to 15 steps. */
export const anyGraph: fc.Arbitrary<Graph> = fc.record({
  inputs: fc.array(fc.record({ shape: shapes(0, 3, 5, 1), layout: anyLayout }), {
    minLength: 2,
    maxLength: 3,
  }),
  steps: fc.array(
    fc.record({
      kind: between(0, STEPS.length - 1),
      a: between(0, 3),
      b: between(0, 5),
      axis: between(0, 3),
      number: between(0, 7),
    }),
    { minLength: 5, maxLength: 15 },
  ),
  seed: fc.nat(0x7fffffff),
});

/** The graph in a line. */
export function showGraph({ inputs, steps, seed }: Graph): string {
  const given = inputs.map(({ shape, layout }) => `[${shape.join(", ")}] laid out ${JSON.stringify(layout)}`);
  const names = steps.map(
    ({ kind, a, b, axis, number }) => `${STEPS[kind]!.name}(${a}, ${b}, ${axis}, ${number})`,
  );
  return `inputs ${given.join(" ")}, values ${seed}, steps ${names.join(" ")}`;
}

/** Whether gradients of the graph can be compared: no step has a derivative with jumps. */
export function isSmooth({ steps }: Graph): boolean {
  return steps.every(({ kind }) => STEPS[kind]!.smooth);
}

/** Input values, the same for every backend. */
export function graphValues({ inputs, seed }: Graph): readonly Nd[] {
  const source = new Source(seed);
  return inputs.map(({ shape, layout }) =>
    settle(nd(shape, valuesFor({ shape }, "f32", source.split())), layout),
  );
}

/** Runs the steps on operands; values that no step took, and the last, are the results. */
function evaluate({ steps }: Graph, operands: readonly Tensor[]): readonly Tensor[] {
  const values = [...operands];
  const taken = new Set<number>();
  const take = (back: number): Tensor => {
    const place = values.length - 1 - (back % values.length);
    taken.add(place);
    return values[place]!;
  };
  for (const { kind, a, b, ...choice } of steps)
    values.push(trimmed(STEPS[kind]!.run(take(a), take(b), choice)));
  return values.filter(
    (_, place) => place >= operands.length && (!taken.has(place) || place === values.length - 1),
  );
}

/** Results and, where the graph is smooth, gradients of their weighed sum for every input. Call it in a scope. */
export function runGraph(
  graph: Graph,
  values: readonly Nd[],
  dtype: "f32" | "f64",
  gradients: boolean,
): readonly Tensor[] {
  const operands = values.map((one, i) => lay(one, dtype, graph.inputs[i]!.layout));
  const results = evaluate(graph, operands);
  if (!gradients || !isSmooth(graph)) return results;
  const value = (...inputs: Tensor[]): Tensor => {
    const source = new Source(graph.seed);
    const made = evaluate(graph, inputs);
    return weigh(
      made,
      made.map(({ shape }) => weights(shape, source)),
    );
  };
  const found = grad(value, { argnums: [...operands.keys()] })(...operands) as readonly Tensor[];
  return [...results, ...found];
}

/** Normalised mean square error; values that are equal, NaN among them, count as no difference. */
export function nmse(got: ArrayLike<number>, wanted: ArrayLike<number>): number {
  if (got.length !== wanted.length) return Infinity;
  let differences = 0;
  let squares = 0;
  for (let i = 0; i < got.length; i++) {
    const [a, b] = [got[i] as number, wanted[i] as number];
    if (Object.is(a, b) || a === b) {
      if (Number.isFinite(b)) squares += b * b;
      continue;
    }
    const miss = a - b;
    if (!Number.isFinite(miss)) return Infinity;
    differences += miss * miss;
    squares += b * b;
  }
  if (differences === 0) return 0;
  // Values of which nothing but rounding is left say nothing relative to themselves.
  return differences / Math.max(squares, got.length * TINY);
}

const TINY = 1e-6;

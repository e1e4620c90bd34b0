import {
  add,
  type Backend,
  clone,
  type DType,
  fromData,
  mul,
  Scope,
  sum,
  Tensor,
  use,
  zeroGrad,
} from "@nf/core";
import type { Module } from "@nf/nn";
import { type Check, type Context, NotApplicable, undeclared } from "../check.ts";
import { tensorOf, weights } from "../evaluate.ts";
import { nmse } from "../graphs/graph.ts";
import { count, nd } from "../reference/nd.ts";
import { Source, seedOf } from "../source.ts";
import { openReference } from "./graphs.ts";
import type { LayerCase } from "./layer-case.ts";
import { LAYER_CASES } from "./layer-cases.ts";
import { SEQUENCE_CASES } from "./sequence-cases.ts";

/** Normalised mean square error that a result of f32 may have against float64: 1e-5 of its size. */
const MOST_NMSE = 1e-10;

const KERNELS = ["map", "reduce", "argReduce", "matmul", "gather", "scatter", "sort"] as const;

type Values = Map<string, ArrayLike<number>>;

/** Values of an input: multiples of 1/32, away from the joints above, none equal to another where that matters. */
function drawn(shape: readonly number[], kind: LayerCase["values"], source: Source): ReturnType<typeof nd> {
  const length = count(shape);
  if (kind === "distinct")
    return nd(shape, source.shuffle(Array.from({ length }, (_, i) => (i - length / 2) / 16 + 1 / 64)));
  const [low, high] = kind === "shares" ? [8, 56] : [-64, 64];
  const unit = kind === "shares" ? 64 : kind === "small" ? 256 : 32;
  return nd(
    shape,
    Array.from({ length }, () => source.between(low, high) / unit),
  );
}

/** Gives parameters and buffers values of their own: a factor of 1 and a mean of 0 hide mistakes. */
function fill(module: Module, kind: LayerCase["values"], source: Source): void {
  const usual = kind === "small" ? kind : undefined;
  const state = Object.entries(module.stateDict()).map(([name, { shape, dtype }]) => {
    // Variances are positive, and a count is a whole number.
    const values =
      dtype === "i32" ? nd(shape, [3]) : drawn(shape, /var/.test(name) ? "shares" : usual, source);
    return [name, tensorOf(values, dtype)] as const;
  });
  module.loadStateDict(Object.fromEntries(state));
}

/** One pass: the output, and the gradients of inputs and parameters. */
function pass(module: Module, test: LayerCase, dtype: DType, source: Source): [string, Tensor][] {
  const leaves = test.inputs.map((shape) => tensorOf(drawn(shape, test.values, source), dtype));
  for (const leaf of leaves) leaf.requiresGrad = true;
  const { classes, signs, more = [] } = test;
  const indices = classes === undefined ? [] : [fromData(Int32Array.from(classes), [classes.length])];
  const targets = signs === undefined ? [] : [tensorOf(nd([signs.length], signs), dtype)];
  const returned: unknown = Reflect.apply(module.forward, module, [
    ...leaves,
    ...indices,
    ...targets,
    ...more,
  ]);
  const outputs = [returned].flat(2).filter((one) => one instanceof Tensor);
  const terms = outputs.map((output) => sum(mul(output, tensorOf(weights(output.shape, source), dtype))));
  terms.reduce(add).backward();
  const graded = [
    ...leaves.map((leaf, i) => [`input ${i}`, leaf] as const),
    ...module.namedParameters(),
  ].flatMap(([name, { grad }]): [string, Tensor][] =>
    grad === null || grad === undefined ? [] : [[`gradient of ${name}`, clone(grad)]],
  );
  const results: [string, Tensor][] = [
    ...outputs.map((output, i): [string, Tensor] => [`output ${i}`, clone(output)]),
    ...graded,
  ];
  zeroGrad([...leaves, ...module.parameters()]);
  return results;
}

/** Runs a layer in training and in evaluation, and reads everything: results, gradients, buffers. */
async function valuesOf(backend: Backend, test: LayerCase, dtype: DType, seed: number): Promise<Values> {
  await use(backend);
  const source = new Source(seedOf(test.name, test.seed ?? seed));
  const found: Values = new Map();
  const scope = new Scope();
  const module = scope.run(() => test.make(dtype));
  try {
    const tensors = scope.run(() => {
      fill(module, test.values, source);
      const modes = module.buffers().length > 0 ? ["training", "evaluation"] : ["training"];
      const passes = modes.flatMap((mode) =>
        pass(module.train(mode === "training"), test, dtype, source).map(
          ([name, tensor]): [string, Tensor] => [`${name} in ${mode}`, tensor],
        ),
      );
      return [...passes, ...module.namedBuffers()];
    });
    for (const [name, tensor] of tensors) found.set(name, await tensor.data());
  } finally {
    module.dispose();
    scope.dispose();
  }
  return found;
}

async function compare(context: Context, test: LayerCase): Promise<void> {
  const missing = undeclared(context.backend, KERNELS, "f32");
  if (missing !== undefined) throw new NotApplicable(missing);
  const { backend: reference, own } = await openReference(context);
  try {
    const wanted = await valuesOf(reference, test, "f64", context.seed);
    const got = await valuesOf(context.backend, test, "f32", context.seed);
    if (got.size !== wanted.size) context.fail(`${got.size} results instead of ${wanted.size}`);
    // An error of squares: a difference that may be twice as large has four times as much of it.
    const limit = MOST_NMSE * context.widened() ** 2;
    for (const [label, values] of wanted) {
      const error = nmse(got.get(label) ?? [], values);
      context.note({ problem: undefined, worst: Math.sqrt(error), share: error / limit }, "f32");
      if (!(error <= limit))
        context.fail(`${test.name}: ${label}: normalised mean square error ${error}, allowed ${limit}`);
    }
  } finally {
    await use(context.backend);
    if (own) await reference.dispose();
  }
}

/** Every layer forward and backward in f32, in training and evaluation, against float64. */
export function layerChecks(): Check[] {
  return [...LAYER_CASES, ...SEQUENCE_CASES].map((test) => ({
    family: "layers",
    subject: test.name,
    level: "training",
    name: test.name,
    run: (context) => compare(context, test),
  }));
}

import { GradientError } from "../errors.ts";
import { refusePromise, Scope, scope } from "../memory/scope.ts";
import { apply, settle } from "../ops/apply.ts";
import type { Op } from "../ops/op.ts";
import { checkFunction } from "../ops/options.ts";
import { Generator, type GeneratorState, generator, withGenerator } from "../ops/random.ts";
import { alias, identityView } from "../ops/views.ts";
import { Tensor } from "../tensor/tensor.ts";
import { isPlainObject } from "../tensor/tree.ts";
import { sweep } from "./backward.ts";
import { edgeOf, gradientsEnabled, type Node, tapeLength, withGradients } from "./tape.ts";

interface RematAttributes {
  /** The differentiable results, of the first run. */
  readonly results: readonly Tensor[];
  /** How many of the inputs are arguments; those behind are leaves that the function reads by itself. */
  readonly argumentCount: number;
  /** Computes the differentiable results again, of other arguments. */
  readonly again: (args: readonly Tensor[]) => readonly Tensor[];
}

/** A whole function as one operation: it saves its inputs alone, and its derivative runs it once more. */
const REMAT: Op<RematAttributes> = {
  name: "remat",
  forward: (_inputs, { results }) => results.map((result) => alias(result, result.view, "remat")),
  gradient: {
    save: (inputs) => inputs,
    vjp({ saved, gradients, needs, attributes: { again, argumentCount }, createGraph }) {
      return scope(() => {
        const stands = saved.map((x, i) => (needs[i] && i < argumentCount ? standFor(x, createGraph) : x));
        const results = withGradients(true, () => again(stands.slice(0, argumentCount)));
        const arrived = results.flatMap((root, i) => {
          const seed = gradients[i];
          return seed === undefined || !root.requiresGrad ? [] : [{ root, seed }];
        });
        const wanted = stands.flatMap((x, i) => (needs[i] ? [{ x, i }] : []));
        const found = new Array<Tensor | undefined>(saved.length).fill(undefined);
        sweep(
          arrived.map(({ root }) => root),
          arrived.map(({ seed }) => seed),
          wanted.map(({ x }) => edgeOf(x)),
          { retainGraph: createGraph, createGraph },
          (_leaf, gradient, target) => {
            found[(wanted[target] as { i: number }).i] = gradient;
          },
        );
        return found;
      });
    },
  },
};

/** What the function gets for an argument: a leaf, or where gradients are differentiated, a place on the tape. */
function standFor(x: Tensor, onTape: boolean): Tensor {
  if (onTape) return withGradients(true, () => identityView(x));
  const leaf = alias(x, x.view, x.origin);
  settle(leaf, []);
  leaf.leafGradient = x.requiresGrad;
  return leaf;
}

/**
 * Rematerialisation, or gradient checkpointing: the same function, but nothing that it computes inside is kept for
 * backward, which runs it again instead. Chen et al. 2016.
 *
 * Arguments and results may be arrays and objects of tensors at any depth. Parameters that the function reads by itself
 * get their gradients too; results of other differentiable operations must be given as arguments. It runs twice, so it
 * must compute the same both times: the default generator and those among the arguments give it the same random numbers
 * again.
 *
 * @example
 * ```ts no-run
 * import { randn, remat, type Tensor, tanh } from "@nf/core";
 * const block = remat((x: Tensor) => tanh(tanh(tanh(x))));
 * const y = block(randn([64, 64], { requiresGrad: true }));
 * ```
 */
export function remat<A extends readonly unknown[], R>(fn: (...args: A) => R): (...args: A) => R {
  checkFunction("remat", fn);
  return (...args) => (gradientsEnabled() ? rematerialised(fn, args) : refusePromise("remat", fn(...args)));
}

function rematerialised<A extends readonly unknown[], R>(fn: (...args: A) => R, args: A): R {
  const inputs: Tensor[] = [];
  const sources: Generator[] = [generator()];
  mapParts(args, {
    tensor: (x) => {
      inputs.push(x);
      return x;
    },
    generator: (source) => {
      sources.push(source);
      return source;
    },
  });
  for (const input of inputs) input.assertAlive("remat");
  const states = sources.map((source) => source.state());

  const before = tapeLength();
  const work = new Scope("remat computes it again for backward");
  try {
    const stands = work.run(() => inputs.map((input) => standFor(input, false)));
    const returned = work.run(() => refusePromise("remat", fn(...withTensors(args, stands))));
    const results = tensorsOf(returned);
    const isWanted = results.map((result) => result.requiresGrad);
    const wanted = results.filter((_, i) => isWanted[i]);
    const captured = capturedLeaves(wanted, stands, before);
    const again = (others: readonly Tensor[]): readonly Tensor[] => {
      const copies = states.map(copyOf);
      const call = (): R => fn(...withTensors(args, others, copies.slice(1)));
      const repeated = tensorsOf(withGenerator(copies[0] as Generator, call));
      if (repeated.length !== isWanted.length)
        throw new GradientError(
          "remat: the function returned something else when it ran again for backward.",
        );
      return repeated.filter((_, i) => isWanted[i]);
    };
    const attributes = { results: wanted, argumentCount: inputs.length, again };
    const made = wanted.length === 0 ? [] : apply(REMAT, [...inputs, ...captured], attributes);
    let next = 0;
    const outputs = results.map((result, i) => {
      if (isWanted[i]) return made[next++] as Tensor;
      const plain = alias(result, result.view, "remat");
      settle(plain, inputs);
      return plain;
    });
    return withTensors(returned, outputs);
  } finally {
    work.dispose();
  }
}

function copyOf(state: GeneratorState): Generator {
  const copy = new Generator(0);
  copy.setState(state);
  return copy;
}

/** Leaves other than the arguments that results depend on. */
function capturedLeaves(
  results: readonly Tensor[],
  stands: readonly Tensor[],
  before: number,
): readonly Tensor[] {
  const leaves = new Set<Tensor>();
  const nodes = new Set<Node>();
  const reach = (node: Node | undefined, leaf: Tensor | undefined): void => {
    if (leaf !== undefined && !stands.includes(leaf)) leaves.add(leaf);
    if (node === undefined) return;
    if (node.id < before) {
      throw new GradientError(
        `remat: the function reads the result of "${node.op.name}", a differentiable operation outside of it. Give it as an argument.`,
      );
    }
    nodes.add(node);
  };
  for (const result of results) reach(result.node, result.node === undefined ? result : undefined);
  // A set takes in what is added while it is walked through.
  for (const node of nodes) for (const edge of node.edges) reach(edge?.node, edge?.leaf);
  return [...leaves];
}

interface PartMap {
  readonly tensor: (x: Tensor) => Tensor;
  readonly generator: (source: Generator) => Generator;
}

/** The same arrays and plain objects with their tensors and generators mapped; anything else stays as it is. */
function mapParts(value: unknown, map: PartMap): unknown {
  if (value instanceof Tensor) return map.tensor(value);
  if (value instanceof Generator) return map.generator(value);
  if (Array.isArray(value)) return value.map((item) => mapParts(item, map));
  if (!isPlainObject(value)) return value;
  return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, mapParts(item, map)]));
}

function tensorsOf(value: unknown): readonly Tensor[] {
  const tensors: Tensor[] = [];
  mapParts(value, {
    tensor: (x) => {
      tensors.push(x);
      return x;
    },
    generator: (source) => source,
  });
  return tensors;
}

/** A value with other tensors, and perhaps generators, in place of its own. */
function withTensors<T>(value: T, tensors: readonly Tensor[], generators?: readonly Generator[]): T {
  let tensor = 0;
  let source = 0;
  return mapParts(value, {
    tensor: () => tensors[tensor++] as Tensor,
    generator: (own) => generators?.[source++] ?? own,
  }) as T;
}

import { showShape } from "../backend/geometry.ts";
import { GradientError, OptionError } from "../errors.ts";
import { refusePromise, scope } from "../memory/scope.ts";
import { settle } from "../ops/apply.ts";
import { checkFunction, checkOptions } from "../ops/options.ts";
import { filled } from "../ops/programs.ts";
import { alias, detach, identityView } from "../ops/views.ts";
import { Tensor } from "../tensor/tensor.ts";
import { type Tree, treeLeaves, treeMap, visitTensors } from "../tensor/tree.ts";
import { type BackwardOptions, checkDifferentiable, checkedSeed, sweep } from "./backward.ts";
import { type Edge, edgeOf, gradientsEnabled, withGradients } from "./tape.ts";

/**
 * Runs a synchronous function without recording. It is a scope too: tensors made inside end, except those returned.
 */
export function noGrad<T>(fn: () => T): T {
  checkFunction("noGrad", fn);
  return scope(() => withGradients(false, () => refusePromise("noGrad", fn())));
}

/** Runs a synchronous function with recording on, inside {@link noGrad}. */
export function enableGrad<T>(fn: () => T): T {
  checkFunction("enableGrad", fn);
  return withGradients(true, () => refusePromise("enableGrad", fn()));
}

/** The same value, through which no gradient passes. */
export function stopGradient<K>(x: Tensor<K>): Tensor<K> {
  return detach(x);
}

/** Options of {@link grad} and {@link valueAndGrad}. */
export interface GradOptions {
  /** Positions of the arguments to differentiate; default 0. Several give an array of gradients. */
  readonly argnums?: number | readonly number[];
  /**
   * Whether the gradients can be differentiated again, for example by `backward` of a loss that they are a part of.
   * Default: inside another transform only, for it keeps the graph until the results end.
   */
  readonly createGraph?: boolean;
}

/** Options of {@link valueAndGrad}. */
export interface ValueAndGradOptions extends GradOptions {
  /** Whether the function returns `[value, …more]`, of which only the first is differentiated; default false. */
  readonly aux?: boolean;
}

let depth = 0;

/** Whether the result of a transform is differentiated again for certain: inside another one. */
export function wantsGraph(): boolean {
  return gradientsEnabled() && depth > 0;
}

/** Runs the function that a transform was given, recording. */
export function traced<T>(op: string, fn: () => T): T {
  depth++;
  try {
    return withGradients(true, () => refusePromise(op, fn()));
  } finally {
    depth--;
  }
}

/** A leaf (or, inside an outer differentiation, a place on the tape) that stands for an argument. */
export function stand(x: Tensor, nested: boolean, op = "grad"): Tensor {
  x.assertAlive(op);
  checkDifferentiable(op, x);
  if (nested && x.requiresGrad) return identityView(x);
  const leaf = alias(x, x.view, x.origin);
  settle(leaf, []);
  leaf.leafGradient = true;
  return leaf;
}

interface Differentiated {
  readonly result: unknown;
  readonly gradients: readonly Tree[];
}

function differentiate(
  op: string,
  fn: (...args: never[]) => unknown,
  args: readonly unknown[],
  argnums: readonly number[],
  aux: boolean,
  wantGraph: boolean | undefined,
  wantResult: boolean,
): Differentiated {
  return scope(() => {
    const chosen = argnums.map((position) => treeOf(op, args, position));
    const nested = gradientsEnabled();
    const createGraph = wantGraph ?? wantsGraph();
    const stands = chosen.map((tree) => treeMap((leaf) => stand(leaf, createGraph && nested), tree));
    const call = args.slice();
    argnums.forEach((position, i) => {
      call[position] = stands[i];
    });
    const returned = traced(op, () => fn(...(call as never[])));
    const value = aux && Array.isArray(returned) ? (returned as readonly unknown[])[0] : returned;
    if (!(value instanceof Tensor) || value.size !== 1) {
      const what = value instanceof Tensor ? `a tensor of shape ${showShape(value.shape)}` : String(value);
      throw new GradientError(
        `${op}: the function must return a scalar${aux ? " first, as [value, …more]" : ""}, got ${what}. Reduce it with sum() or mean().`,
      );
    }
    const leaves = stands.flatMap((tree) => treeLeaves(tree));
    const found = new Array<Tensor | undefined>(leaves.length).fill(undefined);
    if (value.requiresGrad) {
      const seed = filled(value.device, value.shape, value.dtype, 1);
      sweep(
        [value],
        [seed],
        leaves.map(edgeOf),
        { retainGraph: createGraph, createGraph },
        (_leaf, gradient, target) => {
          found[target] = gradient;
        },
      );
    }
    let next = 0;
    const gradients = chosen.map((tree) =>
      treeMap((leaf) => {
        const gradient = found[next++] ?? filled(leaf.device, leaf.shape, leaf.dtype, 0);
        return ownHandle(gradient, createGraph);
      }, tree),
    );
    if (!wantResult) return { result: undefined, gradients };
    return { result: createGraph ? returned : detachedTree(returned), gradients };
  });
}

/** One gradient may have reached several places, or be the caller's own: each place gets a handle to end by itself. */
export function ownHandle(gradient: Tensor, createGraph: boolean): Tensor {
  return createGraph ? identityView(gradient) : detach(gradient);
}

/** A result whose graph was consumed, cut off from it. */
function detachedTree(value: unknown): unknown {
  if (value instanceof Tensor) return value.requiresGrad ? detach(value) : value;
  if (Array.isArray(value)) return value.map(detachedTree);
  let tensors = 0;
  visitTensors(value, () => tensors++);
  if (tensors === 0 || typeof value !== "object" || value === null) return value;
  return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, detachedTree(item)]));
}

function treeOf(op: string, args: readonly unknown[], position: number): Tree {
  const arg = args[position];
  let tensors = 0;
  visitTensors(arg, () => tensors++);
  if (tensors === 0) {
    throw new OptionError(
      `${op}: argument ${position} holds no tensors to differentiate. Choose others with argnums.`,
    );
  }
  return arg as Tree;
}

function positionsOf(argnums: number | readonly number[] | undefined): readonly number[] {
  return argnums === undefined ? [0] : typeof argnums === "number" ? [argnums] : argnums;
}

/** The arguments at some positions. */
export type Chosen<A extends readonly unknown[], N extends readonly number[]> = {
  -readonly [I in keyof N]: A[N[I]];
};

/**
 * The gradient of a function that returns a scalar, as a function of the same arguments. The differentiated argument
 * is a tensor, or arrays and objects of them; its gradient has the same form. Nothing is written to `.grad`.
 */
export function grad<A extends readonly unknown[], const N extends number = 0>(
  fn: (...args: A) => Tensor,
  options?: GradOptions & { readonly argnums?: N },
): (...args: A) => A[N];
export function grad<A extends readonly unknown[], const N extends readonly number[]>(
  fn: (...args: A) => Tensor,
  options: GradOptions & { readonly argnums: N },
): (...args: A) => Chosen<A, N>;
export function grad<A extends readonly unknown[]>(
  fn: (...args: A) => Tensor,
  options: GradOptions = {},
): (...args: A) => unknown {
  checkOptions("grad", options, ["argnums", "createGraph"]);
  return (...args) => {
    const { gradients } = differentiate(
      "grad",
      fn as (...args: never[]) => unknown,
      args,
      positionsOf(options.argnums),
      false,
      options.createGraph,
      false,
    );
    return Array.isArray(options.argnums) ? gradients : gradients[0];
  };
}

/**
 * Like {@link grad}, and gives the value too: `[value, gradient]`. With `aux`, the function returns `[value, …more]` and
 * the result is `[[value, …more], gradient]`. A scope: only what it returns lives on.
 */
export function valueAndGrad<A extends readonly unknown[], R, const N extends number = 0>(
  fn: (...args: A) => R,
  options?: ValueAndGradOptions & { readonly argnums?: N },
): (...args: A) => [R, A[N]];
export function valueAndGrad<A extends readonly unknown[], R, const N extends readonly number[]>(
  fn: (...args: A) => R,
  options: ValueAndGradOptions & { readonly argnums: N },
): (...args: A) => [R, Chosen<A, N>];
export function valueAndGrad<A extends readonly unknown[], R>(
  fn: (...args: A) => R,
  options: ValueAndGradOptions = {},
): (...args: A) => [R, unknown] {
  checkOptions("valueAndGrad", options, ["argnums", "aux", "createGraph"]);
  return (...args) => {
    const { result, gradients } = differentiate(
      "valueAndGrad",
      fn as (...args: never[]) => unknown,
      args,
      positionsOf(options.argnums),
      options.aux ?? false,
      options.createGraph,
      true,
    );
    return [result as R, Array.isArray(options.argnums) ? gradients : gradients[0]];
  };
}

/**
 * The value of a function and its vector-Jacobian product: `[value, pullback]`. `pullback(gradient)` gives the
 * gradients of the primals when `gradient` arrives at the value. It consumes the graph unless `retainGraph` says not to.
 */
export function vjp(
  fn: (...primals: Tensor[]) => Tensor,
  ...primals: readonly Tensor[]
): [value: Tensor, pullback: (gradient: Tensor, options?: BackwardOptions) => Tensor[]] {
  const nested = gradientsEnabled();
  let targets: readonly Edge[] = [];
  const value = scope(() => {
    const stands = primals.map((primal) => stand(primal, nested));
    targets = stands.map(edgeOf);
    return withGradients(true, () => refusePromise("vjp", fn(...stands)));
  });
  const pullback = (gradient: Tensor, options: BackwardOptions = {}): Tensor[] => {
    checkOptions("vjp pullback", options, ["retainGraph", "createGraph"]);
    const createGraph = options.createGraph ?? false;
    const retainGraph = options.retainGraph ?? createGraph;
    value.assertAlive("vjp pullback");
    return scope(() => {
      const found = new Array<Tensor | undefined>(primals.length).fill(undefined);
      const seed = checkedSeed("vjp pullback", value, gradient);
      if (value.requiresGrad) {
        sweep([value], [seed], targets, { retainGraph, createGraph }, (_leaf, result, target) => {
          found[target] = result;
        });
      }
      return primals.map((primal, i) =>
        ownHandle(found[i] ?? filled(primal.device, primal.shape, primal.dtype, 0), createGraph),
      );
    });
  };
  return [value, pullback];
}

import { sameShape, showShape } from "../backend/geometry.ts";
import { cached } from "../cache.ts";
import { isFloat } from "../dtype.ts";
import { GradientError, OptionError, ShapeError } from "../errors.ts";
import { activeScope, type Owner, refusePromise, scope, scopeWith } from "../memory/scope.ts";
import { add } from "../ops/binary.ts";
import { checkFunction, checkOptions, checkTensor, show } from "../ops/options.ts";
import { copied, filled } from "../ops/programs.ts";
import { Tensor } from "../tensor/tensor.ts";
import { consume, type Graph } from "./graph.ts";
import { type Edge, edgeOf, type Node, type Saved, type ValueType, withGradients } from "./tape.ts";

/** Options of {@link backward} and the functions built on it. */
export interface BackwardOptions {
  /** Keep the graph for another backward; default what `createGraph` is. */
  readonly retainGraph?: boolean;
  /** Record the backward itself, so that gradients can be differentiated; default false. */
  readonly createGraph?: boolean;
}

let sweeps = 0;

/**
 * Accumulates the gradient of x in `.grad` of every leaf it depends on. x is a scalar, or `gradient` gives the
 * gradient that arrives at it. The graph is consumed unless it is retained: a second backward through it throws, and
 * its tensors end at the next `zeroGrad()` or backward over the same leaves.
 */
export function backward(x: Tensor, gradient?: Tensor, options: BackwardOptions = {}): void {
  checkOptions("backward", options, ["retainGraph", "createGraph"]);
  x.assertAlive("backward");
  if (!x.requiresGrad) {
    throw new GradientError(
      `backward: the result of "${x.origin}" does not depend on any tensor that requires a gradient. ` +
        "Set requiresGrad on a leaf, and compute outside noGrad.",
    );
  }
  const createGraph = options.createGraph ?? false;
  const retainGraph = options.retainGraph ?? createGraph;
  const graph = x.node?.graph;
  scope(() => {
    const seed = checkedSeed("backward", x, gradient);
    sweep([x], [seed], undefined, { retainGraph, createGraph }, (leaf, value) =>
      accumulate(leaf, value, graph, createGraph),
    );
  });
}

/** The gradient that arrives at x, or 1 where x is a scalar and none was given. */
export function checkedSeed(op: string, x: Tensor, gradient: Tensor | undefined): Tensor {
  if (gradient === undefined) {
    if (x.size !== 1) {
      throw new GradientError(
        `${op}: x has shape ${showShape(x.shape)}. Reduce it to a scalar (x.sum()), or give the gradient that arrives.`,
      );
    }
    return filled(x.device, x.shape, x.dtype, 1);
  }
  if (!(gradient instanceof Tensor)) {
    throw new GradientError(
      `${op}: the first argument is the gradient that arrives, a tensor, got ${show(gradient)}. Options come second: ${op}(undefined, { retainGraph: true }).`,
    );
  }
  gradient.assertAlive(op);
  if (!sameShape(gradient.shape, x.shape)) {
    throw new ShapeError(
      `${op}: the gradient has shape ${showShape(gradient.shape)}, x ${showShape(x.shape)}; they must be equal.`,
    );
  }
  return gradient;
}

/** Adds a gradient to a leaf's own. The graph that wrote before ends now. */
function accumulate(leaf: Tensor, gradient: Tensor, graph: Graph | undefined, createGraph: boolean): void {
  if (leaf.gradientSource !== graph) {
    leaf.gradientSource?.end();
    leaf.gradientSource = graph;
  }
  const before = leaf.grad;
  // A tensor of the caller's (the seed) is not ours to keep, and one that shares its memory must not change when the
  // other is written to.
  const ours = gradient.owner === activeScope();
  const dense = gradient.view.contiguous && !gradient.storage.shared;
  if (before !== null && !before.isDisposed) leaf.grad = add(before, gradient);
  else leaf.grad = ours && (dense || createGraph) ? gradient : copied(gradient);
}

/** Sets gradients back to null, and ends what the graphs that wrote them left behind. */
export function zeroGrad(tensors: Iterable<Tensor>): void {
  if (typeof tensors?.[Symbol.iterator] !== "function")
    throw new OptionError(`zeroGrad: expected tensors, as in zeroGrad([x, y]), got ${show(tensors)}.`);
  for (const tensor of tensors) {
    // One that ended has no gradient to keep.
    if (tensor?.ended === undefined) checkTensor("zeroGrad", tensor);
    tensor.grad = null;
    tensor.gradientSource?.end();
    tensor.gradientSource = undefined;
  }
}

/**
 * Runs the tape backwards from `roots`. Gradients of `targets` are handed to the callback with their index; without
 * targets, gradients of all leaves are, with the leaf. Runs inside the caller's scope, which ends what is left.
 */
export function sweep(
  roots: readonly Tensor[],
  seeds: readonly Tensor[],
  targets: readonly Edge[] | undefined,
  options: Required<BackwardOptions>,
  deliver: (leaf: Tensor, gradient: Tensor, target: number) => void,
): void {
  const mark = ++sweeps;
  const gradients = new Map<Node, (Tensor | undefined)[]>();
  const leaves = new Map<Tensor, Tensor>();
  const wantedLeaves = targets === undefined ? undefined : new Map<Tensor, number[]>();
  const wantedNodes = new Map<Node, { output: number; target: number }[]>();
  targets?.forEach((target, index) => {
    if (target.node !== undefined)
      cached(wantedNodes, target.node, () => []).push({ output: target.outputIndex, target: index });
    else if (target.leaf !== undefined && wantedLeaves !== undefined)
      cached(wantedLeaves, target.leaf, () => []).push(index);
  });

  const uses = new Uses(!options.createGraph);
  const joined = (before: Tensor | undefined, gradient: Tensor): Tensor => {
    const total = before === undefined ? gradient : add(before, gradient);
    uses.add(total);
    if (before !== undefined) {
      uses.add(gradient);
      uses.drop(gradient);
      uses.drop(before);
    }
    return total;
  };
  // Without targets, everything; else only what lies between the roots and them: the rest is not ours to consume.
  let passed: ReadonlySet<Node> | undefined;
  const arrive = (edge: Edge, gradient: Tensor): void => {
    if (edge.node !== undefined) {
      if (passed !== undefined && !passed.has(edge.node) && !wantedNodes.has(edge.node)) return;
      const count = edge.node.outputTypes.length;
      const slots = cached(gradients, edge.node, () => new Array<Tensor | undefined>(count).fill(undefined));
      slots[edge.outputIndex] = joined(slots[edge.outputIndex], gradient);
    } else if (edge.leaf !== undefined) {
      if (wantedLeaves !== undefined && !wantedLeaves.has(edge.leaf)) return;
      leaves.set(edge.leaf, joined(leaves.get(edge.leaf), gradient));
    }
  };

  withGradients(options.createGraph, () => {
    const nodes = reachable(roots, mark);
    if (wantedLeaves !== undefined) passed = leadingTo(nodes, wantedNodes, wantedLeaves);
    roots.forEach((root, i) => {
      arrive(edgeOf(root), seeds[i] as Tensor);
    });
    for (const node of nodes) {
      const arrived = gradients.get(node);
      gradients.delete(node);
      if (arrived !== undefined) {
        applyHooks(node, arrived, uses);
        for (const { output, target } of wantedNodes.get(node) ?? []) {
          const value = arrived[output];
          if (value === undefined) continue;
          uses.add(value);
          deliver(value, value, target);
        }
        if (passed === undefined || passed.has(node)) propagate(node, arrived, options, arrive);
        for (const value of arrived) if (value !== undefined) uses.drop(value);
      }
      if (!options.retainGraph && (passed === undefined || passed.has(node))) consume(node);
    }
    for (const [leaf, value] of leaves) {
      const hooked = runHooks(leaf.hooks, value, leaf);
      for (const target of wantedLeaves?.get(leaf) ?? [-1]) deliver(leaf, hooked, target);
    }
  });
}

/**
 * Counts who still waits for a gradient, so that it ends when the last one had it: without this, backward would hold
 * the gradients of all layers at once. One gradient may go to several places.
 */
class Uses {
  private readonly ends: boolean;
  private readonly scope: Owner | undefined = activeScope();

  /** @param ends false where gradients are part of a graph. */
  constructor(ends: boolean) {
    this.ends = ends;
  }

  add(gradient: Tensor): void {
    gradient.uses++;
  }

  drop(gradient: Tensor): void {
    if (--gradient.uses > 0 || !this.ends) return;
    gradient.uses = 0;
    // What a hook kept, or brought in from outside, and the caller's seed are not this backward's to end.
    if (gradient.owner === this.scope) gradient.end("backward was done with it");
  }
}

/** Nodes that roots depend on, users before their operands. */
function reachable(roots: readonly Tensor[], mark: number): readonly Node[] {
  const nodes: Node[] = [];
  const visit = (node: Node | undefined): void => {
    if (node === undefined || node.visit === mark) return;
    node.visit = mark;
    nodes.push(node);
  };
  for (const root of roots) visit(root.node);
  for (let i = 0; i < nodes.length; i++) for (const edge of (nodes[i] as Node).edges) visit(edge?.node);
  return nodes.sort((a, b) => b.id - a.id);
}

/** Those of the nodes (users before operands) whose operands lead to a target. */
function leadingTo(
  nodes: readonly Node[],
  wantedNodes: ReadonlyMap<Node, unknown>,
  wantedLeaves: ReadonlyMap<Tensor, unknown>,
): ReadonlySet<Node> {
  const leading = new Set<Node>();
  for (let i = nodes.length - 1; i >= 0; i--) {
    const node = nodes[i] as Node;
    const leads = node.edges.some((edge) => {
      if (edge?.node === undefined) return edge?.leaf !== undefined && wantedLeaves.has(edge.leaf);
      return leading.has(edge.node) || wantedNodes.has(edge.node);
    });
    if (leads) leading.add(node);
  }
  return leading;
}

function propagate(
  node: Node,
  arrived: readonly (Tensor | undefined)[],
  { createGraph }: Required<BackwardOptions>,
  arrive: (edge: Edge, gradient: Tensor) => void,
): void {
  const gradient = node.op.gradient;
  if (gradient === undefined) throw new GradientError(`backward: "${node.op.name}" has no gradient.`);
  const { edges, inputTypes } = node;
  const results = scopeWith(
    () => {
      const saved = savedOf(node).map((value) => value.restore(node.op.name));
      return gradient.vjp({
        saved,
        gradients: arrived,
        needs: edges.map((edge) => edge !== undefined),
        attributes: node.attributes,
        inputs: inputTypes,
        outputs: node.outputTypes,
        createGraph,
      });
    },
    (tensor) => activeScope()?.adopt(tensor),
    "it was a temporary of backward",
  );
  edges.forEach((edge, i) => {
    const value = results[i];
    if (edge === undefined || value === undefined) return;
    const type = inputTypes[i];
    if (type !== undefined && !sameShape(type.shape, value.shape)) {
      throw new GradientError(
        `backward: "${node.op.name}" made a gradient of shape ${showShape(value.shape)} for an input of ${showShape(type.shape)}.`,
      );
    }
    arrive(edge, value);
  });
}

function savedOf(node: Node): readonly Saved[] {
  if (node.saved === undefined) {
    throw new GradientError(
      `backward: the graph at "${node.op.name}" was already consumed by an earlier backward. Pass { retainGraph: true } to that one, or compute the value again.`,
    );
  }
  return node.saved;
}

function applyHooks(node: Node, arrived: (Tensor | undefined)[], uses: Uses): void {
  node.hooks?.forEach((hooks, output) => {
    const value = arrived[output];
    if (value === undefined) return;
    const hooked = runHooks(hooks, value, node.outputTypes[output] as ValueType);
    uses.add(hooked);
    uses.drop(value);
    arrived[output] = hooked;
  });
}

function runHooks(hooks: Tensor["hooks"], gradient: Tensor, { shape }: ValueType): Tensor {
  let value = gradient;
  for (const hook of hooks ?? []) {
    const returned: unknown = refusePromise("gradient hook", hook(value)) ?? value;
    checkTensor("gradient hook", returned);
    value = returned as Tensor;
    value.assertAlive("gradient hook");
    if (!sameShape(value.shape, shape)) {
      throw new ShapeError(
        `gradient hook: returned a tensor of shape ${showShape(value.shape)} for a gradient of ${showShape(shape)}.`,
      );
    }
  }
  return value;
}

/**
 * Calls a function with the gradient of x during every backward; a tensor that it returns takes the gradient's place.
 * Returns a function that removes the hook.
 */
export function registerHook(x: Tensor, hook: (gradient: Tensor) => Tensor | undefined): () => void {
  x.assertAlive("registerHook");
  checkFunction("registerHook", hook);
  if (!x.requiresGrad)
    throw new GradientError(`registerHook: the result of "${x.origin}" requires no gradient.`);
  let hooks: Set<(gradient: Tensor) => Tensor | undefined>;
  if (x.node !== undefined) {
    x.node.hooks ??= new Map();
    hooks = x.node.hooks.get(x.outputIndex) ?? new Set();
    x.node.hooks.set(x.outputIndex, hooks);
  } else {
    x.hooks ??= new Set();
    hooks = x.hooks;
  }
  hooks.add(hook);
  return () => {
    hooks.delete(hook);
  };
}

/** Refuses what cannot have a gradient, by name. */
export function checkDifferentiable(op: string, x: Tensor): void {
  if (!isFloat(x.dtype))
    throw new GradientError(`${op}: only float tensors have gradients, got ${x.dtype} from "${x.origin}".`);
}

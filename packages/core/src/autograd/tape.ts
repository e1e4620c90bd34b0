import type { Shape, View } from "../backend/view.ts";
import type { DType } from "../dtype.ts";
import { LifetimeError } from "../errors.ts";
import { activeScope } from "../memory/scope.ts";
import type { Storage } from "../memory/storage.ts";
import type { Op } from "../ops/op.ts";
import { type GradientHook, Tensor, viewsOf } from "../tensor/tensor.ts";
import { Graph } from "./graph.ts";

/** Where the gradient of a node's input goes: to the node that made it, or into a leaf. */
export interface Edge {
  readonly node: Node | undefined;
  readonly outputIndex: number;
  readonly leaf: Tensor | undefined;
}

/** Where gradients of a tensor arrive. */
export function edgeOf(x: Tensor): Edge {
  return { node: x.node, outputIndex: x.outputIndex, leaf: x.node === undefined ? x : undefined };
}

/** Shape and dtype of a value, without the value. */
export interface ValueType {
  readonly shape: Shape;
  readonly dtype: DType;
}

/** One recorded operation. The tape is the graph of these; it holds the operation itself, not its name. */
export interface Node {
  /** Grows along the tape: operands have lower numbers than their users. */
  readonly id: number;
  readonly op: Op<unknown>;
  readonly attributes: unknown;
  /** One for each input; undefined where no gradient is wanted. */
  readonly edges: readonly (Edge | undefined)[];
  /** Shapes, dtypes and layouts; their buffers may have another owner by now. */
  readonly inputTypes: readonly View[];
  readonly outputTypes: readonly ValueType[];
  /** What the derivative reads; undefined once backward consumed the node. */
  saved: readonly Saved[] | undefined;
  /** The graph it is part of; changes when graphs meet. */
  graph: Graph;
  /** Hooks by output. */
  hooks: Map<number, Set<GradientHook>> | undefined;
  /** Mark of the backward run that visits it. */
  visit: number;
}

let nodeCount = 0;
let gradients = true;

/** Number of nodes so far: what is recorded from here on has this id or a higher one. */
export function tapeLength(): number {
  return nodeCount;
}

/** Whether operations are being recorded. */
export function gradientsEnabled(): boolean {
  return gradients;
}

/** Runs a synchronous function with recording on or off. */
export function withGradients<T>(enabled: boolean, fn: () => T): T {
  const before = gradients;
  gradients = enabled;
  try {
    return fn();
  } finally {
    gradients = before;
  }
}

/** A value kept for backward: it survives the tensor it was taken from, and knows whether it was overwritten since. */
export class Saved {
  private readonly tensor: Tensor;
  private readonly view: View;
  private readonly storage: Storage;
  private readonly version: number;
  private readonly node: Node | undefined;
  private readonly outputIndex: number;
  private slot: number;
  private graph: Graph;

  constructor(tensor: Tensor, graph: Graph) {
    this.tensor = tensor;
    this.view = tensor.view;
    this.storage = tensor.storage.retain();
    this.version = tensor.storage.version;
    this.node = tensor.node;
    this.outputIndex = tensor.outputIndex;
    this.graph = graph;
    this.slot = graph.hold(this.storage);
  }

  /** The value as a tensor with its place on the tape, for the scope that is running. */
  restore(reader: string): Tensor {
    if (this.storage.version !== this.version) {
      throw new LifetimeError(
        `backward of ${reader}: a value it needs (result of "${this.tensor.origin}", shape [${this.view.shape.join(", ")}]) was ` +
          `overwritten by "${this.storage.writer}". Call backward before the write, or compute with a copy.`,
        "NF_OVERWRITTEN",
      );
    }
    if (this.tensor.ended === undefined) return this.tensor;
    const copy = new Tensor(this.storage.retain(), this.view, this.tensor.origin);
    copy.node = this.node;
    copy.outputIndex = this.outputIndex;
    copy.leafGradient = this.tensor.leafGradient;
    activeScope()?.adopt(copy);
    return copy;
  }

  /** Another graph answers for the value now. */
  moveTo(graph: Graph): void {
    this.graph = graph;
    this.slot = graph.hold(this.storage);
  }

  /** Lets the value go. */
  release(): void {
    this.graph.drop(this.slot);
    this.storage.release();
  }
}

/** What operations save whose derivative reads no value; one list for all of them. */
const NOTHING: Saved[] = [];

/** Puts an executed operation on the tape and connects its outputs to it. */
export function record(
  op: Op<unknown>,
  attributes: unknown,
  inputs: readonly Tensor[],
  outputs: readonly Tensor[],
  saved: readonly Tensor[],
): void {
  const edges = new Array<Edge | undefined>(inputs.length);
  let graph: Graph | undefined;
  for (let i = 0; i < inputs.length; i++) {
    const input = inputs[i] as Tensor;
    edges[i] = input.requiresGrad ? edgeOf(input) : undefined;
    if (input.node !== undefined) graph = graph?.merge(input.node.graph) ?? input.node.graph;
  }
  if (graph === undefined) {
    graph = new Graph();
    const scope = activeScope();
    if (scope === undefined) graph.watch();
    else scope.track(graph);
  }
  const held = saved.length === 0 ? NOTHING : new Array<Saved>(saved.length);
  const node: Node = {
    id: nodeCount++,
    op,
    attributes,
    edges,
    inputTypes: viewsOf(inputs),
    outputTypes: viewsOf(outputs),
    saved: held,
    graph,
    hooks: undefined,
    visit: 0,
  };
  graph.add(node);
  for (let i = 0; i < outputs.length; i++) {
    const output = outputs[i] as Tensor;
    output.node = node;
    output.outputIndex = i;
  }
  // After the outputs know their node: a saved output must keep its place on the tape when its tensor ends.
  for (let i = 0; i < saved.length; i++) held[i] = new Saved(saved[i] as Tensor, graph);
}

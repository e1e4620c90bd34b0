import { unwatch, watchGroup } from "../memory/roots.ts";
import type { Owner, ScopedGraph } from "../memory/scope.ts";
import type { Storage } from "../memory/storage.ts";
import type { Tensor } from "../tensor/tensor.ts";
import type { Node } from "./tape.ts";

let births = 0;

/**
 * The intermediates of one differentiable computation, which live and die together. Backward consumes nodes; their
 * tensors stay readable until the next `zeroGrad()` or backward over the same leaves, and then {@link Graph.end} frees
 * them. Graphs that meet in an operation become one.
 */
export class Graph implements Owner, ScopedGraph {
  private readonly birth: number = births++;
  private parent: Graph | undefined;
  private nodes: Node[] = [];
  private readonly tensors: (Tensor | undefined)[] = [];
  // What the collector must give back if the user drops the whole graph: kept apart, since it may not refer to tensors.
  private readonly storages: (Storage | undefined)[] = [];
  private readonly held: (Storage | undefined)[] = [];
  private watched = false;
  /** Whether a tensor without an owner is part of it. */
  pinned = false;

  /** The graph that this one was merged into, or itself. */
  root(): Graph {
    let root: Graph = this;
    while (root.parent !== undefined) root = root.parent;
    if (this.parent !== undefined && this.parent !== root) this.parent = root;
    return root;
  }

  /** Makes one graph of two: the older one takes the other in, so that a scope's graphs join those around it. */
  merge(other: Graph): Graph {
    if (this === other) return this;
    return this.birth < other.birth ? this.takeIn(other) : other.takeIn(this);
  }

  private takeIn(younger: Graph): Graph {
    for (const node of younger.nodes) {
      node.graph = this;
      this.nodes.push(node);
      if (node.saved !== undefined) for (const value of node.saved) value.moveTo(this);
    }
    for (const tensor of younger.tensors) if (tensor !== undefined) this.adopt(tensor);
    younger.nodes = [];
    younger.tensors.length = 0;
    younger.storages.length = 0;
    younger.held.length = 0;
    younger.parent = this;
    if (younger.pinned) this.pin();
    return this;
  }

  /** Takes in a node; its saved values go when the graph ends. */
  add(node: Node): void {
    this.nodes.push(node);
  }

  /** @internal */
  adopt(tensor: Tensor): void {
    tensor.owner = this;
    tensor.slot = this.tensors.push(tensor) - 1;
    this.storages.push(tensor.storage);
  }

  /** @internal */
  abandon(tensor: Tensor): void {
    tensor.owner = undefined;
    this.tensors[tensor.slot] = undefined;
    this.storages[tensor.slot] = undefined;
  }

  /** Notes a storage that a saved value holds; returns its place. */
  hold(storage: Storage): number {
    return this.held.push(storage) - 1;
  }

  /** A saved value let its storage go. */
  drop(place: number): void {
    this.held[place] = undefined;
  }

  /** Has the collector return what the graph holds if nobody ends it: needed once no scope answers for it. */
  watch(): void {
    if (this.watched) return;
    this.watched = true;
    watchGroup(this, this.storages, this.held);
  }

  /** Notes that a tensor without an owner is part of it. */
  pin(): void {
    this.pinned = true;
    this.watch();
  }

  /** Lets go of everything it saved; no backward can pass it any more. */
  abandonAll(): void {
    for (const node of this.nodes) consume(node);
    this.endConsumed();
  }

  /**
   * Ends what backward consumed and what depends on it, since no later backward could pass there. A part that is
   * still whole (a second loss on detached values, say) stays.
   */
  end(): void {
    if (this.parent !== undefined) {
      this.root().end();
      return;
    }
    for (const node of this.nodes.sort((a, b) => a.id - b.id)) {
      if (
        node.saved !== undefined &&
        node.edges.some((edge) => edge?.node !== undefined && edge.node.saved === undefined)
      ) {
        consume(node);
      }
    }
    this.endConsumed();
  }

  private endConsumed(): void {
    this.nodes = this.nodes.filter((node) => node.saved !== undefined);
    for (const tensor of this.tensors) {
      if (tensor !== undefined && tensor.node?.saved === undefined) {
        tensor.end("backward consumed its graph, and zeroGrad() or another backward came after it");
      }
    }
    if (this.nodes.length === 0) {
      this.tensors.length = 0;
      this.storages.length = 0;
      this.held.length = 0;
      if (this.watched) unwatch(this);
      this.watched = false;
    }
  }
}

/** Lets go of what a node saved for backward, which can then not pass it again. */
export function consume(node: Node): void {
  const saved = node.saved;
  node.saved = undefined;
  if (saved !== undefined) for (const value of saved) value.release();
}

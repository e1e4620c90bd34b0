import { OptionError, ScopeError } from "../errors.ts";
import type { Tensor } from "../tensor/tensor.ts";
import { visitTensors } from "../tensor/tree.ts";
import { makeRoot } from "./roots.ts";

/** Something that ends tensors: a scope, a batch, a graph. A tensor without an owner lives until it is disposed. */
export interface Owner {
  /** Takes a tensor in. */
  adopt(tensor: Tensor): void;
  /** Lets go of a tensor that was kept, adopted elsewhere, or disposed of early. */
  abandon(tensor: Tensor): void;
}

/** The intermediates of a differentiable computation, as far as a scope is concerned. */
export interface ScopedGraph {
  /** The graph this one became part of, or itself. */
  root(): ScopedGraph;
  /** Whether something outside of all scopes refers to it. */
  readonly pinned: boolean;
  /** Has the collector look after it, where no scope does. */
  watch(): void;
  /** Lets go of everything it saved; no backward can pass it any more. */
  abandonAll(): void;
}

let active: Scope | undefined;

/** The innermost scope that is running. */
export function activeScope(): Scope | undefined {
  return active;
}

/**
 * Holds tensors until {@link Scope.dispose}. For asynchronous code, where {@link scope} cannot be used: tensors made
 * inside `run` belong to this scope, and so do results computed from them outside of any other scope.
 *
 * @example
 * ```ts no-run
 * import { Scope, tensor } from "@nf/core";
 * const batch = new Scope();
 * const x = batch.run(() => tensor([1, 2, 3]));
 * await x.data();
 * batch.dispose();
 * ```
 */
export class Scope implements Owner {
  private tensors: Tensor[] = [];
  private graphs: ScopedGraph[] = [];
  private readonly reason: string;
  /** @internal The graph whose tensors were read inside: what outlives all scopes goes with it. */
  heir: Owner | undefined = undefined;

  /** @param reason what a use after death reports as the end; default "its scope ended". */
  constructor(reason = "its scope ended") {
    this.reason = reason;
  }

  /**
   * Runs a synchronous function; tensors it makes belong to this scope.
   * @throws ScopeError if it returns a promise: ambient state does not survive `await`.
   */
  run<T>(fn: () => T): T {
    if (typeof fn !== "function") throw new OptionError(`Scope.run: expected a function, got ${typeof fn}.`);
    const outer = active;
    active = this;
    try {
      return refusePromise("Scope.run", fn());
    } finally {
      active = outer;
    }
  }

  /** @internal */
  adopt(tensor: Tensor): void {
    tensor.owner = this;
    tensor.slot = this.tensors.push(tensor) - 1;
  }

  /** @internal A gap would cost more than a dead entry; the list goes when the scope ends. */
  abandon(tensor: Tensor): void {
    tensor.owner = undefined;
  }

  /** @internal Notes a graph that began here: what it saved goes with the scope, unless a result needs it. */
  track(graph: ScopedGraph): void {
    this.graphs.push(graph);
  }

  /** Ends every tensor of this scope that was not kept. */
  dispose(): void {
    this.close([], undefined);
  }

  /** @internal Ends the scope; graphs that `escaped` with a result are the outer scope's business from now on. */
  close(escaped: readonly ScopedGraph[], outer: Scope | undefined): void {
    const { tensors, graphs } = this;
    this.tensors = [];
    for (let i = 0; i < tensors.length; i++) {
      const tensor = tensors[i] as Tensor;
      if (tensor.owner === this) tensor.end(this.reason);
    }
    if (graphs.length === 0) return;
    this.graphs = [];
    for (const graph of graphs) {
      // A graph that joined an older one lives as long as that.
      if (graph.root() !== graph || graph.pinned) continue;
      if (!escaped.includes(graph)) graph.abandonAll();
      else if (outer !== undefined) outer.track(graph);
      else graph.watch();
    }
  }

  [Symbol.dispose](): void {
    this.dispose();
  }
}

/**
 * Runs a synchronous function and ends every tensor made in it, except those in its result (in arrays and plain
 * objects at any depth) and those that were kept. What the tape needs of a graph that was returned stays.
 *
 * @throws ScopeError if the function returns a promise.
 */
export function scope<T>(fn: () => T): T {
  return scopeWith(fn, settleOutside, "its scope ended");
}

/** A scope whose results are handed to `settle`, outermost scope already restored. */
export function scopeWith<T>(fn: () => T, settle: (tensor: Tensor, inner: Scope) => void, reason: string): T {
  if (typeof fn !== "function") throw new OptionError(`scope: expected a function to run, got ${typeof fn}.`);
  const outer = active;
  const inner = new Scope(reason);
  active = inner;
  let result: T;
  try {
    result = refusePromise("scope", fn());
  } catch (error) {
    active = outer;
    inner.close([], outer);
    throw error;
  }
  active = outer;
  if (outer !== undefined) outer.heir ??= inner.heir;
  const escaped: ScopedGraph[] = [];
  visitTensors(result, (tensor) => {
    if (tensor.node !== undefined) escaped.push(tensor.node.graph);
    if (tensor.owner === inner) settle(tensor, inner);
  });
  inner.close(escaped, outer);
  return result;
}

/** What a scope returns belongs to the one around it, or to a graph it is part of or was computed from, or to nobody. */
function settleOutside(tensor: Tensor, { heir }: Scope): void {
  if (active !== undefined) active.adopt(tensor);
  else if (tensor.node !== undefined) tensor.node.graph.adopt(tensor);
  else if (heir !== undefined) heir.adopt(tensor);
  else makeRoot(tensor);
}

/** Passes a result on unless it is a promise, whose tensors would end too early. */
export function refusePromise<T>(what: string, result: T): T {
  if (typeof (result as { readonly then?: unknown } | null | undefined)?.then === "function") {
    // Its tensors end now, so that it is bound to fail later as well; this error says it all.
    Promise.resolve(result).catch(() => {});
    throw new ScopeError(
      `${what}: the function returned a promise, but must be synchronous. Read results after it, or run each part in a \`new Scope()\`.`,
    );
  }
  return result;
}

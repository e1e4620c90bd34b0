import { OptionError, ShapeError, Tensor, type Tree, treeLeaves, treeMap } from "@nf/core";
import { show } from "../check.ts";
import type { Params } from "./functionalize.ts";

/** A tree taken apart. */
export interface FlatTree<T extends Tree> {
  /** Its tensors in order. */
  readonly leaves: readonly Tensor[];
  /**
   * A tree of the same form with other tensors.
   *
   * @throws ShapeError for another number of them.
   */
  unflatten(leaves: readonly Tensor[]): T;
}

/** The tensors of a tree with their paths, keys joined by dots: `blocks.0.weight`. That of a single tensor is empty. */
export function treeEntries(tree: Tree): readonly (readonly [path: string, leaf: Tensor])[] {
  const entries: (readonly [string, Tensor])[] = [];
  const visit = (node: Tree, path: string): void => {
    if (node instanceof Tensor) {
      entries.push([path, node]);
      return;
    }
    if (typeof node !== "object" || node === null) {
      throw new OptionError(
        `treeEntries: expected a tensor, or an array or plain object of them${path === "" ? "" : ` at ${path}`}, got ${show(node)}.`,
      );
    }
    const inside: [string, Tree][] = Object.entries(node);
    for (const [key, value] of inside) visit(value, path === "" ? key : `${path}.${key}`);
  };
  visit(tree, "");
  return entries;
}

/** The paths of a tree's tensors, in the order of `treeLeaves`. */
export function treePaths(tree: Tree): readonly string[] {
  return treeEntries(tree).map(([path]) => path);
}

/** Takes a tree apart into its tensors, and a function that puts others together in its form. */
export function treeFlatten<T extends Tree>(tree: T): FlatTree<T> {
  const leaves = treeLeaves(tree);
  return {
    leaves,
    unflatten(others) {
      if (others.length !== leaves.length)
        throw new ShapeError(`unflatten: expected ${leaves.length} tensors, got ${others.length}.`);
      let position = 0;
      return treeMap(() => others[position++] as Tensor, tree);
    },
  };
}

/**
 * What lies under the same path in several trees: for each path the tensors, one a tree. The order of keys does not matter.
 *
 * @throws ShapeError naming the paths that are not in all of them.
 *
 * @example
 * ```ts no-run
 * import { type Tree } from "@nf/core";
 * import { treeZip } from "@nf/nn";
 *
 * async function report(params: Tree, grads: Tree): Promise<void> {
 *   for (const [path, [value, gradient]] of treeZip(params, grads)) {
 *     console.log(path, await value?.norm().item(), await gradient?.norm().item());
 *   }
 * }
 * ```
 */
export function treeZip(
  tree: Tree,
  ...others: readonly Tree[]
): readonly (readonly [path: string, leaves: readonly Tensor[]])[] {
  const entries = treeEntries(tree);
  const paths = new Set(entries.map(([path]) => path));
  const tables = others.map((other) => new Map(treeEntries(other)));
  const problems = tables.flatMap((table, index) => [
    ...[...paths].filter((path) => !table.has(path)).map((path) => `tree ${index + 2} has no ${path}`),
    ...[...table.keys()].filter((path) => !paths.has(path)).map((path) => `tree 1 has no ${path}`),
  ]);
  if (problems.length > 0) throw new ShapeError(`treeZip: the trees differ.\n  ${problems.join("\n  ")}`);
  return entries.map(([path, leaf]) => [path, [leaf, ...tables.map((table) => table.get(path) as Tensor)]]);
}

/**
 * The nested form of tensors by dotted name: `{ "0.weight": w }` gives `{ "0": { weight: w } }`. A structure takes the flat
 * form, {@link flattenParams} gives it back.
 *
 * @throws OptionError for a name that is also the beginning of others.
 */
export function nestParams(params: Params): { readonly [key: string]: Tree } {
  const inner = new Map<string, Record<string, Tensor>>();
  const entries = Object.entries(params);
  for (const [name, value] of entries) {
    const dot = name.indexOf(".");
    const head = dot < 0 ? name : name.slice(0, dot);
    if (dot < 0 ? inner.has(head) : Object.hasOwn(params, head))
      throw new OptionError(`nestParams: "${head}" is a tensor and holds others too.`);
    if (dot < 0) continue;
    inner.set(head, { ...inner.get(head), [name.slice(dot + 1)]: value });
  }
  const heads = entries.map(([name]) => name.split(".", 1)[0] as string);
  return Object.fromEntries(
    [...new Set(heads)].map((head) => {
      const below = inner.get(head);
      return [head, below === undefined ? (params[head] as Tensor) : nestParams(below)];
    }),
  );
}

/**
 * Tensors of a tree by dotted name, as a structure takes them: the other way round of {@link nestParams}.
 *
 * @throws OptionError for two tensors of one name, which keys with dots can make.
 */
export function flattenParams(tree: Tree): Params {
  const entries = treeEntries(tree);
  const params = Object.fromEntries(entries);
  const names = Object.keys(params);
  if (names.length !== entries.length || (tree instanceof Tensor && names[0] === ""))
    throw new OptionError(
      tree instanceof Tensor
        ? "flattenParams: a single tensor has no name. Put it into an object."
        : "flattenParams: two tensors have the same name, because a key has a dot in it.",
    );
  return params;
}

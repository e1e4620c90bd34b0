import { ShapeError } from "../errors.ts";
import { Tensor } from "./tensor.ts";

/** A tensor, or arrays and plain objects of them at any depth: parameters, batches, results. */
export type Tree = Tensor | readonly Tree[] | { readonly [key: string]: Tree };

/** Whether a value is an object literal (or `Object.create(null)`), whose properties are part of a tree. */
export function isPlainObject(value: unknown): value is Record<string, unknown> {
  if (typeof value !== "object" || value === null) return false;
  const prototype: unknown = Object.getPrototypeOf(value);
  return prototype === Object.prototype || prototype === null;
}

/** Calls `visit` for every tensor in arrays, maps, sets and plain objects at any depth; anything else is passed over. */
export function visitTensors(value: unknown, visit: (tensor: Tensor) => void): void {
  if (value instanceof Tensor) visit(value);
  else if (Array.isArray(value) || value instanceof Set) for (const item of value) visitTensors(item, visit);
  else if (value instanceof Map) for (const item of value.values()) visitTensors(item, visit);
  else if (isPlainObject(value)) for (const key of Object.keys(value)) visitTensors(value[key], visit);
}

/** The tensors of a tree in order: arrays by position, objects by their own key order. */
export function treeLeaves(tree: Tree): readonly Tensor[] {
  const leaves: Tensor[] = [];
  visitTensors(tree, (tensor) => leaves.push(tensor));
  return leaves;
}

/**
 * A tree of the same form with `fn` applied to each tensor. Further trees must have that form too; their tensors are
 * passed along.
 */
export function treeMap<T extends Tree>(
  fn: (leaf: Tensor, ...others: Tensor[]) => Tensor,
  tree: T,
  ...rest: readonly Tree[]
): T {
  const others = rest.map((other, index) => {
    const leaves = treeLeaves(other);
    const expected = treeLeaves(tree).length;
    if (leaves.length !== expected) {
      throw new ShapeError(
        `treeMap: tree ${index + 2} has ${leaves.length} tensors where the first has ${expected}.`,
      );
    }
    return leaves;
  });
  let position = 0;
  return rebuild(tree, (leaf) => {
    const row = others.map((leaves) => leaves[position] as Tensor);
    position++;
    return fn(leaf, ...row);
  }) as T;
}

function rebuild(tree: Tree, fn: (leaf: Tensor) => Tensor): Tree {
  if (tree instanceof Tensor) return fn(tree);
  if (isTreeArray(tree)) return tree.map((item) => rebuild(item, fn));
  return Object.fromEntries(Object.entries(tree).map(([key, item]) => [key, rebuild(item, fn)]));
}

function isTreeArray(tree: Tree): tree is readonly Tree[] {
  return Array.isArray(tree);
}

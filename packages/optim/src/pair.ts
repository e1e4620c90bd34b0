import { ShapeError, Tensor, type Tree } from "@nf/core";

/** A tree that must have the form of the parameters, and what messages call it. */
export interface NamedTree {
  readonly name: string;
  readonly tree: Tree;
}

/** A parameter with the tensors at its place in the other trees. */
export interface Row {
  readonly parameter: Tensor;
  readonly others: readonly Tensor[];
}

/**
 * Finds for each parameter the tensor under the same keys of each other tree; the order of keys does not matter.
 *
 * @returns a row for each parameter, in the order of `treeLeaves(params)`.
 * @throws ShapeError listing the path of everything that is missing, not a tensor, or of another shape.
 */
export function pair(caller: string, params: Tree, trees: readonly NamedTree[]): readonly Row[] {
  const rows: Row[] = [];
  const problems: string[] = [];
  walk(params, trees, "", rows, problems);
  if (problems.length > 0) {
    const names = trees.map(({ name }) => name).join(", ");
    throw new ShapeError(
      `${caller}: ${names === "" ? "params must be tensors" : `${names} must have the form of params`}.\n  ` +
        problems.join("\n  "),
    );
  }
  return rows;
}

/** @param path where the trees are, with a dot before each key. */
function walk(
  params: unknown,
  trees: readonly { readonly name: string; readonly tree: unknown }[],
  path: string,
  rows: Row[],
  problems: string[],
): void {
  const kind = kindOf(params);
  if (kind === undefined) {
    problems.push(
      `params${path}: expected a tensor, or an array or plain object of them, got ${say(params)}`,
    );
    return;
  }
  const fitting = trees.filter(({ name, tree }) => {
    if (kindOf(tree) === kind) return true;
    problems.push(`${name}${path}: expected ${kind}, got ${say(tree)}`);
    return false;
  });
  if (params instanceof Tensor) {
    for (const { name, tree } of fitting) {
      const { shape } = tree as Tensor;
      if (!sameShape(shape, params.shape))
        problems.push(
          `${name}${path}: expected shape [${params.shape.join(", ")}], got [${shape.join(", ")}]`,
        );
    }
    rows.push({ parameter: params, others: fitting.map(({ tree }) => tree as Tensor) });
    return;
  }
  const keys = Object.keys(params as object);
  for (const { name, tree } of fitting) {
    const extra = Object.keys(tree as object).filter((key) => !Object.hasOwn(params as object, key));
    for (const key of extra) problems.push(`${name}${path}.${key}: there is no params${path}.${key}`);
  }
  for (const key of keys) {
    const inside = fitting.flatMap(({ name, tree }) => {
      if (Object.hasOwn(tree as object, key)) return [{ name, tree: entry(tree, key) }];
      problems.push(`${name}${path}.${key}: missing`);
      return [];
    });
    walk(entry(params, key), inside, `${path}.${key}`, rows, problems);
  }
}

function entry(tree: unknown, key: string): unknown {
  return (tree as Readonly<Record<string, unknown>>)[key];
}

function kindOf(tree: unknown): "a tensor" | "an array" | "an object" | undefined {
  if (tree instanceof Tensor) return "a tensor";
  if (Array.isArray(tree)) return "an array";
  if (typeof tree !== "object" || tree === null) return undefined;
  const prototype: unknown = Object.getPrototypeOf(tree);
  return prototype === Object.prototype || prototype === null ? "an object" : undefined;
}

function say(value: unknown): string {
  if (typeof value === "function") return "a function";
  return kindOf(value) ?? (typeof value === "object" && value !== null ? "another object" : String(value));
}

function sameShape(a: readonly number[], b: readonly number[]): boolean {
  return a.length === b.length && a.every((size, axis) => size === b[axis]);
}

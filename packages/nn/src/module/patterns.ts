import { OptionError, type Tensor } from "@nf/core";
import { show } from "../check.ts";

/**
 * Which parameters are meant: a name (`head.weight`), a subtree (`encoder`, and all below it), either with `*` for any part
 * between dots (`blocks.*.attention`, `*.bias`), or a regular expression that is looked for in the whole name.
 */
export type NamePattern = string | RegExp;

type Named = readonly (readonly [name: string, parameter: Tensor])[];

/** A test whether a name is meant. */
function matcher(caller: string, pattern: NamePattern): (name: string) => boolean {
  if (pattern instanceof RegExp) return (name) => name.search(pattern) >= 0;
  if (typeof pattern !== "string" || pattern === "") {
    throw new OptionError(
      `${caller}: expected names of parameters or subtrees, or regular expressions, got ${show(pattern)}.`,
    );
  }
  const parts = pattern.split("*").map((part) => part.replace(/[.+?^${}()|[\]\\]/g, "\\$&"));
  const expression = new RegExp(`^${parts.join("[^.]*")}(\\.|$)`);
  return (name) => expression.test(name);
}

/**
 * The parameters that patterns mean, in their order.
 *
 * @throws OptionError for a pattern that means none.
 */
export function selected(caller: string, named: Named, patterns: readonly NamePattern[]): Named {
  const tests = patterns.map((pattern) => {
    const test = matcher(caller, pattern);
    if (!named.some(([name]) => test(name))) {
      const names = named.map(([name]) => name);
      const some = names.length > 12 ? [...names.slice(0, 12), "…"] : names;
      throw new OptionError(
        `${caller}: no parameter is called ${String(pattern)}. There are ${some.join(", ") || "none at all"}.`,
      );
    }
    return test;
  });
  return named.filter(([name]) => tests.some((test) => test(name)));
}

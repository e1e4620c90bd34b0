import { OptionError, type Tensor } from "@nf/core";
import { show } from "../check.ts";
import { Module } from "./module.ts";
import { type NamePattern, selected } from "./patterns.ts";

/** Parameters by name, and beside `match` the settings of an optimiser for them. */
export interface ParameterRule {
  /** Names, subtrees or regular expressions; see {@link NamePattern}. */
  readonly match: NamePattern | readonly NamePattern[];
}

type KeyOf<R> = R extends unknown ? keyof R : never;
type ValueOf<R, K extends PropertyKey> = R extends Readonly<Record<K, infer V>> ? V : never;

/** Parameters and their settings, as optimisers take them. */
export type ParameterGroup<R> = { readonly [K in Exclude<KeyOf<R>, "match">]?: ValueOf<R, K> } & {
  readonly params: readonly Tensor[];
};

/**
 * Groups for an optimiser from names: a parameter goes to the first rule that means it, and those that none means make the last group,
 * with the optimiser's own settings.
 *
 * @throws OptionError for what is no module, and for a rule that means no parameter, or none that an earlier one left.
 *
 * @example
 * ```ts no-run
 * import { LayerNorm, Linear, parameterGroups, sequential } from "@nf/nn";
 * import { AdamW } from "@nf/optim";
 *
 * const model = sequential(new Linear(8, 8), new LayerNorm(8), new Linear(8, 2));
 * const groups = parameterGroups(model, [{ match: [/bias$/, "1"], weightDecay: 0 }, { match: "2", lr: 1e-4 }]);
 * const optimizer = new AdamW(groups, { lr: 1e-3, weightDecay: 0.1 });
 * ```
 */
export function parameterGroups<const R extends readonly ParameterRule[]>(
  model: Module,
  rules: R,
): readonly ParameterGroup<R[number]>[] {
  if (!(model instanceof Module))
    throw new OptionError(`parameterGroups: expected a module, got ${show(model)}.`);
  if (!Array.isArray(rules))
    throw new OptionError(
      `parameterGroups: expected a list of rules like [{ match: /bias$/, weightDecay: 0 }], got ${show(rules)}.`,
    );
  let left = model.namedParameters();
  const groups: ParameterGroup<R[number]>[] = rules.map((rule, position) => {
    if (typeof rule !== "object" || rule === null)
      throw new OptionError(
        `parameterGroups: rule ${position} must be an object like { match: /bias$/, weightDecay: 0 }, got ${show(rule)}.`,
      );
    const { match, ...settings } = rule;
    const patterns = Array.isArray(match) ? match : [match];
    const chosen = selected(`parameterGroups: rule ${position}`, model.namedParameters(), patterns);
    const named = new Set(chosen.map(([name]) => name));
    const params = left.filter(([name]) => named.has(name)).map(([, parameter]) => parameter);
    if (params.length === 0)
      throw new OptionError(
        `parameterGroups: earlier rules take all parameters of rule ${position}. Put it before them.`,
      );
    left = left.filter(([name]) => !named.has(name));
    return { ...settings, params } as ParameterGroup<R[number]>;
  });
  if (left.length === 0) return groups;
  return [...groups, { params: left.map(([, parameter]) => parameter) } as ParameterGroup<R[number]>];
}

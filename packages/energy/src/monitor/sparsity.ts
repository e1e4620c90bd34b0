import { abs, cast, checkNumber, checkOptions, lessEqual, mean, noGrad, scope } from "@nf/core";
import type { Activation } from "../observe.ts";

/** Options of {@link activationSparsity}. */
export interface SparsityOptions {
  /** Size up to which an element counts as 0; default 0, exact zeros. */
  readonly threshold?: number;
}

/** How many of what a layer gave are zeros. */
export interface SparsityRow {
  readonly path: string;
  /** Class of the layer. */
  readonly type: string;
  /** Elements that it gave. */
  readonly elements: number;
  /** Share of them that are 0, from 0 to 1. */
  readonly zeros: number;
}

/**
 * Share of zeros in what each leaf of a model gave, call by call.
 *
 * @param activations from `observe`, which have not been disposed of.
 */
export async function activationSparsity(
  activations: readonly Activation[],
  options: SparsityOptions = {},
): Promise<readonly SparsityRow[]> {
  checkOptions("activationSparsity", options, ["threshold"]);
  const { threshold = 0 } = options;
  checkNumber("activationSparsity", "threshold", threshold, 0);
  const rows = activations.flatMap(({ leaf, path, module, outputs }) =>
    leaf ? outputs.filter(({ size }) => size > 0).map((output) => ({ path, module, output })) : [],
  );
  // All are asked for before the first is waited for.
  const shares = rows.map(({ output }) => {
    const share = scope(() => noGrad(() => mean(cast(lessEqual(abs(output), threshold), "f32"))));
    return share.item().finally(() => share.dispose());
  });
  const zeros = await Promise.all(shares);
  return rows.map(({ path, module, output }, i) => ({
    path,
    type: module.typeName(),
    elements: output.size,
    zeros: zeros[i] as number,
  }));
}

import { checkOptions, OptionError } from "@nf/core";
import { show } from "../check.ts";

/** The axis that a layer works along. */
export function axisOf(layer: string, options: { readonly axis?: number }, standard: number): number {
  checkOptions(layer, options, ["axis"]);
  const { axis = standard } = options;
  if (!Number.isInteger(axis))
    throw new OptionError(`${layer}: axis must be a whole number, got ${show(axis)}.`);
  return axis;
}

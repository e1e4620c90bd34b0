import { OptionError } from "@nf/core";
import { checkLayerOptions, show } from "../check.ts";

/** The axis that a layer works along. */
export function axisOf(layer: string, options: { readonly axis?: number }, standard: number): number {
  checkLayerOptions(layer, options, ["axis"]);
  const { axis = standard } = options;
  if (!Number.isInteger(axis))
    throw new OptionError(`${layer}: axis must be a whole number, got ${show(axis)}.`);
  return axis;
}

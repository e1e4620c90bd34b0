import { checkInteger, OptionError } from "@nf/core";
import { show } from "../check.ts";

/** Trailing sizes that are normalised together, from one size or a list. */
export function checkShape(layer: string, normalizedShape: number | readonly number[]): readonly number[] {
  const shape = typeof normalizedShape === "number" ? [normalizedShape] : normalizedShape;
  if (!Array.isArray(shape) || shape.length === 0) {
    throw new OptionError(
      `${layer}: normalizedShape must be a size or a list of sizes, got ${show(normalizedShape)}.`,
    );
  }
  for (const size of shape) checkInteger(layer, "normalizedShape", size, 1);
  return [...shape];
}

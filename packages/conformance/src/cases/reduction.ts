import type { Nd } from "../reference/nd.ts";
import * as reference from "../reference/nd.ts";
/** Family of the losses. */
export const FAMILY = "losses";

/** What becomes of the losses of elements. */
export type Reduction = "mean" | "sum" | "none";
/** All reductions. */
export const REDUCTIONS: readonly Reduction[] = ["mean", "sum", "none"];

/** Losses of elements brought together. */
export function reduced(loss: Nd, reduction: Reduction, total: number = loss.data.length): Nd {
  if (reduction === "none") return loss;
  const sum = reference.sum(loss.data);
  return reference.scalar(reduction === "sum" ? sum : sum / total);
}

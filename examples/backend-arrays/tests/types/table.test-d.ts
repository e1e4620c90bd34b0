import type { RequiredKernels } from "@nf/core";
import { kernels } from "../../src/kernels/table.ts";

/** A backend that forgot to sort. */
export function withoutSort(): RequiredKernels {
  const { sort: _sort, ...rest } = kernels;
  // @ts-expect-error -- property "sort" is missing
  return rest;
}

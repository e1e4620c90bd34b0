import { DTYPE_NAMES, type SortCall } from "@nf/core";
import type { Context, KernelEntry } from "../context.ts";

/** The `sort` kernel (c/sort.c). */
export function makeSort({ engine }: Context): KernelEntry<SortCall> {
  const sort = engine.kernel("sort");
  return {
    dtypes: DTYPE_NAMES,
    run: (call) => {
      engine.attr(call.attributes.axis);
      engine.attr(call.attributes.descending ? 1 : 0);
      engine.run(sort, call);
    },
  };
}

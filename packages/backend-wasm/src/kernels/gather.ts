import { DTYPE_NAMES, type GatherCall, type ScatterCall } from "@nf/core";
import type { Context, KernelEntry } from "../context.ts";

/** The `gather` kernel (c/gather.c). */
export function makeGather({ engine }: Context): KernelEntry<GatherCall> {
  const gather = engine.kernel("gather");
  return {
    dtypes: DTYPE_NAMES,
    run: (call) => {
      engine.attr(call.attributes.axis);
      engine.run(gather, call);
    },
  };
}

/** Numbers of c/gather.c. */
const MODES = { add: 0, set: 1, max: 2 } as const;

/** The `scatter` kernel (c/gather.c). */
export function makeScatter({ engine }: Context): KernelEntry<ScatterCall> {
  const scatter = engine.kernel("scatter");
  return {
    dtypes: DTYPE_NAMES,
    run: (call) => {
      engine.attr(call.attributes.axis);
      engine.attr(MODES[call.attributes.mode]);
      engine.run(scatter, call);
    },
  };
}

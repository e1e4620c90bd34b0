import { DTYPE_NAMES, type GatherCall, type ScatterCall } from "@nf/core";
import type { KernelEntry } from "../context.ts";
import { codeOf, KERNEL } from "./numbers.ts";

/** The `gather` kernel (gather.rs). */
export const gather: KernelEntry<GatherCall> = {
  dtypes: DTYPE_NAMES,
  run: (engine, call) => {
    engine.attr(call.attributes.axis);
    engine.run(KERNEL.gather, call);
  },
};

/** Numbers of gather.rs. */
const MODES = { add: 0, set: 1, max: 2 } as const;

/** The `scatter` kernel (gather.rs). */
export const scatter: KernelEntry<ScatterCall> = {
  dtypes: DTYPE_NAMES,
  run: (engine, call) => {
    engine.attr(call.attributes.axis);
    engine.attr(codeOf(MODES, call.attributes.mode, "scatter: mode"));
    engine.run(KERNEL.scatter, call);
  },
};

import { type ArgReduceCall, DTYPE_NAMES, type ReduceCall, type ReduceKind } from "@nf/core";
import type { KernelEntry } from "../context.ts";
import { KERNEL } from "./numbers.ts";

/** Numbers of `Kind` in reduce.rs. */
const KINDS: Readonly<Record<ReduceKind, number>> = { sum: 0, prod: 1, max: 2, min: 3, any: 4, all: 5 };

/** The `reduce` kernel (reduce.rs). */
export const reduce: KernelEntry<ReduceCall> = {
  dtypes: DTYPE_NAMES,
  run: (engine, call) => {
    const { axes, kinds } = call.attributes;
    engine.attr(axes.length);
    engine.attrs(axes);
    for (let k = 0; k < kinds.length; k++) engine.attr(KINDS[kinds[k] as ReduceKind]);
    engine.run(KERNEL.reduce, call, call.program);
  },
};

/** The `argReduce` kernel (arg_reduce.rs). */
export const argReduce: KernelEntry<ArgReduceCall> = {
  dtypes: DTYPE_NAMES,
  run: (engine, call) => {
    const { axes, kind } = call.attributes;
    engine.attr(kind === "min" ? 1 : 0);
    engine.attr(axes.length);
    engine.attrs(axes);
    engine.run(KERNEL.argReduce, call);
  },
};

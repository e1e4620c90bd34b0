import { type ArgReduceCall, DTYPE_NAMES, type ReduceCall, type ReduceKind } from "@nf/core";
import type { KernelEntry } from "../context.ts";
import { codeOf, KERNEL } from "./numbers.ts";

/** Numbers of `Kind` in reduce/total.rs. */
const KINDS: Readonly<Record<ReduceKind, number>> = { sum: 0, prod: 1, max: 2, min: 3, any: 4, all: 5 };

/** The `reduce` kernel (reduce/mod.rs). */
export const reduce: KernelEntry<ReduceCall> = {
  dtypes: DTYPE_NAMES,
  run: (engine, call) => {
    const { axes, kinds } = call.attributes;
    engine.attr(axes.length);
    engine.attrs(axes);
    for (let k = 0; k < kinds.length; k++) engine.attr(codeOf(KINDS, kinds[k] as ReduceKind, "reduce: kind"));
    engine.run(KERNEL.reduce, call, call.program);
  },
};

/** Numbers of arg_reduce.rs. */
const EXTREMES = { max: 0, min: 1 } as const;

/** The `argReduce` kernel (arg_reduce.rs). */
export const argReduce: KernelEntry<ArgReduceCall> = {
  dtypes: DTYPE_NAMES,
  run: (engine, call) => {
    const { axes, kind } = call.attributes;
    engine.attr(codeOf(EXTREMES, kind, "argReduce: kind"));
    engine.attr(axes.length);
    engine.attrs(axes);
    engine.run(KERNEL.argReduce, call);
  },
};

import { DTYPE_NAMES, type ScanCall, type SortCall } from "@nf/core";
import { NUMBERS } from "../capabilities.ts";
import type { KernelEntry } from "../context.ts";
import { codeOf, KERNEL } from "./numbers.ts";

/** Numbers of scan.rs. */
const KINDS = { sum: 0, prod: 1, max: 2 } as const;

/** The `scan` kernel (scan.rs). */
export const scan: KernelEntry<ScanCall> = {
  dtypes: NUMBERS,
  run: (engine, call) => {
    const { kind, axis, reverse } = call.attributes;
    engine.attr(codeOf(KINDS, kind, "scan: kind"));
    engine.attr(axis);
    engine.attr(reverse ? 1 : 0);
    engine.run(KERNEL.scan, call);
  },
};

/** The `sort` kernel (sort.rs). */
export const sort: KernelEntry<SortCall> = {
  dtypes: DTYPE_NAMES,
  run: (engine, call) => {
    engine.attr(call.attributes.axis);
    engine.attr(call.attributes.descending ? 1 : 0);
    engine.run(KERNEL.sort, call);
  },
};

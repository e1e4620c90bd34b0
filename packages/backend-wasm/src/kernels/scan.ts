import type { ScanCall } from "@nf/core";
import { NUMBERS } from "../capabilities.ts";
import type { Context, KernelEntry } from "../context.ts";

/** Numbers of c/scan.c. */
const KINDS = { sum: 0, prod: 1, max: 2 } as const;

/** The `scan` kernel (c/scan.c). */
export function makeScan({ engine }: Context): KernelEntry<ScanCall> {
  const scan = engine.kernel("scan");
  return {
    dtypes: NUMBERS,
    run: (call) => {
      const { kind, axis, reverse } = call.attributes;
      engine.attr(KINDS[kind]);
      engine.attr(axis);
      engine.attr(reverse ? 1 : 0);
      engine.run(scan, call);
    },
  };
}

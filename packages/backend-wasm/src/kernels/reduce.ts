import { DTYPE_NAMES, type ReduceCall, type ReduceKind } from "@nf/core";
import type { Context, KernelEntry } from "../context.ts";

/** Numbers of c/reduce.c. */
const KINDS: Readonly<Record<ReduceKind, number>> = { sum: 0, prod: 1, max: 2, min: 3, any: 4, all: 5 };

/** The `reduce` kernel (c/reduce.c). */
export function makeReduce({ engine, programs }: Context): KernelEntry<ReduceCall> {
  const reduce = engine.kernel("reduce");
  return {
    dtypes: DTYPE_NAMES,
    run: (call) => {
      const { axes, kinds } = call.attributes;
      engine.attr(axes.length);
      engine.attrs(axes);
      for (let k = 0; k < kinds.length; k++) engine.attr(KINDS[kinds[k] as ReduceKind]);
      engine.run(reduce, call, programs.address(call.program, call.inputs[0]?.size));
    },
  };
}

import { type ArgReduceCall, DTYPE_NAMES } from "@nf/core";
import type { Context, KernelEntry } from "../context.ts";

/** The `argReduce` kernel (c/arg_reduce.c). */
export function makeArgReduce({ engine }: Context): KernelEntry<ArgReduceCall> {
  const argReduce = engine.kernel("arg_reduce");
  return {
    dtypes: DTYPE_NAMES,
    run: (call) => {
      const { axes, kind } = call.attributes;
      engine.attr(kind === "min" ? 1 : 0);
      engine.attr(axes.length);
      engine.attrs(axes);
      engine.run(argReduce, call);
    },
  };
}

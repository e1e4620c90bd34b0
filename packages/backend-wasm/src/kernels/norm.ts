import type { NormCall } from "@nf/core";
import type { Context, KernelEntry } from "../context.ts";
import { SINGLES } from "./singles.ts";

/** The `norm` kernel (c/norm.c). */
export function makeNorm({ engine }: Context): KernelEntry<NormCall> {
  const norm = engine.kernel("norm");
  return {
    dtypes: SINGLES,
    run: (call) => {
      const { pass, centered, weight, bias } = call.attributes;
      engine.attr(pass === "backward" ? 1 : 0);
      engine.attr(centered ? 1 : 0);
      engine.attr(weight ? 1 : 0);
      engine.attr(bias ? 1 : 0);
      engine.run(norm, call);
    },
  };
}

import type { AttentionCall } from "@nf/core";
import type { Context, KernelEntry } from "../context.ts";
import { SINGLES } from "./singles.ts";

/** The `attention` kernel (c/attention.c). */
export function makeAttention({ engine }: Context): KernelEntry<AttentionCall> {
  const attention = engine.kernel("attention");
  return {
    dtypes: SINGLES,
    run: (call) => {
      const { pass, causal, mask } = call.attributes;
      engine.attr(pass === "backward" ? 1 : 0);
      engine.attr(causal ? 1 : 0);
      engine.attr(mask ? 1 : 0);
      engine.run(attention, call);
    },
  };
}

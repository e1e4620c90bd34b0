import type { AttentionCall } from "@nf/core";
import { SINGLES } from "../capabilities.ts";
import type { KernelEntry } from "../context.ts";
import { codeOf, KERNEL, PASSES } from "./numbers.ts";

/** The `attention` kernel (attention.rs). */
export const attention: KernelEntry<AttentionCall> = {
  dtypes: SINGLES,
  run: (engine, call) => {
    const { pass, causal, mask } = call.attributes;
    engine.attr(codeOf(PASSES, pass, "attention: pass"));
    engine.attr(causal ? 1 : 0);
    engine.attr(mask ? 1 : 0);
    engine.run(KERNEL.attention, call);
  },
};

import type { CrossEntropyCall } from "@nf/core";
import type { Context, KernelEntry } from "../context.ts";
import { SINGLES } from "./singles.ts";

/** The `crossEntropy` kernel (c/cross_entropy.c). */
export function makeCrossEntropy({ engine }: Context): KernelEntry<CrossEntropyCall> {
  const crossEntropy = engine.kernel("cross_entropy");
  return {
    dtypes: SINGLES,
    run: (call) => {
      engine.attr(call.attributes.pass === "backward" ? 1 : 0);
      engine.run(crossEntropy, call);
    },
  };
}

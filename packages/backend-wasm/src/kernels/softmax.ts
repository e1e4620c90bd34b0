import type { SoftmaxCall } from "@nf/core";
import type { Context, KernelEntry } from "../context.ts";
import { SINGLES } from "./singles.ts";

/** The `softmax` kernel (c/softmax.c). */
export function makeSoftmax({ engine }: Context): KernelEntry<SoftmaxCall> {
  const softmax = engine.kernel("softmax");
  return {
    dtypes: SINGLES,
    run: (call) => {
      const { pass, log } = call.attributes;
      engine.attr(pass === "backward" ? 1 : 0);
      engine.attr(log ? 1 : 0);
      engine.run(softmax, call);
    },
  };
}

import type { RopeCall } from "@nf/core";
import type { Context, KernelEntry } from "../context.ts";
import { SINGLES } from "./singles.ts";

/** The `rope` kernel (c/rope.c). */
export function makeRope({ engine }: Context): KernelEntry<RopeCall> {
  const rope = engine.kernel("rope");
  return {
    dtypes: SINGLES,
    run: (call) => {
      engine.attr(call.attributes.interleaved ? 1 : 0);
      engine.attr(call.attributes.inverse ? 1 : 0);
      engine.run(rope, call);
    },
  };
}

import type { EmbeddingGradCall, RopeCall } from "@nf/core";
import { SINGLES } from "../capabilities.ts";
import type { KernelEntry } from "../context.ts";
import { KERNEL } from "./numbers.ts";

/** The `rope` kernel (tokens.rs). */
export const rope: KernelEntry<RopeCall> = {
  dtypes: SINGLES,
  run: (engine, call) => {
    const { interleaved, inverse } = call.attributes;
    engine.attr(interleaved ? 1 : 0);
    engine.attr(inverse ? 1 : 0);
    engine.run(KERNEL.rope, call);
  },
};

/** The `embeddingGrad` kernel (tokens.rs). */
export const embeddingGrad: KernelEntry<EmbeddingGradCall> = {
  dtypes: SINGLES,
  run: (engine, call) => engine.run(KERNEL.embeddingGrad, call),
};

import type { EmbeddingGradCall } from "@nf/core";
import type { Context, KernelEntry } from "../context.ts";
import { SINGLES } from "./singles.ts";

/** The `embeddingGrad` kernel (c/embedding.c). */
export function makeEmbeddingGrad({ engine }: Context): KernelEntry<EmbeddingGradCall> {
  const embeddingGrad = engine.kernel("embedding_grad");
  return { dtypes: SINGLES, run: (call) => engine.run(embeddingGrad, call) };
}

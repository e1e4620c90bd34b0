import type { QuantizedMatmulCall, View } from "@nf/core";
import type { Context, KernelEntry } from "../context.ts";
import { SINGLES } from "./singles.ts";

/** The `quantizedMatmul` kernel (c/quantized.c). */
export function makeQuantizedMatmul({ engine }: Context): KernelEntry<QuantizedMatmulCall> {
  const quantizedMatmul = engine.kernel("quantized_matmul");
  return {
    dtypes: SINGLES,
    // Blocks are read as they lie in a file.
    supports: ({ inputs }) => ((inputs[1] as View).contiguous ? "yes" : "after-copy"),
    run: (call) => {
      engine.attr(call.attributes.format === "q8_0" ? 0 : 1);
      engine.run(quantizedMatmul, call);
    },
  };
}

import type { QuantizedMatmulCall, View } from "@nf/core";
import { SINGLES } from "../capabilities.ts";
import type { KernelEntry } from "../context.ts";
import { codeOf, KERNEL } from "./numbers.ts";

const FORMATS = { q8_0: 0, q4_0: 1 } as const;

/** The `quantizedMatmul` kernel (quantized/mod.rs). The first product may lay the weight out anew (orders.rs). */
export const quantizedMatmul: KernelEntry<QuantizedMatmulCall> = {
  dtypes: SINGLES,
  supports: ({ inputs }) => ((inputs[1] as View).contiguous ? "yes" : "after-copy"),
  run: (engine, call) => {
    engine.attr(codeOf(FORMATS, call.attributes.format, "quantizedMatmul's format"));
    engine.run(KERNEL.quantizedMatmul, call);
  },
};

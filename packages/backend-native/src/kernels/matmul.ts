import type { MatmulCall, Support, View } from "@nf/core";
import { NUMBERS } from "../capabilities.ts";
import type { KernelEntry } from "../context.ts";
import { map } from "./map.ts";
import { KERNEL } from "./numbers.ts";

/** The `matmul` kernel (matmul.rs). A program runs as a `map` over the finished product. */
export const matmul: KernelEntry<MatmulCall> = {
  dtypes: NUMBERS,
  supports: supportsMatmul,
  run: (engine, call) => {
    const { program, inputs, outputs, buffers, params } = call;
    engine.attr(engine.matmulPrecision === "bf16" ? 1 : 0);
    engine.run(KERNEL.matmul, call);
    if (program === undefined) return;
    const further = [outputs[0] as View, ...inputs.slice(2)];
    map.run(engine, { kernel: "map", program, buffers, inputs: further, outputs, params });
  },
};

/** The product must lie in the output without loss before the program sees it. */
function supportsMatmul({ program, inputs, outputs }: MatmulCall): Support {
  if (program === undefined) return "yes";
  const out = outputs[0] as View;
  if (out.dtype === "f16" || out.dtype === "bf16")
    return { reason: "the product would be rounded to 16 bits before the program" };
  if (
    program.results.length !== 1 ||
    program.inputs[0] !== out.dtype ||
    program.results[0]?.dtype !== out.dtype
  ) {
    return { reason: "the program must take and give the dtype of the product" };
  }
  if (inputs.slice(2).some((view) => view.buffer === out.buffer))
    return { reason: "a further input lies in the output's buffer" };
  return "yes";
}

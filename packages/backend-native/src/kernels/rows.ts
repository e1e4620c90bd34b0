import type { CrossEntropyCall, NormCall, SoftmaxCall } from "@nf/core";
import { SINGLES } from "../capabilities.ts";
import type { KernelEntry } from "../context.ts";
import { codeOf, KERNEL, PASSES } from "./numbers.ts";

/** The `softmax` kernel (rows/softmax.rs). */
export const softmax: KernelEntry<SoftmaxCall> = {
  dtypes: SINGLES,
  run: (engine, call) => {
    const { pass, log } = call.attributes;
    engine.attr(codeOf(PASSES, pass, "softmax: pass"));
    engine.attr(log ? 1 : 0);
    engine.run(KERNEL.softmax, call);
  },
};

/** The `norm` kernel (rows/norm.rs): layer norm and RMS norm. */
export const norm: KernelEntry<NormCall> = {
  dtypes: SINGLES,
  run: (engine, call) => {
    const { pass, centered, weight, bias } = call.attributes;
    engine.attr(codeOf(PASSES, pass, "norm: pass"));
    engine.attr(centered ? 1 : 0);
    engine.attr(weight ? 1 : 0);
    engine.attr(bias ? 1 : 0);
    engine.run(KERNEL.norm, call);
  },
};

/** The `crossEntropy` kernel (rows/softmax.rs). */
export const crossEntropy: KernelEntry<CrossEntropyCall> = {
  dtypes: SINGLES,
  run: (engine, call) => {
    engine.attr(codeOf(PASSES, call.attributes.pass, "crossEntropy: pass"));
    engine.run(KERNEL.crossEntropy, call);
  },
};

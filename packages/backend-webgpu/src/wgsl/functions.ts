import { CIRCULAR } from "./functions/circular.ts";
import { EXPONENTIAL } from "./functions/exponential.ts";
import { HYPERBOLIC } from "./functions/hyperbolic.ts";
import { POWER } from "./functions/power.ts";
import type { FunctionText } from "./functions/text.ts";

/**
 * Mathematical functions, in F and its kin (see prelude.ts). WGSL's own are too coarse for what is promised (sin and cos
 * to 2^-11) or lose NaN and infinities. These rely on nothing but the four operations, bits and square roots; none needs
 * a fused multiply-add, and none minds if a compiler makes some.
 */
export const FUNCTIONS: Readonly<Record<string, FunctionText>> = {
  ...EXPONENTIAL,
  ...CIRCULAR,
  ...HYPERBOLIC,
  ...POWER,
};

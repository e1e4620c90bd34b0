import type { Generator, Tensor } from "@nf/core";
import { biasUniform, into, kaimingUniform } from "../init.ts";

/** PyTorch's default for linear and convolution layers: weight and bias uniform over ±1 / sqrt(fanIn). */
export function resetWeights(weight: Tensor, bias: Tensor | null, generator: Generator | undefined): void {
  into(weight, kaimingUniform, { a: Math.sqrt(5), generator });
  if (bias !== null) into(bias, biasUniform, { weightShape: weight.shape, generator });
}

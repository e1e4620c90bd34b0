import {
  abs,
  add,
  checkNumber,
  checkOptions,
  div,
  exp,
  isFloat,
  mean,
  mul,
  neg,
  OptionError,
  square,
  sub,
  type Tensor,
} from "@nf/core";
import { Conv1d, Conv2d, Conv3d, Linear, type Module } from "@nf/nn";
import type { Activation } from "../observe.ts";

/** Options of {@link flopShare}. */
export interface FlopShareOptions {
  /**
   * Size at which an input counts as mostly there: it counts for `1 - exp(-|x| / width)`, which is 0.63 at `width`.
   * Default 0.05. Smaller values are closer to counting, and have gradients closer to 0 only.
   */
  readonly width?: number;
}

/**
 * Share of the model's multiplications whose input is not 0, made differentiable: what is left to do for hardware, or a
 * sparse kernel, that skips zeros. Each linear and convolution layer counts by its dense floating-point operations
 * times the density of its input, where an element x is there to `1 - exp(-|x| / width)` (the smooth count of
 * Bradley and Mangasarian, "Feature selection via concave minimization", 1998).
 *
 * @param activations from {@link observe}.
 * @returns a 0-d tensor from 0 to 1.
 * @throws OptionError where no linear or convolution layer was called.
 */
export function flopShare(activations: readonly Activation[], options: FlopShareOptions = {}): Tensor {
  checkActivations("flopShare", activations);
  checkOptions("flopShare", options, ["width"]);
  const { width = 0.05 } = options;
  checkNumber("flopShare", "width", width, Number.MIN_VALUE);
  let dense = 0;
  const terms: Tensor[] = [];
  for (const { module, inputs, outputs } of activations) {
    const perOutput = flopsPerOutput(module);
    const [input] = inputs;
    const [output] = outputs;
    if (perOutput === undefined || input === undefined || output === undefined) continue;
    const flops = perOutput * output.size;
    dense += flops;
    const density = mean(sub(1, exp(neg(div(abs(input), width)))));
    terms.push(mul(density, flops));
  }
  if (terms.length === 0)
    throw new OptionError(
      "flopShare: no linear or convolution layer was called. Pass the activations of a forward pass.",
    );
  return div(terms.reduce(add), dense);
}

/** Floating-point operations an element of the result of a layer that multiplies; undefined for others. */
export function flopsPerOutput(module: Module): number | undefined {
  const multiplies =
    module instanceof Linear ||
    module instanceof Conv1d ||
    module instanceof Conv2d ||
    module instanceof Conv3d;
  if (!multiplies) return undefined;
  const { weight } = module;
  // A multiplication and an addition for each weight of an output's row.
  return (2 * weight.size) / (weight.shape[0] as number);
}

/**
 * Mean square of what the neurons give, summed over the layers: the power of a signal, which falls both when neurons
 * are silent and when they are quieter. Leaves that pass their input on unchanged count as others do.
 *
 * @param activations from {@link observe}; leaves count, with float results.
 * @returns a 0-d tensor.
 * @throws OptionError where no leaf was called.
 */
export function neuronPower(activations: readonly Activation[]): Tensor {
  checkActivations("neuronPower", activations);
  const outputs = activations.flatMap(({ leaf, outputs }) =>
    leaf ? outputs.filter(({ dtype }) => isFloat(dtype)) : [],
  );
  const [first, ...rest] = outputs.map((output) => mean(square(output)));
  if (first === undefined)
    throw new OptionError("neuronPower: no layer was called. Pass the activations of a forward pass.");
  return rest.reduce(add, first);
}

function checkActivations(name: string, activations: readonly Activation[]): void {
  if (!Array.isArray(activations))
    throw new OptionError(
      `${name}: expected the activations that observe returns, got ${typeof activations}.`,
    );
}

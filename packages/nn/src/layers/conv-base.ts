import {
  checkInteger,
  type DType,
  type Generator,
  OptionError,
  parameter,
  type Spatial,
  type Tensor,
  zeros,
} from "@nf/core";
import { compact, type PerDimension, perDimension } from "../check.ts";
import { Layer } from "./layer.ts";
import { resetWeights } from "./reset.ts";

/** Options that convolutions and transposed ones have in common beside those of core's functions. */
export interface KernelOptions {
  /** Whether to add a learned bias per output channel; default true. */
  readonly bias?: boolean;
  /** Where the initial values come from; default the generator that `manualSeed` seeds. */
  readonly generator?: Generator;
  /** dtype of the parameters; default `f32`. */
  readonly dtype?: DType;
}

/** What decides on the parameters of a layer with a kernel. */
interface KernelSettings extends KernelOptions {
  readonly stride?: PerDimension;
  readonly dilation?: PerDimension;
  readonly groups?: number;
}

/** What convolutions and transposed ones share; `N` spatial dimensions. */
export abstract class KernelLayer<N extends 1 | 2 | 3, I extends number, O extends number> extends Layer<
  Spatial<N, I>,
  Spatial<N, O>
> {
  readonly inChannels: I;
  readonly outChannels: O;
  readonly kernelSize: readonly number[];
  readonly stride: readonly number[];
  readonly dilation: readonly number[];
  readonly groups: number;
  /** `[outChannels, inChannels / groups, …kernelSize]`; transposed `[inChannels, outChannels / groups, …kernelSize]`. */
  readonly weight: Tensor;
  /** `[outChannels]`, or null without bias. */
  readonly bias: Tensor | null;

  constructor(
    layer: string,
    dimensions: N,
    inChannels: I,
    outChannels: O,
    kernelSize: PerDimension,
    options: KernelSettings,
    transposed: boolean,
  ) {
    super();
    checkInteger(layer, "inChannels", inChannels, 1);
    checkInteger(layer, "outChannels", outChannels, 1);
    const { stride = 1, dilation = 1, groups = 1, bias = true, generator, dtype = "f32" } = options;
    checkInteger(layer, "groups", groups, 1);
    if (inChannels % groups !== 0 || outChannels % groups !== 0) {
      throw new OptionError(
        `${layer}: groups must divide inChannels and outChannels, got ${groups} groups for ${inChannels} and ${outChannels}.`,
      );
    }
    this.inChannels = inChannels;
    this.outChannels = outChannels;
    this.kernelSize = perDimension(layer, "kernelSize", kernelSize, dimensions, 1);
    this.stride = perDimension(layer, "stride", stride, dimensions, 1);
    this.dilation = perDimension(layer, "dilation", dilation, dimensions, 1);
    this.groups = groups;
    const [from, to] = transposed ? [inChannels, outChannels] : [outChannels, inChannels];
    this.weight = parameter(zeros([from, to / groups, ...this.kernelSize], { dtype }));
    this.bias = bias ? parameter(zeros([outChannels], { dtype })) : null;
    this.resetParameters(generator);
  }

  override resetParameters(generator?: Generator): void {
    resetWeights(this.weight, this.bias, generator);
  }

  /** Options that only one of the two has, in words, where they are not the standard ones. */
  protected abstract describePadding(): readonly string[];

  protected override describe(): string {
    const { inChannels, outChannels, kernelSize, stride, dilation, groups, bias } = this;
    const options = [
      ...described("stride", stride, 1),
      ...this.describePadding(),
      ...described("dilation", dilation, 1),
      ...(groups === 1 ? [] : [`groups: ${groups}`]),
      ...(bias === null ? ["bias: false"] : []),
    ];
    const tail = options.length === 0 ? "" : `, { ${options.join(", ")} }`;
    return `${inChannels}, ${outChannels}, ${compact(kernelSize)}${tail}`;
  }
}

/** A setting in words, where it is not the standard one. */
export function described(name: string, values: readonly number[], standard: number): readonly string[] {
  return values.every((value) => value === standard) ? [] : [`${name}: ${compact(values)}`];
}

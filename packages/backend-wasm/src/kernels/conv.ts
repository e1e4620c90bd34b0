import type { ConvCall, PoolCall, Support, WindowAttributes } from "@nf/core";
import { FLOATS } from "../capabilities.ts";
import type { Context, KernelEntry } from "../context.ts";
import type { Engine } from "../engine.ts";

/** The passes, numbered as in C. */
const PASSES = { forward: 0, inputGrad: 1, weightGrad: 2 } as const satisfies Record<
  ConvCall["attributes"]["pass"],
  number
>;
/** Most spatial dimensions of a convolution or pooling in C. */
const MOST_SPATIAL = 3;

/** The `conv` kernel (c/conv.c): direct convolution without im2col, forward and both backwards. */
export function makeConv({ engine }: Context): KernelEntry<ConvCall> {
  const conv = engine.kernel("conv");
  return {
    dtypes: FLOATS,
    supports: supportsWindows,
    run: (call) => {
      const { attributes } = call;
      engine.attr(PASSES[attributes.pass]);
      engine.attr(attributes.groups);
      for (let axis = 0; axis < attributes.stride.length; axis++) writeWindow(engine, attributes, axis);
      engine.run(conv, call);
    },
  };
}

/** Appends stride, dilation and padding of one spatial dimension. */
export function writeWindow(
  engine: Engine,
  { stride, dilation, padding }: WindowAttributes,
  axis: number,
): void {
  const [before, after] = padding[axis] as readonly [number, number];
  engine.attr(stride[axis] as number);
  engine.attr(dilation[axis] as number);
  engine.attr(before);
  engine.attr(after);
}

/** Whether windows of these many dimensions can run. */
export function supportsWindows({ kernel, attributes }: ConvCall | PoolCall): Support {
  const rank = attributes.stride.length;
  return rank <= MOST_SPATIAL
    ? "yes"
    : { reason: `${kernel} over ${rank} spatial dimensions; at most ${MOST_SPATIAL}` };
}

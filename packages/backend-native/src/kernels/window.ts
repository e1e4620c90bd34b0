import type { ConvCall, PoolCall, Support, WindowAttributes } from "@nf/core";
import { SINGLES } from "../capabilities.ts";
import type { KernelEntry } from "../context.ts";
import type { Engine } from "../engine.ts";
import { codeOf, KERNEL, PASSES } from "./numbers.ts";

/** The passes, numbered as in conv.rs. */
const CONV_PASSES = { forward: 0, inputGrad: 1, weightGrad: 2 } as const satisfies Record<
  ConvCall["attributes"]["pass"],
  number
>;
/** Kinds of pooling, numbered as in pool.rs. */
const POOLS = { max: 0, mean: 1 } as const satisfies Record<PoolCall["attributes"]["kind"], number>;
/** Most spatial dimensions of a convolution or pooling in Rust. */
const MOST_SPATIAL = 3;

/** The `conv` kernel (conv.rs), forward and both backwards. */
export const conv: KernelEntry<ConvCall> = {
  dtypes: SINGLES,
  supports: supportsWindows,
  run: (engine, call) => {
    const { attributes } = call;
    engine.attr(codeOf(CONV_PASSES, attributes.pass, "conv: pass"));
    engine.attr(attributes.groups);
    for (let axis = 0; axis < attributes.stride.length; axis++) writeWindow(engine, attributes, axis);
    engine.run(KERNEL.conv, call);
  },
};

/** The `pool` kernel (pool.rs). */
export const pool: KernelEntry<PoolCall> = {
  dtypes: SINGLES,
  supports: supportsWindows,
  run: (engine, call) => {
    const { attributes } = call;
    engine.attr(codeOf(PASSES, attributes.pass, "pool: pass"));
    engine.attr(codeOf(POOLS, attributes.kind, "pool: kind"));
    engine.attr(attributes.countIncludePad ? 1 : 0);
    for (let axis = 0; axis < attributes.kernelSize.length; axis++) {
      engine.attr(attributes.kernelSize[axis] as number);
      writeWindow(engine, attributes, axis);
      engine.attrs(attributes.countedPadding[axis] as readonly [number, number]);
    }
    engine.run(KERNEL.pool, call);
  },
};

/** Appends stride, dilation and padding of one spatial dimension. */
function writeWindow(engine: Engine, { stride, dilation, padding }: WindowAttributes, axis: number): void {
  engine.attr(stride[axis] as number);
  engine.attr(dilation[axis] as number);
  engine.attrs(padding[axis] as readonly [number, number]);
}

/** Whether windows of these many dimensions can run. */
function supportsWindows({ kernel, attributes }: ConvCall | PoolCall): Support {
  const rank = attributes.stride.length;
  return rank <= MOST_SPATIAL
    ? "yes"
    : { reason: `${kernel} over ${rank} spatial dimensions; at most ${MOST_SPATIAL}` };
}

import type { PoolCall } from "@nf/core";
import { FLOATS } from "../capabilities.ts";
import type { Context, KernelEntry } from "../context.ts";
import { supportsWindows, writeWindow } from "./conv.ts";

/** The `pool` kernel (c/pool2d.c). */
export function makePool({ engine }: Context): KernelEntry<PoolCall> {
  const pooling = engine.kernel("pooling");
  return {
    dtypes: FLOATS,
    supports: supportsWindows,
    run: (call) => {
      const { attributes } = call;
      engine.attr(attributes.pass === "backward" ? 1 : 0);
      engine.attr(attributes.kind === "mean" ? 1 : 0);
      engine.attr(attributes.countIncludePad ? 1 : 0);
      attributes.kernelSize.forEach((size, axis) => {
        const [before, after] = attributes.countedPadding[axis] as readonly [number, number];
        engine.attr(size);
        writeWindow(engine, attributes, axis);
        engine.attr(before);
        engine.attr(after);
      });
      engine.run(pooling, call);
    },
  };
}

import { DTYPE_NAMES, type MapCall, type View } from "@nf/core";
import type { Context, KernelEntry } from "../context.ts";

/** The `map` kernel (c/map.c): a program over blocks of points. */
export function makeMap({ engine, programs }: Context): KernelEntry<MapCall> {
  const map = engine.kernel("map");
  return {
    dtypes: DTYPE_NAMES,
    run: (call) => {
      const { size } = call.outputs[0] as View;
      engine.run(map, call, programs.address(call.program, size));
    },
  };
}

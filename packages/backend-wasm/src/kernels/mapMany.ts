import { DTYPE_NAMES, type MapManyCall } from "@nf/core";
import type { Context, KernelEntry } from "../context.ts";

/** The `mapMany` kernel (c/map.c): a program over many groups, whose parts all threads share. */
export function makeMapMany({ engine, programs }: Context): KernelEntry<MapManyCall> {
  const mapMany = engine.kernel("map_many");
  return {
    dtypes: DTYPE_NAMES,
    run: (call) => {
      const { outputs, program, attributes } = call;
      let points = 0;
      for (let k = 0; k < outputs.length; k += program.results.length) points += outputs[k]?.size ?? 0;
      engine.attr(attributes.groups);
      engine.run(mapMany, call, programs.address(program, points));
    },
  };
}

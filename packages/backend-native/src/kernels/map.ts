import { DTYPE_NAMES, type MapCall, type MapManyCall } from "@nf/core";
import type { KernelEntry } from "../context.ts";
import { KERNEL } from "./numbers.ts";

/** The `map` kernel (map.rs): a program over blocks of points. */
export const map: KernelEntry<MapCall> = {
  dtypes: DTYPE_NAMES,
  run: (engine, call) => engine.run(KERNEL.map, call, call.program),
};

/** The `mapMany` kernel (map.rs): a program over many groups, whose parts all threads share. */
export const mapMany: KernelEntry<MapManyCall> = {
  dtypes: DTYPE_NAMES,
  run: (engine, call) => {
    engine.attr(call.attributes.groups);
    engine.run(KERNEL.mapMany, call, call.program);
  },
};

import type { Call, DType, Support } from "@nf/core";
import type { Engine } from "./engine.ts";

/** One kernel: how to run it, what it computes, and which calls it takes. */
export interface KernelEntry<C extends Call> {
  /** Dtypes of its outputs. */
  readonly dtypes: readonly DType[];
  run(engine: Engine, call: C): void;
  /** For fused kernels and `matmul` with a program: whether it takes a call. Left out, it takes all. Must be cheap. */
  supports?(call: C): Support;
}

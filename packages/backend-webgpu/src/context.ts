import type { BackendBuffer, Call, DType, Support } from "@nf/core";
import type { GpuBuffer } from "./buffer.ts";
import type { Gpu } from "./device/gpu.ts";

/** What the kernels of one backend instance share. */
export interface Context {
  readonly gpu: Gpu;
}

/** One kernel: how to run it, what it computes, and which calls it takes. */
export interface KernelEntry<C extends Call> {
  /** Dtypes of its operands. */
  readonly dtypes: readonly DType[];
  run(call: C): void;
  /** For fused kernels and `matmul` with a program: whether it takes a call. Left out, it takes all. Must be cheap. */
  supports?(call: C): Support;
  /** Most buffers that one of its dispatches binds. Left out, those of the call and one to work in. */
  binds?(call: C): number;
}

/** A call's buffers, which are this backend's: `execute` checks. */
export function own(buffers: readonly BackendBuffer[]): readonly GpuBuffer[] {
  return buffers as readonly GpuBuffer[];
}

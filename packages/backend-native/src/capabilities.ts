import { type Capabilities, DTYPE_NAMES, type DType, type Kernel, type RequiredKernel } from "@nf/core";

/** Element types that numbers can have. */
export const NUMBERS: readonly DType[] = DTYPE_NAMES.filter((dtype) => dtype !== "bool");

/**
 * Float types of the fused kernels, which compute in f32. Calls in f64 are declined, so that core decomposes them: their
 * users check derivatives, where speed matters less.
 */
export const SINGLES: readonly DType[] = ["f32", "f16", "bf16"];

/** Most bytes of one buffer: what a typed array holds when it is read. */
export const MAX_BUFFER_BYTES: number = 2 ** 32;

/** What this backend can do: what the table of its kernels says. */
export function capabilities(
  maxBufferBytes: number,
  threads: number,
  kernels: Readonly<Partial<Record<Kernel, { readonly dtypes: readonly DType[] }>>>,
): Capabilities {
  const dtypes = Object.fromEntries(
    Object.entries(kernels).map(([kernel, entry]) => [kernel, entry.dtypes]),
  ) as Record<RequiredKernel, readonly DType[]>;
  return {
    dtypes,
    matmulWeights: ["f16", "bf16"],
    readSync: true,
    threads,
    maxBufferBytes,
    maxBuffersPerCall: Infinity,
  };
}

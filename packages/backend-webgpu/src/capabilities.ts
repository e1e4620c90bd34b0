import type { Capabilities, DType, Kernel, RequiredKernel } from "@nf/core";

/** What this backend can do: what the table of its kernels says, and the limits of its device. */
export function capabilities(
  limits: GPUSupportedLimits,
  maxBytes: number,
  kernels: Readonly<Partial<Record<Kernel, { readonly dtypes: readonly DType[] }>>>,
): Capabilities {
  const dtypes = Object.fromEntries(
    Object.entries(kernels).map(([kernel, entry]) => [kernel, entry.dtypes]),
  ) as Record<RequiredKernel, readonly DType[]>;
  return {
    dtypes,
    readSync: false,
    threads: 1,
    // Kernels bind whole buffers, and reach elements by signed 32-bit distances; numbers of invocations are the same, and
    // some more of them start than there are elements.
    maxBufferBytes: Math.min(
      limits.maxBufferSize,
      limits.maxStorageBufferBindingSize,
      2 ** 31 - 2 ** 24,
      maxBytes,
    ),
    // One is kept for the word that failed checks are written to.
    maxBuffersPerCall: limits.maxStorageBuffersPerShaderStage - 1,
  };
}

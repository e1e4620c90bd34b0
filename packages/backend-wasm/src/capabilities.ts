import { type Capabilities, DTYPE_NAMES, type DType, type Kernel, type RequiredKernel } from "@nf/core";

/** Element types of the float kernels. */
export const FLOATS: readonly DType[] = ["f32", "f64", "f16", "bf16"];
/** Element types that numbers can have. */
export const NUMBERS: readonly DType[] = DTYPE_NAMES.filter((dtype) => dtype !== "bool");

/** Most bytes of one buffer: kernels reach elements by signed 32-bit distances. */
export const MAX_BUFFER_BYTES: number = 2 ** 31 - 65_536;

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

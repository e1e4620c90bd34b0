import { type Capabilities, DTYPE_NAMES, type DType } from "@nf/core";

const FLOATS: readonly DType[] = ["f32", "f64", "f16", "bf16"];
const NUMBERS: readonly DType[] = DTYPE_NAMES.filter((dtype) => dtype !== "bool");

/** Most bytes of one buffer: kernels count positions in 32 bits, which the engine computes fastest. */
export const MAX_BUFFER_BYTES: number = 2 ** 31 - 8;

/** What this backend can do. */
export function capabilities(maxBufferBytes: number): Capabilities {
  return {
    dtypes: {
      map: DTYPE_NAMES,
      reduce: DTYPE_NAMES,
      argReduce: DTYPE_NAMES,
      matmul: NUMBERS,
      gather: DTYPE_NAMES,
      scatter: DTYPE_NAMES,
      scan: NUMBERS,
      sort: DTYPE_NAMES,
      conv: FLOATS,
      pool: FLOATS,
      softmax: FLOATS,
      norm: FLOATS,
      attention: FLOATS,
      rope: FLOATS,
      crossEntropy: FLOATS,
      embeddingGrad: FLOATS,
      quantizedMatmul: FLOATS,
      mapMany: DTYPE_NAMES,
    },
    matmulWeights: ["f16", "bf16"],
    readSync: true,
    threads: 1,
    maxBufferBytes,
    maxBuffersPerCall: Infinity,
  };
}

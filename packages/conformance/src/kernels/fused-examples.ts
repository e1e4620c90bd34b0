import { DTYPES, type DType, type Expr, type FusedCall, type Kernel, program } from "@nf/core";
import type { CallParts } from "./run.ts";

const window = { stride: [1], dilation: [1], padding: [[0, 0]] } as const;

/** A call of a fused kernel: shapes of the tested dtype, or with one of their own. */
export interface FusedExample {
  readonly parts: CallParts;
  readonly params?: readonly number[];
  readonly inputs: readonly (readonly number[] | readonly [DType, readonly number[]])[];
  readonly outputs: readonly (readonly number[])[];
}

/** The plainest call of each fused kernel. */
export const FUSED: Readonly<Record<FusedCall["kernel"], (dtype: DType) => FusedExample>> = {
  conv: () => ({
    parts: { kernel: "conv", attributes: { ...window, pass: "forward", groups: 1 } },
    inputs: [
      [1, 2, 5],
      [3, 2, 2],
    ],
    outputs: [[1, 3, 4]],
  }),
  pool: () => ({
    parts: {
      kernel: "pool",
      attributes: {
        ...window,
        pass: "forward",
        kind: "max",
        kernelSize: [2],
        countIncludePad: true,
        countedPadding: window.padding,
      },
    },
    inputs: [[1, 2, 5]],
    outputs: [[1, 2, 4]],
  }),
  softmax: () => ({
    parts: { kernel: "softmax", attributes: { pass: "forward", log: false } },
    inputs: [[2, 3]],
    outputs: [[2, 3]],
  }),
  norm: () => ({
    parts: { kernel: "norm", attributes: { pass: "forward", centered: false, weight: false, bias: false } },
    params: [1e-5],
    inputs: [[2, 3]],
    outputs: [
      [2, 3],
      [2, 1],
    ],
  }),
  attention: () => ({
    parts: { kernel: "attention", attributes: { pass: "forward", causal: false, mask: false } },
    params: [1],
    inputs: [
      [1, 1, 2, 4],
      [1, 1, 3, 4],
      [1, 1, 3, 4],
    ],
    outputs: [
      [1, 1, 2, 4],
      [1, 1, 2],
    ],
  }),
  rope: (dtype) => ({
    parts: { kernel: "rope", attributes: { interleaved: false, inverse: false } },
    inputs: [
      [2, 4],
      [wide(dtype), [2, 2]],
      [wide(dtype), [2, 2]],
    ],
    outputs: [[2, 4]],
  }),
  crossEntropy: () => ({
    parts: { kernel: "crossEntropy", attributes: { pass: "forward" } },
    params: [-100, 0],
    inputs: [
      [2, 3],
      ["i32", [2]],
    ],
    outputs: [[2], [2]],
  }),
  embeddingGrad: () => ({
    parts: { kernel: "embeddingGrad", attributes: {} },
    inputs: [
      [3, 2],
      ["i32", [3]],
    ],
    outputs: [[4, 2]],
  }),
  quantizedMatmul: () => ({
    parts: { kernel: "quantizedMatmul", attributes: { format: "q8_0", inner: 32, columns: 2 } },
    inputs: [
      [1, 32],
      ["u8", [2 * 34]],
    ],
    outputs: [[1, 2]],
  }),
  mapMany: (dtype) => ({
    parts: { kernel: "mapMany", program: copyOf(dtype), attributes: { groups: 2 } },
    inputs: [[3], [2]],
    outputs: [[3], [2]],
  }),
};

const wide = (dtype: DType): DType => (DTYPES[dtype].bytes === 2 ? "f32" : dtype);
/** Results that are f32 where the operand has 16 bits: all but the first of norm and attention. */
export const outputType = (kernel: Kernel, dtype: DType, k: number): DType =>
  k > 0 && (kernel === "norm" || kernel === "attention") ? wide(dtype) : dtype;
const copyOf = (dtype: DType): ReturnType<typeof program> =>
  program("copy", [DTYPES[dtype].compute], [], ([x]) => x as Expr);

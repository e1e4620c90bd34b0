import { BackendError } from "@nf/core";

/**
 * The number that a table gives a name.
 *
 * @throws BackendError for a name that is not in it
 */
export function codeOf<K extends string>(table: Readonly<Record<K, number>>, name: K, what: string): number {
  const code: unknown = table[name];
  // Not what every object has, such as a constructor.
  if (typeof code === "number") return code;
  throw new BackendError(
    `native: ${what} must be ${Object.keys(table).join(", ")}; got ${String(name)}. Correct the call.`,
  );
}

/** Numbers of the passes of kernels that have one backward pass. */
export const PASSES = { forward: 0, backward: 1 } as const;

/** Numbers of kernels, as in `Kernel` of crates/kernels/src/call.rs. */
export const KERNEL = {
  map: 0,
  reduce: 1,
  argReduce: 2,
  matmul: 3,
  gather: 4,
  scatter: 5,
  scan: 6,
  sort: 7,
  mapMany: 8,
  softmax: 9,
  norm: 10,
  crossEntropy: 11,
  conv: 12,
  pool: 13,
  attention: 14,
  rope: 15,
  embeddingGrad: 16,
  quantizedMatmul: 17,
} as const;

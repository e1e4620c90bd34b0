import type { DType } from "@nf/core";

/**
 * Float types of the fused kernels that compute in f32. Calls in f64 are declined, so that core decomposes them: their
 * users check derivatives, where speed matters less.
 */
export const SINGLES: readonly DType[] = ["f32", "f16", "bf16"];

import type { Program } from "../scalar/program.ts";
import type { BackendBuffer, View } from "./view.ts";

/*
 * Signatures of the optional kernels. Core owns each one's op and its decomposition into required kernels; a backend
 * only accelerates. Views are strided like everywhere; a backend that wants them dense answers `after-copy`.
 */

interface FusedBase {
  readonly buffers: readonly BackendBuffer[];
  readonly inputs: readonly View[];
  readonly outputs: readonly View[];
  readonly params: readonly number[];
}

/** Geometry of a convolution or pooling window, one entry a spatial dimension. */
export interface WindowAttributes {
  readonly stride: readonly number[];
  readonly dilation: readonly number[];
  /** Zeros (for max pooling: minus infinities) before and after each spatial dimension. */
  readonly padding: readonly (readonly [number, number])[];
}

/**
 * `conv`: cross-correlation, x `[batch, inChannels, …in]`, weight `[outChannels, inChannels / groups, …kernel]`, out
 * `[batch, outChannels, …out]`.
 * - `forward`: inputs x, weight, optionally bias `[outChannels]`; output out.
 * - `inputGrad`: inputs gradient of out, weight; output gradient of x.
 * - `weightGrad`: inputs gradient of out, x; output gradient of weight.
 */
export interface ConvCall extends FusedBase {
  readonly kernel: "conv";
  readonly attributes: WindowAttributes & {
    readonly pass: "forward" | "inputGrad" | "weightGrad";
    readonly groups: number;
  };
}

/**
 * `pool`: maximum or mean over windows of x `[batch, channels, …in]`, giving `[batch, channels, …out]`.
 * - `forward`: input x. Max propagates NaN.
 * - `backward`: inputs gradient of out and, for max, x; output gradient of x. Max sends it to the first greatest
 *   element of the window in row-major order.
 * `countIncludePad` says whether the mean divides by the whole window or by the elements inside x (never those that
 * only ceil mode added).
 */
export interface PoolCall extends FusedBase {
  readonly kernel: "pool";
  readonly attributes: WindowAttributes & {
    readonly pass: "forward" | "backward";
    readonly kind: "max" | "mean";
    readonly kernelSize: readonly number[];
    readonly countIncludePad: boolean;
    /** Padding that counts for `countIncludePad`: `padding` without what ceil mode added at the end. */
    readonly countedPadding: readonly (readonly [number, number])[];
  };
}

/**
 * `softmax`: along the last dimension. `forward`: input x. `backward`: inputs gradient of y, y (the forward's
 * output); output gradient of x.
 */
export interface SoftmaxCall extends FusedBase {
  readonly kernel: "softmax";
  readonly attributes: { readonly pass: "forward" | "backward"; readonly log: boolean };
}

/**
 * `norm`: layer norm (`centered`) or RMS norm over the last dimension; `params[0]` is eps. `forward`: inputs x, then
 * weight and bias where present; outputs y, inverse deviation and, when centered, mean, each of x's shape with last
 * size 1 (in f32 where x has 16 bits). `backward`: inputs gradient of y, x, inverse deviation, mean when centered,
 * weight where present; outputs gradients of x, then of weight and bias where present. The inverse deviation of a row
 * whose variance and eps are both 0 is 0.
 */
export interface NormCall extends FusedBase {
  readonly kernel: "norm";
  readonly attributes: {
    readonly pass: "forward" | "backward";
    readonly centered: boolean;
    readonly weight: boolean;
    readonly bias: boolean;
  };
}

/**
 * `attention`: softmax(scale * q k^T + mask) v. q `[batch, heads, queries, headDim]`, k and v `[batch, kvHeads, keys,
 * headDim]` with `heads` a multiple of `kvHeads`, optional additive mask broadcast to `[batch, heads, queries, keys]`;
 * `params[0]` is the scale. Causal is aligned bottom-right. A row with nothing to attend to gives zeros.
 * `forward`: outputs out and the row's log-sum-exp `[batch, heads, queries]` (in f32 where q has 16 bits; minus infinity
 * for a row with nothing to attend to). `backward`: inputs gradient of out, q,
 * k, v, (mask,) out, log-sum-exp; outputs gradients of q, k, v. With a cache, k and v are the filled part of longer
 * blocks: the elements of a position lie side by side, positions and heads apart. A kernel that reads them as they lie
 * saves a copy of the cache a step.
 */
export interface AttentionCall extends FusedBase {
  readonly kernel: "attention";
  readonly attributes: {
    readonly pass: "forward" | "backward";
    readonly causal: boolean;
    readonly mask: boolean;
  };
}

/**
 * `rope`: rotary positions. Inputs x `[…, positions, headDim]`, cos and sin `[positions, headDim / 2]`. Pairs are
 * neighbours when `interleaved`, else element i goes with i + headDim / 2. `inverse` rotates back (the gradient). cos
 * and sin are f32 where x has 16 bits.
 */
export interface RopeCall extends FusedBase {
  readonly kernel: "rope";
  readonly attributes: { readonly interleaved: boolean; readonly inverse: boolean };
}

/**
 * `crossEntropy`: logits `[rows, classes]`, target class indices `[rows]` (`i32`). `forward`: outputs loss of each row
 * (0 where the target is `params[0]`, the ignored index) and its log-sum-exp. `backward`: inputs gradient of each
 * row's loss, logits, target, log-sum-exp; output gradient of logits. `params[1]` is the label smoothing.
 */
export interface CrossEntropyCall extends FusedBase {
  readonly kernel: "crossEntropy";
  readonly attributes: { readonly pass: "forward" | "backward" };
}

/** `embeddingGrad`: inputs gradient of rows `[count, width]`, indices `[count]`; output gradient of the table. */
export interface EmbeddingGradCall extends FusedBase {
  readonly kernel: "embeddingGrad";
  readonly attributes: Readonly<Record<string, never>>;
}

/**
 * `quantizedMatmul`: x `[rows, inner]` times the transpose of a block-quantised weight `[columns, inner]` (a `u8` view
 * of GGUF blocks along `inner`), giving `[rows, columns]`.
 */
export interface QuantizedMatmulCall extends FusedBase {
  readonly kernel: "quantizedMatmul";
  readonly attributes: { readonly format: "q8_0" | "q4_0"; readonly inner: number; readonly columns: number };
}

/**
 * `mapMany`: one program over many groups of tensors in one call, as an optimiser step needs it. The views of group g
 * are `inputs[g * n …]` and `outputs[g * m …]` for a program of n inputs and m outputs; each group has its own shape.
 */
export interface MapManyCall extends FusedBase {
  readonly kernel: "mapMany";
  readonly program: Program;
  readonly attributes: { readonly groups: number };
}

/** The calls a backend may answer. */
export type FusedCall =
  | ConvCall
  | PoolCall
  | SoftmaxCall
  | NormCall
  | AttentionCall
  | RopeCall
  | CrossEntropyCall
  | EmbeddingGradCall
  | QuantizedMatmulCall
  | MapManyCall;

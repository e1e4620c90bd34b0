import type { Program } from "../scalar/program.ts";
import type { FusedCall } from "./fused.ts";
import type { BackendBuffer, View } from "./view.ts";

/**
 * What every kernel call carries. Calls are immutable, and numbers that change from step to step travel in `params`,
 * so that a call can be captured and replayed.
 *
 * Core guarantees: no output is empty, no reduction is over nothing, and an output view equals an input view or does
 * not overlap any (`scatter` apart, which accumulates into its output).
 */
interface CallBase {
  /** The distinct buffers that the views refer to, in order of first use: inputs, then outputs. */
  readonly buffers: readonly BackendBuffer[];
  readonly inputs: readonly View[];
  readonly outputs: readonly View[];
  /** Values of the program's runtime parameters. */
  readonly params: readonly number[];
}

/**
 * `map`: evaluate a scalar program at every point of an iteration space. All views have that space's shape;
 * broadcast inputs have stride 0. Input `i` of the program reads `inputs[i]`, output `k` is stored to `outputs[k]`.
 */
export interface MapCall extends CallBase {
  readonly kernel: "map";
  readonly program: Program;
}

/** How values of one group are combined. Sums of many terms must be pairwise-accurate; max and min propagate NaN. */
export type ReduceKind = "sum" | "prod" | "max" | "min" | "any" | "all";

/**
 * `reduce`: evaluate the program at every point of the inputs' common shape, then combine its outputs over `axes`.
 * Output views have the same rank, with size 1 on the reduced axes. Output `k` is combined by `kinds[k]`.
 */
export interface ReduceCall extends CallBase {
  readonly kernel: "reduce";
  readonly program: Program;
  readonly attributes: {
    readonly kinds: readonly ReduceKind[];
    /** Reduced axes, ascending. */
    readonly axes: readonly number[];
  };
}

/**
 * `argReduce`: position of the greatest or least element over `axes`, counted row-major within them, as `i32`.
 * The first one wins a tie; a NaN wins over everything, the first NaN over later ones.
 */
export interface ArgReduceCall extends CallBase {
  readonly kernel: "argReduce";
  readonly attributes: { readonly kind: "max" | "min"; readonly axes: readonly number[] };
}

/**
 * `matmul`: `[…, M, K] x [..., K, N] -> […, M, N]`. Batch dimensions are already equal (broadcast by stride 0) and a
 * transposed operand shows in its strides. With a program, its input 0 is the product and its further inputs are
 * `inputs[2…]`, each of the output's shape. 16-bit floats accumulate in f32. Operands and product have one dtype, except
 * where `capabilities.matmulWeights` says that 16-bit ones may stand on the right of f32.
 */
export interface MatmulCall extends CallBase {
  readonly kernel: "matmul";
  readonly program?: Program;
}

/**
 * `gather`: `out[i, j, …] = source[…, index[i, j, …], …]` along `axis`. Inputs are source and index (`i32`); index has
 * the output's shape, source has its sizes except along `axis`. Indices are in range (core checks them).
 */
export interface GatherCall extends CallBase {
  readonly kernel: "gather";
  readonly attributes: { readonly axis: number };
}

/**
 * `scatter`: `out[…, index[i, j, …], …] (op)= updates[i, j, …]` along `axis`, on top of what the output holds. Inputs
 * are updates and index (`i32`), of one shape. Duplicates accumulate for `add` and `max`, in row-major order of the
 * updates; for `set` which of them stays is not specified.
 */
export interface ScatterCall extends CallBase {
  readonly kernel: "scatter";
  readonly attributes: { readonly axis: number; readonly mode: "add" | "set" | "max" };
}

/** `scan`: running sum, product or maximum along an axis, inclusive; from the far end with `reverse`. */
export interface ScanCall extends CallBase {
  readonly kernel: "scan";
  readonly attributes: {
    readonly kind: "sum" | "prod" | "max";
    readonly axis: number;
    readonly reverse: boolean;
  };
}

/**
 * `sort`: outputs are the sorted values and their former positions (`i32`) along an axis. Stable in both directions;
 * NaN counts as the greatest value ascending and stays last descending too.
 */
export interface SortCall extends CallBase {
  readonly kernel: "sort";
  readonly attributes: { readonly axis: number; readonly descending: boolean };
}

/** The calls every backend answers. */
export type RequiredCall =
  | MapCall
  | ReduceCall
  | ArgReduceCall
  | MatmulCall
  | GatherCall
  | ScatterCall
  | ScanCall
  | SortCall;

/** Any kernel call: one of the eight required families, or a fused kernel. */
export type Call = RequiredCall | FusedCall;

/** Names of the required kernels. */
export type RequiredKernel = RequiredCall["kernel"];

/** Names of all kernels. */
export type Kernel = Call["kernel"];

/** One function a required kernel: a table that `satisfies` this type cannot miss one. */
export type RequiredKernels = {
  readonly [K in RequiredKernel]: (call: Extract<RequiredCall, { kernel: K }>) => void;
};

/** Functions for the fused kernels a backend has. */
export type FusedKernels = {
  readonly [K in FusedCall["kernel"]]?: (call: Extract<FusedCall, { kernel: K }>) => void;
};

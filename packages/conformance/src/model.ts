import type { DType, RequiredKernel, Tensor } from "@nf/core";
import type { Arbitrary } from "fast-check";
import type { Nd } from "./reference/nd.ts";
import type { Source } from "./source.ts";

/** What a backend must be able to do, each level on top of those before. */
export type Level = "kernels" | "inference" | "training" | "complete";

/** All levels, lowest first. */
export const LEVELS: readonly Level[] = ["kernels", "inference", "training", "complete"];

/** Where the values of an operand come from. */
export interface Domain {
  /** Bounds of floats; default -2 and 2. */
  readonly low?: number;
  readonly high?: number;
  /** Points where the operation or its derivative has a joint; values stay 1/16 away. */
  readonly joints?: readonly number[];
  /** No two values are equal (nor within a difference quotient's step). */
  readonly distinct?: boolean;
  /**
   * Integers between bounds, as far as the dtype goes; or `"close"`: zeros, the limits of the dtype, and values that f32
   * or another integer dtype takes for each other; or `"corners"`: those in turn, the same every time. Default: small
   * ones, those about 2^24, or the whole range, by chance.
   */
  readonly integers?: readonly [number, number] | "close" | "corners";
  /** Integers that are never 0: divisors. */
  readonly nonzero?: boolean;
  /** Integers that are odd, half of the time: products of many even ones wrap around to nothing but 0. */
  readonly odd?: boolean;
}

/** One operand of an operation. */
export interface Operand {
  readonly shape: readonly number[];
  readonly domain?: Domain;
  /** A fixed dtype (an index, a mask); default the dtype that is tested. */
  readonly dtype?: DType;
  /** Values row-major, instead of those of a domain. */
  readonly values?: (source: Source) => readonly number[];
  /** Whether its gradient is looked at; default for floats of the tested dtype. */
  readonly gradient?: boolean;
  /** Never given a strided view: its reference reads more than values. */
  readonly dense?: boolean;
}

/** An operation with everything fixed but the values: shapes, options. */
export interface Instance {
  /** Shapes and options, for messages. */
  readonly label: string;
  readonly operands: readonly Operand[];
  /**
   * Roundings that follow one another on the way to a result: the terms of the sums in it where kernels add them up in
   * turn, as products and convolutions do, or the steps of a composition. Default 1; a plain sum is pairwise accurate.
   */
  readonly chain?: number;
  /**
   * Roundings of a number about 1 (2^-24 each in f32) that reach a result and that no operand tells of, such as that of
   * the cosine in 1 - cos. Whoever needs it says why. Default 0.
   */
  readonly roundings?: number;
  readonly run: (inputs: readonly Tensor[], dtype: DType) => Tensor | readonly Tensor[];
  readonly reference: (inputs: readonly Nd[], dtype: DType) => Nd | readonly Nd[];
}

/** A point whose result is known. */
export interface Edge {
  readonly label: string;
  readonly inputs: readonly Nd[];
  /** Dtypes of the operands where not the tested one. */
  readonly dtypes?: readonly (DType | undefined)[];
  readonly run: (inputs: readonly Tensor[]) => Tensor | readonly Tensor[];
  /** Values expected, one list for each result. */
  readonly output: readonly (readonly number[])[];
  /** Gradients of the sum of all results, one list an operand; undefined for operands that are not looked at. */
  readonly grads?: readonly (readonly number[] | undefined)[];
  /** Only where one of these is tested; default every float dtype of the row. */
  readonly only?: readonly DType[];
}

/**
 * How closely results must agree.
 * - `exact`: what float64 gives, rounded to the dtype, zeros with their sign: movement, comparison, integers, selection.
 * - `rounded`: one function of one element, within the relative error of the dtype, zeros with their sign.
 * - `summed`: several terms meet. Beside the relative error each element may miss by a few times what it moves when its
 *   operands are rounded otherwise.
 * - `composed`: the same, and wider for 16-bit floats, which are rounded between kernels.
 */
export type Tolerance = "exact" | "rounded" | "summed" | "composed";

/** All about one operation, or one variant of it. */
export interface Row {
  /** Its name in `@nf/core`. */
  readonly op: string;
  /** Tells rows of one operation apart. */
  readonly variant?: string;
  /** Other exports of core that its instances run too. */
  readonly also?: readonly string[];
  readonly family: string;
  /** Kernels it needs on the tested dtype beside `map`. */
  readonly kernels: readonly RequiredKernel[];
  readonly dtypes: readonly DType[];
  /** Dtypes its instances use beside the tested one that no operand and no result tells: bytes of blocks, say. */
  readonly uses?: readonly DType[];
  /** Dtype of a result. */
  readonly result: (dtype: DType, output: number) => DType;
  /** Highest order of derivative that is looked at. */
  readonly order: 0 | 1 | 2;
  readonly tolerance: Tolerance;
  /** Of an `exact` or `rounded` row: platforms give a zero either sign, and the row says why. */
  readonly eitherZero?: boolean;
  readonly instances: readonly Instance[];
  /** Instances beyond the blocks and tiles that kernels cut their work into; they become a row of their own. */
  readonly large?: readonly Instance[];
  /** Whether there are no random examples of it. */
  readonly fixed?: boolean;
  /** Instances for property tests. */
  readonly arbitrary: Arbitrary<Instance>;
  readonly edges: readonly Edge[];
}

/** A row's name: operation and variant. */
export function rowName(row: Row): string {
  return row.variant === undefined ? row.op : `${row.op} ${row.variant}`;
}

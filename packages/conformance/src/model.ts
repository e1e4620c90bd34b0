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
  /** Bounds for integer dtypes; default -6 and 6, from 0 for unsigned ones. */
  readonly integers?: readonly [number, number];
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
 * - `exact`: what float64 gives, rounded to the dtype: movement, comparison, integers, selection.
 * - `rounded`: one function of one element.
 * - `summed`: sums of several terms, compared on the scale of the largest result.
 * - `composed`: several roundings one after the other (16-bit floats between kernels).
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
  /** Size of the terms that meet in a result, where that is not the size of results. */
  readonly magnitude: number;
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

import type { DType } from "@nf/core";
import type { Module } from "@nf/nn";

/** A layer, made for a dtype, and what its `forward` takes. */
export interface LayerCase {
  readonly name: string;
  readonly make: (dtype: DType) => Module;
  /** Shapes of the tensors of floats that come first. */
  readonly inputs: readonly (readonly number[])[];
  /**
   * Values that the inputs have, where not those of either sign up to 2. Small ones go for weights, too: what is
   * computed again and again with large ones magnifies its roundings.
   */
  readonly values?: "distinct" | "shares" | "small";
  /** Class indices that come after the inputs. */
  readonly classes?: readonly number[];
  /** 1 or -1 for each sample, as floats: targets that come after the inputs. */
  readonly signs?: readonly (1 | -1)[];
  /** What comes after all of them. */
  readonly more?: readonly unknown[];
  /** In the place of the run's seed, where a draw decides which way is taken. */
  readonly seed?: number;
}

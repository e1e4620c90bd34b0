import type { Level } from "./model.ts";

/** How the checks of one family ended. */
export interface FamilyScore {
  readonly family: string;
  readonly passed: number;
  readonly failed: number;
  readonly skipped: number;
  readonly notApplicable: number;
  /**
   * Largest error of f32 results, relative to the expected value or to 1 where that is smaller; a result that is the f32
   * nearest to the expected value has none.
   */
  readonly worstError: number;
  /** Largest share of an allowed difference that was used; above 1 something failed. Where nothing is allowed, none is. */
  readonly worstShare: number;
  /** Factors of `widen` that were applied, by the name that gave them; empty where tolerances are the suite's own. */
  readonly widened: Readonly<Record<string, number>>;
  readonly seconds: number;
  readonly failures: readonly { readonly check: string; readonly message: string; readonly seed: number }[];
  readonly skips: readonly Reasoned[];
  readonly notApplicables: readonly Reasoned[];
}

/** A check that did not run, and why. */
export interface Reasoned {
  readonly check: string;
  readonly reason: string;
}

/** How fast a kernel is. */
export interface KernelSpeed {
  readonly kernel: string;
  /** Sizes and dtype. */
  readonly work: string;
  /** Median, least and most of several runs. */
  readonly seconds: number;
  readonly min: number;
  readonly max: number;
  /** Work of the median run by second. */
  readonly rate: number;
  readonly unit: "GB/s" | "GFLOP/s";
}

/** How a backend did. */
export interface Scorecard {
  readonly backend: string;
  readonly level: Level;
  readonly seed: number;
  readonly examples: number;
  readonly seconds: number;
  readonly passed: number;
  readonly failed: number;
  readonly skipped: number;
  readonly notApplicable: number;
  /** Factors of `widen` that were applied in any family: what passed may owe it to them. Empty where none was. */
  readonly widened: Readonly<Record<string, number>>;
  readonly families: readonly FamilyScore[];
  /** Empty unless speed was asked for. */
  readonly speed: readonly KernelSpeed[];
}

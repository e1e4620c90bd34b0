/** The suite that every NanoFlux backend passes, for any test runner and without one. */

export type { CreateBackend, Widen } from "./check.ts";
export { ConformanceError } from "./check.ts";
export {
  type CompareOptions,
  type Comparison,
  type ComparisonRow,
  compareBackends,
  formatComparison,
} from "./compare-backends.ts";
export { formatScorecard } from "./format.ts";
export { LEVELS, type Level } from "./model.ts";
export type { SuiteOptions } from "./options.ts";
export { type AbortSignalLike, type Progress, type RunOptions, runConformance } from "./run.ts";
export type { FamilyScore, KernelSpeed, Reasoned, Scorecard } from "./scorecard.ts";
export { type ConformanceOptions, conformance, type RegisterTest, type Runner } from "./suite.ts";
export { type SupportKind, type SupportMatrix, type SupportRow, supportMatrix } from "./support-matrix.ts";
export { gptTraces } from "./traces/gpt.ts";
export { lenetTraces } from "./traces/lenet.ts";
export type { ModelTrace, TraceBatch } from "./traces/trace.ts";

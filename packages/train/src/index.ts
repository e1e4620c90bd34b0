/** The training loop, its metrics and events. Logs to files are in `@nf/train/node`, curves in `@nf/train/curves`. */

export type { BestState } from "./best.ts";
export { DivergedError } from "./errors.ts";
export type {
  Callback,
  CheckpointEvent,
  EvaluationEvent,
  HistoryRow,
  LogEvent,
  StepEvent,
  TrainBeginEvent,
  TrainEndEvent,
  TrainEvent,
} from "./events.ts";
export { type FitResult, fit } from "./fit.ts";
export {
  accuracy,
  type Figures,
  type Metric,
  type MetricFunction,
  type MetricSpec,
  type MetricSum,
  type NamedFigures,
  perplexity,
} from "./metrics.ts";
export type {
  BatchSource,
  CheckpointOptions,
  EarlyStopping,
  FitOptions,
  Schedule,
  ScheduleOptions,
  TrainingData,
  TrainingStart,
  ValidationContext,
} from "./options.ts";
export type { Ending } from "./run.ts";

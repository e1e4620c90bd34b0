export { Adadelta, type AdadeltaOptions, type AdadeltaSettings, adadelta } from "./adadelta.ts";
export { Adagrad, type AdagradOptions, type AdagradSettings, adagrad } from "./adagrad.ts";
export { Adam, type AdamOptions, type AdamSettings, AdamW, adam, adamw } from "./adam.ts";
export { Adamax, type AdamaxOptions, type AdamaxSettings, adamax } from "./adamax.ts";
export type { Algorithm, Step } from "./algorithm.ts";
export { type ClipNormOptions, clipGradNorm, clipGradValue, clipNorm, clipValue } from "./clip.ts";
export { EMA, type EMAOptions, type EMAStateDict } from "./ema.ts";
export { Lion, type LionOptions, type LionSettings, lion } from "./lion.ts";
export { NAdam, type NAdamOptions, type NAdamSettings, nadam } from "./nadam.ts";
export { Optimizer, type ParamGroup, type ParamGroups, type ResolvedGroup } from "./optimizer.ts";
export type { PureOptimizer, PureState, PureUpdateOptions } from "./pure.ts";
export { RAdam, type RAdamOptions, type RAdamSettings, radam } from "./radam.ts";
export { RMSprop, type RMSpropOptions, type RMSpropSettings, rmsprop } from "./rmsprop.ts";
export {
  CosineAnnealingLR,
  type CosineAnnealingLROptions,
  CosineAnnealingWarmRestarts,
  type CosineAnnealingWarmRestartsOptions,
} from "./schedules/cosine.ts";
export {
  ConstantLR,
  type ConstantLROptions,
  ExponentialLR,
  type ExponentialLROptions,
  LambdaLR,
  type LambdaLROptions,
  LinearLR,
  type LinearLROptions,
  type LrLambda,
  MultiStepLR,
  type MultiStepLROptions,
  PolynomialLR,
  type PolynomialLROptions,
  StepLR,
  type StepLROptions,
} from "./schedules/decay.ts";
export { OneCycleLR, type OneCycleLROptions } from "./schedules/one-cycle.ts";
export { type PlateauState, ReduceLROnPlateau, type ReduceLROnPlateauOptions } from "./schedules/plateau.ts";
export { LRScheduler, type SchedulerState } from "./schedules/scheduler.ts";
export { SequentialLR, type SequentialLROptions } from "./schedules/sequential.ts";
export {
  InverseSqrtLR,
  type InverseSqrtLROptions,
  WarmupLR,
  type WarmupLROptions,
} from "./schedules/warmup.ts";
export { SGD, type SGDOptions, type SGDSettings, sgd } from "./sgd.ts";
export type { OptimizerStateDict, SavedGroup, SavedParameterState } from "./state-dict.ts";

export { Adam, type AdamOptions, type AdamSettings, AdamW, adam, adamw } from "./adam.ts";
export type { Algorithm, Step } from "./algorithm.ts";
export { Optimizer, type ParamGroup, type ParamGroups, type ResolvedGroup } from "./optimizer.ts";
export type { PureOptimizer, PureState, PureUpdateOptions } from "./pure.ts";
export { InverseSqrtLR, type InverseSqrtLROptions, LRScheduler, type SchedulerState } from "./schedule.ts";
export { SGD, type SGDOptions, type SGDSettings, sgd } from "./sgd.ts";
export type { OptimizerStateDict, SavedGroup, SavedParameterState } from "./state-dict.ts";

import type { Figures, NamedFigures } from "./metrics.ts";

/** A stretch of a training: an epoch, or the steps between two evaluations. */
export interface HistoryRow<Name extends string = string, Checked extends NamedFigures = NamedFigures> {
  /** Epochs, counted from 1; the one in progress counts. */
  readonly epoch: number;
  /** Steps done at its end. */
  readonly step: number;
  readonly learningRate: number;
  /** Seconds of training since the start: evaluations, checkpoints and callbacks apart. */
  readonly seconds: number;
  /** Means over what it trained on, each at the time of its step. */
  readonly train: Figures<Name>;
  /** Over the validation data at its end, where there are any. */
  readonly validation?: Checked;
}

/** What every event says. */
export interface TrainEvent {
  /** Counted from 1. */
  readonly epoch: number;
  /** Steps done. */
  readonly step: number;
  /** Ends the training after the step in hand; the reason is in the result. */
  stop(reason: string): void;
}

/** Before the first step. */
export interface TrainBeginEvent extends TrainEvent {
  /** Whether it goes on from a checkpoint; `step` says where. */
  readonly resumed: boolean;
  /** Seconds of training before it. */
  readonly seconds: number;
  /** Steps of the whole run, where they are known. */
  readonly totalSteps: number | undefined;
  /** Epochs of the whole run, where it was asked for in epochs. */
  readonly totalEpochs: number | undefined;
  /** Names of all figures, `loss` first. */
  readonly names: readonly string[];
}

/** After a step of the optimiser. Nothing was read back for it. */
export interface StepEvent extends TrainEvent {
  /** The rate that it was done with. */
  readonly learningRate: number;
  /** Items that were trained on so far. */
  readonly items: number;
  readonly seconds: number;
}

/** Figures that were read back: every `logEvery` steps, and before an evaluation or a checkpoint. */
export interface LogEvent<Name extends string = string> extends StepEvent {
  /** Steps that the figures are the mean of. */
  readonly steps: number;
  /** Items in them. */
  readonly stepItems: number;
  readonly figures: Figures<Name>;
}

/** After an evaluation, or an epoch without one. */
export interface EvaluationEvent<Name extends string = string, Checked extends NamedFigures = NamedFigures>
  extends TrainEvent {
  readonly row: HistoryRow<Name, Checked>;
  /** Whether early stopping takes it for the best so far; undefined without early stopping. */
  readonly best: boolean | undefined;
}

/** After a checkpoint was written. */
export interface CheckpointEvent extends TrainEvent {
  readonly path: string;
}

/** When it is over, however it ended: callbacks close what they opened. */
export interface TrainEndEvent extends TrainEvent {
  /** What ended it by throwing; undefined where nothing did. */
  readonly error: unknown;
}

/** Is told how a training goes. Each may be asynchronous; the training waits for it. */
export interface Callback<Name extends string = string, Checked extends NamedFigures = NamedFigures> {
  onTrainBegin?(event: TrainBeginEvent): void | Promise<void>;
  onEpochBegin?(event: TrainEvent): void | Promise<void>;
  onStep?(event: StepEvent): void | Promise<void>;
  onLog?(event: LogEvent<Name>): void | Promise<void>;
  onEvaluation?(event: EvaluationEvent<Name, Checked>): void | Promise<void>;
  onEpochEnd?(event: TrainEvent): void | Promise<void>;
  onCheckpoint?(event: CheckpointEvent): void | Promise<void>;
  onTrainEnd?(event: TrainEndEvent): void | Promise<void>;
}

const EVENTS: readonly string[] = [
  "onTrainBegin",
  "onEpochBegin",
  "onStep",
  "onLog",
  "onEvaluation",
  "onEpochEnd",
  "onCheckpoint",
  "onTrainEnd",
] satisfies readonly (keyof Callback)[];

/** Names that look like events and are none, own ones and those of a class. */
export function misnamedEvents(callback: object): readonly string[] {
  const names = new Set<string>();
  for (let at: unknown = callback; isObject(at) && at !== Object.prototype; at = Object.getPrototypeOf(at))
    for (const name of Object.getOwnPropertyNames(at)) names.add(name);
  return [...names].filter((name) => /^on[A-Z]/.test(name) && !EVENTS.includes(name));
}

/** Names of events that a callback has something other than a function for. */
export function uncallableEvents(callback: object): readonly string[] {
  return EVENTS.filter((name) => {
    const handler: unknown = Reflect.get(callback, name);
    return handler !== undefined && typeof handler !== "function";
  });
}

function isObject(value: unknown): value is object {
  return typeof value === "object" && value !== null;
}

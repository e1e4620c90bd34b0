import type { Tensor } from "@nf/core";
import { checkInteger, checkNumber, checkOptions, OptionError } from "@nf/core";
import type { BestBy, CheckpointParts } from "@nf/io";
import type { Module } from "@nf/nn";
import { Optimizer } from "@nf/optim";
import { type Callback, misnamedEvents, uncallableEvents } from "./events.ts";
import type { Figures, Metric, NamedFigures } from "./metrics.ts";
import { checkFlag, nameOf } from "./misuse.ts";
import { isIterable } from "./source.ts";

/**
 * Batches: a `DataLoader` (whose place in the data is part of checkpoints), any iterable that begins anew in each epoch, or
 * a function that gives the batches of an epoch, counted from 1. Of what such a function gives, `setEpoch` is called where it
 * has one, with the epochs done: a loader then has the same order again after a resume. Tensors that a generator of yours makes
 * are its own to end: it yields them out of a `Scope` that it disposes of when it is asked for the next.
 */
export type TrainingData<Batch> = BatchSource<Batch> | ((epoch: number) => BatchSource<Batch>);
/** Batches of one epoch. */
export type BatchSource<Batch> = AsyncIterable<Batch> | Iterable<Batch>;

/** What sets learning rates by itself: the schedules of `@nf/optim`. */
export interface Schedule {
  step(metric?: number): void;
  stateDict(): object;
  loadStateDict(state: never): unknown;
}

/** A schedule that does not step with each step. */
export interface ScheduleOptions {
  readonly schedule: Schedule;
  /** When it steps: after each step of the optimiser, each epoch, or each evaluation. */
  readonly per: "step" | "epoch" | "evaluation";
  /** With `"evaluation"`: the figure that it is told, as `ReduceLROnPlateau` wants; of the validation data where there are any. */
  readonly metric?: string;
}

/** When to stop for want of progress. */
export interface EarlyStopping<Name extends string = string> {
  /** The figure that is watched, of the validation data where there are any; default `"loss"`. */
  readonly metric?: Name;
  /** Evaluations without a better one after which the training ends. */
  readonly patience: number;
  /** Whether less or more is better; default `"min"`. */
  readonly mode?: "min" | "max";
  /** What counts as better at least; default 0. */
  readonly minDelta?: number;
  /** Puts the weights of the best evaluation back at the end; default true. */
  readonly restoreBest?: boolean;
}

/** Where checkpoints go, and which stay. */
export interface CheckpointOptions {
  readonly folder: string;
  /** Steps between two; default: one after each evaluation. One is written when the training ends or is stopped, in any case. */
  readonly every?: number;
  /** How many of the newest are kept; default 3. */
  readonly keep?: number;
  /** Keeps the best as well, by a figure of the validation data where there are any. */
  readonly best?: BestBy;
  /**
   * Goes on with the newest in the folder, where there is one. Default false: a folder that holds some is refused then, lest
   * two runs are mixed.
   */
  readonly resume?: boolean;
  /** More that goes into each checkpoint and comes back: an average of the weights, a sampler. */
  readonly parts?: CheckpointParts;
}

/** Where a training goes on. */
export interface TrainingStart {
  /** Steps done. */
  readonly step: number;
  /** Steps done at the last evaluation; default `step`. */
  readonly evaluated?: number;
  /** Epochs done; default 0. */
  readonly epochs?: number;
  /** Seconds of training so far; default 0. */
  readonly seconds?: number;
}

/** What the function for a validation of one's own gets. */
export interface ValidationContext {
  readonly epoch: number;
  readonly step: number;
  /** Lets timers and signals in; false when the training was asked to stop, and the validation is to be given up. */
  breathe(): Promise<boolean>;
}

/** Options of {@link fit}. */
export interface FitOptions<
  M extends Module,
  Batch,
  Output,
  Name extends string = never,
  Checked extends NamedFigures = Figures<Name>,
> {
  readonly data: TrainingData<Batch>;
  /**
   * Runs the model on a batch. The model is in training mode then; what of a model in training mode was put into evaluation
   * mode stays so (a frozen normalization), while a model that is in evaluation mode as a whole is switched to training as a whole.
   */
  readonly forward: (model: NoInfer<M>, batch: NoInfer<Batch>) => Output;
  /** The loss of what it gave, a scalar: what training makes smaller. */
  readonly loss: (output: Output, batch: NoInfer<Batch>) => Tensor;
  readonly optimizer: Optimizer;
  /** Passes over the data; or give `steps`. */
  readonly epochs?: number;
  /** Steps of the optimiser, over as many epochs as it takes; or give `epochs`. */
  readonly steps?: number;
  /** Figures besides the loss, by name. */
  readonly metrics?: Readonly<Record<Name, Metric<Output, NoInfer<Batch>>>>;
  /** Where a training goes on whose parts were put back by other means than `checkpoints.resume`. */
  readonly start?: TrainingStart;
  /** Items of a batch, which its means weigh by; default the first dimension of its first tensor. */
  readonly items?: (batch: NoInfer<Batch>) => number;
  /** Batches that are never trained on; loss and metrics over them are what is validated. */
  readonly validation?: BatchSource<NoInfer<Batch>>;
  /**
   * A validation of one's own, in evaluation mode; undefined when it was given up because `breathe()` said false. Not with
   * `validation`.
   */
  readonly validate?: (context: ValidationContext) => Promise<Checked | undefined>;
  /** Steps between two evaluations; default: one at the end of each epoch. One is at the end of the training in any case. */
  readonly evaluateEvery?: number;
  readonly schedule?: Schedule | ScheduleOptions;
  /** The learning rate of each step, counted from 0. Not with `schedule`. */
  readonly learningRate?: (step: number) => number;
  /** Greatest norm of all gradients as one vector; larger ones are scaled down. */
  readonly clipGradNorm?: number;
  /** Greatest absolute value of each element of the gradients. */
  readonly clipGradValue?: number;
  /** Batches a step, whose losses are averaged; default 1. What an epoch leaves over makes a step of its own. */
  readonly accumulate?: number;
  readonly earlyStopping?: EarlyStopping<NoInfer<(keyof Checked & string) | Name | "loss">>;
  /** A folder, or more about it. */
  readonly checkpoints?: string | CheckpointOptions;
  readonly callbacks?: readonly Callback<NoInfer<Name>, NoInfer<Checked>>[];
  /** Steps between two reads of the figures; default 10. A loss that is no number is noticed then. */
  readonly logEvery?: number;
  /** Ends the training after the step in hand, with a checkpoint. */
  readonly signal?: AbortSignal;
  /** Whether Ctrl-C does the same while it runs; default true where no `signal` is given. */
  readonly interrupt?: boolean;
}

const OPTIONS = [
  ...[
    "data",
    "forward",
    "loss",
    "optimizer",
    "epochs",
    "steps",
    "start",
    "metrics",
    "items",
    "validation",
    "validate",
  ],
  ...["evaluateEvery", "schedule", "learningRate", "clipGradNorm", "clipGradValue", "accumulate"],
  ...["earlyStopping", "checkpoints", "callbacks", "logEvery", "signal", "interrupt"],
];

/** @throws OptionError for what makes no sense, saying what would */
export function checkFitOptions<
  M extends Module,
  Batch,
  Output,
  Name extends string,
  Checked extends NamedFigures,
>(options: FitOptions<M, Batch, Output, Name, Checked>): void {
  const refuse = (what: string): never => {
    throw new OptionError(`fit: ${what}`);
  };
  checkOptions("fit", options, OPTIONS);
  if (options === undefined) refuse("expected options: { data, forward, loss, optimizer, epochs }.");
  for (const name of ["forward", "loss"] as const)
    if (typeof options[name] !== "function")
      refuse(`${name} must be a function, got ${typeof options[name]}.`);
  if (!(options.optimizer instanceof Optimizer))
    refuse("optimizer must be one of @nf/optim, as in new Adam(model.parameters()).");
  if (!isData(options.data))
    refuse(
      "data must be a DataLoader, another iterable of batches, or a function that gives one for an epoch.",
    );
  const { epochs, steps, start, validation, validate, schedule, learningRate } = options;
  if ((epochs === undefined) === (steps === undefined)) refuse("say how long, with either epochs or steps.");
  if (epochs !== undefined) checkInteger("fit", "epochs", epochs, 1);
  if (steps !== undefined) checkInteger("fit", "steps", steps, 1);
  if (start !== undefined) {
    checkOptions("fit start", start, ["step", "evaluated", "epochs", "seconds"]);
    checkInteger("fit start", "step", start.step, 0);
    checkInteger("fit start", "evaluated", start.evaluated ?? 0, 0, start.step);
    checkInteger("fit start", "epochs", start.epochs ?? 0, 0);
    checkNumber("fit start", "seconds", start.seconds ?? 0, 0);
  }
  for (const name of ["evaluateEvery", "accumulate", "logEvery"] as const)
    if (options[name] !== undefined) checkInteger("fit", name, options[name], 1);
  for (const name of ["clipGradNorm", "clipGradValue"] as const)
    if (options[name] !== undefined) checkNumber("fit", name, options[name], 0);
  if (validation !== undefined && validate !== undefined)
    refuse("give validation (data) or validate (a function), not both.");
  if (validation !== undefined && !isIterable(validation))
    refuse("validation must be an iterable of batches.");
  if (schedule !== undefined && learningRate !== undefined)
    refuse("give schedule or learningRate, not both: each sets the rate of every step.");
  for (const name of ["learningRate", "items", "validate"] as const)
    if (options[name] !== undefined && typeof options[name] !== "function")
      refuse(`${name} must be a function, got ${nameOf(options[name])}.`);
  checkFlag("fit", "interrupt", options.interrupt);
  const { signal } = options;
  if (
    signal !== undefined &&
    (typeof signal?.addEventListener !== "function" || typeof signal.aborted !== "boolean")
  )
    refuse(`signal must be an AbortSignal, as new AbortController().signal is; got ${nameOf(signal)}.`);
  checkMetrics(options.metrics, refuse);
  checkSchedule(schedule, refuse);
  checkCheckpoints(options.checkpoints, refuse);
  checkNames(options, refuse);
  checkCallbacks(options.callbacks, refuse);
}

function checkMetrics(metrics: unknown, refuse: (what: string) => never): void {
  if (metrics === undefined) return;
  if (typeof metrics !== "object" || metrics === null || Array.isArray(metrics))
    refuse(`metrics must be an object of functions by name, got ${nameOf(metrics)}.`);
  for (const [name, metric] of Object.entries(metrics as object)) {
    if (typeof metric === "function") continue;
    const spec = metric as { update?: unknown; finish?: unknown } | null | undefined;
    if (typeof spec?.update !== "function" || typeof spec.finish !== "function")
      refuse(`metric ${name} must be a function, or { update, finish }; got ${nameOf(metric)}.`);
  }
}

function checkCheckpoints(checkpoints: unknown, refuse: (what: string) => never): void {
  if (checkpoints === undefined || typeof checkpoints === "string") return;
  checkOptions("fit checkpoints", checkpoints as object, [
    "folder",
    "every",
    "keep",
    "best",
    "resume",
    "parts",
  ]);
  const { every, resume, parts } = checkpoints as CheckpointOptions;
  if (every !== undefined) checkInteger("fit checkpoints", "every", every, 1);
  checkFlag("fit checkpoints", "resume", resume);
  if (parts !== undefined && (typeof parts !== "object" || parts === null || Array.isArray(parts)))
    refuse(`checkpoints.parts must be an object of parts by name, got ${nameOf(parts)}.`);
}

function checkCallbacks(callbacks: unknown, refuse: (what: string) => never): void {
  if (callbacks === undefined) return;
  if (!Array.isArray(callbacks))
    throw new OptionError(`fit: callbacks must be an array, got ${nameOf(callbacks)}.`);
  for (const [index, callback] of (callbacks as readonly unknown[]).entries()) {
    if (typeof callback !== "object" || callback === null)
      throw new OptionError(
        `fit: callback ${index} must be an object with methods such as onEvaluation, got ${nameOf(callback)}.`,
      );
    const misnamed = misnamedEvents(callback);
    if (misnamed.length > 0) refuse(`callback ${index} has ${misnamed.join(", ")}, which is no event.`);
    const uncallable = uncallableEvents(callback);
    if (uncallable.length > 0)
      refuse(`callback ${index} has ${uncallable.join(", ")}, which must be a function.`);
  }
}

function checkSchedule(
  schedule: Schedule | ScheduleOptions | undefined,
  refuse: (what: string) => never,
): void {
  if (schedule === undefined) return;
  if (typeof schedule !== "object" || schedule === null)
    refuse(`schedule must be one of @nf/optim, or { schedule, per }; got ${nameOf(schedule)}.`);
  if ("schedule" in schedule) checkOptions("fit schedule", schedule, ["schedule", "per", "metric"]);
  const { schedule: own, per, metric } = scheduleOf(schedule);
  if (typeof own?.step !== "function" || typeof own.stateDict !== "function")
    refuse("schedule must be one of @nf/optim, or { schedule, per }.");
  if (!["step", "epoch", "evaluation"].includes(per))
    refuse(`schedule.per must be "step", "epoch" or "evaluation", got ${JSON.stringify(per)}.`);
  if (metric !== undefined && per !== "evaluation")
    refuse(`schedule.metric goes with per: "evaluation" only: there is no figure for each ${per}.`);
}

function checkNames<M extends Module, Batch, Output, Name extends string, Checked extends NamedFigures>(
  { metrics, validate, earlyStopping, schedule, checkpoints }: FitOptions<M, Batch, Output, Name, Checked>,
  refuse: (what: string) => never,
): void {
  if (Object.hasOwn(metrics ?? {}, "loss")) refuse('no metric can be called "loss": the loss has that name.');
  const names = ["loss", ...Object.keys(metrics ?? {})];
  if (earlyStopping !== undefined) {
    checkOptions("fit earlyStopping", earlyStopping, [
      "metric",
      "patience",
      "mode",
      "minDelta",
      "restoreBest",
    ]);
    checkInteger("fit earlyStopping", "patience", earlyStopping.patience, 1);
    checkNumber("fit earlyStopping", "minDelta", earlyStopping.minDelta ?? 0, 0);
    if (!["min", "max", undefined].includes(earlyStopping.mode))
      refuse('earlyStopping.mode must be "min" or "max".');
    checkFlag("fit earlyStopping", "restoreBest", earlyStopping.restoreBest);
  }
  // Names that a validation of one's own gives are not known before.
  if (validate !== undefined) return;
  const wanted = {
    "earlyStopping.metric": earlyStopping?.metric,
    "schedule.metric": schedule !== undefined ? scheduleOf(schedule).metric : undefined,
    "checkpoints.best.metric": typeof checkpoints === "object" ? checkpoints.best?.metric : undefined,
  };
  for (const [option, name] of Object.entries(wanted))
    if (name !== undefined && !names.includes(name))
      refuse(`${option} is "${name}", and there are ${names.join(", ")}.`);
}

/** A schedule and when it steps. */
export function scheduleOf(schedule: Schedule | ScheduleOptions): ScheduleOptions {
  return "schedule" in schedule ? schedule : { schedule, per: "step" };
}

function isData(value: unknown): boolean {
  return typeof value === "function" || isIterable(value);
}

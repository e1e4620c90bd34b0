import { join } from "node:path";
import type { Backend } from "@nf/core";
import { count, duration, lossText, percent, table } from "../../format.ts";
import { pathsIn, type RunFolder } from "../folder.ts";
import { circumstances } from "../run.ts";
import type { RoundResult } from "../steps.ts";
import type { SplitFigures, TextEvaluation } from "./evaluate.ts";
import { FILES, type TextSession } from "./session.ts";
import type { TextSettings } from "./settings.ts";

/** What a run came to, for programs: the object that `--json` prints. */
export interface TextTrainResult {
  readonly model: "nanogpt";
  readonly backend: string;
  readonly threads: number;
  /** Null, as all up to `validationCharacters`, when the run was stopped before it was set up. */
  readonly parameters: number | null;
  readonly data: string | null;
  /** Different characters that the text has. */
  readonly vocabulary: number | null;
  readonly trainCharacters: number | null;
  readonly validationCharacters: number | null;
  readonly optimizer: "adamw";
  /** Highest learning rate of the run. */
  readonly learningRate: number;
  readonly weightDecay: number;
  readonly dropout: number;
  readonly batch: number;
  readonly seed: number;
  /** Steps done. */
  readonly steps: number;
  readonly stepsAsked: number;
  /** Seconds of training alone: without loading, evaluations, samples and pictures. */
  readonly seconds: number;
  /** Trained on in a second; null when no step was done. */
  readonly charactersPerSecond: number | null;
  /** Mean cross-entropy in nats, over as much of the text trained on as validation has; null before an evaluation. */
  readonly trainLoss: number | null;
  /** Share of next characters that were the likeliest, 0 to 1. */
  readonly trainAccuracy: number | null;
  /** Over the whole validation part. */
  readonly validationLoss: number | null;
  readonly validationAccuracy: number | null;
  /** The least of all evaluations, and after which step it was. */
  readonly bestValidationLoss: number | null;
  readonly bestValidationStep: number | null;
  /** Whether the run was stopped before its end. */
  readonly stopped: boolean;
}

/** The result of a run that was stopped before it was set up. */
export function nothingDone(settings: TextSettings, backend: Backend): TextTrainResult {
  const { learningRate, weightDecay, dropout, batch, seed, steps } = settings;
  return {
    model: "nanogpt",
    backend: backend.name,
    threads: backend.capabilities.threads,
    parameters: null,
    data: null,
    vocabulary: null,
    trainCharacters: null,
    validationCharacters: null,
    optimizer: "adamw",
    learningRate,
    weightDecay,
    dropout,
    batch,
    seed,
    steps: 0,
    stepsAsked: steps,
    seconds: 0,
    charactersPerSecond: null,
    trainLoss: null,
    trainAccuracy: null,
    validationLoss: null,
    validationAccuracy: null,
    bestValidationLoss: null,
    bestValidationStep: null,
    stopped: true,
  };
}

/** The evaluation with the least validation loss. */
function bestOf(rounds: readonly RoundResult<TextEvaluation>[]): RoundResult<TextEvaluation> | undefined {
  return rounds.reduce<RoundResult<TextEvaluation> | undefined>(
    (best, one) =>
      best === undefined || one.evaluation.validation.loss < best.evaluation.validation.loss ? one : best,
    undefined,
  );
}

/** Collects a run's result. */
export function resultOf(session: TextSession, complete: boolean): TextTrainResult {
  const { backend, data, settings, record, parameters } = session;
  const { evaluation, seconds, items, rounds, step } = record;
  const best = bestOf(rounds);
  return {
    ...nothingDone(settings, backend),
    parameters,
    data: data.name,
    vocabulary: data.characters.length,
    trainCharacters: data.train.length,
    validationCharacters: data.validation.length,
    steps: step,
    seconds,
    charactersPerSecond: seconds > 0 ? items / seconds : null,
    trainLoss: evaluation?.train.loss ?? null,
    trainAccuracy: evaluation?.train.accuracy ?? null,
    validationLoss: evaluation?.validation.loss ?? null,
    validationAccuracy: evaluation?.validation.accuracy ?? null,
    bestValidationLoss: best?.evaluation.validation.loss ?? null,
    bestValidationStep: best?.step ?? null,
    stopped: !complete,
  };
}

/** What `run.json` holds: the result, and what is needed to do it again. */
export function detailsOf(
  result: object,
  { data, settings, record, model }: TextSession,
  folder: RunFolder,
  version: string,
  started: Date,
): Readonly<Record<string, unknown>> {
  return {
    ...result,
    evalEvery: settings.evalEvery,
    schedule: "linear warm-up over a tenth of the steps, then cosine to 0",
    config: model.config,
    history: record.rounds.map(({ step, loss, accuracy, seconds, evaluation: { train, validation } }) => {
      return { step, loss, accuracy, train, validation, seconds };
    }),
    source: data.source,
    sha256: data.sha256,
    ...circumstances(version, started),
    files: folder.files,
  };
}

/** What a run came to, for people. */
export function summary({ record }: TextSession, folder: RunFolder): string {
  const { evaluation, step, seconds, items, rounds } = record;
  const rows: string[][] = [];
  const figures = ({ loss, accuracy, characters }: SplitFigures): string =>
    `accuracy ${percent(accuracy)}, loss ${lossText(loss)} (next of ${count(characters)} characters)`;
  if (evaluation !== undefined) {
    rows.push(["Training", figures(evaluation.train)], ["Validation", figures(evaluation.validation)]);
    const best = bestOf(rounds);
    if (best !== undefined)
      rows.push([
        "",
        `best loss ${lossText(best.evaluation.validation.loss)}, after step ${count(best.step)}`,
      ]);
  }
  if (step > 0) {
    const rate = `${count(items / seconds)} characters/s`;
    rows.push(["Time", `${count(step)} steps in ${duration(seconds)} (${rate})`]);
  }
  for (const path of pathsIn(folder).filter((one) => one.endsWith(".png"))) rows.push(["Curves", path]);
  rows.push(["Everything", join(folder.path, "run.json")]);
  if (folder.files.includes(FILES.weights)) rows.push(["Write with it", `nf generate ${folder.path}`]);
  return table(rows);
}

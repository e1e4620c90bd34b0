import { join } from "node:path";
import type { Backend } from "@nf/core";
import { count, duration, lossText, percent, table } from "../../format.ts";
import { LEARNING_RATES, type TrainOptions } from "../../options.ts";
import { pathsIn, type RunFolder } from "../folder.ts";
import { circumstances } from "../run.ts";
import { countRight } from "./evaluate.ts";
import type { PictureText } from "./pictures.ts";
import type { Session } from "./session.ts";

/** What a run came to, for programs: the object that `--json` prints. */
export interface TrainResult {
  readonly model: "lenet";
  readonly backend: string;
  readonly threads: number;
  /** Null, as are the images, when the run was stopped before it was set up. */
  readonly parameters: number | null;
  readonly data: string;
  readonly trainImages: number | null;
  readonly testImages: number | null;
  readonly optimizer: string;
  /** Highest learning rate of the run. */
  readonly learningRate: number;
  readonly batch: number;
  readonly seed: number;
  /** Whether training images were moved by up to a pixel. */
  readonly shift: boolean;
  readonly labelSmoothing: number;
  /** Steps done. */
  readonly steps: number;
  /** Epochs done. */
  readonly epochs: number;
  /** Seconds of training alone: without loading, tests and pictures. */
  readonly seconds: number;
  /** 0 to 1; null when the run was stopped before its first test. */
  readonly testAccuracy: number | null;
  /** Mean cross-entropy in nats; null as above. */
  readonly testLoss: number | null;
  /** Whether the run was stopped before its end. */
  readonly stopped: boolean;
}

/** The result of a run that was stopped before it was set up. */
export function nothingDone(backend: Backend, options: TrainOptions): TrainResult {
  return {
    model: "lenet",
    backend: backend.name,
    threads: backend.capabilities.threads,
    parameters: null,
    data: options.data,
    trainImages: null,
    testImages: null,
    optimizer: options.optimizer,
    learningRate: options.lr ?? LEARNING_RATES[options.optimizer],
    batch: options.batch,
    seed: options.seed,
    shift: options.shift,
    labelSmoothing: options.labelSmoothing,
    steps: 0,
    epochs: 0,
    seconds: 0,
    testAccuracy: null,
    testLoss: null,
    stopped: true,
  };
}

/** Collects a run's result. */
export function resultOf(session: Session, complete: boolean): TrainResult {
  const { backend, data, options, record } = session;
  return {
    ...nothingDone(backend, options),
    parameters: session.parameters,
    trainImages: session.images.length,
    testImages: data.test.length,
    learningRate: session.learningRate,
    steps: record.steps.length,
    epochs: record.rounds.length,
    seconds: record.seconds,
    testAccuracy: record.evaluation?.accuracy ?? null,
    testLoss: record.evaluation?.loss ?? null,
    stopped: !complete,
  };
}

/** What `run.json` holds: the result, and what is needed to do it again. */
export function detailsOf(
  result: object,
  { data, options, record }: Session,
  folder: RunFolder,
  version: string,
  started: Date,
): Readonly<Record<string, unknown>> {
  return {
    ...result,
    epochsAsked: options.epochs,
    schedule: "linear warm-up over a tenth of the steps, then cosine to 0",
    history: record.rounds.map(({ round: epoch, loss, accuracy, seconds, evaluation: test }) => ({
      epoch,
      loss,
      accuracy,
      testLoss: test.loss,
      testAccuracy: test.accuracy,
      seconds,
    })),
    sources: { train: data.train.source, test: data.test.source },
    ...circumstances(version, started),
    files: folder.files,
  };
}

/** What the pictures say of a run. */
export function pictureText({ backend, options, learningRate }: Session, title: string): PictureText {
  const optimizer = { adam: "Adam", sgd: "SGD with momentum 0.9" }[options.optimizer];
  return {
    subject: `${title} on ${backend.name}`,
    settings: `${optimizer}, learning rate ${learningRate}, batches of ${options.batch}, seed ${options.seed}`,
  };
}

/** What a run came to, for people. */
export function summary({ record }: Session, folder: RunFolder): string {
  const { evaluation: test, steps, seconds, items } = record;
  const rows: string[][] = [];
  if (test !== undefined) {
    const right = `${count(countRight(test.outcomes))} of ${count(test.outcomes.length)} unseen digits`;
    rows.push(["Test accuracy", `${percent(test.accuracy)} (${right}, loss ${lossText(test.loss)})`]);
  }
  if (steps.length > 0) {
    const rate = `${count(items / seconds)} images/s`;
    rows.push(["Training", `${count(steps.length)} steps in ${duration(seconds)} (${rate})`]);
  }
  // A picture's PNG says all; its SVG is beside it.
  pathsIn(folder)
    .filter((path) => path.endsWith(".png"))
    .forEach((path, index) => {
      rows.push([index === 0 ? "Pictures" : "", path]);
    });
  rows.push(["Everything", join(folder.path, "run.json")]);
  return table(rows);
}

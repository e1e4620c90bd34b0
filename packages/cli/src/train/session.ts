import { type Backend, manualSeed } from "@nf/core";
import { DataLoader } from "@nf/data";
import { CrossEntropyLoss } from "@nf/nn";
import { CliError, UsageError } from "../errors.ts";
import { count, duration, lossText, percent } from "../format.ts";
import { MODELS } from "../models.ts";
import { LEARNING_RATES, type ModelName, type TrainOptions } from "../options.ts";
import type { Progress } from "../progress/state.ts";
import { BACKGROUND, type Splits } from "./data.ts";
import { fit } from "./fit.ts";
import { METRICS, type RunFolder } from "./folder.ts";
import { createOptimizer } from "./optimizer.ts";
import { RunRecord } from "./record.ts";
import { warmUpCosine } from "./schedule.ts";
import { type ImageSource, ShiftedImages } from "./shift.ts";

/** A run that is set up and has not begun. */
export interface Session {
  readonly model: ReturnType<(typeof MODELS)[ModelName]["create"]>;
  readonly backend: Backend;
  readonly data: Splits;
  /** What is trained on: the training images, or the first of them. */
  readonly images: ImageSource;
  readonly options: TrainOptions;
  /** Highest learning rate. */
  readonly learningRate: number;
  readonly parameters: number;
  readonly stepsPerEpoch: number;
  readonly steps: number;
  readonly record: RunRecord;
}

/** @throws UsageError when more are asked for than there are */
function firstOf(images: Splits["train"], limit: number = images.length): ImageSource {
  if (limit > images.length) {
    throw new UsageError(`--limit ${limit}: there are only ${count(images.length)} training images.`);
  }
  return {
    length: limit,
    get: (index) => images.get(index),
    getBatch: (indices) => images.getBatch(indices),
  };
}

/** Makes a seeded model and what surrounds it, on the backend in use. */
export function createSession(
  name: ModelName,
  options: TrainOptions,
  backend: Backend,
  data: Splits,
): Session {
  manualSeed(options.seed);
  const model = MODELS[name].create();
  const images = firstOf(data.train, options.limit);
  const stepsPerEpoch = Math.ceil(images.length / options.batch);
  return {
    model,
    backend,
    data,
    images,
    options,
    learningRate: options.lr ?? LEARNING_RATES[options.optimizer],
    parameters: model.parameters().reduce((sum, { size }) => sum + size, 0),
    stepsPerEpoch,
    steps: stepsPerEpoch * options.epochs,
    record: new RunRecord(),
  };
}

/** Weight of the newest step in the loss and accuracy that are shown while a run goes on. */
const NEWEST = 0.05;

/**
 * Trains a session's model, shows how it goes and keeps the metrics file up to date.
 *
 * @returns whether all epochs were done
 * @throws CliError when the loss is no longer a number
 */
export async function train(
  session: Session,
  folder: RunFolder,
  progress: Progress,
  signal: AbortSignal,
): Promise<boolean> {
  const { model, data, images, options, learningRate, steps, record } = session;
  const { batch, seed, epochs } = options;
  const shifted = new ShiftedImages(images, seed, BACKGROUND);
  const trainBatches = new DataLoader(options.shift ? shifted : images, {
    batchSize: batch,
    shuffle: true,
    seed,
  });
  const testBatches = new DataLoader(data.test, { batchSize: Math.max(batch, 100) });
  let shown: { loss: number; accuracy: number } | undefined;
  const writes: Promise<unknown>[] = [];
  try {
    return await fit({
      model,
      criterion: new CrossEntropyLoss({ labelSmoothing: options.labelSmoothing }),
      optimizer: createOptimizer(options.optimizer, model.parameters(), learningRate),
      trainBatches(epoch) {
        shifted.epoch = epoch;
        return trainBatches;
      },
      testBatches,
      epochs,
      learningRate: (step) => warmUpCosine(learningRate, step, steps),
      signal,
      onStep(result) {
        record.addStep(result);
        const { epoch, step, objective, loss, accuracy, seconds } = result;
        if (!Number.isFinite(objective)) {
          throw new CliError(
            `The loss is ${objective} at step ${step}: the training has diverged. Try a learning rate below ` +
              `${learningRate}, such as --lr ${learningRate / 10}.`,
          );
        }
        const weight = shown === undefined ? 1 : NEWEST;
        shown = {
          loss: (shown?.loss ?? 0) * (1 - weight) + loss * weight,
          accuracy: (shown?.accuracy ?? 0) * (1 - weight) + accuracy * weight,
        };
        const imagesPerSecond = record.images / seconds;
        progress.update({
          epoch,
          epochs,
          step,
          steps,
          ...shown,
          imagesPerSecond,
          secondsLeft: (seconds / step) * (steps - step),
        });
      },
      onEpoch(result) {
        const before = record.seconds - (record.epochs.at(-1)?.seconds ?? 0);
        record.addEpoch(result);
        const { epoch, loss, accuracy, test } = result;
        progress.note(
          `epoch ${epoch}/${epochs} done in ${duration(before)}: loss ${lossText(loss)}, accuracy ${percent(accuracy)}; ` +
            `test loss ${lossText(test.loss)}, test accuracy ${percent(test.accuracy)} of ${count(test.outcomes.length)}`,
        );
        writes.push(folder.append(METRICS, record.takeLines()));
      },
    });
  } finally {
    await Promise.all(writes);
    await folder.append(METRICS, record.takeLines());
  }
}

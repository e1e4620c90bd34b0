import { type Backend, manualSeed, type Tensor } from "@nf/core";
import { DataLoader } from "@nf/data";
import { CrossEntropyLoss } from "@nf/nn";
import { fit, type ValidationContext } from "@nf/train";
import type { Progress } from "@nf/train/node";
import { UsageError } from "../../errors.ts";
import { count, duration, lossText, percent } from "../../format.ts";
import { MODELS } from "../../models.ts";
import { LEARNING_RATES, type TrainOptions } from "../../options.ts";
import { METRICS, type RunFolder } from "../folder.ts";
import { createOptimizer } from "../optimizer.ts";
import { type RecordNames, RunRecord } from "../record.ts";
import { warmUpCosine } from "../schedule.ts";
import { meanOf } from "../steps.ts";
import { watchSteps } from "../watch.ts";
import { BACKGROUND, type Splits } from "./data.ts";
import { decide, type Evaluation, evaluate, type ImageBatch, score } from "./evaluate.ts";
import { type ImageSource, ShiftedImages } from "./shift.ts";

/** A run that is set up and has not begun. */
export interface Session {
  readonly model: ReturnType<(typeof MODELS)["lenet"]["create"]>;
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
  readonly record: RunRecord<Evaluation>;
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
export function createSession(options: TrainOptions, backend: Backend, data: Splits): Session {
  manualSeed(options.seed);
  const model = MODELS.lenet.create();
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
    record: new RunRecord(LINES),
  };
}

/** What metrics call the figures of a step and of an epoch. */
const LINES: RecordNames<Evaluation> = {
  step: ({ round: epoch, step, objective, loss, accuracy, items: images, learningRate }) => {
    return { epoch, step, objective, loss, accuracy, images, learningRate };
  },
  round: ({ round: epoch, step, loss, accuracy, seconds, evaluation: test }) => {
    const tested = { testLoss: test.loss, testAccuracy: test.accuracy };
    return { kind: "epoch", epoch, step, loss, accuracy, ...tested, seconds };
  },
};

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
  const optimizer = createOptimizer(options.optimizer, model.parameters(), learningRate);
  const criterion = new CrossEntropyLoss({ labelSmoothing: options.labelSmoothing });
  const watch = watchSteps({
    ...{ record, progress, steps, learningRate },
    unit: "images",
    place: ({ round }) => `epoch ${round}/${epochs}`,
  });
  try {
    let test: Evaluation | undefined;
    /** Of the step in hand. */
    let [logits, labels]: Tensor[] = [];
    const { epochs: done } = await fit(model, {
      data(epoch: number): AsyncIterable<ImageBatch> {
        shifted.epoch = epoch;
        return trainBatches;
      },
      forward(net, { image, label }) {
        logits = net.forward(image).keep();
        labels = label;
        return logits;
      },
      loss: (output, { label }) => criterion.forward(output, label),
      optimizer,
      epochs,
      learningRate: (step) => warmUpCosine(learningRate, step, steps),
      signal,
      logEvery: 1,
      validate: async ({ breathe }: ValidationContext) => {
        test = await evaluate(model, testBatches, breathe);
        return test === undefined ? undefined : { loss: test.loss, accuracy: test.accuracy };
      },
      callbacks: [
        {
          async onLog({ epoch: round, step, figures, learningRate: rate, stepItems: items, seconds }) {
            // The host decides, as it does for tests: cheaper than operations for batches of this size.
            const outcomes = decide((await logits?.data()) ?? [], (await labels?.data()) ?? []);
            logits?.dispose();
            const { loss: objective } = figures;
            watch({ round, step, objective, ...score(outcomes), items, learningRate: rate, seconds });
          },
          async onEvaluation({ row: { epoch: round, step, seconds } }) {
            if (test === undefined) return;
            const before = record.seconds - (record.rounds.at(-1)?.seconds ?? 0);
            const means = meanOf(record.steps.filter((one) => one.round === round));
            record.addRound({ round, step, ...means, seconds, evaluation: test });
            const { loss, accuracy } = means;
            progress.note(
              `epoch ${round}/${epochs} done in ${duration(before)}: loss ${lossText(loss)}, accuracy ${percent(accuracy)}; ` +
                `test loss ${lossText(test.loss)}, test accuracy ${percent(test.accuracy)} of ${count(test.outcomes.length)}`,
            );
            await folder.append(METRICS, record.takeLines());
          },
        },
      ],
    });
    return done === epochs;
  } finally {
    await folder.append(METRICS, record.takeLines());
  }
}

import { curvesSvg } from "@nf/train/curves";
import { count, duration, percent } from "../../format.ts";
import { type Prediction, predictionsSvg } from "../../plots/predictions.ts";
import type { Picture } from "../pictures.ts";
import type { RunRecord } from "../record.ts";
import type { Splits } from "./data.ts";
import type { Evaluation, Outcome } from "./evaluate.ts";
import type { Session } from "./session.ts";

/** What the pictures say of a run besides its numbers. */
export interface PictureText {
  /** Model and backend: `LeNet-5 on cpu`. */
  readonly subject: string;
  /** Settings: `Adam, learning rate 0.003, batches of 16, seed 42`. */
  readonly settings: string;
}

/** Images of the test set that are shown as they come, and mistakes that are shown. */
const SHOWN = { samples: 36, mistakes: 24 };

function toPrediction(
  dataset: Splits["test"],
  { label, predicted, confidence }: Outcome,
  index: number,
): Prediction {
  const { data } = dataset.images;
  const size = data.length / dataset.length;
  const pixels = Float32Array.from(data.subarray(index * size, (index + 1) * size), (byte) => byte / 255);
  return { index, pixels, label, predicted, confidence };
}

function predictionSheet(subject: string, dataset: Splits["test"], outcomes: readonly Outcome[]): string {
  const wrong = outcomes
    .map((outcome, index) => ({ outcome, index }))
    .filter(({ outcome }) => outcome.label !== outcome.predicted)
    .sort((a, b) => b.outcome.confidence - a.outcome.confidence);
  const accuracy = 1 - wrong.length / outcomes.length;
  return predictionsSvg({
    title: `${subject}: ${percent(accuracy)} of ${count(outcomes.length)} unseen digits`,
    subtitle:
      `${count(wrong.length)} of ${count(outcomes.length)} are wrong. Under each digit the prediction and how sure the ` +
      "model is of it.",
    side: dataset.images.shape[3] ?? 0,
    samples: outcomes.slice(0, SHOWN.samples).map((outcome, index) => toPrediction(dataset, outcome, index)),
    mistakes: wrong
      .slice(0, SHOWN.mistakes)
      .map(({ outcome, index }) => toPrediction(dataset, outcome, index)),
  });
}

function curves(
  { subject, settings }: PictureText,
  record: RunRecord<Evaluation>,
  stepsPerEpoch: number,
): string {
  const { evaluation: test, steps, seconds } = record;
  return curvesSvg({
    title:
      test === undefined
        ? subject
        : `${subject}: ${percent(test.accuracy)} of ${count(test.outcomes.length)} unseen digits`,
    subtitle: `${count(steps.length)} steps in ${duration(seconds)} · ${settings}`,
    stepsPerEpoch,
    steps,
    tests: record.rounds.map(({ round: epoch, step, evaluation: { loss, accuracy } }) => ({
      epoch,
      step,
      loss,
      accuracy,
    })),
  });
}

/** What there is to draw, as SVG: curves once a step was done, predictions once a test was. */
export function picturesOf({ record, data, stepsPerEpoch }: Session, text: PictureText): Picture[] {
  const pictures: Picture[] = [];
  if (record.steps.length > 0) pictures.push(["curves", curves(text, record, stepsPerEpoch)]);
  if (record.evaluation !== undefined) {
    pictures.push(["predictions", predictionSheet(text.subject, data.test, record.evaluation.outcomes)]);
  }
  return pictures;
}

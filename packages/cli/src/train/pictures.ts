import { messageOf } from "../errors.ts";
import { count, duration, percent } from "../format.ts";
import { curvesSvg } from "../plots/curves.ts";
import { toPng } from "../plots/png.ts";
import { type Prediction, predictionsSvg } from "../plots/predictions.ts";
import type { Splits } from "./data.ts";
import type { Outcome } from "./evaluate.ts";
import type { RunFolder } from "./folder.ts";
import type { RunRecord } from "./record.ts";
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

function curves({ subject, settings }: PictureText, record: RunRecord, stepsPerEpoch: number): string {
  const { test, steps, seconds } = record;
  return curvesSvg({
    title:
      test === undefined
        ? subject
        : `${subject}: ${percent(test.accuracy)} of ${count(test.outcomes.length)} unseen digits`,
    subtitle: `${count(steps.length)} steps in ${duration(seconds)} · ${settings}`,
    stepsPerEpoch,
    steps,
    tests: record.epochs.map(({ epoch, step, test: { loss, accuracy } }) => ({
      epoch,
      step,
      loss,
      accuracy,
    })),
  });
}

/**
 * Draws what there is to draw, as SVG and PNG: curves once a step was done, predictions once a test was.
 *
 * @param note is told when the PNG renderer does not work on this machine; the SVG files are there then
 */
export async function writePictures(
  folder: RunFolder,
  { record, data, stepsPerEpoch }: Session,
  text: PictureText,
  note: (line: string) => void,
): Promise<void> {
  const pictures: [name: string, svg: string][] = [];
  if (record.steps.length > 0) pictures.push(["curves", curves(text, record, stepsPerEpoch)]);
  if (record.test !== undefined) {
    pictures.push(["predictions", predictionSheet(text.subject, data.test, record.test.outcomes)]);
  }
  for (const [name, svg] of pictures) {
    await folder.write(`${name}.svg`, svg);
    let png: Uint8Array;
    try {
      png = await toPng(svg);
    } catch (error) {
      note(`${name}.png is left out, the renderer does not work here: ${messageOf(error)}`);
      continue;
    }
    await folder.write(`${name}.png`, png);
  }
}

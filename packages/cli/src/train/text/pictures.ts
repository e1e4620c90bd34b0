import { curvesSvg } from "@nf/train/curves";
import { count, duration, percent } from "../../format.ts";
import type { Picture } from "../pictures.ts";
import type { TextSession } from "./session.ts";

/** What there is to draw, as SVG: curves once a step was done. */
export function picturesOf({ record, settings, backend }: TextSession): Picture[] {
  const { step, steps, rounds, seconds, evaluation } = record;
  if (steps.length === 0) return [];
  const subject = `nanoGPT on ${backend.name}`;
  const { batch, learningRate, dropout, seed } = settings;
  const svg = curvesSvg({
    title:
      evaluation === undefined
        ? subject
        : `${subject}: ${percent(evaluation.validation.accuracy)} of ${count(evaluation.validation.characters)} unseen characters`,
    subtitle:
      `${count(step)} steps in ${duration(seconds)} · AdamW, learning rate ${learningRate}, batches of ${batch}, ` +
      `dropout ${dropout}, seed ${seed}`,
    stepsPerEpoch: 1,
    steps,
    tests: rounds.map(({ round: epoch, step: at, evaluation: { validation } }) => {
      return { epoch, step: at, loss: validation.loss, accuracy: validation.accuracy };
    }),
    words: { x: "Step", items: "characters", tests: "validation" },
  });
  return [["curves", svg]];
}

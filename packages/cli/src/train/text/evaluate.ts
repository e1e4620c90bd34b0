import { argmax, cast, crossEntropy, equal, noGrad, reshape, sum, type Tensor } from "@nf/core";
import type { Gpt } from "@nf/models";
import type { TextData } from "./data.ts";
import { batchesOf, evenWindows, type WindowBatch } from "./windows.ts";

/** Result over windows of one part of the text. */
export interface SplitFigures {
  /** Mean cross-entropy of the characters, in nats. */
  readonly loss: number;
  /** Share of the characters that were the likeliest by the model, 0 to 1. */
  readonly accuracy: number;
  readonly characters: number;
}

/** Result over both parts of the text. */
export interface TextEvaluation {
  /** Over as many windows as validation has, spread evenly over the text that is trained on. */
  readonly train: SplitFigures;
  /** Over the whole validation part. */
  readonly validation: SplitFigures;
}

/** Mean cross-entropy of the next characters (a scalar), and how many of them are the likeliest (a scalar, i32). */
export function nextCharacters(
  model: Gpt,
  { tokens, targets }: WindowBatch,
): { readonly loss: Tensor; readonly right: Tensor } {
  const logits = reshape(model.forward(tokens), [-1, model.config.vocabSize]); // [batch · positions, vocabSize]
  const next = reshape(targets, [-1]); //                                         [batch · positions]
  const right = noGrad(() => sum(cast(equal(argmax(logits, { axis: 1 }), next), "i32")));
  return { loss: crossEntropy(logits, next), right };
}

async function overSplit(
  model: Gpt,
  windows: AsyncIterable<WindowBatch>,
  breathe: () => Promise<boolean>,
): Promise<SplitFigures | undefined> {
  let [loss, right, characters] = [0, 0, 0];
  for await (const batch of windows) {
    const figures = noGrad(() => nextCharacters(model, batch));
    const { size } = batch.targets;
    try {
      loss += (await figures.loss.item()) * size;
      right += await figures.right.item();
    } finally {
      figures.loss.dispose();
      figures.right.dispose();
    }
    characters += size;
    if (!(await breathe())) return undefined;
  }
  return { loss: loss / characters, accuracy: right / characters, characters };
}

/**
 * How well a model predicts next characters, without gradients and in evaluation mode; it is back in training mode
 * afterwards.
 *
 * @param breathe is awaited after each batch; when it gives false the evaluation is given up
 * @returns `undefined` when it was given up
 */
export async function evaluate(
  model: Gpt,
  { train, validation }: TextData,
  batchSize: number,
  breathe: () => Promise<boolean>,
): Promise<TextEvaluation | undefined> {
  const { maxPositions } = model.config;
  const unseen = evenWindows(validation, maxPositions);
  const known = evenWindows(train, maxPositions, unseen.length);
  model.eval();
  try {
    const first = await overSplit(model, batchesOf(unseen, batchSize), breathe);
    if (first === undefined) return undefined;
    const second = await overSplit(model, batchesOf(known, batchSize), breathe);
    return second === undefined ? undefined : { train: second, validation: first };
  } finally {
    model.train();
  }
}

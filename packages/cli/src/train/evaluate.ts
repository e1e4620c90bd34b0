import { noGrad, type Tensor } from "@nf/core";

/** A batch of labelled images. */
export interface ImageBatch {
  /** `[batch, channels, height, width]`, f32. */
  readonly image: Tensor;
  /** Class of each image, `[batch]`, i32. */
  readonly label: Tensor;
}

/** A model that gives logits `[batch, classes]` for images, and knows training from evaluation. */
export interface Classifier {
  forward(image: Tensor): Tensor;
  train(): unknown;
  eval(): unknown;
}

/** A loss of logits and classes: the mean over the batch. */
export interface Criterion {
  forward(logits: Tensor, label: Tensor): Tensor;
}

/** What a model says of one image. */
export interface Outcome {
  readonly label: number;
  readonly predicted: number;
  /** Softmax probability of the predicted class. */
  readonly confidence: number;
}

/** Result over a test set. */
export interface Evaluation {
  /** Mean cross-entropy of the images, in nats. */
  readonly loss: number;
  /** Share of images that were classified right, 0 to 1. */
  readonly accuracy: number;
  /** One an image, in the order of the test set. */
  readonly outcomes: readonly Outcome[];
}

/** The likeliest class of each row of logits `[rows, classes]`, and its probability. */
export function decide(logits: ArrayLike<number>, labels: ArrayLike<number>): Outcome[] {
  const rows = labels.length;
  const classes = logits.length / rows;
  return Array.from({ length: rows }, (_, row) => {
    const start = row * classes;
    let predicted = 0;
    let highest = Number.NEGATIVE_INFINITY;
    for (let k = 0; k < classes; k++) {
      const logit = logits[start + k] ?? Number.NaN;
      if (logit > highest) {
        highest = logit;
        predicted = k;
      }
    }
    let sum = 0;
    for (let k = 0; k < classes; k++) sum += Math.exp((logits[start + k] ?? Number.NaN) - highest);
    return { label: labels[row] ?? -1, predicted, confidence: 1 / sum };
  });
}

/** How many outcomes are right. */
export function countRight(outcomes: readonly Outcome[]): number {
  return outcomes.reduce((right, { label, predicted }) => right + (label === predicted ? 1 : 0), 0);
}

/**
 * Classifies all images of a loader, without gradients and in evaluation mode; the model is back in training mode
 * afterwards.
 *
 * @param afterBatch is awaited after each batch; when it gives false the evaluation is given up
 * @returns `undefined` when it was given up
 */
export async function evaluate(
  model: Classifier,
  criterion: Criterion,
  batches: AsyncIterable<ImageBatch>,
  afterBatch: () => Promise<boolean>,
): Promise<Evaluation | undefined> {
  const outcomes: Outcome[] = [];
  let lossSum = 0;
  model.eval();
  try {
    for await (const { image, label } of batches) {
      const [logits, loss] = noGrad(() => {
        const scores = model.forward(image);
        return [scores, criterion.forward(scores, label)] as const;
      });
      const decided = decide(await logits.data(), await label.data());
      lossSum += (await loss.item()) * decided.length;
      outcomes.push(...decided);
      logits.dispose();
      loss.dispose();
      if (!(await afterBatch())) return undefined;
    }
  } finally {
    model.train();
  }
  return { loss: lossSum / outcomes.length, accuracy: countRight(outcomes) / outcomes.length, outcomes };
}

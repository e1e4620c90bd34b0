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

/** What a model says of one image. */
export interface Outcome {
  readonly label: number;
  readonly predicted: number;
  /** Softmax probability of the predicted class. */
  readonly confidence: number;
  /** Cross-entropy of the true class, in nats: minus the logarithm of its softmax probability. */
  readonly loss: number;
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

/** The likeliest class of each row of logits `[rows, classes]`, how likely it is, and the cross-entropy. */
export function decide(logits: ArrayLike<number>, labels: ArrayLike<number>): Outcome[] {
  const rows = labels.length;
  const classes = logits.length / rows;
  return Array.from({ length: rows }, (_, row) => {
    const start = row * classes;
    const label = labels[row] ?? -1;
    let predicted = 0;
    let highest = Number.NEGATIVE_INFINITY;
    for (let k = 0; k < classes; k++) {
      const logit = logits[start + k] ?? Number.NaN;
      if (logit > highest) {
        highest = logit;
        predicted = k;
      }
    }
    // The highest logit is taken off first, so that no exponential overflows.
    let sum = 0;
    for (let k = 0; k < classes; k++) sum += Math.exp((logits[start + k] ?? Number.NaN) - highest);
    const loss = Math.log(sum) + highest - (logits[start + label] ?? Number.NaN);
    return { label, predicted, confidence: 1 / sum, loss };
  });
}

/** How many outcomes are right. */
export function countRight(outcomes: readonly Outcome[]): number {
  return outcomes.reduce((right, { label, predicted }) => right + (label === predicted ? 1 : 0), 0);
}

/** Mean cross-entropy and share of right ones. */
export function score(outcomes: readonly Outcome[]): { readonly loss: number; readonly accuracy: number } {
  const lossSum = outcomes.reduce((sum, { loss }) => sum + loss, 0);
  return { loss: lossSum / outcomes.length, accuracy: countRight(outcomes) / outcomes.length };
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
  batches: AsyncIterable<ImageBatch>,
  afterBatch: () => Promise<boolean>,
): Promise<Evaluation | undefined> {
  const outcomes: Outcome[] = [];
  model.eval();
  try {
    for await (const { image, label } of batches) {
      const logits = noGrad(() => model.forward(image));
      outcomes.push(...decide(await logits.data(), await label.data()));
      logits.dispose();
      if (!(await afterBatch())) return undefined;
    }
  } finally {
    model.train();
  }
  return { ...score(outcomes), outcomes };
}

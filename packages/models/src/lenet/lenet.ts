import { checkOptions, type Flat, type Generator, type Spatial } from "@nf/core";
import { Conv2d, Flatten, type Layer, Linear, MaxPool2d, ReLU, sequential } from "@nf/nn";

/** LeNet-5 on 28 x 28 digits in grey. */
export const LENET = {
  /** Shape of one image: channels, height, width. */
  input: [1, 28, 28],
  /** Channels after the first and the second convolution. */
  channels: [6, 16],
  /** Side of the convolution windows. */
  kernel: 5,
  /** Side of the pooling windows. */
  pool: 2,
  /** Channels times what is left of the image: 28 > 24 > 12 > 8 > 4. */
  features: 256,
  /** Units of the hidden linear layers. */
  hidden: [120, 84],
  classes: 10,
  /** Weights and biases: 156 + 2,416 + 30,840 + 10,164 + 850. */
  parameters: 44_426,
} as const;

/** Images in, one logit for each digit out. */
export type LeNet = Layer<Spatial<2, 1>, Flat<10>>;

/** Options of {@link lenet}. */
export interface LeNetOptions {
  /** Where the initial weights come from; default the generator that `manualSeed` seeds. */
  readonly generator?: Generator;
}

/**
 * LeNet-5 with ReLU and max pooling, as it is trained today: `[batch, 1, 28, 28]` to logits `[batch, 10]`. LeCun et al.,
 * "Gradient-based learning applied to document recognition", 1998.
 *
 * @example
 * ```ts no-run
 * import { LENET, lenet } from "@nf/models";
 * import { inspect } from "@nf/nn";
 *
 * console.log(inspect(lenet(), LENET.input));
 * ```
 */
export function lenet(options: LeNetOptions = {}): LeNet {
  checkOptions("lenet", options, ["generator"]);
  const { channels, kernel, pool, features, hidden, classes } = LENET;
  return sequential(
    new Conv2d(1, channels[0], kernel, options), //           [batch, 1, 28, 28] -> [batch, 6, 24, 24]
    new ReLU(),
    new MaxPool2d(pool), //                                   [batch, 6, 12, 12]
    new Conv2d(channels[0], channels[1], kernel, options), // [batch, 16, 8, 8]
    new ReLU(),
    new MaxPool2d(pool), //                                   [batch, 16, 4, 4]
    new Flatten(), //                                         [batch, 256]
    new Linear(features, hidden[0], options), //              [batch, 120]
    new ReLU(),
    new Linear(hidden[0], hidden[1], options), //             [batch, 84]
    new ReLU(),
    new Linear(hidden[1], classes, options), //               [batch, 10]
  );
}

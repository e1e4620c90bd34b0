import type { Flat, Spatial } from "@nf/core";
import { lenet } from "@nf/models";
import { Flatten, type Layer, Linear, ReLU, sequential } from "@nf/nn";

/** From images to scores of ten classes. */
export type Classifier = Layer<Spatial<2, 1>, Flat<10>> | Layer<unknown, Flat<10>>;

/** What is compared: a network of convolutions, and one without them that is about as right. */
export const MODELS = {
  "LeNet-5": (): Classifier => lenet(),
  MLP: (): Classifier =>
    sequential(
      new Flatten(),
      new Linear(784, 256),
      new ReLU(),
      new Linear(256, 128),
      new ReLU(),
      new Linear(128, 10),
    ),
} as const;

/** Name of a model. */
export type ModelName = keyof typeof MODELS;

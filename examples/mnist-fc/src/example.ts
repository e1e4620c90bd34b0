import { Dropout, Flatten, Linear, ReLU, sequential } from "@nf/nn";
import { classifier, digits } from "@nf-examples/shared";

/** 784 pixels, two hidden layers, ten digits. */
export function mlp() {
  return sequential(
    new Flatten(),
    new Linear(784, 256),
    new ReLU(),
    new Dropout(0.2),
    new Linear(256, 128),
    new ReLU(),
    new Linear(128, 10),
  );
}

/** The example. */
export const example = classifier({
  name: "mnist-fc",
  description: "Trains a fully connected network on MNIST, and tests it.",
  title: "An MLP on MNIST",
  epochs: 8,
  batch: 128,
  lr: 0.003,
  download: "full MNIST (12 MB)",
  model: mlp,
  pictures: digits,
});

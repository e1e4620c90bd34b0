import { BatchNorm2d, Conv2d, Flatten, Linear, MaxPool2d, ReLU, sequential } from "@nf/nn";
import { classifier, digits } from "@nf-examples/shared";

/** Two convolutions, each followed by pooling and batch normalisation, and two linear layers. */
export function cnn() {
  return sequential(
    new Conv2d(1, 16, 3, { padding: 1, bias: false }),
    new MaxPool2d(2),
    new BatchNorm2d(16),
    new ReLU(),
    new Conv2d(16, 32, 3, { padding: 1, bias: false }),
    new MaxPool2d(2),
    new BatchNorm2d(32),
    new ReLU(),
    new Flatten(),
    new Linear(1568, 64),
    new ReLU(),
    new Linear(64, 10),
  );
}

/** The example. */
export const example = classifier({
  name: "mnist-cnn",
  description: "Trains a small convolutional network on MNIST, and tests it.",
  title: "A CNN on MNIST",
  epochs: 3,
  batch: 128,
  lr: 0.005,
  download: "full MNIST (12 MB)",
  model: cnn,
  pictures: digits,
});

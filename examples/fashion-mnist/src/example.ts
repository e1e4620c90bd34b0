import { fashionMnist } from "@nf/data/node";
import { BatchNorm2d, Conv2d, Flatten, Linear, MaxPool2d, ReLU, sequential } from "@nf/nn";
import { classifier, fetched, loading } from "@nf-examples/shared";

/** Mean and spread of the training pixels. */
const PIXELS = { mean: 0.286, std: 0.353 };

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
    new Linear(1568, 128),
    new ReLU(),
    new Linear(128, 10),
  );
}

/** The example. */
export const example = classifier({
  name: "fashion-mnist",
  description: "Trains a convolutional network on Fashion-MNIST, and tests it.",
  title: "A CNN on Fashion-MNIST",
  epochs: 3,
  batch: 128,
  lr: 0.005,
  download: "Fashion-MNIST (31 MB)",
  model: cnn,
  pictures: ({ download }, context) =>
    fetched(fashionMnist({ ...loading(download, context), normalize: PIXELS })),
});

// Compiled, never run: wrong compositions must not compile, right ones must give the right kinds.
import type { Flat, Spatial, Tensor } from "@nf/core";
import {
  Conv1d,
  Conv2d,
  Dropout,
  Flatten,
  type Layer,
  Linear,
  MaxPool2d,
  Module,
  ReLU,
  Softmax,
  sequential,
} from "../../src/index.ts";

type Equal<A, B> = (<T>() => T extends A ? 1 : 2) extends <T>() => T extends B ? 1 : 2 ? true : false;
declare function expectType<_T extends true>(): void;

declare const images: Tensor<Spatial<2, 1>>;
declare const signal: Tensor<Spatial<1, 3>>;
declare const untyped: Tensor;

// LeNet composes, and knows what it takes and gives.
const lenet = sequential(
  new Conv2d(1, 6, 5),
  new ReLU(),
  new MaxPool2d(2),
  new Conv2d(6, 16, 5),
  new ReLU(),
  new MaxPool2d(2),
  new Flatten(),
  new Linear(256, 120),
  new ReLU(),
  new Linear(120, 84),
  new Dropout(0.1),
  new Linear(84, 10),
);
const logits = lenet.forward(images);
expectType<Equal<typeof logits, Tensor<Flat<10>>>>();
export const asLayer: Layer<Spatial<2, 1>, Flat<10>> = lenet;

// Linear after Conv2d without Flatten.
// @ts-expect-error
sequential(new Conv2d(1, 6, 5), new Linear(3456, 10));
sequential(
  new Conv2d(1, 6, 5),
  new ReLU(),
  new MaxPool2d(2),
  // @ts-expect-error layers that keep the kind pass it on, and the mistake is marked where it is
  new Linear(864, 10),
  new Softmax(),
);

// A 2-d convolution on a 1-d signal.
// @ts-expect-error
sequential(new Conv1d(1, 6, 5), new Conv2d(6, 16, 5));
// @ts-expect-error
new Conv2d(3, 6, 5).forward(signal);
// @ts-expect-error
lenet.forward(signal);

// Feature and channel counts that differ.
// @ts-expect-error
sequential(new Linear(256, 120), new ReLU(), new Linear(84, 10));
// @ts-expect-error
sequential(new Conv2d(1, 6, 5), new ReLU(), new Conv2d(7, 16, 5));
// @ts-expect-error
new Linear(84, 10).forward(new Linear(256, 120).forward(untyped));

// Pooling and flattening.
// @ts-expect-error
sequential(new Linear(10, 10), new MaxPool2d(2));
const pooled = new MaxPool2d(2).forward(new Conv2d(1, 6, 5).forward(images));
expectType<Equal<typeof pooled, Tensor<Spatial<2, 6>>>>();
// @ts-expect-error
new Linear(864, 10).forward(pooled);

// Nested containers: those that keep the kind, and those that change it.
const activation = sequential(new ReLU(), new Dropout());
const block = sequential(new Linear(8, 4), activation);
const nested = sequential(block, new Linear(4, 2)).forward(untyped);
expectType<Equal<typeof nested, Tensor<Flat<2>>>>();
// @ts-expect-error
sequential(block, new Linear(8, 2));
// @ts-expect-error
sequential(new Conv2d(1, 6, 5), activation, new Linear(864, 10));

// The message that a mistake gives.
type Wrong = Parameters<typeof sequential<[Conv2d<1, 6>, ReLU, Linear<864, 10>]>>[2];
expectType<
  Wrong extends { readonly mismatch: "layer 2 takes Flat<864>, but the layer before it gives Spatial<2, 6>" }
    ? true
    : false
>();

// Untyped use stays easy: plain tensors fit, sizes known only at run time fit, so do modules of one's own and lists.
lenet.forward(untyped);
export function perceptron(width: number): Layer<Flat, Flat> {
  return sequential(new Linear(784, width), new ReLU(), new Linear(width, 10));
}
class Residual extends Module {
  readonly inner = new Linear(4, 4);
  forward(x: Tensor): Tensor {
    return this.inner.forward(x);
  }
}
sequential(new Linear(2, 4), new Residual(), new Linear(4, 1));
const list: Layer[] = [new Linear(2, 4), new ReLU()];
export const fromList: Tensor = sequential(...list).forward(untyped);

// A module of several inputs is not a layer.
class Attend extends Module {
  forward(query: Tensor, _key: Tensor): Tensor {
    return query;
  }
}
// @ts-expect-error
sequential(new Linear(2, 4), new Attend());

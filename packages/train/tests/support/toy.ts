import { crossEntropy, Generator, manualSeed, type Tensor, tensor } from "@nf/core";
import { ArrayDataset, DataLoader, NdArray } from "@nf/data";
import { Dropout, Linear, ReLU, sequential } from "@nf/nn";
import { accuracy } from "../../src/index.ts";

/** Points, and which class they are of. */
export interface Batch {
  readonly x: Tensor;
  readonly y: Tensor;
}

/** 64 points of the plane, of two classes that a line does not part: which quadrants they lie in. */
export function points(count = 64): ArrayDataset<{ x: NdArray; y: Int32Array }> {
  const x = new Float32Array(2 * count);
  const y = new Int32Array(count);
  const random = new Generator(5);
  for (let i = 0; i < count; i++) {
    const [a, b] = random.next().map((word) => word / 2 ** 31 - 1) as [number, number];
    x.set([a, b], 2 * i);
    y[i] = a * b > 0 ? 1 : 0;
  }
  return new ArrayDataset({ x: new NdArray(x, [count, 2]), y });
}

/** A loader of the points. */
export function loader(batchSize = 16, count = 64) {
  return new DataLoader(points(count), { batchSize, shuffle: true, seed: 3 });
}

/** The first points as a batch of their own. */
export function batchOf(count: number): Batch {
  const { x, y } = points().getBatch(Array.from({ length: count }, (_, i) => i));
  return {
    x: tensor(Array.from(x.data)).reshape([count, 2]),
    y: tensor(Array.from(y.data), { dtype: "i32" }),
  };
}

/** A small net with dropout, whose masks come from the default generator. */
export function net(dropout = 0.1, seed = 1) {
  manualSeed(seed);
  return sequential(new Linear(2, 16), new ReLU(), new Dropout(dropout), new Linear(16, 2));
}

/** How the net is trained. */
export const task = {
  forward: (model: ReturnType<typeof net>, { x }: Batch): Tensor => model.forward(x),
  loss: (logits: Tensor, { y }: Batch): Tensor => crossEntropy(logits, y),
  metrics: { accuracy: (logits: Tensor, { y }: Batch) => accuracy(logits, y) },
} as const;

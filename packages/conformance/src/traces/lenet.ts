import { Generator, type Tensor } from "@nf/core";
import { Conv2d, Flatten, Linear, MaxPool2d, type Module, ReLU, sequential } from "@nf/nn";
import { Adam, SGD } from "@nf/optim";
import { Source } from "../source.ts";
import { loadWeights, type ModelTrace } from "./trace.ts";

/** Sizes of LeNet-5's parameters, by the names of the sequential model. */
const SHAPES: Readonly<Record<string, readonly number[]>> = {
  "0.weight": [6, 1, 5, 5],
  "0.bias": [6],
  "3.weight": [16, 6, 5, 5],
  "3.bias": [16],
  "7.weight": [120, 256],
  "7.bias": [120],
  "9.weight": [84, 120],
  "9.bias": [84],
  "11.weight": [10, 84],
  "11.bias": [10],
};

/** Initial weights that need no random numbers of core: even steps between the bounds of PyTorch's default, shuffled. */
function lenetWeights(): Readonly<Record<string, Float32Array>> {
  const source = new Source(2024);
  const entries = Object.entries(SHAPES).map(([name, shape]) => {
    const weight = SHAPES[name.replace("bias", "weight")] as readonly number[];
    const bound = 1 / Math.sqrt(weight.slice(1).reduce((a, b) => a * b, 1));
    const length = shape.reduce((a, b) => a * b, 1);
    return [name, Float32Array.from({ length }, () => (source.between(-4096, 4096) / 4096) * bound)] as const;
  });
  return Object.fromEntries(entries);
}

/** Ten patterns of stripes in 28 x 28, one a class, with noise: digits enough to learn from. */
function stripes(step: number, size: number): { readonly images: Float32Array; readonly labels: Int32Array } {
  const source = new Source(1000 + step);
  const labels = Int32Array.from({ length: size }, () => source.below(10));
  const images = new Float32Array(size * 784);
  for (let n = 0; n < size; n++) {
    const c = labels[n] as number;
    for (let y = 0; y < 28; y++) {
      for (let x = 0; x < 28; x++) {
        const bright = (x * (c + 2) + y * (3 * c + 1)) % 11 < 4;
        images[n * 784 + y * 28 + x] = (bright ? 0.75 : 0) + source.below(64) / 256;
      }
    }
  }
  return { images, labels };
}

const BATCH = 16;
/** Steps after which batches come again: few enough that losses fall. */
const BATCHES = 3;

function lenet(): Module {
  // Initial weights are replaced at once; a generator of its own leaves the default one alone.
  const options = { generator: new Generator(0) };
  const model = sequential(
    new Conv2d(1, 6, 5, options),
    new ReLU(),
    new MaxPool2d(2),
    new Conv2d(6, 16, 5, options),
    new ReLU(),
    new MaxPool2d(2),
    new Flatten(),
    new Linear(256, 120, options),
    new ReLU(),
    new Linear(120, 84, options),
    new ReLU(),
    new Linear(84, 10, options),
  );
  loadWeights(model, SHAPES, lenetWeights());
  return model;
}

function lenetTrace(name: string, optimizer: ModelTrace["optimizer"], losses: readonly number[]): ModelTrace {
  return {
    name,
    build: lenet,
    forward: (model, [images]) => (model as ReturnType<typeof sequential>).forward(images as Tensor),
    optimizer,
    batch(step) {
      const { images, labels } = stripes(step % BATCHES, BATCH);
      return {
        inputs: [{ values: images, shape: [BATCH, 1, 28, 28] }],
        target: { values: labels, shape: [BATCH] },
      };
    },
    losses,
    tolerance: 1e-4,
  };
}

/**
 * LeNet-5 on striped images. The losses are PyTorch's in float64, made by `tests/traces.py` in this package's
 * folder of the repository, from the same weights and images.
 */
export function lenetTraces(): readonly ModelTrace[] {
  return [
    lenetTrace(
      "LeNet-5 with SGD",
      (parameters) => new SGD([...parameters], { lr: 0.1, momentum: 0.9 }),
      SGD_LOSSES,
    ),
    lenetTrace("LeNet-5 with Adam", (parameters) => new Adam([...parameters], { lr: 4e-3 }), ADAM_LOSSES),
  ];
}

const SGD_LOSSES: readonly number[] = [
  2.330196476, 2.303570288, 2.28805031, 2.301516776, 2.301133759, 2.274883882, 2.262668651, 2.300064861,
  2.25895153, 2.221648545, 2.302533033, 2.240785034, 2.180890559, 2.308706979, 2.217130471, 2.140295245,
  2.308391553, 2.16989783, 2.092616156, 2.251381271, 2.052983852, 1.99081125, 2.101422596, 1.834395118,
];
const ADAM_LOSSES: readonly number[] = [
  2.330196476, 2.300212814, 2.273154221, 2.264099909, 2.26306566, 2.185959988, 2.103391786, 2.223144382,
  2.049689736, 1.944066514, 2.039382798, 1.848608752, 1.745718327, 1.900824779, 1.696662957, 1.442809758,
  1.755300906, 1.562044879, 1.07192489, 1.580496611, 1.351083886, 0.8270996554, 1.3983182, 1.120745151,
];

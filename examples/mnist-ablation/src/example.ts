import { appendFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { crossEntropy, manualSeed } from "@nf/core";
import { DataLoader, ImageDataset, NdArray, trainTestSplit } from "@nf/data";
import { Adam, CosineAnnealingLR, SGD } from "@nf/optim";
import { accuracy, fit } from "@nf/train";
import {
  type Digits,
  digits,
  downloadOption,
  type ExampleSpec,
  epochTable,
  first,
  limitOption,
  MNIST_PIXELS,
  Option,
  positiveNumber,
  table,
} from "@nf-examples/shared";
import { build, MODELS, type ModelName } from "./models.ts";

const OPTIMIZERS = ["sgd", "adam"] as const;
type OptimizerName = (typeof OPTIMIZERS)[number];

/** Options of its own. */
export interface Options {
  readonly ablation: boolean;
  readonly model?: ModelName;
  readonly optimizer?: OptimizerName;
  readonly lrSgd: number;
  readonly lrAdam: number;
  readonly download: boolean;
  readonly limit?: number;
}

/** What one model with one optimiser came to. */
export interface Cell {
  readonly model: ModelName;
  readonly optimizer: OptimizerName;
  readonly lr: number;
  readonly accuracy: number;
  readonly loss: number;
  readonly seconds: number;
}

const BATCH = 64;

/** The example. */
export const example: ExampleSpec<Options> = {
  name: "mnist-ablation",
  description:
    "Trains an MLP with and without ReLU and batch normalisation, with SGD and with Adam, on nine tenths of MNIST's 70,000 " +
    "images in batches of 64, and tests it on the last tenth, chosen at random. Without --model and --optimizer it is all eight.",
  epochs: 5,
  seed: 42,
  options: [
    new Option("--ablation", "all models with all optimisers").default(
      false,
      "also where no other is chosen",
    ),
    new Option("--model <name>", "this model only").choices(MODELS).conflicts("ablation"),
    new Option("--optimizer <name>", "this optimiser only").choices(OPTIMIZERS).conflicts("ablation"),
    new Option("--lr-sgd <x>", "first learning rate of SGD").default(0.05).argParser(positiveNumber),
    new Option("--lr-adam <x>", "first learning rate of Adam").default(0.001).argParser(positiveNumber),
    downloadOption("full MNIST (12 MB)"),
    limitOption(),
  ],
  async run({ options, backend, signal, note, callbacks }) {
    const { epochs, seed, limit, out } = options;
    const images = await digits(options, { note, signal });
    const { data } = images;
    const all = together(images);
    const { train, test } = trainTestSplit(first(all, limit), { testSize: 0.1, seed });
    const log = join(out, "ablation.log");
    const setting =
      `${train.length} images to train, ${test.length} to test; ${epochs} epoch${epochs === 1 ? "" : "s"}, batch ${BATCH}, seed ${seed}; ` +
      `learning rates SGD ${options.lrSgd}, Adam ${options.lrAdam}, falling to 0 by half a cosine; data ${data}; on ${backend.name}`;
    await writeFile(log, `${setting}\n`);
    note(setting);

    const cells: Cell[] = [];
    for (const name of options.model === undefined ? MODELS : [options.model]) {
      for (const optimizerName of options.optimizer === undefined ? OPTIMIZERS : [options.optimizer]) {
        if (signal.aborted) break;
        // Each begins alike, whichever came before.
        manualSeed(seed);
        const model = build(name);
        const lr = optimizerName === "sgd" ? options.lrSgd : options.lrAdam;
        const optimizer = new { sgd: SGD, adam: Adam }[optimizerName](model.parameters(), { lr });
        const loader = new DataLoader(train, { batchSize: BATCH, shuffle: true, seed });
        const cell = `${name}-${optimizerName}`;
        note(cell);
        const { history, seconds } = await fit(model, {
          data: loader,
          forward: (model, { image }) => model.forward(image),
          loss: (logits, { label }) => crossEntropy(logits, label),
          metrics: { accuracy: (logits, { label }) => accuracy(logits, label) },
          validation: new DataLoader(test, { batchSize: 500 }),
          optimizer,
          schedule: new CosineAnnealingLR(optimizer, { tMax: epochs * loader.length }),
          epochs,
          signal,
          callbacks: callbacks({ name: cell, title: `${name}, ${optimizerName}`, items: "images" }),
        });
        model.dispose();
        const last = history.at(-1)?.validation;
        await appendFile(log, `\n${[cell, ...epochTable(history)].join("\n")}\n`);
        // What was stopped half-way is no figure to compare with.
        if (last === undefined || signal.aborted) break;
        cells.push({ model: name, optimizer: optimizerName, lr, ...last, seconds });
      }
    }
    const results = resultTable(cells);
    await appendFile(log, `\n${results.join("\n")}\n`);
    return {
      figures: { data, trained: train.length, tested: test.length, batch: BATCH, cells },
      lines: [
        ...results,
        "",
        `test accuracy after ${epochs} epoch${epochs === 1 ? "" : "s"}; log and curves in ${out}`,
      ],
    };
  },
};

/** A row for each model, a column for each optimiser. */
export function resultTable(cells: readonly Cell[]): readonly string[] {
  const optimizers = OPTIMIZERS.filter((name) => cells.some(({ optimizer }) => optimizer === name));
  const models = MODELS.filter((name) => cells.some(({ model }) => model === name));
  const figure = (model: ModelName, optimizer: OptimizerName): string => {
    const cell = cells.find((one) => one.model === model && one.optimizer === optimizer);
    return cell === undefined ? "" : `${(100 * cell.accuracy).toFixed(2)} %`;
  };
  return table([
    ["model", ...optimizers],
    ...models.map((model) => [model, ...optimizers.map((optimizer) => figure(model, optimizer))]),
  ]);
}

/** Training and test images as one dataset: the example splits them anew. */
function together({ train, test, data }: Digits): ImageDataset {
  const both = (one: Uint8Array, other: Uint8Array): Uint8Array => {
    const result = new Uint8Array(one.length + other.length);
    result.set(one);
    result.set(other, one.length);
    return result;
  };
  const shape = [train.length + test.length, ...train.images.shape.slice(1)];
  return new ImageDataset({
    images: new NdArray(both(train.images.data, test.images.data), shape),
    labels: both(train.labels, test.labels),
    classes: train.classes,
    name: `${data}/all`,
    source: train.source,
    normalize: MNIST_PIXELS,
  });
}

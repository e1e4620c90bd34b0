import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { add, crossEntropy, mul, noGrad, scope, type Tensor } from "@nf/core";
import { DataLoader, type Dataset, type LabelledImage } from "@nf/data";
import {
  type Activation,
  activationSparsity,
  audit,
  CHIP_45NM,
  carbon,
  flopShare,
  measureEnergy,
  neuronPower,
  observe,
} from "@nf/energy";
import { Adam } from "@nf/optim";
import { accuracy, fit } from "@nf/train";
import {
  digits,
  downloadOption,
  type ExampleContext,
  type ExampleSpec,
  first,
  limitOption,
  Option,
  positiveNumber,
  table,
  wholeNumber,
} from "@nf-examples/shared";
import { type Classifier, MODELS, type ModelName } from "./models.ts";

/** Options of its own. */
export interface Options {
  readonly batch: number;
  readonly lr: number;
  readonly sparsity: number;
  readonly download: boolean;
  readonly limit?: number;
}

/** How many test images are looked at together. */
const LOOK = 500;

/** What one model came to, trained one way. */
export interface Cell {
  readonly model: ModelName;
  readonly sparse: boolean;
  readonly accuracy: number;
  readonly parameters: number;
  /** Floating-point operations an image, all of them. */
  readonly flops: number;
  /** Share of the multiplications whose input is not 0. */
  readonly needed: number;
  /** Share of zeros among what the ReLUs give. */
  readonly zeros: number;
  /** Estimated for an image: of all operations, and of those that are needed. */
  readonly joules: number;
  readonly joulesNeeded: number;
  /** Of the processors while it was trained, or why not. */
  readonly trainingJoules: number | null;
  readonly notMeasured?: string;
  readonly seconds: number;
}

type Images = Dataset<LabelledImage>;

/** The example. */
export const example: ExampleSpec<Options> = {
  name: "energy-audit",
  description:
    "Trains LeNet-5 and an MLP on digits, each with and without a loss term for sparse activations, and tells what they cost.",
  epochs: 3,
  options: [
    new Option("--batch <n>", "images a step").default(64).argParser(wholeNumber(1, 10_000)),
    new Option("--lr <x>", "learning rate of Adam").default(0.001).argParser(positiveNumber),
    new Option("--sparsity <x>", "weight of the loss term for sparse activations")
      .default(1)
      .argParser(positiveNumber),
    downloadOption("MNIST (12 MB)"),
    limitOption(),
  ],
  async run(context) {
    const { options, note } = context;
    const { train, test, data } = await digits({ download: options.download, normalize: null }, context); // black is 0, and costs nothing
    const [images, tests] = [first(train, options.limit), first(test, options.limit)];
    const cells: Cell[] = [];
    const audits: string[] = [];
    for (const name of Object.keys(MODELS) as ModelName[]) {
      const found = audit(MODELS[name](), [1, 28, 28]);
      audits.push(`${name}, one image`, String(found), "");
      for (const sparse of [false, true]) {
        if (context.signal.aborted) return undefined;
        note(`${name}${sparse ? ", sparse activations" : ""}`);
        const cell = await measure(context, name, sparse, images, tests);
        if (cell === undefined) return undefined;
        cells.push(cell);
      }
    }
    await writeFile(join(options.out, "audit.txt"), `${audits.join("\n")}\n`);
    return {
      figures: { data, trained: images.length, tested: tests.length, source: CHIP_45NM.source, cells },
      lines: [
        ...audits,
        ...comparison(cells),
        "",
        ...measured(cells),
        `audits, logs and curves in ${options.out}`,
      ],
    };
  },
};

/** Trains a model and looks at what it does with the test images. */
async function measure(
  { options, signal, callbacks }: ExampleContext<Options>,
  name: ModelName,
  sparse: boolean,
  images: Images,
  tests: Images,
): Promise<Cell | undefined> {
  const { epochs, batch, lr, seed, sparsity } = options;
  const model = MODELS[name]();
  const file = `${name.toLowerCase()}${sparse ? "-sparse" : ""}`;
  const { result, joules, notMeasured } = await measureEnergy(() =>
    fit(model, {
      data: new DataLoader(images, { batchSize: batch, shuffle: true, seed }),
      forward: (model: Classifier, { image }: { image: Tensor }) =>
        observe(model, () => model.forward(image)),
      loss: ({ result, activations }, { label }) =>
        sparse
          ? add(crossEntropy(result, label), mul(costOf(activations), sparsity))
          : crossEntropy(result, label),
      metrics: { accuracy: ({ result }, { label }) => accuracy(result, label) },
      validation: new DataLoader(tests, { batchSize: LOOK }),
      optimizer: new Adam(model.parameters(), { lr }),
      epochs,
      signal,
      callbacks: callbacks({ name: file, title: `${name}${sparse ? ", sparse" : ""}`, items: "images" }),
    }),
  );
  const last = result.history.at(-1)?.validation;
  if (last === undefined) return undefined;
  const { total } = audit(model, [1, 28, 28]);
  const { needed, zeros } = await activity(model, tests);
  const perFlop = CHIP_45NM.perFlop.f32 as number;
  return {
    model: name,
    sparse,
    accuracy: last.accuracy,
    parameters: total.parameters,
    flops: total.flops,
    needed,
    zeros,
    joules: total.flops * perFlop,
    joulesNeeded: total.flops * needed * perFlop,
    trainingJoules: joules ?? null,
    ...(notMeasured !== undefined && { notMeasured }),
    seconds: result.seconds,
  };
}

/** What sparse training pays for: multiplications with inputs that are not 0, and loud neurons. */
const costOf = (activations: readonly Activation[]): Tensor =>
  add(flopShare(activations, { width: 0.5 }), mul(neuronPower(activations.filter(isRelu)), 0.01));

const isRelu = ({ module }: Activation): boolean => module.typeName() === "ReLU";

/** How much of a model is at work on the first test images. */
async function activity(model: Classifier, tests: Images): Promise<{ needed: number; zeros: number }> {
  const loader = new DataLoader(first(tests, LOOK), { batchSize: LOOK });
  for await (const { image } of loader) {
    const { activations } = scope(() => noGrad(() => observe(model, () => model.forward(image))));
    // So narrow that everything but a zero counts.
    const needed = await scope(() => noGrad(() => flopShare(activations, { width: 1e-9 }))).item();
    const rows = await activationSparsity(activations.filter(isRelu));
    const elements = rows.reduce((sum, row) => sum + row.elements, 0);
    return { needed, zeros: rows.reduce((sum, row) => sum + row.zeros * row.elements, 0) / elements };
  }
  return { needed: 1, zeros: 0 };
}

const percent = (share: number): string => `${(100 * share).toFixed(2)} %`;
const microjoules = (joules: number): string => `${(joules * 1e6).toFixed(3)} µJ`;

function comparison(cells: readonly Cell[]): readonly string[] {
  return table([
    ["model", "accuracy", "FLOPs", "zeros", "needed", "arithmetic", "needed", "seconds"],
    ...cells.map((cell) => [
      `${cell.model}${cell.sparse ? ", sparse" : ""}`,
      percent(cell.accuracy),
      cell.flops.toLocaleString("en-US"),
      percent(cell.zeros),
      percent(cell.needed),
      microjoules(cell.joules),
      microjoules(cell.joulesNeeded),
      cell.seconds.toFixed(1),
    ]),
  ]);
}

/** The processors' own counters, where there are any. */
function measured(cells: readonly Cell[]): readonly string[] {
  const [{ notMeasured } = {}] = cells.filter((cell) => cell.notMeasured !== undefined);
  if (notMeasured !== undefined) return [`training, in joules: not measured (${notMeasured})`];
  const joules = cells.reduce((sum, { trainingJoules }) => sum + (trainingJoules ?? 0), 0);
  return [`training took ${joules.toFixed(0)} J: ${carbon(joules).toFixed(3)} g of CO2 at the world's mean`];
}

import { crossEntropy, type Tensor } from "@nf/core";
import { DataLoader, type Dataset, type LabelledImage } from "@nf/data";
import type { Module } from "@nf/nn";
import { Adam, OneCycleLR } from "@nf/optim";
import { accuracy, fit } from "@nf/train";
import { Option } from "commander";
import { downloadOption, first, limitOption } from "./digits.ts";
import type { ExampleContext, ExampleSpec } from "./example.ts";
import { epochTable } from "./table.ts";
import { positiveNumber, wholeNumber } from "./values.ts";

/** Options of a classifier's command. */
export interface ClassifierOptions {
  readonly batch: number;
  readonly lr: number;
  readonly download: boolean;
  readonly limit?: number;
}

/** Images to train and to test with, and which ones where there is a choice. */
export interface Pictures {
  readonly train: Dataset<LabelledImage>;
  readonly test: Dataset<LabelledImage>;
  readonly data?: string;
}

/** A classifier of images: what differs between the examples. */
export interface ClassifierSpec {
  readonly name: string;
  readonly description: string;
  /** Title of the curves. */
  readonly title: string;
  readonly epochs: number;
  readonly batch: number;
  /** Highest learning rate. */
  readonly lr: number;
  /** What `--download` fetches. */
  readonly download: string;
  model(): Module & { forward(image: Tensor): Tensor };
  pictures(options: ClassifierOptions, context: ExampleContext<ClassifierOptions>): Promise<Pictures>;
}

/** The example of a classifier: Adam with a one-cycle rate, tested after each epoch. */
export function classifier(spec: ClassifierSpec): ExampleSpec<ClassifierOptions> {
  const { name, description, title, epochs, batch, lr, download } = spec;
  return {
    name,
    description,
    epochs,
    options: [
      new Option("--batch <n>", "images a step").default(batch).argParser(wholeNumber(1, 10_000)),
      new Option("--lr <x>", "highest learning rate").default(lr).argParser(positiveNumber),
      downloadOption(download),
      limitOption(),
    ],
    run: (context) => trainAndTest(spec, title, context),
  };
}

async function trainAndTest(
  spec: ClassifierSpec,
  title: string,
  context: ExampleContext<ClassifierOptions>,
): ReturnType<ExampleSpec<ClassifierOptions>["run"]> {
  const { options, signal, note, callbacks } = context;
  const { epochs, batch, lr, limit, seed } = options;
  const { train, test, data } = await spec.pictures(options, context);
  const [images, tests] = [first(train, limit), first(test, limit)];
  const loader = new DataLoader(images, { batchSize: batch, shuffle: true, seed });
  const model = spec.model();
  const parameters = model.parameters().reduce((sum, { size }) => sum + size, 0);
  note(
    `${images.length} images to train, ${tests.length} to test; ${parameters.toLocaleString("en")} parameters`,
  );

  const optimizer = new Adam(model.parameters(), { lr });
  const { history, seconds } = await fit(model, {
    data: loader,
    forward: (model, { image }) => model.forward(image),
    loss: (logits, { label }) => crossEntropy(logits, label),
    metrics: { accuracy: (logits, { label }) => accuracy(logits, label) },
    validation: new DataLoader(tests, { batchSize: 500 }),
    optimizer,
    schedule: new OneCycleLR(optimizer, { maxLr: lr, totalSteps: epochs * loader.length }),
    epochs,
    signal,
    callbacks: callbacks({ title, items: "images" }),
  });
  const last = history.at(-1)?.validation;
  if (last === undefined) return undefined;
  const [trained, tested] = [images.length, tests.length];
  return {
    figures: {
      ...(data !== undefined && { data }),
      ...{ accuracy: last.accuracy, loss: last.loss, parameters, seconds, trained, tested },
    },
    lines: [
      ...epochTable(history),
      "",
      `${(100 * last.accuracy).toFixed(2)} % of ${tested} test images right, after ${seconds.toFixed(1)} s of training` +
        (data === undefined ? "" : ` (data: ${data})`),
      `log and curves in ${options.out}`,
    ],
  };
}

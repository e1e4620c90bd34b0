import { type Command, Option } from "commander";
import { SHORT_NAMES } from "./backends.ts";
import {
  DATA_NAMES,
  LEARNING_RATES,
  OPTIMIZER_NAMES,
  type TextTrainOptions,
  type TrainOptions,
} from "./options.ts";
import { MAX_SEED, numberBetween, positiveNumber, share, someText, wholeNumber } from "./values.ts";

/** What the commands do; each gives its exit code. */
export interface TrainActions {
  trainLenet(options: TrainOptions): Promise<number>;
  trainNanogpt(options: TextTrainOptions): Promise<number>;
}

type Finish = (code: number) => void;

const one = (flags: string, text: string, parse: (value: string) => unknown): Option =>
  new Option(flags, text).argParser(parse);

const backend = (): Option =>
  one(
    "--backend <name>",
    `${SHORT_NAMES.join(", ")}, or the name of a package (default: the best of wasm, native, cpu that works here)`,
    someText,
  );
const out = (): Option =>
  one("--out <folder>", "output folder (default: runs/<model>-<date and time>)", someText);
const json = (): Option => new Option("--json", "print one JSON object as the last line of standard output");

const learningRates = OPTIMIZER_NAMES.map((name) => `${LEARNING_RATES[name]} for ${name}`).join(", ");

/** Adds `nf train` and its models. */
export function addTrain(program: Command, actions: TrainActions, finish: Finish): void {
  const train = program
    .command("train")
    .usage("<model> [options]")
    .summary("train a model; writes curves, samples and metrics")
    .description(
      "Train a model, and write loss and accuracy curves, samples of what it does and the metrics into a folder. Ctrl-C " +
        "stops after the current step and keeps what there is. <model> is lenet or nanogpt.",
    );
  addLenet(train, actions, finish);
  addNanogpt(train, actions, finish);
  // The help of `nf train` tells all there is, so that nobody has to ask twice.
  train.addHelpText("after", () => train.commands.map((model) => `\n${model.helpInformation()}`).join(""));
}

function addLenet(train: Command, actions: TrainActions, finish: Finish): void {
  train
    .command("lenet")
    .summary("LeNet-5 on handwritten digits")
    .description("LeNet-5 on handwritten digits; draws a sheet of sample predictions, too.")
    .addOption(backend())
    .addOption(
      new Option(
        "--data <name>",
        "embedded: 10,000 digits that come along; mnist: all 70,000, see --download",
      )
        .choices([...DATA_NAMES])
        .default("embedded"),
    )
    .addOption(new Option("--download", "allow the download of MNIST when it is not on this machine"))
    .addOption(
      one("--limit <n>", "train on the first n images only, to try things out", wholeNumber(1, 60_000)),
    )
    .addOption(one("--epochs <n>", "passes over the training images", wholeNumber(1, 100_000)).default(3))
    .addOption(one("--batch <n>", "images a step", wholeNumber(1, 100_000)).default(16))
    .addOption(
      one(
        "--seed <n>",
        "seed of the initial weights and of the order of the images",
        wholeNumber(0, MAX_SEED),
      ).default(42),
    )
    .addOption(
      new Option("--no-shift", "train on the images as they are, instead of moving each by up to a pixel"),
    )
    .addOption(
      one(
        "--label-smoothing <share>",
        "part of the target spread evenly over all classes in training",
        share,
      ).default(0.05),
    )
    .addOption(
      new Option("--optimizer <name>", "the optimiser").choices([...OPTIMIZER_NAMES]).default("adam"),
    )
    .addOption(
      one(
        "--lr <number>",
        `highest learning rate; it rises over a tenth of the run, then falls to 0 (default: ${learningRates})`,
        positiveNumber,
      ),
    )
    .addOption(out())
    .addOption(json())
    .action(async (options: TrainOptions) => finish(await actions.trainLenet(options)));
}

/** Settings that a resumed run has already. */
const KEPT = ["steps", "batch", "seed", "lr", "weightDecay", "dropout", "evalEvery", "sample", "out"];

function addNanogpt(train: Command, actions: TrainActions, finish: Finish): void {
  train
    .command("nanogpt")
    .summary("a GPT of characters on a text")
    .description(
      "nanoGPT on the characters of a text: it learns to predict the next one from up to 128 before. Nine tenths of the text " +
        "are trained on, the last is for validation. Texts that the model writes are shown as it learns, and nf generate " +
        "takes the output folder. A run that was stopped goes on with --resume, bit for bit.",
    )
    .addOption(backend())
    .addOption(one("--data <file>", "a text file (default: tinyshakespeare, see --download)", someText))
    .addOption(
      new Option("--download", "allow the download of tinyshakespeare when it is not on this machine"),
    )
    .addOption(one("--steps <n>", "training steps", wholeNumber(1, 10_000_000)).default(10_000))
    .addOption(one("--batch <n>", "windows of 128 characters a step", wholeNumber(1, 100_000)).default(16))
    .addOption(
      one(
        "--seed <n>",
        "seed of the initial weights, of the windows and of dropout",
        wholeNumber(0, MAX_SEED),
      ).default(42),
    )
    .addOption(
      one(
        "--lr <number>",
        "highest learning rate; it rises over a tenth of the run, then falls to 0",
        positiveNumber,
      ).default(3e-3),
    )
    .addOption(
      one(
        "--weight-decay <number>",
        "share of each matrix, times the learning rate, that is taken off in a step",
        numberBetween(0, 100, 0.1),
      ).default(0.1),
    )
    .addOption(one("--dropout <share>", "probability that a value is dropped in training", share).default(0))
    .addOption(
      one(
        "--eval-every <n>",
        "steps between two evaluations (default: a tenth of all)",
        wholeNumber(1, 10_000_000),
      ),
    )
    .addOption(
      one(
        "--sample <n>",
        "characters of the text that the model writes after an evaluation",
        wholeNumber(0, 100_000),
      ).default(200),
    )
    .addOption(
      one(
        "--resume <folder>",
        "go on with a run that was stopped, from its output folder",
        someText,
      ).conflicts(KEPT),
    )
    .addOption(out())
    .addOption(json())
    .action(async (options: TextTrainOptions) => finish(await actions.trainNanogpt(options)));
}

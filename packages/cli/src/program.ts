import { Argument, Command, Option } from "commander";
import { SHORT_NAMES } from "./backends.ts";
import type { Io } from "./io.ts";
import {
  type CommonOptions,
  type ConformanceOptions,
  DATA_NAMES,
  LEARNING_RATES,
  LEVEL_NAMES,
  MODEL_NAMES,
  type ModelName,
  OPTIMIZER_NAMES,
  type TrainOptions,
} from "./options.ts";
import { addTextCommands, type TextActions } from "./text-options.ts";
import { positiveNumber, share, someText, wholeNumber } from "./values.ts";

/** What the commands do; each gives its exit code. */
export interface Actions extends TextActions {
  backends(options: CommonOptions): Promise<number>;
  inspect(model: ModelName, options: CommonOptions): Promise<number>;
  train(model: ModelName, options: TrainOptions): Promise<number>;
  conformance(backend: string | undefined, options: ConformanceOptions): Promise<number>;
}

/** Greatest seed: seeds are unsigned 32-bit numbers. */
const MAX_SEED = 2 ** 32 - 1;

const json = (): Option => new Option("--json", "print one JSON object as the last line of standard output");

const model = (): Argument => new Argument("<model>", "the model").choices([...MODEL_NAMES]);

const learningRates = OPTIMIZER_NAMES.map((name) => `${LEARNING_RATES[name]} for ${name}`).join(", ");

function addTrain(program: Command, actions: Actions, finish: (code: number) => void): void {
  program
    .command("train")
    .summary("train a model; writes curves, sample predictions and metrics")
    .description(
      "Train a model on handwritten digits and write loss and accuracy curves, a sheet of sample predictions and the " +
        "metrics into a folder. Ctrl-C stops after the current step and keeps what there is.",
    )
    .addArgument(model())
    .addOption(
      new Option(
        "--backend <name>",
        `${SHORT_NAMES.join(", ")}, or the name of a package (default: the best of native, wasm, cpu that works here)`,
      ).argParser(someText),
    )
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
      new Option("--limit <n>", "train on the first n images only, to try things out").argParser(
        wholeNumber(1, 60_000),
      ),
    )
    .addOption(
      new Option("--epochs <n>", "passes over the training images")
        .argParser(wholeNumber(1, 100_000))
        .default(3),
    )
    .addOption(new Option("--batch <n>", "images a step").argParser(wholeNumber(1, 100_000)).default(16))
    .addOption(
      new Option("--seed <n>", "seed of the initial weights and of the order of the images")
        .argParser(wholeNumber(0, MAX_SEED))
        .default(42),
    )
    .addOption(
      new Option("--no-shift", "train on the images as they are, instead of moving each by up to a pixel"),
    )
    .addOption(
      new Option("--label-smoothing <share>", "part of the target spread evenly over all classes in training")
        .argParser(share)
        .default(0.05),
    )
    .addOption(
      new Option("--optimizer <name>", "the optimiser").choices([...OPTIMIZER_NAMES]).default("adam"),
    )
    .addOption(
      new Option(
        "--lr <number>",
        `highest learning rate; it rises over a tenth of the run, then falls to 0 (default: ${learningRates})`,
      ).argParser(positiveNumber),
    )
    .addOption(
      new Option("--out <folder>", "output folder (default: runs/<model>-<date and time>)").argParser(
        someText,
      ),
    )
    .addOption(json())
    .action(async (name: ModelName, options: TrainOptions) => finish(await actions.train(name, options)));
}

function addConformance(program: Command, actions: Actions, finish: (code: number) => void): void {
  program
    .command("conformance")
    .summary("check a backend: a scorecard of what it can do and how well")
    .description(
      "Run the conformance suite on a backend and print a scorecard: checks passed, failed, skipped and not applicable, " +
        "the worst error of each family, the speed of each kernel. The exit code is 1 if any check failed. With " +
        "--compare, print how far the results of two backends are apart instead.",
    )
    .addArgument(
      new Argument("[backend]", `${SHORT_NAMES.join(", ")}, or the name of a package`).argParser(someText),
    )
    .addOption(
      new Option("--compare <backend...>", "compare two backends").conflicts(["level", "family", "speed"]),
    )
    .addOption(new Option("--level <level>", "how far to go").choices([...LEVEL_NAMES]).default("complete"))
    .addOption(new Option("--family <name...>", "only these families of checks"))
    .addOption(
      new Option("--examples <n>", "examples of each property (default: 200)").argParser(
        wholeNumber(1, 1_000_000),
      ),
    )
    .addOption(
      new Option("--seed <n>", "where values, shapes and choices come from").argParser(
        wholeNumber(0, MAX_SEED),
      ),
    )
    .addOption(new Option("--no-speed", "do not measure the speed of kernels"))
    .addOption(json())
    .action(async (backend: string | undefined, options: ConformanceOptions) =>
      finish(await actions.conformance(backend, options)),
    );
}

/**
 * The command line of `nf`: commands, options, their values and help. It runs nothing by itself.
 *
 * @param finish gets the exit code of the command that was run
 */
export function createProgram(
  io: Io,
  version: string,
  actions: Actions,
  finish: (code: number) => void,
): Command {
  const program = new Command("nf")
    .description(
      "NanoFlux: train models, look into them, write text with them, list and check the backends of this machine.",
    )
    .version(version, "-V, --version", "print the version")
    .helpOption("-h, --help", "show this help")
    .helpCommand("help [command]", "show the help of a command")
    .exitOverride()
    .configureOutput({
      writeOut: (text) => io.stdout.write(text),
      writeErr: (text) => io.stderr.write(text),
      getOutHelpWidth: () => io.stdout.columns ?? 100,
      getErrHelpWidth: () => io.stderr.columns ?? 100,
      getOutHasColors: () => false,
      getErrHasColors: () => false,
    });
  program
    .command("backends")
    .description("List the backends: which work here, why others do not, with threads and dtypes.")
    .addOption(json())
    .action(async (options: CommonOptions) => finish(await actions.backends(options)));
  program
    .command("inspect")
    .description("Print the layers of a model with their input and output shapes and parameter counts.")
    .addArgument(model())
    .addOption(json())
    .action(async (name: ModelName, options: CommonOptions) => finish(await actions.inspect(name, options)));
  addTrain(program, actions, finish);
  addConformance(program, actions, finish);
  addTextCommands(program, actions, finish);
  return program;
}

/**
 * What could have been written instead of an argument that was refused; empty where the refusal already says it.
 *
 * @param code of the CommanderError
 */
export function choicesAfter(program: Command, argv: readonly string[], code: string): string {
  const command = program.commands.find((candidate) => argv.includes(candidate.name()));
  const optionsOf = (owner: Command) =>
    owner
      .createHelp()
      .visibleOptions(owner)
      .map(({ flags }) => flags)
      .join(", ");
  switch (code) {
    case "commander.unknownCommand":
      return `Commands: ${program.commands.map((candidate) => candidate.name()).join(", ")}.`;
    case "commander.unknownOption":
      return `Options of ${command === undefined ? "nf" : `nf ${command.name()}`}: ${optionsOf(command ?? program)}.`;
    case "commander.missingArgument":
    case "commander.excessArguments":
      return command === undefined
        ? ""
        : `Usage: nf ${command.name()} ${command.usage()}${
            command.registeredArguments.some((argument) => argument.name() === "model")
              ? `, with <model> ${MODEL_NAMES.join(", ")}`
              : ""
          }.`;
    default:
      return "";
  }
}

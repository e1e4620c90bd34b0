import { Argument, Command, Option } from "commander";
import { SHORT_NAMES } from "./backends.ts";
import type { Io } from "./io.ts";
import {
  type CommonOptions,
  type ConformanceOptions,
  type InspectCommandOptions,
  LEVEL_NAMES,
  MODEL_NAMES,
  type ModelName,
} from "./options.ts";
import { addTextCommands, type TextActions } from "./text-options.ts";
import { addTrain, type TrainActions } from "./train-options.ts";
import { MAX_SEED, someText, wholeNumber } from "./values.ts";

/** What the commands do; each gives its exit code. */
export interface Actions extends TextActions, TrainActions {
  backends(options: CommonOptions): Promise<number>;
  inspect(model: ModelName, options: InspectCommandOptions): Promise<number>;
  conformance(backend: string | undefined, options: ConformanceOptions): Promise<number>;
}

const json = (): Option => new Option("--json", "print one JSON object as the last line of standard output");

const model = (): Argument => new Argument("<model>", "the model").choices([...MODEL_NAMES]);

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
    .summary("list the backends: which work here, and why others do not")
    .description("List the backends: which work here, why others do not, with threads and dtypes.")
    .addOption(json())
    .action(async (options: CommonOptions) => finish(await actions.backends(options)));
  program
    .command("inspect")
    .summary("print the layers of a model, with shapes and parameter counts")
    .description("Print the layers of a model with their input and output shapes and parameter counts.")
    .addArgument(model())
    .addOption(new Option("--flops", "count floating-point operations, too"))
    .addOption(new Option("--bytes", "count the bytes that kernels read and write, too"))
    .addOption(json())
    .action(async (name: ModelName, options: InspectCommandOptions) =>
      finish(await actions.inspect(name, options)),
    );
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
  const path = commandsIn(program, argv);
  const command = path.at(-1);
  const name = path.map((one) => ` ${one.name()}`).join("");
  const optionsOf = (owner: Command) =>
    owner
      .createHelp()
      .visibleOptions(owner)
      .map(({ flags }) => flags)
      .join(", ");
  switch (code) {
    case "commander.unknownCommand": {
      const choices = (command ?? program).commands.map((candidate) => candidate.name()).join(", ");
      return `${command === undefined ? "Commands" : "Models"}: ${choices}.`;
    }
    case "commander.unknownOption":
      return `Options of nf${name}: ${optionsOf(command ?? program)}.`;
    case "commander.help": {
      // Commander shows the help of all commands, and does not say why.
      const [first, wanted = "help"] = argv;
      const known =
        wanted === "help" || wanted.startsWith("-") || program.commands.some((one) => one.name() === wanted);
      return first === "help" && !known ? `error: unknown command '${wanted}'` : "";
    }
    case "commander.missingArgument":
    case "commander.excessArguments":
      return command === undefined
        ? ""
        : `Usage: nf${name} ${command.usage()}${
            command.registeredArguments.some((argument) => argument.name() === "model")
              ? `, with <model> ${MODEL_NAMES.join(", ")}`
              : ""
          }.`;
    default:
      return "";
  }
}

/** The command that arguments name, after those above it. */
function commandsIn(program: Command, argv: readonly string[]): Command[] {
  const command = program.commands.find((candidate) => argv.includes(candidate.name()));
  return command === undefined ? [] : [command, ...commandsIn(command, argv)];
}

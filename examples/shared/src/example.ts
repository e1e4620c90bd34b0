import { mkdir } from "node:fs/promises";
import { join, resolve } from "node:path";
import { type Backend, manualSeed, NanoFluxError, use } from "@nf/core";
import type { Callback } from "@nf/train";
import type { OutputStream } from "@nf/train/node";
import { Command, CommanderError, Option } from "commander";
import { openBackend } from "./backend.ts";
import { type CallbackOptions, trainingCallbacks } from "./callbacks.ts";
import { UsageError } from "./errors.ts";
import { wholeNumber } from "./values.ts";

/** Options that every example has, as they were given. */
export interface CommonOptions {
  readonly backend: string;
  readonly threads?: number;
  readonly seed: number;
  readonly epochs: number;
  /** Folder for logs and pictures; it is there. */
  readonly out: string;
  readonly json: boolean;
}

/** What an example's own part works with. */
export interface ExampleContext<Own extends object> {
  /** All options, the example's own among them. */
  readonly options: CommonOptions & Own;
  /** In use, and disposed of afterwards. `manualSeed` was given the seed. */
  readonly backend: Backend;
  /** Aborted by Ctrl-C: for `fit`'s option `signal`. */
  readonly signal: AbortSignal;
  /** Tells a line of progress. */
  note(line: string): void;
  /** Callbacks of `fit`: progress, `log.csv`, `curves.svg` and `curves.png` in the folder of `--out`. */
  callbacks(options?: CallbackOptions): readonly Callback[];
}

/** What an example comes to. */
export interface Outcome {
  /** What `--json` prints, besides the settings. */
  readonly figures: Readonly<Record<string, unknown>>;
  /** What is printed without. */
  readonly lines: readonly string[];
}

/** An example: what is its own. */
export interface ExampleSpec<Own extends object> {
  readonly name: string;
  /** What it does, for `--help`. */
  readonly description: string;
  /** Default of `--epochs`. */
  readonly epochs: number;
  /** Default of `--seed`; 1 when absent. */
  readonly seed?: number;
  /** Its own options, described by `Own`. */
  readonly options?: readonly Option[];
  /** Does it. `undefined` where it was stopped before there was anything to tell. */
  run(context: ExampleContext<Own>): Promise<Outcome | undefined>;
}

/** All of the outside world that an example touches, so that tests can stand in for it. */
export interface Surroundings {
  /** Results, and nothing else. */
  readonly stdout: OutputStream;
  /** Progress, notes and errors. */
  readonly stderr: OutputStream;
  /** Aborted when the user asks to stop, with `"SIGINT"` or `"SIGTERM"` as its reason. */
  readonly signal: AbortSignal;
  /** Folder that relative paths start from. */
  readonly cwd: string;
}

/**
 * Runs an example's command.
 *
 * @returns the exit code: 0 done, 2 for wrong arguments and for what the library refuses, 130 or 143 where it was stopped
 * @throws whatever nobody foresaw
 */
export async function runExample<Own extends object>(
  spec: ExampleSpec<Own>,
  args: readonly string[],
  surroundings: Surroundings,
): Promise<number> {
  const { stderr, signal, cwd } = surroundings;
  try {
    const command = commandOf(spec, surroundings).parse([...args], { from: "user" });
    const given = command.opts<CommonOptions & Own>();
    await work(spec, { ...given, out: resolve(cwd, given.out) }, surroundings);
    return signal.aborted ? (signal.reason === "SIGTERM" ? 143 : 130) : 0;
  } catch (error) {
    // Commander has said by itself what it has to say.
    if (error instanceof CommanderError) return error.exitCode === 0 ? 0 : 2;
    // What the library refuses came from the arguments, or from data that are not there.
    if (!(error instanceof UsageError || error instanceof NanoFluxError)) throw error;
    stderr.write(`error: ${error.message}\n`);
    return 2;
  }
}

async function work<Own extends object>(
  spec: ExampleSpec<Own>,
  options: CommonOptions & Own,
  { stdout, stderr, signal }: Surroundings,
): Promise<void> {
  const note = (line: string): void => void stderr.write(`${line}\n`);
  const backend = await openBackend(options.backend, options.threads);
  try {
    await use(backend);
    manualSeed(options.seed);
    await mkdir(options.out, { recursive: true });
    const { threads } = backend.capabilities;
    note(`${spec.name} on ${backend.name}, ${threads} thread${threads === 1 ? "" : "s"}`);
    const callbacks = (more: CallbackOptions = {}) =>
      trainingCallbacks(options.out, stderr, { title: spec.name, ...more });
    const outcome = await spec.run({ options, backend, signal, note, callbacks }).catch((error: unknown) => {
      // What waits for the network rejects when it is asked to stop.
      if (
        signal.aborted &&
        (error === signal.reason || (error instanceof Error && error.name === "AbortError"))
      )
        return undefined;
      throw error;
    });
    if (options.json) {
      const { json: _, ...settings } = options;
      const run = { example: spec.name, ...settings, backend: backend.name, threads };
      const ending = signal.aborted ? "aborted" : "done";
      stdout.write(`${JSON.stringify({ ...run, ending, ...outcome?.figures })}\n`);
    } else for (const line of outcome?.lines ?? []) stdout.write(`${line}\n`);
    if (signal.aborted) note("Stopped before its end, as asked.");
  } finally {
    await backend.dispose();
  }
}

function commandOf<Own extends object>(
  { name, description, epochs, seed = 1, options = [] }: ExampleSpec<Own>,
  { stdout, stderr }: Surroundings,
): Command {
  const command = new Command(name)
    .description(description)
    .helpOption("-h, --help", "show this help")
    .exitOverride()
    .configureOutput({
      writeOut: (text) => stdout.write(text),
      writeErr: (text) => stderr.write(text),
      getOutHelpWidth: () => stdout.columns ?? 100,
      getErrHelpWidth: () => stderr.columns ?? 100,
      getOutHasColors: () => false,
      getErrHasColors: () => false,
    });
  const common = [
    new Option("--backend <name>", "wasm, native, cpu, or the name of a backend's package").default("wasm"),
    new Option("--threads <n>", "threads of its kernels (default: the backend's own choice)").argParser(
      wholeNumber(1, 1024),
    ),
    new Option("--seed <n>", "where weights and the order of the data come from")
      .default(seed)
      .argParser(wholeNumber(0, 2 ** 32 - 1)),
    new Option("--epochs <n>", "passes over the data").default(epochs).argParser(wholeNumber(1, 100_000)),
    new Option("--out <folder>", "folder for log and pictures; those of before are replaced").default(
      join("runs", name),
    ),
    new Option("--json", "print the result as one JSON object").default(false, "text"),
  ];
  for (const option of [...options, ...common]) command.addOption(option);
  return command;
}

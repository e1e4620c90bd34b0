import { existsSync } from "node:fs";
import { join } from "node:path";
import { type Backend, NanoFluxError, use } from "@nf/core";
import { multi30kCollection } from "@nf/data";
import { HELP, parseOptions, type RunOptions, UsageError } from "./options.ts";
import { multi30k } from "./tasks/multi30k.ts";
import { simulated } from "./tasks/simulated.ts";
import type { Evaluation, Task } from "./tasks/task.ts";
import { type StepReport, type TrainingResult, train } from "./train.ts";

/** Where a run writes, and what it knows of its surroundings. */
export interface Surroundings {
  /** Takes a line of the result. */
  readonly out: (line: string) => void;
  /** Takes a line of progress. */
  readonly progress: (line: string) => void;
  readonly environment: Readonly<Record<string, string | undefined>>;
}

/**
 * Runs the example.
 *
 * @returns the exit code: 0 done (or nothing to do, which is said), 2 for wrong arguments and for settings that the library
 * refuses.
 */
export async function run(
  args: readonly string[],
  { out, progress, environment }: Surroundings,
): Promise<number> {
  try {
    const options = parseOptions(args);
    if (options === "help") out(HELP);
    else await trainAndTest(options, { out, progress, environment });
    return 0;
  } catch (error) {
    // What the library refuses came from the arguments.
    if (!(error instanceof UsageError || error instanceof NanoFluxError)) throw error;
    progress(error.message);
    return 2;
  }
}

async function trainAndTest(
  options: RunOptions,
  { out, progress, environment }: Surroundings,
): Promise<void> {
  const { task: name, json, seed, beams, limit } = options;
  const task = name === "multi30k" ? await openMulti30k(environment, seed) : simulated(name, seed);
  if ("missing" in task) {
    out(json ? JSON.stringify({ task: name, skipped: task.missing }) : `Skipped: ${task.missing}`);
    return;
  }
  const backend = await use(openBackend(options));
  try {
    const { threads } = backend.capabilities;
    progress(
      `${name} on ${backend.name} (${threads} thread${threads === 1 ? "" : "s"}); ` +
        `vocabularies of ${task.sourceVocabSize} and ${task.targetVocabSize}`,
    );
    const { model, ...result } = await train(task, options, (step) => progress(line(step, options)));
    progress(`trained ${result.parameters.toLocaleString("en")} parameters; testing`);
    const started = performance.now();
    const evaluation = await task.evaluate(model, { beams, limit });
    const testSeconds = (performance.now() - started) / 1000;
    model.dispose();
    if (json) {
      const run = { task: name, backend: backend.name, threads, seed, beams };
      out(JSON.stringify({ ...run, ...result, ...evaluation, testSeconds }));
    } else for (const text of summary(result, evaluation, beams, testSeconds)) out(text);
  } finally {
    await backend.dispose();
  }
}

/** Multi30k from the folder that the environment names, or why there is none. */
async function openMulti30k(
  environment: Surroundings["environment"],
  seed: number,
): Promise<Task | { readonly missing: string }> {
  const folder = environment["NF_DATA_DIR"];
  if (folder === undefined || folder === "")
    return {
      missing: "NF_DATA_DIR is not set; let it name a folder that has multi30k/train.en.gz and its sisters.",
    };
  const missing = Object.keys(multi30kCollection(["en", "de"]).files)
    .map((name) => join(folder, "multi30k", name))
    .filter((path) => !existsSync(path));
  if (missing.length > 0) return { missing: `there is no ${missing.join(", no ")}.` };
  return multi30k(folder, seed);
}

function summary(
  { steps, seconds, tokensPerSecond, loss, validationLoss }: Omit<TrainingResult, "model">,
  { metric, value, tested, samples }: Evaluation,
  beams: number,
  testSeconds: number,
): readonly string[] {
  const figure = metric === "BLEU" ? `BLEU ${value.toFixed(2)}` : `exact match ${(100 * value).toFixed(2)} %`;
  return [
    ...samples.map(
      ({ source, reference, output }) =>
        `source     ${source}\nreference  ${reference}\noutput     ${output}\n`,
    ),
    `${figure} of ${tested} test sequences, ${beams === 1 ? "greedy" : `${beams} beams`}, in ${testSeconds.toFixed(1)} s`,
    `after ${steps} steps in ${seconds.toFixed(1)} s of training (${Math.round(tokensPerSecond)} tokens/s); ` +
      `loss ${loss.toFixed(4)}, validation loss ${validationLoss.toFixed(4)}`,
  ];
}

function line(
  { step, loss, learningRate, tokensPerSecond, seconds, validationLoss }: StepReport,
  { steps }: RunOptions,
): string {
  const validation = validationLoss === undefined ? "" : `  validation ${validationLoss.toFixed(4)}`;
  return (
    `step ${String(step).padStart(String(steps).length)}/${steps}  ${seconds.toFixed(0).padStart(4)} s  loss ${loss.toFixed(4)}${validation}` +
    `  lr ${learningRate.toExponential(1)}  ${Math.round(tokensPerSecond)} tokens/s`
  );
}

/** Loads a backend by its short name or its package's. */
async function openBackend({ backend: name, threads }: RunOptions): Promise<Backend> {
  const packageName = /^[a-z]+$/.test(name) ? `@nf/backend-${name}` : name;
  let module: { createBackend(options?: object): Promise<Backend> };
  try {
    module = await import(packageName);
  } catch (error) {
    throw new UsageError(`The backend ${name} cannot be loaded: npm install ${packageName}`, {
      cause: error,
    });
  }
  return module.createBackend(threads === undefined ? {} : { threads });
}

import { type Backend, NanoFluxError, use } from "@nf/core";
import { DataError } from "@nf/data";
import { HELP, parseOptions, type RunOptions, UsageError } from "./options.ts";
import { multi30k } from "./tasks/multi30k.ts";
import { simulated } from "./tasks/simulated.ts";
import type { Evaluation, Task } from "./tasks/task.ts";
import { type StepReport, type TrainingResult, train } from "./train.ts";

/** Where a run writes. */
export interface Surroundings {
  /** Takes a line of the result. */
  readonly out: (line: string) => void;
  /** Takes a line of progress. */
  readonly progress: (line: string) => void;
}

/**
 * Runs the example.
 *
 * @returns the exit code: 0 done, 2 for wrong arguments, for settings that the library refuses, and for data that are not there.
 */
export async function run(args: readonly string[], { out, progress }: Surroundings): Promise<number> {
  try {
    const options = parseOptions(args);
    if (options === "help") out(HELP);
    else await trainAndTest(options, { out, progress });
    return 0;
  } catch (error) {
    // What the library refuses came from the arguments.
    if (!(error instanceof UsageError || error instanceof NanoFluxError)) throw error;
    progress(`error: ${error.message}`);
    return 2;
  }
}

async function trainAndTest(options: RunOptions, { out, progress }: Surroundings): Promise<void> {
  const { task: name, json, seed, beams, limit } = options;
  const task = name === "multi30k" ? await openMulti30k(options, progress) : simulated(name, seed);
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

/** Multi30k from the folder that `NF_DATA_DIR` names, the cache, or where it was asked for the network. */
async function openMulti30k({ download, seed }: RunOptions, progress: (line: string) => void): Promise<Task> {
  const told = new Set<string>();
  const onProgress = ({ url }: { readonly url: string }): void => {
    if (!told.has(url)) progress(`downloading ${url}`);
    told.add(url);
  };
  try {
    return await multi30k({ download, onProgress }, seed);
  } catch (error) {
    if (!(error instanceof DataError)) throw error;
    throw new UsageError(error.message.replace("the option download: true", "--download"), { cause: error });
  }
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

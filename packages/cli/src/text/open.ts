import { randomInt } from "node:crypto";
import { stat } from "node:fs/promises";
import { join, resolve } from "node:path";
import { type Backend, NanoFluxError, OptionError, OutOfMemoryError, use } from "@nf/core";
import { readJson } from "@nf/io";
import {
  type GenerateOptions,
  type GenerationDefaults,
  type LoadedGpt,
  type LoadedLlama,
  loadGpt,
  loadLlama,
  Sampler,
} from "@nf/models";
import { FASTEST, openBackend, openBestBackend } from "../backends.ts";
import { CliError, messageOf, UsageError } from "../errors.ts";
import { type Io, say } from "../io.ts";
import { TEMPERATURE, type TextOptions } from "../text-options.ts";

/**
 * How tokens are chosen, in the words of the library; the seed is drawn where none is given. What the arguments leave open,
 * a model's own defaults decide.
 */
export function generateOptions(
  options: TextOptions,
  signal: AbortSignal,
  defaults: GenerationDefaults = {},
): GenerateOptions {
  const { maxTokens, stop, repetitionPenalty, frequencyPenalty, topK, topP, minP } = options;
  const { temperature = defaults.temperature ?? TEMPERATURE, seed = randomInt(2 ** 32) } = options;
  const drawing = [options.temperature, topK, topP, minP, options.seed].some((one) => one !== undefined);
  const greedy = options.greedy === true || (defaults.greedy === true && !drawing);
  const chosen: GenerateOptions = greedy
    ? { greedy }
    : {
        temperature,
        seed,
        ...(topK !== undefined && { topK }),
        ...(topP !== undefined && { topP }),
        ...(minP !== undefined && { minP }),
      };
  return {
    ...chosen,
    ...(repetitionPenalty !== undefined && { repetitionPenalty }),
    ...(frequencyPenalty !== undefined && { frequencyPenalty }),
    ...(stop !== undefined && { stop }),
    maxTokens,
    signal,
  };
}

/** A model that goes on texts. */
export type TextModel = LoadedLlama | LoadedGpt;

/** Runs something with a loaded model, and gives the model and its backend back. */
export async function withModel(
  io: Io,
  path: string,
  options: TextOptions,
  run: (model: TextModel, backend: Backend) => Promise<number>,
): Promise<number> {
  const folder = resolve(io.cwd, path);
  if ((await stat(folder).catch(() => undefined)) === undefined) {
    throw new UsageError(
      `There is no ${path}. Give a folder with config.json, model.safetensors and tokenizer.json, or with a llama2.c checkpoint and its vocabulary, or a GGUF file.`,
    );
  }
  const note = (line: string): void => say(io.stderr, line);
  const backend = await use(
    options.backend === undefined
      ? openBestBackend(io.importModule, note, FASTEST)
      : openBackend(options.backend, io.importModule),
  );
  try {
    const gpt = GPT.has(await modelType(folder));
    const model = gpt ? await openGpt(folder, path, options) : await openLlama(folder, options, note);
    if (model.passedOver.length > 0)
      note(`generation_config.json asks for ${model.passedOver.join(", ")}, which nf does not have.`);
    try {
      return await run(model, backend);
    } finally {
      model.dispose();
    }
  } finally {
    await backend.dispose();
  }
}

/** What `config.json` calls a GPT. */
const GPT: ReadonlySet<unknown> = new Set(["gpt2", "nanogpt"]);

/** The `model_type` in a folder's `config.json`; undefined where there is none to be read. */
async function modelType(folder: string): Promise<unknown> {
  try {
    const config = await readJson(join(folder, "config.json"));
    return config instanceof Map ? config.get("model_type") : undefined;
  } catch (error) {
    if (!(error instanceof NanoFluxError)) throw error;
    // What is wrong with it is told by what opens the weights.
    return undefined;
  }
}

async function openLlama(
  folder: string,
  { weights, context, cache }: TextOptions,
  note: (line: string) => void,
): Promise<LoadedLlama> {
  const llama = await asUsage(() =>
    loadLlama(folder, {
      weights,
      ...(context !== undefined && { maxSequenceLength: context }),
      ...(cache !== undefined && { cache }),
    }),
  );
  if (llama.unquantized.length > 0) {
    note(
      `${llama.unquantized.length} matrices stay f32: their rows are no whole number of blocks of 32 values.`,
    );
  }
  return llama;
}

/** @throws UsageError for options that a GPT does not have */
async function openGpt(
  folder: string,
  path: string,
  { weights, context, cache }: TextOptions,
): Promise<LoadedGpt> {
  if (weights !== "auto" && weights !== "f32") {
    throw new UsageError(
      `--weights ${weights}: the model in ${path} is a GPT, whose weights are f32. Leave it out.`,
    );
  }
  if (context !== undefined) {
    throw new UsageError(
      `--context ${context}: the model in ${path} is a GPT, which sees as much as it was made for. Leave it out.`,
    );
  }
  if (cache !== undefined) {
    throw new UsageError(
      `--cache ${cache}: the model in ${path} is a GPT, whose cache is f32. Leave it out.`,
    );
  }
  return asUsage(() => loadGpt(folder));
}

/** What the library refuses as an option came from the arguments. */
export async function asUsage<T>(work: () => T | Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    if (error instanceof OptionError) throw new UsageError(inFlags(messageOf(error)), { cause: error });
    if (error instanceof OutOfMemoryError) throw new CliError(inFlags(messageOf(error)), { cause: error });
    throw error;
  }
}

/** The library's names of settings as flags. */
function inFlags(message: string): string {
  return message
    .replaceAll(/weights: "(\w+)"/g, "--weights $1")
    .replaceAll("maxSequenceLength", "--context")
    .replace(", or raise memoryLimit", "");
}

/** `12.3 tokens/s`. */
export function rate(tokensPerSecond: number): string {
  return `${tokensPerSecond.toFixed(1)} tokens/s`;
}

/** Refuses options that contradict each other before anything is loaded. */
export async function checkSampling(options: GenerateOptions): Promise<void> {
  const { stop: _stop, maxTokens: _maxTokens, signal: _signal, ...sampling } = options;
  await asUsage(() => new Sampler(sampling));
}

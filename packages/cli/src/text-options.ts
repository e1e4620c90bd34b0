import type { KVCacheDType, LlamaWeightFormat } from "@nf/models";
import { Argument, type Command, Option } from "commander";
import { SHORT_NAMES } from "./backends.ts";
import type { CommonOptions } from "./options.ts";
import { numberBetween, positiveNumber, someText, wholeNumber } from "./values.ts";

/** What weights can be kept in. Named here too, because loading the models takes a while. */
export const WEIGHT_NAMES: readonly LlamaWeightFormat[] = ["auto", "f32", "bf16", "f16", "q8_0", "q4_0"];

/** What keys and values can be kept in. */
export const CACHE_NAMES: readonly KVCacheDType[] = ["f32", "f16"];

/** Options of commands that write text with a language model, checked. */
export interface TextOptions {
  /** Short name or package name; the best one there is when absent. */
  readonly backend?: string;
  readonly weights: LlamaWeightFormat;
  /** What keys and values are kept in; f32 when absent. */
  readonly cache?: KVCacheDType;
  /** Positions for prompt and text together. */
  readonly context?: number;
  readonly maxTokens: number;
  readonly greedy?: boolean;
  readonly temperature?: number;
  readonly topK?: number;
  readonly topP?: number;
  readonly minP?: number;
  readonly repetitionPenalty?: number;
  readonly frequencyPenalty?: number;
  readonly stop?: readonly string[];
  readonly seed?: number;
}

/** Options of `nf generate`, checked. */
export interface GenerateCommandOptions extends TextOptions, CommonOptions {
  readonly prompt: string;
}

/** Options of `nf chat`, checked. */
export interface ChatCommandOptions extends TextOptions {
  readonly system?: string;
}

/** What the commands do; each gives its exit code. */
export interface TextActions {
  generate(folder: string, options: GenerateCommandOptions): Promise<number>;
  chat(folder: string, options: ChatCommandOptions): Promise<number>;
}

/** Temperature where tokens are drawn and neither the arguments nor the model say which. */
export const TEMPERATURE = 0.8;

const MAX_SEED = 2 ** 32 - 1;
const MOST = 2 ** 31 - 1;

const fromZeroToOne = numberBetween(0, 1, 0.9);

function folder(): Argument {
  return new Argument(
    "<folder>",
    "a model: config.json, model.safetensors (or shards) and tokenizer.json, as nf train nanogpt writes them, too; or a llama2.c checkpoint with its vocabulary; or a GGUF file",
  ).argParser(someText);
}

function addTextOptions(command: Command, maxTokens: number): Command {
  const one = (flags: string, text: string, parse: (value: string) => unknown): Option =>
    new Option(flags, text).argParser(parse);
  return command
    .addOption(
      one(
        "--backend <name>",
        `${SHORT_NAMES.join(", ")}, or the name of a package (default: the first of native, wasm, cpu that works here)`,
        someText,
      ),
    )
    .addOption(
      new Option(
        "--weights <format>",
        "what matrices are kept in; auto: as they are stored, where the backend multiplies with that, else f32",
      )
        .choices([...WEIGHT_NAMES])
        .default("auto"),
    )
    .addOption(
      one(
        "--context <n>",
        "tokens that prompt and text have room for (default: 4096, or what the model was made for if less)",
        wholeNumber(1, MOST),
      ),
    )
    .addOption(
      new Option(
        "--cache <format>",
        "what keys and values are kept in; f16 takes half the memory (default: f32)",
      ).choices([...CACHE_NAMES]),
    )
    .addOption(one("--max-tokens <n>", "most tokens to write", wholeNumber(0, MOST)).default(maxTokens))
    .addOption(
      new Option("--greedy", "always the most likely token").conflicts([
        ...["temperature", "topK", "topP", "minP", "seed"],
      ]),
    )
    .addOption(
      one(
        "--temperature <number>",
        `below 1 more certain, above 1 more varied (default: the model's own, else ${TEMPERATURE})`,
        positiveNumber,
      ),
    )
    .addOption(one("--top-k <n>", "choose among the n most likely tokens", wholeNumber(1, MOST)))
    .addOption(
      one(
        "--top-p <share>",
        "choose among the most likely tokens that together have this probability",
        fromZeroToOne,
      ),
    )
    .addOption(
      one(
        "--min-p <share>",
        "leave out tokens less likely than this share of the most likely one",
        fromZeroToOne,
      ),
    )
    .addOption(
      one(
        "--repetition-penalty <number>",
        "above 1 makes tokens less likely that were there before",
        numberBetween(0.001, 1000, 1.1),
      ),
    )
    .addOption(
      one(
        "--frequency-penalty <number>",
        "taken off for each time a token was written",
        numberBetween(-100, 100, 0.5),
      ),
    )
    .addOption(new Option("--stop <text...>", "texts that end the generation"))
    .addOption(
      one("--seed <n>", "seed of the draws (default: another one each time)", wholeNumber(0, MAX_SEED)),
    );
}

/** Adds `nf generate` and `nf chat`. */
export function addTextCommands(
  program: Command,
  actions: TextActions,
  finish: (code: number) => void,
): void {
  const generate = program
    .command("generate")
    .summary("write text with a language model")
    .description(
      "Go on a prompt with a language model (Llama, Mistral, Qwen2, GPT-2, nanoGPT), and print the text as it comes. Ctrl-C ends the text.",
    )
    .addArgument(folder())
    .addOption(
      new Option(
        "--prompt <text>",
        "what the text goes on from; empty: from the token of the beginning",
      ).default(""),
    );
  addTextOptions(generate, 256)
    .addOption(new Option("--json", "print one JSON object as the last line of standard output"))
    .action(async (path: string, options: GenerateCommandOptions) =>
      finish(await actions.generate(path, options)),
    );
  const chat = program
    .command("chat")
    .summary("talk with a language model")
    .description(
      "Talk with a language model by its own chat template, a line at a time from standard input. /clear forgets the " +
        "conversation, /exit (or the end of the input) ends it.",
    )
    .addArgument(folder())
    .addOption(
      new Option("--system <text>", "what the model is told before the conversation").argParser(someText),
    );
  addTextOptions(chat, 1024).action(async (path: string, options: ChatCommandOptions) =>
    finish(await actions.chat(path, options)),
  );
}

import { type Backend, checkChoice, checkInteger, checkOptions, currentBackend, OptionError } from "@nf/core";
import {
  type ChatMessage,
  type FileInput,
  huggingFaceLayout,
  loadTokenizer,
  openWeights,
  type Tokenizer,
  type WeightFile,
} from "@nf/io";
import { CACHE_DTYPES, KVCache, type KVCacheDType } from "./cache.ts";
import { LlamaConfigError } from "./config.ts";
import { generateTokens, TOKEN_OPTIONS, type TokenOptions } from "./generate.ts";
import {
  type GenerationDefaults,
  type HfGenerationConfig,
  parseGenerationConfig,
  withGenerationDefaults,
} from "./generation-config.ts";
import { type HfLlamaConfig, parseLlamaConfig } from "./hf-config.ts";
import { JOINED, joinRows, type LlamaWeight } from "./joined.ts";
import { availableMemory, estimateMemory, type LlamaMemory, refuseTooLarge } from "./memory.ts";
import { Llama } from "./model.ts";
import { Generation, type PieceDecoder } from "./text.ts";
import { type LlamaWeightFormat, planWeights, readWeight } from "./weights.ts";

/** Options of {@link loadLlama}. */
export interface LoadLlamaOptions {
  /** What matrices are kept in; default `auto`: as they are stored, where the backend multiplies with that. */
  readonly weights?: LlamaWeightFormat;
  /** Positions that prompt and text may have together; default 4096, or what the model was made for if that is less. */
  readonly maxSequenceLength?: number;
  /** What keys and values are kept in: `f32` (default), or `f16` at half the memory. */
  readonly cache?: KVCacheDType;
  /** Bytes that may be taken; default what the system has available, where it tells. */
  readonly memoryLimit?: number;
  /** Where the model lies; default the backend in use. */
  readonly backend?: Backend;
  /** Fields of `config.json` that are not known here and may be passed over. */
  readonly ignore?: readonly string[];
  /** Is told of the bytes that were read, and of all. */
  readonly onProgress?: (done: number, total: number) => void;
}

/** How {@link LoadedLlama.generate} goes on a prompt. */
export interface GenerateOptions extends Omit<TokenOptions, "context"> {
  /** Texts that end the generation; they are not given out. Default none. */
  readonly stop?: readonly string[];
  /** Whether the model's end tokens do not end the text; default false. */
  readonly ignoreEos?: boolean;
}

const LOAD_OPTIONS = [
  "weights",
  "maxSequenceLength",
  "cache",
  "memoryLimit",
  "backend",
  "ignore",
  "onProgress",
] as const satisfies readonly (keyof LoadLlamaOptions)[];

const GENERATE_OPTIONS = [...TOKEN_OPTIONS.filter((name) => name !== "context"), "stop", "ignoreEos"];

const DEFAULT_LENGTH = 4096;

/** Tokens of the prompt that its text goes on from: enough for a character whose bytes are spread over several. */
const PRIMED = 8;

/** A model with its weights, without a tokenizer. */
export interface LlamaFromFile extends HfLlamaConfig {
  readonly model: Llama;
  /** What `generation_config.json` says. */
  readonly generation: HfGenerationConfig;
  /** What it was estimated to take. */
  readonly memory: LlamaMemory;
  /** Names of matrices that stayed f32, because their rows are no whole number of the blocks that were asked for. */
  readonly unquantized: readonly string[];
  readonly maxSequenceLength: number;
  /** What the caches of {@link loadLlama} are kept in. */
  readonly cache: KVCacheDType;
}

/**
 * The model in an open weight file. Its memory is estimated first, and what cannot fit is refused before anything is read.
 *
 * @throws LlamaConfigError, LlamaWeightsError, OutOfMemoryError, OptionError
 */
export async function readLlama(input: WeightFile, options: LoadLlamaOptions = {}): Promise<LlamaFromFile> {
  const op = "loadLlama";
  checkOptions(op, options, LOAD_OPTIONS);
  const file = input.format === "gguf" ? huggingFaceLayout(input) : input;
  const { weights: format = "auto", ignore = [], onProgress } = options;
  const backend = options.backend ?? currentBackend();
  if (file.config === undefined) {
    throw new LlamaConfigError(file.name, [
      "there is no config.json. Pass the folder that holds it beside the weights.",
    ]);
  }
  const parsed = parseLlamaConfig(file.config, { ignore });
  const generation = parseGenerationConfig(file.generationConfig);
  const { config } = parsed;
  const maxSequenceLength = options.maxSequenceLength ?? Math.min(config.maxPositions, DEFAULT_LENGTH);
  checkInteger(op, "maxSequenceLength", maxSequenceLength, 1, config.maxPositions);
  const plan = planWeights(file, config, format, backend);
  const cache = checkChoice(op, "cache", options.cache ?? "f32", CACHE_DTYPES);
  const memory = estimateMemory(config, plan, maxSequenceLength, backend, cache);
  const limit = options.memoryLimit ?? availableMemory();
  refuseTooLarge(config, plan, memory, maxSequenceLength, limit, backend, cache);

  const total = plan.reduce((sum, { source }) => sum + source.bytes, 0);
  const weights = new Map<string, LlamaWeight>();
  const joined = new Map<string, LlamaWeight>();
  let done = 0;
  try {
    for (const planned of plan) {
      weights.set(planned.name, await readWeight(file, planned, backend));
      // At once, so that the memory that becomes free serves the next layer.
      joinAfter(planned.name, weights, joined);
      done += planned.source.bytes;
      onProgress?.(done, total);
    }
  } catch (error) {
    for (const weight of [...weights.values(), ...joined.values()])
      ("bytes" in weight ? weight.bytes : weight).dispose();
    throw error;
  }
  const asked = format === "q8_0" || format === "q4_0";
  const unquantized = plan.filter(({ shape, format: kept }) => asked && shape.length === 2 && kept === "f32");
  return {
    ...parsed,
    generation,
    model: new Llama(config, { weights, joined }).eval(),
    memory,
    unquantized: unquantized.map(({ stored }) => stored),
    maxSequenceLength,
    cache,
  };
}

/** Joins the matrices of a layer that meet the same input, once the last of them is there. */
function joinAfter(name: string, weights: Map<string, LlamaWeight>, joined: Map<string, LlamaWeight>): void {
  for (const [all, parts] of Object.entries(JOINED)) {
    if (!name.endsWith(`.${parts.at(-1)}.weight`)) continue;
    const layer = name.slice(0, -`${parts.at(-1)}.weight`.length);
    const names = parts.map((part) => `${layer}${part}.weight`);
    const rows = joinRows(names.map((one) => weights.get(one) as LlamaWeight));
    if (rows === undefined) continue;
    joined.set(`${layer}${all}`, rows.whole);
    names.forEach((one, i) => {
      weights.set(one, rows.parts[i] as LlamaWeight);
    });
  }
}

/** A model, its tokenizer and one cache: a text at a time. */
export class LoadedLlama {
  readonly model: Llama;
  readonly tokenizer: Tokenizer;
  readonly cache: KVCache;
  /** What it was estimated to take. */
  readonly memory: LlamaMemory;
  /** Names of matrices that stayed f32, because their rows are no whole number of the blocks that were asked for. */
  readonly unquantized: readonly string[];
  /** Token that texts begin with, if there is one. */
  readonly bosToken: number | undefined;
  /** Tokens that end a text. */
  readonly eosTokens: readonly number[];
  /** What holds where {@link generate} and {@link chat} are not told otherwise: of `generation_config.json`. */
  readonly defaults: GenerationDefaults;
  /** Settings of `generation_config.json` that would change the text, and that there is nothing like here. */
  readonly passedOver: readonly string[];
  /** Tokens that the cache holds. */
  private known: number[] = [];
  private busy = false;

  /** @internal */
  constructor(from: LlamaFromFile, tokenizer: Tokenizer, backend: Backend) {
    this.model = from.model;
    this.tokenizer = tokenizer;
    this.cache = new KVCache(from.config, from.maxSequenceLength, { dtype: from.cache, backend });
    this.memory = from.memory;
    this.unquantized = from.unquantized;
    const { generation } = from;
    this.defaults = generation.defaults;
    this.passedOver = generation.passedOver;
    this.bosToken = tokenizer.bosId ?? generation.bosToken ?? from.bosToken ?? undefined;
    const own = tokenizer.eosId === undefined ? [] : [tokenizer.eosId];
    this.eosTokens = [...new Set([...(generation.eosTokens ?? from.eosTokens), ...own])];
  }

  /**
   * Goes on a prompt: a text, or its tokens. An empty text begins with the token of the beginning. What the prompt shares
   * with the text before is not computed again. Options that are left out are those of {@link defaults}.
   *
   * @throws OptionError for unknown options and for a prompt that does not fit
   *
   * @example
   * ```ts no-run
   * import { loadLlama } from "@nf/models";
   *
   * const llama = await loadLlama("TinyLlama-1.1B-Chat", { weights: "q8_0" });
   * for await (const piece of llama.generate("Once upon a time", { maxTokens: 100, topP: 0.9, seed: 7 })) {
   *   console.log(piece);
   * }
   * ```
   */
  generate(prompt: string | readonly number[], options: GenerateOptions = {}): Generation {
    const tokens = typeof prompt === "string" ? this.encode(prompt) : [...prompt];
    const decoder = this.tokenizer.decodeStream();
    // Tokenizers that write blanks in front of words drop the first of a text; the text goes on the prompt's.
    for (const token of tokens.slice(-PRIMED)) if (token < this.tokenizer.vocabularySize) decoder.push(token);
    return this.start(tokens, decoder, options);
  }

  /** Answers a conversation, by the model's own chat template. */
  chat(messages: readonly ChatMessage[], options: GenerateOptions = {}): Generation {
    const prompt = this.tokenizer.applyChatTemplate(messages);
    const tokens = this.tokenizer.encode(prompt, { addSpecial: false });
    return this.start(tokens, this.tokenizer.decodeStream(), options);
  }

  private start(tokens: readonly number[], decoder: PieceDecoder, options: GenerateOptions): Generation {
    checkOptions("generate", options, GENERATE_OPTIONS);
    const { stop = [], ignoreEos = false, ...given } = options;
    const rest = withGenerationDefaults(given, this.defaults, tokens.length);
    if (ignoreEos && rest.eosTokens !== undefined)
      throw new OptionError("generate: with ignoreEos no eosTokens are looked for. Leave one out.");
    const from = { reused: 0 };
    const eosTokens = ignoreEos ? [] : (rest.eosTokens ?? this.eosTokens);
    return new Generation({
      promptTokens: tokens,
      prefillTokens: () => tokens.length - from.reused,
      tokens: this.run(tokens, { ...rest, eosTokens }, from),
      decoder,
      stop,
    });
  }

  /** Gives the memory of weights and cache back. */
  dispose(): void {
    this.cache.dispose();
    this.model.dispose();
  }

  [Symbol.dispose](): void {
    this.dispose();
  }

  private encode(prompt: string): readonly number[] {
    const tokens = this.tokenizer.encode(prompt);
    if (tokens.length > 0) return tokens;
    if (this.bosToken !== undefined) return [this.bosToken];
    throw new OptionError(
      "generate: the prompt is empty, and the model has no token of the beginning. Give a prompt.",
    );
  }

  /** How many tokens the prompt and the cache have in common. The last of the prompt is always computed. */
  private shared(prompt: readonly number[]): number {
    const most = Math.min(prompt.length - 1, this.known.length, this.cache.length);
    let count = 0;
    while (count < most && prompt[count] === this.known[count]) count++;
    return Math.max(0, count);
  }

  /** @param from learns how much of the prompt the cache had. */
  private async *run(
    prompt: readonly number[],
    options: TokenOptions,
    from: { reused: number },
  ): ReturnType<typeof generateTokens> {
    if (this.busy) {
      throw new OptionError(
        "generate: another text is being generated with this model's cache. Wait for its end, or leave its loop.",
      );
    }
    this.busy = true;
    try {
      const reused = this.shared(prompt);
      from.reused = reused;
      this.cache.truncate(reused);
      this.known = [...prompt];
      const context = prompt.slice(0, reused);
      const tokens = generateTokens(this.model, this.cache, prompt.slice(reused), { ...options, context });
      for (;;) {
        const next = await tokens.next();
        if (next.done === true) return next.value;
        this.known.push(next.value.id);
        yield next.value;
      }
    } finally {
      this.busy = false;
    }
  }
}

/**
 * Loads a model of the Llama family: a folder in Hugging Face's layout (`config.json`, `model.safetensors` or shards,
 * `tokenizer.json`), a GGUF file, or a folder with a llama2.c checkpoint and its vocabulary. Memory is estimated first, and what cannot fit
 * is refused before any weight is read.
 *
 * @throws LlamaConfigError, LlamaWeightsError, OutOfMemoryError, OptionError, WeightFileError, TokenizerError
 */
export async function loadLlama(input: FileInput, options: LoadLlamaOptions = {}): Promise<LoadedLlama> {
  checkOptions("loadLlama", options, LOAD_OPTIONS);
  const backend = options.backend ?? currentBackend();
  const file = await openWeights(input);
  try {
    const tokenizer = await loadTokenizer(input);
    return new LoadedLlama(await readLlama(file, options), tokenizer, backend);
  } finally {
    await file.close();
  }
}

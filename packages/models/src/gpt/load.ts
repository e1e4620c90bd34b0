import { checkOptions, OptionError } from "@nf/core";
import {
  type ChatMessage,
  type FileInput,
  loadInto,
  loadTokenizer,
  openWeights,
  type Tokenizer,
  type WeightFile,
} from "@nf/io";
import {
  type GenerationDefaults,
  type HfGenerationConfig,
  parseGenerationConfig,
  withGenerationDefaults,
} from "../llama/generation-config.ts";
import { Generation, type PieceDecoder } from "../llama/text.ts";
import { GPT_TOKEN_OPTIONS, type GptTokenOptions, generateGptTokens } from "./generate.ts";
import { Gpt, type GptConfig, GptConfigError, gptParameters } from "./gpt.ts";
import { gpt2Name, type HfGptConfig, parseGptConfig, turned } from "./hf.ts";

/** Options of {@link loadGpt}. */
export interface LoadGptOptions {
  /** Fields of `config.json` that are not known here and may be passed over. */
  readonly ignore?: readonly string[];
  /** Is told of the bytes that were read, and of all. */
  readonly onProgress?: (done: number, total: number) => void;
}

/** How {@link LoadedGpt.generate} goes on a prompt. */
export interface GptGenerateOptions extends GptTokenOptions {
  /** Texts that end the generation; they are not given out. Default none. */
  readonly stop?: readonly string[];
  /** Whether the model's end tokens do not end the text; default false. */
  readonly ignoreEos?: boolean;
}

const LOAD_OPTIONS = ["ignore", "onProgress"] as const satisfies readonly (keyof LoadGptOptions)[];
const GENERATE_OPTIONS = [...GPT_TOKEN_OPTIONS, "stop", "ignoreEos"];

/** A model with its weights, without a tokenizer. */
export interface GptFromFile extends HfGptConfig {
  /** In evaluation mode, on the backend in use. */
  readonly model: Gpt;
  /** What `generation_config.json` says. */
  readonly generation: HfGenerationConfig;
}

/**
 * The model in an open weight file: Hugging Face's GPT-2, or one that was saved under the model's own names beside a
 * `config.json` of `gptConfigJson`. Weights become f32.
 *
 * @throws GptConfigError, WeightsMismatchError, WeightFileError
 */
export async function readGpt(file: WeightFile, options: LoadGptOptions = {}): Promise<GptFromFile> {
  checkOptions("loadGpt", options, LOAD_OPTIONS);
  const { ignore = [], onProgress } = options;
  if (file.config === undefined) {
    throw new GptConfigError(file.name, [
      "there is no config.json. Pass the folder that holds it beside the weights.",
    ]);
  }
  const parsed = parseGptConfig(file.config, { ignore });
  const generation = parseGenerationConfig(file.generationConfig);
  const { config, layout } = parsed;
  checkSizes(file, parsed);
  const model = new Gpt(config, { draw: false });
  const progress = onProgress && {
    onProgress: ({ loadedBytes, totalBytes }: { loadedBytes: number; totalBytes: number }) =>
      onProgress(loadedBytes, totalBytes),
  };
  try {
    if (layout === "nanogpt") await loadInto(model, file, { ...progress });
    else await loadInto(model, turned(file), { rename: (name) => gpt2Name(name, config), ...progress });
  } catch (error) {
    model.dispose();
    throw error;
  }
  return { ...parsed, generation, model: model.eval() };
}

/**
 * Refuses a configuration that is larger than the weights it came with, before a model of that size takes memory.
 *
 * @throws GptConfigError listing all sizes that differ
 */
function checkSizes(file: WeightFile, { config, layout }: HfGptConfig): void {
  const gpt2 = layout === "gpt2";
  const tensors = [...(gpt2 ? turned(file) : file).tensors];
  const ours = new Map<string, (typeof tensors)[number]>();
  const layers = new Set<string>();
  let values = 0;
  for (const tensor of tensors) {
    const name = gpt2 ? gpt2Name(tensor[0], config) : tensor[0];
    if (name === undefined) continue;
    ours.set(name, tensor);
    values += tensor[1].shape.reduce((product, size) => product * size, 1);
    const layer = /^blocks\.(\d+)\./.exec(name)?.[1];
    if (layer !== undefined) layers.add(layer);
  }
  const problems: string[] = [];
  for (const [name, expected, told] of sizesOf(config)) {
    const [from, shape] = [ours.get(name)?.[0], ours.get(name)?.[1].shape];
    const asked = `config.json asks for ${told}`;
    if (shape === undefined) problems.push(`${asked}, and ${name} is not in the file.`);
    else if (shape.length !== 2 || expected.some((size, axis) => size !== shape[axis]))
      problems.push(`${asked}: [${expected.join(", ")}]; ${from} has [${shape.join(", ")}].`);
  }
  if (layers.size < config.layers)
    problems.push(`config.json asks for ${config.layers} layers, and the file names ${layers.size}.`);
  const parameters = gptParameters(config);
  // Somewhat fewer are missing weights, which are told by name when they are loaded.
  if (problems.length === 0 && parameters > 2 * values)
    problems.push(`config.json asks for ${parameters} weights, and the file holds ${values}.`);
  if (problems.length > 0) throw new GptConfigError(file.name, problems);
}

/** The matrices that have all sizes of a configuration but the number of layers: name, shape, and which sizes they are. */
function sizesOf({ vocabSize, maxPositions, hiddenSize, intermediateSize }: GptConfig) {
  return [
    ["embedding.weight", [vocabSize, hiddenSize], "this vocabulary and width"],
    ["position.weight", [maxPositions, hiddenSize], "these positions and this width"],
    ["blocks.0.feedForward.up.weight", [intermediateSize, hiddenSize], "this width of the feed-forward"],
  ] as const;
}

/** A model and its tokenizer. */
export class LoadedGpt {
  readonly model: Gpt;
  readonly tokenizer: Tokenizer;
  /** Token that texts begin with, if there is one. */
  readonly bosToken: number | undefined;
  /** Tokens that end a text. */
  readonly eosTokens: readonly number[];
  /** What holds where {@link generate} and {@link chat} are not told otherwise: of `generation_config.json`. */
  readonly defaults: GenerationDefaults;
  /** Settings of `generation_config.json` that would change the text, and that there is nothing like here. */
  readonly passedOver: readonly string[];
  /** Whether tokens are single characters. */
  private readonly characters: boolean;

  /** @internal */
  constructor(from: GptFromFile, tokenizer: Tokenizer) {
    this.model = from.model;
    this.characters = from.layout === "nanogpt";
    this.tokenizer = tokenizer;
    const { generation } = from;
    this.defaults = generation.defaults;
    this.passedOver = generation.passedOver;
    this.bosToken = tokenizer.bosId ?? generation.bosToken ?? from.bosToken ?? undefined;
    const own = tokenizer.eosId === undefined ? [] : [tokenizer.eosId];
    this.eosTokens = [...new Set([...(generation.eosTokens ?? from.eosTokens), ...own])];
  }

  /**
   * Goes on a prompt: a text, or its tokens. An empty text begins with the token of the beginning. The model sees the last
   * `maxPositions` tokens of prompt and text. Options that are left out are those of {@link defaults}.
   *
   * @throws OptionError for unknown options, and for an empty prompt without a token of the beginning
   *
   * @example
   * ```ts no-run
   * import { loadGpt } from "@nf/models";
   *
   * const gpt = await loadGpt("gpt2");
   * for await (const piece of gpt.generate("Once upon a time", { maxTokens: 50, topK: 40, seed: 7 })) console.log(piece);
   * ```
   */
  generate(prompt: string | readonly number[], options: GptGenerateOptions = {}): Generation {
    const tokens = typeof prompt === "string" ? this.encode(prompt) : [...prompt];
    return this.start(tokens, this.tokenizer.decodeStream(), options);
  }

  /** Answers a conversation, by the model's own chat template. */
  chat(messages: readonly ChatMessage[], options: GptGenerateOptions = {}): Generation {
    const prompt = this.tokenizer.applyChatTemplate(messages);
    const tokens = this.tokenizer.encode(prompt, { addSpecial: false });
    return this.start(tokens, this.tokenizer.decodeStream(), options);
  }

  /** Gives the memory of the weights back. */
  dispose(): void {
    this.model.dispose();
  }

  [Symbol.dispose](): void {
    this.dispose();
  }

  private start(tokens: readonly number[], decoder: PieceDecoder, options: GptGenerateOptions): Generation {
    checkOptions("generate", options, GENERATE_OPTIONS);
    const { stop = [], ignoreEos = false, ...given } = options;
    const rest = withGenerationDefaults(given, this.defaults, tokens.length);
    if (ignoreEos && rest.eosTokens !== undefined)
      throw new OptionError("generate: with ignoreEos no eosTokens are looked for. Leave one out.");
    const eosTokens = ignoreEos ? [] : (rest.eosTokens ?? this.eosTokens);
    return new Generation({
      promptTokens: tokens,
      prefillTokens: () => Math.min(tokens.length, this.model.config.maxPositions),
      tokens: generateGptTokens(this.model, tokens, { ...rest, eosTokens }),
      decoder,
      stop,
    });
  }

  private encode(prompt: string): readonly number[] {
    // A vocabulary of characters has no token for the unknown: the tokenizer would name the first of them only.
    const unknown = this.characters
      ? [...new Set(prompt)].filter((one) => this.tokenizer.idOf(one) === undefined)
      : [];
    if (unknown.length > 0) {
      throw new OptionError(
        `generate: the prompt has characters that the model does not know: ${unknown.map((one) => JSON.stringify(one)).join(", ")}.`,
      );
    }
    const tokens = this.tokenizer.encode(prompt);
    if (tokens.length > 0) return tokens;
    if (this.bosToken !== undefined) return [this.bosToken];
    throw new OptionError(
      "generate: the prompt is empty, and the model has no token of the beginning. Give a prompt.",
    );
  }
}

/**
 * Loads a GPT from a folder: Hugging Face's GPT-2 (`config.json`, `model.safetensors` or shards, `tokenizer.json`), or what
 * `nf train nanogpt` wrote.
 *
 * @throws GptConfigError, WeightsMismatchError, WeightFileError, TokenizerError
 */
export async function loadGpt(input: FileInput, options: LoadGptOptions = {}): Promise<LoadedGpt> {
  checkOptions("loadGpt", options, LOAD_OPTIONS);
  const file = await openWeights(input);
  try {
    const tokenizer = await loadTokenizer(input);
    return new LoadedGpt(await readGpt(file, options), tokenizer);
  } finally {
    await file.close();
  }
}

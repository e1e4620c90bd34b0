import { checkOptions } from "@nf/core";
import type { StoredTensor, WeightFile } from "@nf/io";
import { ids } from "../llama/hf-config.ts";
import { type GptActivation, type GptConfig, GptConfigError, type GptSettings, gptConfig } from "./gpt.ts";

/** What a `config.json` says. */
export interface HfGptConfig {
  readonly config: GptConfig;
  /** Token that texts begin with, where it is told. */
  readonly bosToken: number | null;
  /** Tokens that end a text; empty where it is not told. */
  readonly eosTokens: readonly number[];
  /** Whether weights lie in the file as Hugging Face's GPT-2 names and turns them, or as the model has them. */
  readonly layout: "gpt2" | "nanogpt";
}

/** Options of {@link parseGptConfig}. */
export interface ParseGptConfigOptions {
  /** Fields that are not known here and may be passed over. */
  readonly ignore?: readonly string[];
}

type Fields = Readonly<Record<string, unknown>>;

/** Names that `activation_function` has for what is computed here. */
const ACTIVATIONS: Readonly<Record<string, GptActivation>> = {
  gelu_new: "geluTanh",
  gelu_pytorch_tanh: "geluTanh",
  gelu: "gelu",
  relu: "relu",
};

const READ = new Set([
  ...["vocab_size", "n_positions", "n_embd", "n_layer", "n_head", "n_inner", "activation_function"],
  ...["layer_norm_epsilon", "tie_word_embeddings", "scale_attn_weights", "scale_attn_by_inverse_layer_idx"],
  ...["add_cross_attention", "model_type", "bos_token_id", "eos_token_id"],
]);

/** Fields that say nothing about what the model computes, or only about its training or its use. */
const HARMLESS = new Set([
  ...["architectures", "dtype", "torch_dtype", "use_cache", "initializer_range", "n_ctx", "pad_token_id"],
  ...["attn_pdrop", "embd_pdrop", "resid_pdrop", "reorder_and_upcast_attn", "task_specific_params"],
  ...["gradient_checkpointing", "tokenizer_class", "return_dict", "torchscript", "output_hidden_states"],
  ...["output_attentions", "id2label", "label2id", "num_labels", "problem_type", "is_decoder"],
  ...["is_encoder_decoder", "chunk_size_feed_forward", "attn_implementation", "auto_map"],
]);

/** Versions, private notes, and the settings of a head for classes, which has weights of its own. */
const HARMLESS_NAME = /^_|_version$|^summary_/;

/** Fields of {@link gptConfigJson}. */
const OWN = new Set(["model_type", "bos_token_id", "eos_token_id"]);

function isFields(value: unknown): value is Fields {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/**
 * The configuration in a `config.json`: of Hugging Face's GPT-2, with transformers' defaults for what is left out, or as
 * {@link gptConfigJson} gives it. What this family cannot compute is refused, and so is a field that is not known and not
 * listed in `ignore`. Dropout is a matter of training and not taken over from GPT-2's.
 *
 * @throws GptConfigError listing all that is wrong
 */
export function parseGptConfig(json: unknown, options: ParseGptConfigOptions = {}): HfGptConfig {
  checkOptions("parseGptConfig", options, ["ignore"]);
  const source = "config.json";
  if (!isFields(json)) throw new GptConfigError(source, ["expected a JSON object."]);
  const type = json["model_type"];
  const tokens = { bosToken: ids(json["bos_token_id"])[0] ?? null, eosTokens: ids(json["eos_token_id"]) };
  const { ignore = [] } = options;
  if (type === "gpt2") return { config: gpt2Config(source, json, ignore), ...tokens, layout: "gpt2" };
  if (type === "nanogpt") {
    const entries = Object.entries(json).filter(([name]) => !OWN.has(name) && !ignore.includes(name));
    // gptConfig checks every one of them.
    const settings = Object.fromEntries(entries) as GptSettings;
    return { config: gptConfig(settings), ...tokens, layout: "nanogpt" };
  }
  throw new GptConfigError(source, [
    `model_type ${JSON.stringify(type)} is none of this family: expected gpt2 or nanogpt.`,
  ]);
}

/** What a folder's `config.json` says of a model whose weights were saved under the model's own names. */
export function gptConfigJson(
  config: GptConfig,
  tokens: { readonly bosToken?: number; readonly eosToken?: number } = {},
): Readonly<Record<string, unknown>> {
  return {
    model_type: "nanogpt",
    ...config,
    ...(tokens.bosToken !== undefined && { bos_token_id: tokens.bosToken }),
    ...(tokens.eosToken !== undefined && { eos_token_id: tokens.eosToken }),
  };
}

function gpt2Config(source: string, json: Fields, ignore: readonly string[]): GptConfig {
  const problems: string[] = [];
  const raw = (name: string): unknown => (Object.hasOwn(json, name) ? (json[name] ?? undefined) : undefined);
  const whole = (name: string, fallback: number): number => {
    const value = raw(name) ?? fallback;
    if (typeof value === "number" && Number.isInteger(value) && value >= 1 && value < 2 ** 31) return value;
    problems.push(`${name} must be a whole number from 1, got ${JSON.stringify(value)}.`);
    return 1;
  };
  const must = (name: string, wanted: boolean): void => {
    const value = raw(name) ?? wanted;
    if (value !== wanted)
      problems.push(`${name} ${JSON.stringify(value)} is not supported: it must be ${wanted}.`);
  };
  const unknown = Object.keys(json).filter(
    (name) =>
      !READ.has(name) &&
      !HARMLESS.has(name) &&
      !HARMLESS_NAME.test(name) &&
      !ignore.includes(name) &&
      json[name] !== null,
  );
  if (unknown.length > 0) {
    problems.push(
      `not known here, so that the model might compute something else: ${unknown.join(", ")}. ` +
        `If they do not matter, pass ignore: ${JSON.stringify(unknown)}.`,
    );
  }
  must("scale_attn_weights", true);
  must("scale_attn_by_inverse_layer_idx", false);
  must("add_cross_attention", false);
  const named = raw("activation_function") ?? "gelu_new";
  const activation =
    typeof named === "string" && Object.hasOwn(ACTIVATIONS, named) ? ACTIVATIONS[named] : undefined;
  if (activation === undefined) {
    problems.push(
      `activation_function ${JSON.stringify(named)} is not supported: it must be ${Object.keys(ACTIVATIONS).join(", ")}.`,
    );
  }
  const eps = raw("layer_norm_epsilon") ?? 1e-5;
  const tied = raw("tie_word_embeddings") ?? true;
  if (typeof eps !== "number" || !(eps >= 0))
    problems.push(`layer_norm_epsilon must be a number from 0, got ${JSON.stringify(eps)}.`);
  if (typeof tied !== "boolean")
    problems.push(`tie_word_embeddings must be true or false, got ${JSON.stringify(tied)}.`);
  const hiddenSize = whole("n_embd", 768);
  const settings: GptSettings = {
    vocabSize: whole("vocab_size", 50257),
    maxPositions: whole("n_positions", 1024),
    hiddenSize,
    intermediateSize: whole("n_inner", 4 * hiddenSize),
    layers: whole("n_layer", 12),
    heads: whole("n_head", 12),
    activation: activation ?? "geluTanh",
    normEps: Number(eps),
    tiedHead: tied === true,
    biases: { attention: true, mlp: true, head: false },
  };
  if (problems.length > 0) throw new GptConfigError(source, problems);
  return gptConfig(settings);
}

/** The model's names for those of Hugging Face's GPT-2. `c_*` are its `Conv1D`, whose weights lie `[in, out]`. */
const NAMES: readonly (readonly [RegExp, string])[] = [
  [/^wte\.weight$/, "embedding.weight"],
  [/^wpe\.weight$/, "position.weight"],
  [/^h\.(\d+)\.ln_1\.(weight|bias)$/, "blocks.$1.attentionNorm.$2"],
  [/^h\.(\d+)\.attn\.c_attn\.(weight|bias)$/, "blocks.$1.attention.qkv.$2"],
  [/^h\.(\d+)\.attn\.c_proj\.(weight|bias)$/, "blocks.$1.attention.out.$2"],
  [/^h\.(\d+)\.ln_2\.(weight|bias)$/, "blocks.$1.feedForwardNorm.$2"],
  [/^h\.(\d+)\.mlp\.c_fc\.(weight|bias)$/, "blocks.$1.feedForward.up.$2"],
  [/^h\.(\d+)\.mlp\.c_proj\.(weight|bias)$/, "blocks.$1.feedForward.down.$2"],
  [/^ln_f\.(weight|bias)$/, "norm.$1"],
  [/^lm_head\.weight$/, "head.weight"],
];
const TRANSPOSED = /\.c_\w+\.weight$/;
/** Modules of our own model: GPT-2 has no such names. */
const OURS = /^(embedding|position|blocks|norm|head)\./;
/** Causal masks that older files hold. */
const MASKS = /\.attn\.(bias|masked_bias)$/;

/**
 * The model's name for a name in a GPT-2 file, with or without `transformer.` in front; undefined for masks and for a head
 * that is written out although it is the embedding. A name that GPT-2 does not have gives one that no model has.
 */
export function gpt2Name(name: string, config: GptConfig): string | undefined {
  const bare = name.replace(/^transformer\./, "");
  if (MASKS.test(bare) || (config.tiedHead && bare === "lm_head.weight")) return undefined;
  for (const [pattern, ours] of NAMES) if (pattern.test(bare)) return bare.replace(pattern, ours);
  return OURS.test(name) ? `unknown.${name}` : name;
}

/** The same file with the weights of `Conv1D` as `[out, in]`. */
export function turned(file: WeightFile): WeightFile {
  const isTurned = (name: string, { shape }: StoredTensor): boolean =>
    TRANSPOSED.test(name) && shape.length === 2;
  return {
    format: file.format,
    name: file.name,
    metadata: file.metadata,
    config: file.config,
    tensors: new Map(
      [...file.tensors].map(([name, tensor]) => [
        name,
        isTurned(name, tensor) ? { ...tensor, shape: [...tensor.shape].reverse() } : tensor,
      ]),
    ),
    async read(name) {
      const bytes = await file.read(name);
      const tensor = file.tensors.get(name);
      if (tensor === undefined || !isTurned(name, tensor)) return bytes;
      const [rows, columns] = tensor.shape as [number, number];
      return transposed(bytes, rows, columns);
    },
    close: () => file.close(),
  };
}

/** Bytes of a matrix `[rows, columns]` as those of `[columns, rows]`, whatever an element takes. */
function transposed(bytes: Uint8Array, rows: number, columns: number): Uint8Array {
  const size = bytes.length / (rows * columns);
  const result = new Uint8Array(bytes.length);
  for (let row = 0; row < rows; row++) {
    for (let column = 0; column < columns; column++) {
      const [from, to] = [(row * columns + column) * size, (column * rows + row) * size];
      for (let i = 0; i < size; i++) result[to + i] = bytes[from + i] as number;
    }
  }
  return result;
}

import { checkOptions, type RopeScaling } from "@nf/core";
import { type LlamaConfig, LlamaConfigError, llamaConfig } from "./config.ts";

/** What a `config.json` says beside the model's shape. */
export interface HfLlamaConfig {
  readonly config: LlamaConfig;
  /** Token that texts begin with, where it is told. */
  readonly bosToken: number | null;
  /** Tokens that end a text; empty where it is not told. */
  readonly eosTokens: readonly number[];
}

/** Options of {@link parseLlamaConfig}. */
export interface ParseConfigOptions {
  /** Fields that are not known here and may be passed over. */
  readonly ignore?: readonly string[];
}

const FAMILIES = ["llama", "mistral", "qwen2"] as const;
type Family = (typeof FAMILIES)[number];

/** Fields that say nothing about what the model computes, or only about its training or its use. */
const HARMLESS = new Set([
  ...["architectures", "dtype", "torch_dtype", "use_cache", "initializer_range", "pretraining_tp"],
  ...["attention_dropout", "pad_token_id", "unk_token_id", "sep_token_id", "bos_token_id", "eos_token_id"],
  ...["tokenizer_class", "id2label", "label2id", "num_labels", "problem_type", "return_dict", "torchscript"],
  ...["output_hidden_states", "output_attentions", "chunk_size_feed_forward", "is_encoder_decoder"],
  ...["is_decoder", "max_length", "max_window_layers", "model_type", "auto_map", "task_specific_params"],
  ...[
    "hidden_dropout",
    "resid_pdrop",
    "attn_implementation",
    "attention_implementation",
    "generation_config",
  ],
]);

/** Versions and private notes (`transformers_version`, `_name_or_path`). */
const HARMLESS_NAME = /^_|_version$/;

const READ = new Set([
  ...["vocab_size", "hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads"],
  ...["num_key_value_heads", "head_dim", "max_position_embeddings", "rms_norm_eps", "rope_theta"],
  ...["rope_scaling", "rope_parameters", "hidden_act", "tie_word_embeddings", "attention_bias", "mlp_bias"],
  ...["sliding_window", "use_sliding_window", "layer_types"],
]);

/** More than any model has; keeps a damaged file from asking for a list of millions. */
const MOST_LAYERS = 4096;

type Fields = Readonly<Record<string, unknown>>;

/** Reads fields and gathers what is wrong with them. */
class Reader {
  readonly problems: string[] = [];
  private readonly fields: Fields;

  constructor(fields: Fields) {
    this.fields = fields;
  }

  /** Whether the field is there and not null. */
  has(name: string): boolean {
    return Object.hasOwn(this.fields, name) && this.fields[name] !== null;
  }

  raw(name: string): unknown {
    return Object.hasOwn(this.fields, name) ? this.fields[name] : undefined;
  }

  number(name: string, fallback?: number): number {
    const value = this.raw(name) ?? fallback;
    if (typeof value === "number" && Number.isFinite(value) && value > 0) return value;
    return this.refuse(name, value, "a number above 0");
  }

  whole(name: string, fallback?: number, low = 1, high = 2 ** 31 - 1): number {
    const value = this.raw(name) ?? fallback;
    if (typeof value === "number" && Number.isInteger(value) && value >= low && value <= high) return value;
    return this.refuse(name, value, `a whole number from ${low} to ${high}`);
  }

  flag(name: string, fallback: boolean): boolean {
    const value = this.raw(name) ?? fallback;
    if (typeof value === "boolean") return value;
    this.problems.push(`${name} must be true or false, got ${JSON.stringify(value)}.`);
    return fallback;
  }

  /** Notes the problem; what it gives only keeps the reader going. */
  private refuse(name: string, value: unknown, expected: string): number {
    const got = value === undefined ? "it is missing" : `got ${JSON.stringify(value)}`;
    this.problems.push(`${name} must be ${expected}, ${got}.`);
    return 1;
  }
}

function isFields(value: unknown): value is Fields {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/**
 * The configuration in a Hugging Face `config.json` of a Llama, Mistral or Qwen2 model, with transformers' defaults for
 * what is left out. What this family cannot compute is refused, and so is a field that is not known and not listed in
 * `ignore`.
 *
 * @throws LlamaConfigError listing all that is wrong
 */
export function parseLlamaConfig(json: unknown, options: ParseConfigOptions = {}): HfLlamaConfig {
  checkOptions("parseLlamaConfig", options, ["ignore"]);
  const source = "config.json";
  if (!isFields(json)) throw new LlamaConfigError(source, ["expected a JSON object."]);
  const family = json["model_type"];
  if (typeof family !== "string" || !isFamily(family)) {
    throw new LlamaConfigError(source, [
      `model_type ${JSON.stringify(family)} is none of this family: expected ${FAMILIES.join(", ")}.`,
    ]);
  }
  const read = new Reader(json);
  const { problems } = read;
  refuseUnknown(json, options.ignore ?? [], problems);
  const activation = read.raw("hidden_act") ?? "silu";
  if (activation !== "silu")
    problems.push(`hidden_act ${JSON.stringify(activation)} is not supported: it must be "silu".`);
  const heads = read.whole("num_attention_heads");
  const layers = read.whole("num_hidden_layers", undefined, 1, MOST_LAYERS);
  const hiddenSize = read.whole("hidden_size");
  const attentionBias = family === "llama" && read.flag("attention_bias", false);
  const { base, scaling } = rope(read, problems);
  const settings = {
    vocabSize: read.whole("vocab_size"),
    hiddenSize,
    intermediateSize: read.whole("intermediate_size"),
    layers,
    heads,
    kvHeads: read.whole("num_key_value_heads", family === "llama" ? heads : undefined),
    headDim: read.number("head_dim", hiddenSize / heads),
    maxPositions: read.whole("max_position_embeddings", family === "mistral" ? 131072 : 2048),
    normEps: read.number("rms_norm_eps", 1e-6),
    ropeBase: base,
    ropeScaling: scaling,
    tiedHead: read.flag("tie_word_embeddings", false),
    biases: {
      qkv: family === "qwen2" || attentionBias,
      out: attentionBias,
      mlp: family === "llama" && read.flag("mlp_bias", false),
    },
    windows: windows(family, layers, read, problems),
  };
  if (problems.length > 0) throw new LlamaConfigError(source, problems);
  return {
    config: llamaConfig(settings),
    bosToken: ids(json["bos_token_id"])[0] ?? null,
    eosTokens: ids(json["eos_token_id"]),
  };
}

function isFamily(name: string): name is Family {
  return FAMILIES.some((family) => family === name);
}

function refuseUnknown(json: Fields, ignore: readonly string[], problems: string[]): void {
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
}

/** Token ids in a field that holds one, several or none. */
export function ids(value: unknown): readonly number[] {
  const list: readonly unknown[] = Array.isArray(value) ? value : [value];
  return list.filter((id): id is number => typeof id === "number" && Number.isInteger(id) && id >= 0);
}

interface Rope {
  readonly base: number;
  readonly scaling: RopeScaling | null;
}

/** Rotary positions lie in `rope_parameters`, or, before transformers 5, in `rope_theta` and `rope_scaling`. */
function rope(read: Reader, problems: string[]): Rope {
  const nested = read.raw("rope_parameters") ?? read.raw("rope_scaling") ?? {};
  if (!isFields(nested)) {
    problems.push(`rope_parameters (or rope_scaling) must be an object, got ${JSON.stringify(nested)}.`);
    return { base: 10000, scaling: null };
  }
  const inner = new Reader(nested);
  const base = inner.has("rope_theta") ? inner.number("rope_theta") : read.number("rope_theta", 10000);
  const type = inner.raw("rope_type") ?? inner.raw("type") ?? "default";
  const scaling = ropeScaling(type, inner, problems);
  const known = ["rope_theta", "rope_type", "type", ...(ROPE_FIELDS[String(type)] ?? [])];
  const unknown = Object.keys(nested).filter((name) => !known.includes(name) && nested[name] !== null);
  if (unknown.length > 0 && ROPE_FIELDS[String(type)] !== undefined)
    problems.push(`rope of type ${JSON.stringify(type)} takes no ${unknown.join(", ")}.`);
  problems.push(...inner.problems);
  return { base, scaling };
}

const ROPE_FIELDS: Readonly<Record<string, readonly string[]>> = {
  default: [],
  linear: ["factor"],
  llama3: ["factor", "low_freq_factor", "high_freq_factor", "original_max_position_embeddings"],
};

function ropeScaling(type: unknown, inner: Reader, problems: string[]): RopeScaling | null {
  switch (type) {
    case "default":
      return null;
    case "linear":
      return { type: "linear", factor: inner.number("factor") };
    case "llama3":
      return {
        type: "llama3",
        factor: inner.number("factor"),
        lowFrequencyFactor: inner.number("low_freq_factor"),
        highFrequencyFactor: inner.number("high_freq_factor"),
        originalContext: inner.whole("original_max_position_embeddings"),
      };
    default:
      problems.push(
        `rope scaling of type ${JSON.stringify(type)} is not supported: it must be ${Object.keys(ROPE_FIELDS).join(", ")}.`,
      );
      return null;
  }
}

/** How far each layer looks back. Mistral's layers all do alike; Qwen2 names the first that does not look at all. */
function windows(
  family: Family,
  layers: number,
  read: Reader,
  problems: string[],
): readonly (number | null)[] {
  const full = new Array<null>(layers).fill(null);
  const size = read.raw("sliding_window");
  const types = read.raw("layer_types") ?? undefined;
  if (family === "llama") {
    if (size !== undefined && size !== null) problems.push("a model of type llama has no sliding_window.");
    return full;
  }
  if (family === "qwen2" && !read.flag("use_sliding_window", false)) return full;
  if (size === null) return full;
  const window = read.whole("sliding_window", 4096);
  if (types === undefined) {
    const first = family === "qwen2" ? read.whole("max_window_layers", 28, 0) : 0;
    return full.map((_, layer) => (layer >= first ? window : null));
  }
  const named = Array.isArray(types) ? types : [];
  const known = named.every((type) => type === "full_attention" || type === "sliding_attention");
  if (named.length !== layers || !known) {
    problems.push(
      `layer_types must name full_attention or sliding_attention for each of the ${layers} layers, got ${JSON.stringify(types)}.`,
    );
    return full;
  }
  return named.map((type) => (type === "sliding_attention" ? window : null));
}

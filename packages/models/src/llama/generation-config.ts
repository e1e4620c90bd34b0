import { LlamaConfigError } from "./config.ts";
import type { SamplingOptions } from "./sampling.ts";

/** How a model's makers want its texts to be generated, as far as that is an option here. */
export interface GenerationDefaults
  extends Pick<SamplingOptions, "greedy" | "temperature" | "topK" | "topP" | "minP" | "repetitionPenalty"> {
  /** Most tokens to generate. */
  readonly maxTokens?: number;
  /** Most tokens of prompt and text together; it counts where there is no `maxTokens`. */
  readonly maxLength?: number;
}

/** What a `generation_config.json` says. */
export interface HfGenerationConfig {
  readonly defaults: GenerationDefaults;
  /** Token that texts begin with, where it is told. */
  readonly bosToken: number | null;
  /** Tokens that end a text; null where it is not told. */
  readonly eosTokens: readonly number[] | null;
  /** Settings that would change the text, and that there is nothing like here. */
  readonly passedOver: readonly string[];
}

type Fields = Readonly<Record<string, unknown>>;

const NOTHING: HfGenerationConfig = { defaults: {}, bosToken: null, eosTokens: null, passedOver: [] };

/** What does not change the text, or only with settings that are named elsewhere. */
const HARMLESS = new Set([
  ...[
    "bos_token_id",
    "eos_token_id",
    "pad_token_id",
    "decoder_start_token_id",
    "use_cache",
    "trust_remote_code",
  ],
  ...["cache_implementation", "cache_config", "return_dict_in_generate", "output_scores", "output_logits"],
  ...[
    "output_attentions",
    "output_hidden_states",
    "num_return_sequences",
    "early_stopping",
    "length_penalty",
  ],
  ...["num_beam_groups", "max_time", "remove_invalid_values", "renormalize_logits", "compile_config"],
  ...[
    "max_new_tokens",
    "max_length",
    "do_sample",
    "temperature",
    "top_k",
    "top_p",
    "min_p",
    "repetition_penalty",
  ],
]);

/** Settings of transformers under which nothing is changed. */
const NEUTRAL: Readonly<Record<string, readonly unknown[]>> = {
  num_beams: [1],
  typical_p: [1],
  epsilon_cutoff: [0],
  eta_cutoff: [0],
  diversity_penalty: [0],
  encoder_repetition_penalty: [1],
  no_repeat_ngram_size: [0],
  encoder_no_repeat_ngram_size: [0],
  min_length: [0],
  guidance_scale: [1],
  penalty_alpha: [0],
};

/**
 * The defaults in a Hugging Face `generation_config.json`. Temperature, `top_k`, `top_p` and `min_p` count with `do_sample`,
 * as in transformers; `do_sample: false` asks for the likeliest token each time.
 *
 * @throws LlamaConfigError listing all values that are out of their domain
 */
export function parseGenerationConfig(json: Fields | undefined): HfGenerationConfig {
  if (json === undefined) return NOTHING;
  const problems: string[] = [];
  const value = (name: string): unknown =>
    Object.hasOwn(json, name) ? (json[name] ?? undefined) : undefined;
  const number = (name: string, low: number, high: number, whole = false): number | undefined => {
    const found = value(name);
    if (found === undefined) return undefined;
    const sound = typeof found === "number" && found >= low && found <= high;
    if (sound && (!whole || Number.isInteger(found))) return found;
    const kind = whole ? "a whole number" : "a number";
    problems.push(`${name} must be ${kind} from ${low} to ${high}, got ${shown(found)}.`);
    return undefined;
  };
  const tokens = (name: string): readonly number[] | null => {
    const found = value(name);
    if (found === undefined) return null;
    const list: readonly unknown[] = Array.isArray(found) ? found : [found];
    const ids = list.filter((id): id is number => Number.isInteger(id) && (id as number) >= 0);
    if (ids.length < list.length) problems.push(`${name} must be token ids, got ${shown(found)}.`);
    return ids;
  };
  const sample = value("do_sample");
  if (sample !== undefined && typeof sample !== "boolean")
    problems.push(`do_sample must be true or false, got ${shown(sample)}.`);
  const temperature = number("temperature", 0, Number.MAX_VALUE);
  const topK = number("top_k", 0, 2 ** 31 - 1, true);
  const topP = number("top_p", 0, 1);
  const minP = number("min_p", 0, 1);
  const repetitionPenalty = number("repetition_penalty", 1e-3, 1e3);
  const maxTokens = number("max_new_tokens", 1, 2 ** 31 - 1, true);
  const maxLength = number("max_length", 1, 2 ** 31 - 1, true);
  const greedy = sample === false || (sample === true && temperature === 0);
  const drawn = sample === true && !greedy;
  const parsed: HfGenerationConfig = {
    defaults: {
      ...(greedy && { greedy }),
      ...(drawn && temperature !== undefined && { temperature }),
      // With 0, transformers keeps all tokens.
      ...(drawn && topK !== undefined && topK > 0 && { topK }),
      ...(drawn && topP !== undefined && topP < 1 && { topP }),
      ...(drawn && minP !== undefined && minP > 0 && { minP }),
      ...(repetitionPenalty !== undefined && repetitionPenalty !== 1 && { repetitionPenalty }),
      ...(maxTokens !== undefined && { maxTokens }),
      ...(maxLength !== undefined && { maxLength }),
    },
    bosToken: tokens("bos_token_id")?.[0] ?? null,
    eosTokens: tokens("eos_token_id"),
    passedOver: Object.keys(json).filter((name) => changesText(name, json[name])),
  };
  if (problems.length > 0) throw new LlamaConfigError("generation_config.json", problems);
  return parsed;
}

/** A value for a message. The file comes from strangers, and may hold a megabyte of it. */
function shown(value: unknown): string {
  // JSON has no word for numbers that are not finite.
  const text = typeof value === "number" ? String(value) : JSON.stringify(value);
  return text.length > 100 ? `${text.slice(0, 100)}…` : text;
}

/** Settings are named like this; other keys are notes, and might do something to a terminal that they are printed on. */
const SETTING = /^[a-z][a-z\d_]{0,63}$/i;

function changesText(name: string, value: unknown): boolean {
  if (!SETTING.test(name) || HARMLESS.has(name) || name.endsWith("_version")) return false;
  if (value === null || value === false || (Array.isArray(value) && value.length === 0)) return false;
  return !(Object.hasOwn(NEUTRAL, name) && NEUTRAL[name]?.includes(value));
}

const DRAWING = ["temperature", "topK", "topP", "minP"] as const;

/**
 * Options with a model's defaults for what they leave open. Options that draw tokens stand against a default that draws
 * none, and the other way round.
 */
export function withGenerationDefaults<T extends SamplingOptions & { readonly maxTokens?: number }>(
  options: T,
  defaults: GenerationDefaults,
  promptTokens: number,
): T {
  const { greedy, repetitionPenalty, maxTokens, maxLength } = defaults;
  const never = options.greedy === true || options.temperature === 0;
  const asked = options.greedy !== undefined || DRAWING.some((name) => options[name] !== undefined);
  const drawn = options.seed !== undefined || options.generator !== undefined;
  const bound =
    maxTokens ?? (maxLength !== undefined && maxLength > promptTokens ? maxLength - promptTokens : undefined);
  const draws = never ? [] : DRAWING.filter((name) => defaults[name] !== undefined);
  return {
    ...(greedy === true && !asked && !drawn && { greedy }),
    ...Object.fromEntries(draws.map((name) => [name, defaults[name]])),
    ...(repetitionPenalty !== undefined && { repetitionPenalty }),
    ...(bound !== undefined && { maxTokens: bound }),
    // An option that is there but undefined is left out.
    ...(Object.fromEntries(Object.entries(options).filter(([, value]) => value !== undefined)) as T),
  };
}

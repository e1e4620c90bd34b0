import {
  argmax,
  checkInteger,
  checkOptions,
  fromData,
  type HostArray,
  IndexError,
  noGrad,
  OptionError,
  slice,
  type Tensor,
} from "@nf/core";
import type { KVCache } from "./cache.ts";
import type { Llama } from "./model.ts";
import { SAMPLING_OPTIONS, Sampler, type SamplingOptions } from "./sampling.ts";

/** What can ask to stop; an `AbortSignal` is one. */
export interface CancelSignal {
  readonly aborted: boolean;
  readonly reason?: unknown;
}

/** Options of {@link generateTokens}. */
export interface TokenOptions extends SamplingOptions {
  /** Most tokens to generate; default as many as the cache has room for. */
  readonly maxTokens?: number;
  /** Tokens that end the text; they are not given out. Default none. */
  readonly eosTokens?: readonly number[];
  /** Whether each token comes with the logits it was chosen from; default false. */
  readonly logits?: boolean;
  /** Tokens that the cache holds already, for the repetition penalty; default none. */
  readonly context?: readonly number[];
  /** Tokens of the prompt that are computed at a time; default 128. */
  readonly prefillChunk?: number;
  /** Rejects with its reason, between two tokens, once it is aborted. */
  readonly signal?: CancelSignal;
}

/** Names of {@link TokenOptions}. */
export const TOKEN_OPTIONS: readonly (keyof TokenOptions)[] = [
  ...SAMPLING_OPTIONS,
  "maxTokens",
  "eosTokens",
  "logits",
  "context",
  "prefillChunk",
  "signal",
];

/** A generated token. */
export interface GeneratedToken {
  readonly id: number;
  /** The logits it was chosen from, `vocabSize` of them, before penalties; where they were asked for. */
  readonly logits?: HostArray;
  /** Seconds that it took to compute; for the first token that includes the prompt. */
  readonly seconds: number;
}

/** Why a text ended: a token or string that ends texts, `maxTokens` or a full cache, or a cancellation. */
export type FinishReason = "eos" | "stop" | "length" | "aborted";

/** Tokens of the prompt that are computed at a time. */
const PREFILL_CHUNK = 128;

/**
 * Generates tokens after a prompt of at least one token, which goes on where the cache ends. Afterwards the cache holds
 * the prompt and all generated tokens but the last. The return value says why it ended.
 *
 * @throws OptionError for unknown options, options that contradict each other, and a prompt that does not fit
 *
 * @example
 * ```ts no-run
 * import { generateTokens, KVCache, Llama, llamaConfig } from "@nf/models";
 *
 * const config = llamaConfig({ vocabSize: 512, hiddenSize: 64, intermediateSize: 172, layers: 2, heads: 4 });
 * const model = new Llama(config);
 * const cache = new KVCache(config, 256);
 * for await (const { id } of generateTokens(model, cache, [1], { maxTokens: 20, temperature: 0.8, seed: 7 })) {
 *   console.log(id);
 * }
 * ```
 */
export async function* generateTokens(
  model: Llama,
  cache: KVCache,
  prompt: readonly number[],
  options: TokenOptions = {},
): AsyncGenerator<GeneratedToken, FinishReason, undefined> {
  const op = "generate";
  checkOptions(op, options, TOKEN_OPTIONS);
  const { eosTokens = [], logits: wanted = false, signal } = options;
  const chunk = checkInteger(op, "prefillChunk", options.prefillChunk ?? PREFILL_CHUNK, 1);
  checkPrompt(prompt, model.config.vocabSize);
  cache.reserve(prompt.length);
  // The last token is given out without being computed, so it needs no place.
  const room = cache.maxSequenceLength - cache.length - prompt.length + 1;
  const most = Math.min(room, checkInteger(op, "maxTokens", options.maxTokens ?? room, 0));
  const sampler = new Sampler(samplingOf(options));
  sampler.prompt(options.context ?? []);
  sampler.prompt(prompt);
  if (most === 0) return "length";

  let started = performance.now();
  for (let start = 0; start < prompt.length - chunk; start += chunk) {
    refuseAborted(signal);
    noGrad(() => {
      model.hidden(tokenTensor(prompt.slice(start, start + chunk), cache), cache);
    });
    await cache.backend.synchronize();
  }
  const rest = prompt.length - 1 - ((prompt.length - 1) % chunk);
  let next: readonly number[] = prompt.slice(rest);
  for (let count = 0; ; ) {
    refuseAborted(signal);
    const { id, logits } = await step(model, cache, next, sampler, wanted);
    if (eosTokens.includes(id)) return "eos";
    sampler.generated(id);
    count++;
    yield {
      id,
      seconds: (performance.now() - started) / 1000,
      ...(wanted && logits !== undefined && { logits }),
    };
    if (count === most) return "length";
    started = performance.now();
    next = [id];
  }
}

/** Computes tokens and chooses the next. Where nothing but the greatest logit matters, only its place is read. */
async function step(
  model: Llama,
  cache: KVCache,
  tokens: readonly number[],
  sampler: Sampler,
  wanted: boolean,
): Promise<{ readonly id: number; readonly logits?: HostArray }> {
  const place = sampler.plain && !wanted;
  const result = noGrad(() => {
    const hidden = model.hidden(tokenTensor(tokens, cache), cache); //  [1, positions, hiddenSize]
    const last = slice(hidden, null, -1); //                            [1, hiddenSize]
    const logits = model.logits(last); //                               [1, vocabSize]
    return place ? argmax(logits, { axis: -1 }) : logits;
  });
  try {
    const values = await result.data();
    return place ? { id: values[0] as number } : { id: sampler.choose(values), logits: values };
  } finally {
    result.dispose();
  }
}

function tokenTensor(tokens: readonly number[], { backend }: KVCache): Tensor {
  return fromData(Int32Array.from(tokens), [1, tokens.length], { backend });
}

function samplingOf(options: TokenOptions): SamplingOptions {
  const named = SAMPLING_OPTIONS.filter((name) => options[name] !== undefined);
  return Object.fromEntries(named.map((name) => [name, options[name]]));
}

function checkPrompt(prompt: readonly number[], vocabSize: number): void {
  if (prompt.length === 0)
    throw new OptionError("generate: the prompt needs at least one token, such as that of the beginning.");
  const outside = prompt.find((id) => !(Number.isInteger(id) && id >= 0 && id < vocabSize));
  if (outside !== undefined) {
    throw new IndexError(
      `generate: token ${outside} of the prompt is outside the model's vocabulary of ${vocabSize}.`,
    );
  }
}

function refuseAborted(signal: CancelSignal | undefined): void {
  if (signal?.aborted === true) throw signal.reason ?? new Error("The generation was aborted.");
}

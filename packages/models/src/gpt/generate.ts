import {
  argmax,
  checkInteger,
  checkOptions,
  fromData,
  type HostArray,
  IndexError,
  OptionError,
  slice,
} from "@nf/core";
import { evaluating } from "../evaluating.ts";
import type { CancelSignal, FinishReason, GeneratedToken } from "../llama/generate.ts";
import { SAMPLING_OPTIONS, Sampler, type SamplingOptions } from "../llama/sampling.ts";
import { GptCache } from "./cache.ts";
import type { Gpt } from "./gpt.ts";

/** Options of {@link generateGptTokens}. */
export interface GptTokenOptions extends SamplingOptions {
  /** Most tokens to generate; default as many as the model has positions. */
  readonly maxTokens?: number;
  /** Tokens that end the text; they are not given out. Default none. */
  readonly eosTokens?: readonly number[];
  /** Whether each token comes with the logits it was chosen from; default false. */
  readonly logits?: boolean;
  /** Rejects with its reason, between two tokens, once it is aborted. */
  readonly signal?: CancelSignal;
}

/** Names of {@link GptTokenOptions}. */
export const GPT_TOKEN_OPTIONS: readonly (keyof GptTokenOptions)[] = [
  ...SAMPLING_OPTIONS,
  "maxTokens",
  "eosTokens",
  "logits",
  "signal",
];

/**
 * Generates tokens after a prompt of at least one token. The model sees the last `maxPositions` tokens: a text may go on
 * for longer than that. The return value says why it ended. It computes in evaluation mode; between two tokens the modules
 * are in the modes that they were in before.
 *
 * @throws OptionError for unknown options and options that contradict each other, IndexError for a token that the model
 * does not have
 *
 * @example
 * ```ts no-run
 * import { Gpt, generateGptTokens, NANOGPT } from "@nf/models";
 *
 * const model = new Gpt(NANOGPT);
 * for await (const { id } of generateGptTokens(model, [0], { maxTokens: 20, temperature: 0.8, seed: 7 })) console.log(id);
 * ```
 */
export async function* generateGptTokens(
  model: Gpt,
  prompt: readonly number[],
  options: GptTokenOptions = {},
): AsyncGenerator<GeneratedToken, FinishReason, undefined> {
  const op = "generate";
  checkOptions(op, options, GPT_TOKEN_OPTIONS);
  const { eosTokens = [], logits: wanted = false, signal } = options;
  const { maxPositions } = model.config;
  const most = checkInteger(op, "maxTokens", options.maxTokens ?? maxPositions, 0);
  checkPrompt(prompt, model.config.vocabSize);
  const sampler = new Sampler(samplingOf(options));
  sampler.prompt(prompt);
  const { backend } = model.position.weight;
  // What the model sees, and what of it is not computed yet.
  const seen = prompt.slice(-maxPositions);
  let next: readonly number[] = seen;
  let cache = most > 0 ? new GptCache(model.config, backend) : undefined;
  try {
    for (let count = 0; count < most; count++) {
      if (signal?.aborted === true) throw signal.reason ?? new Error("The generation was aborted.");
      const started = performance.now();
      if (cache !== undefined && cache.length + next.length > maxPositions) {
        // From here on each token moves the positions of all others, and nothing computed before holds.
        cache.dispose();
        cache = undefined;
      }
      const tokens = cache === undefined ? seen : next;
      const { id, logits } = await step(model, tokens, cache, sampler, wanted);
      if (eosTokens.includes(id)) return "eos";
      sampler.generated(id);
      seen.push(id);
      if (seen.length > maxPositions) seen.shift();
      next = [id];
      const seconds = (performance.now() - started) / 1000;
      yield { id, seconds, ...(logits !== undefined && { logits }) };
    }
    return "length";
  } finally {
    cache?.dispose();
  }
}

/** Computes tokens and chooses the next. Where nothing but the greatest logit matters, only its place is read. */
async function step(
  model: Gpt,
  tokens: readonly number[],
  cache: GptCache | undefined,
  sampler: Sampler,
  wanted: boolean,
): Promise<{ readonly id: number; readonly logits?: HostArray }> {
  const place = sampler.plain && !wanted;
  const { backend } = model.position.weight;
  const result = evaluating(model, () => {
    const hidden = model.hidden(fromData(Int32Array.from(tokens), [1, tokens.length], { backend }), cache);
    const logits = model.logits(slice(hidden, null, -1)); //            [1, vocabSize]
    return place ? argmax(logits, { axis: -1 }) : logits;
  });
  try {
    const values = await result.data();
    if (place) return { id: values[0] as number };
    return { id: sampler.choose(values), ...(wanted && { logits: values }) };
  } finally {
    result.dispose();
  }
}

function samplingOf(options: GptTokenOptions): SamplingOptions {
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

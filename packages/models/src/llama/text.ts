import { type HostArray, OptionError } from "@nf/core";
import type { FinishReason, GeneratedToken } from "./generate.ts";

/** How fast a text came. */
export interface GenerationTiming {
  /** Tokens of the prompt that were computed; those that the cache had already are not among them. */
  readonly prefillTokens: number;
  /** Seconds until the first token. */
  readonly prefillSeconds: number;
  /** Seconds of all tokens after the first. */
  readonly decodeSeconds: number;
  /** `prefillTokens` over `prefillSeconds`; 0 where nothing was computed. */
  readonly prefillTokensPerSecond: number;
  /** Tokens after the first over `decodeSeconds`; 0 where there are none. */
  readonly tokensPerSecond: number;
}

/** Turns ids into text, one by one. */
export interface PieceDecoder {
  /** The text that one more id brings. */
  push(id: number): string;
  /** What was held back. */
  end(): string;
}

/** What a {@link Generation} is made of. */
export interface GenerationParts {
  /** All ids of the prompt. */
  readonly promptTokens: readonly number[];
  /** Ids of the prompt that are computed, once the generation has begun. */
  readonly prefillTokens: () => number;
  readonly tokens: AsyncGenerator<GeneratedToken, FinishReason, undefined>;
  readonly decoder: PieceDecoder;
  readonly stop: readonly string[];
}

/**
 * A text that is being generated: iterate over it once for its pieces as they come, or wait for {@link finished}. What has
 * come so far can be read at any time, also after a cancellation.
 */
export class Generation implements AsyncIterable<string> {
  /** Ids of the whole prompt. */
  readonly promptTokens: readonly number[];
  /** Ids of the generated tokens, those of a stop string included. */
  readonly tokens: number[] = [];
  /** Logits that each token was chosen from, where they were asked for. */
  readonly logits: HostArray[] = [];
  /** The pieces given out so far, together. */
  text = "";
  /** Why the text ended; undefined while it has not. */
  finish: FinishReason | undefined = undefined;
  private readonly parts: GenerationParts;
  private begun = false;
  private prefillSeconds = 0;
  private decodeSeconds = 0;

  /** @internal */
  constructor(parts: GenerationParts) {
    checkStop(parts.stop);
    this.parts = parts;
    this.promptTokens = parts.promptTokens;
  }

  /** Measured without the time that the reader of the pieces takes. */
  get timing(): GenerationTiming {
    const { prefillSeconds, decodeSeconds } = this;
    const prefillTokens = this.begun ? this.parts.prefillTokens() : 0;
    const rate = (count: number, seconds: number): number => (seconds > 0 && count > 0 ? count / seconds : 0);
    return {
      prefillTokens,
      prefillSeconds,
      decodeSeconds,
      prefillTokensPerSecond: rate(prefillTokens, prefillSeconds),
      tokensPerSecond: rate(this.tokens.length - 1, decodeSeconds),
    };
  }

  /** Generates to the end. */
  async finished(): Promise<this> {
    for await (const _ of this) {
      // Pieces are gathered in `text`.
    }
    return this;
  }

  /** The pieces; none is empty. Leaving the loop early ends the text. */
  async *[Symbol.asyncIterator](): AsyncGenerator<string, void, undefined> {
    if (this.begun) throw new OptionError("generate: a generation can be read once. Start another.");
    this.begun = true;
    const { tokens, decoder, stop } = this.parts;
    let held = "";
    try {
      for (;;) {
        const next = await tokens.next();
        if (next.done === true) {
          this.finish = next.value;
          break;
        }
        this.note(next.value);
        held += decoder.push(next.value.id);
        const end = firstStop(held, stop);
        if (end !== undefined) {
          held = held.slice(0, end);
          this.finish = "stop";
          break;
        }
        const ready = held.length - heldBack(held, stop);
        if (ready > 0) yield this.give(held.slice(0, ready));
        held = held.slice(ready);
      }
      if (this.finish !== "stop") {
        held += decoder.end();
        const end = firstStop(held, stop);
        if (end !== undefined) held = held.slice(0, end);
      }
      if (held !== "") yield this.give(held);
    } finally {
      this.finish ??= "aborted";
      await tokens.return("aborted");
    }
  }

  private note({ id, logits, seconds }: GeneratedToken): void {
    if (this.tokens.length === 0) this.prefillSeconds = seconds;
    else this.decodeSeconds += seconds;
    this.tokens.push(id);
    if (logits !== undefined) this.logits.push(logits);
  }

  private give(piece: string): string {
    this.text += piece;
    return piece;
  }
}

function checkStop(stop: readonly string[]): void {
  if (!Array.isArray(stop) || stop.some((one) => typeof one !== "string" || one === ""))
    throw new OptionError('generate: stop must be a list of texts that are not empty, such as ["\\n\\n"].');
}

/** Where the first of the stop strings begins. */
function firstStop(text: string, stop: readonly string[]): number | undefined {
  const places = stop.map((one) => text.indexOf(one)).filter((place) => place >= 0);
  return places.length === 0 ? undefined : Math.min(...places);
}

/** Length of the longest end of the text that may be the beginning of a stop string. */
function heldBack(text: string, stop: readonly string[]): number {
  let longest = 0;
  for (const one of stop) {
    for (let length = Math.min(one.length - 1, text.length); length > longest; length--) {
      if (text.endsWith(one.slice(0, length))) longest = length;
    }
  }
  return longest;
}

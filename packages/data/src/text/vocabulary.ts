import { checkInteger, checkOptions, IndexError, OptionError } from "@nf/core";
import { isRecord } from "../collate.ts";
import { DataError } from "../errors.ts";
import { kindOf } from "../ndarray.ts";
import { checkFlag } from "../samplers/sampler.ts";

/** What happens to tokens that a vocabulary lacks: they become the unknown token, are left out, or are refused. */
export type UnknownPolicy = "replace" | "skip" | "error";

/** Options of {@link Vocabulary.build}. */
export interface VocabularyOptions {
  /** How often a token must be there to be kept. Default 1. */
  minFrequency?: number;
  /** Most tokens that are kept, special ones among them; the rarest go. Default all. */
  maxSize?: number;
  /** Tokens that come first, in this order, whether they are there or not. Default `["<pad>", "<unk>"]`. */
  specials?: readonly string[];
  /** Default `"replace"` if the unknown token is there, else `"error"`. */
  unknown?: UnknownPolicy;
  /** The special token that stands for the unknown. Default `"<unk>"`. */
  unknownToken?: string;
}

/** A {@link Vocabulary} as plain JSON. */
export interface VocabularyJson {
  readonly format: "nanoflux-vocabulary";
  readonly version: 1;
  readonly tokens: readonly string[];
  /** Number of special tokens, which come first. */
  readonly specials: number;
  /** How often each token was counted; 0 for special ones. */
  readonly counts: readonly number[];
  readonly unknown: UnknownPolicy;
  readonly unknownToken: string;
}

const POLICIES: readonly string[] = ["replace", "skip", "error"];

/** Tokens and their ids: special ones first, then the most frequent; equally frequent ones in the order of their characters. */
export class Vocabulary {
  /** Tokens by their ids. */
  readonly tokens: readonly string[];
  /** The first of {@link tokens}. */
  readonly specials: readonly string[];
  /** How often each was counted, by id; 0 for special ones. */
  readonly counts: readonly number[];
  readonly unknown: UnknownPolicy;
  readonly unknownToken: string;
  readonly #ids: ReadonlyMap<string, number>;

  private constructor(
    json: Pick<VocabularyJson, "tokens" | "counts" | "specials" | "unknown" | "unknownToken">,
  ) {
    this.tokens = Object.freeze([...json.tokens]);
    this.specials = Object.freeze(this.tokens.slice(0, json.specials));
    this.counts = Object.freeze([...json.counts]);
    this.unknown = json.unknown;
    this.unknownToken = json.unknownToken;
    this.#ids = new Map(this.tokens.map((token, id) => [token, id]));
  }

  /**
   * Counts tokens and keeps the frequent ones.
   *
   * @param sequences texts as tokens, such as `texts.map(splitWords)`.
   * @throws OptionError for options that make no sense, such as replacing the unknown without a token for it.
   */
  static build(sequences: Iterable<readonly string[]>, options: VocabularyOptions = {}): Vocabulary {
    checkOptions("Vocabulary.build", options, [
      ...["minFrequency", "maxSize", "specials", "unknown", "unknownToken"],
    ]);
    const { minFrequency = 1, specials = ["<pad>", "<unk>"], unknownToken = "<unk>" } = options;
    const { maxSize = Number.MAX_SAFE_INTEGER } = options;
    const unknown = options.unknown ?? (specials.includes(unknownToken) ? "replace" : "error");
    checkInteger("Vocabulary.build", "minFrequency", minFrequency, 1);
    checkInteger("Vocabulary.build", "maxSize", maxSize, specials.length);
    if (new Set(specials).size !== specials.length)
      throw new OptionError(`Vocabulary.build: a special token is there twice in ${specials.join(" ")}.`);
    if (!POLICIES.includes(unknown))
      throw new OptionError(
        `Vocabulary.build: unknown must be one of ${POLICIES.join(", ")}, got ${String(unknown)}.`,
      );
    if (unknown === "replace" && !specials.includes(unknownToken)) {
      throw new OptionError(
        `Vocabulary.build: to replace unknown tokens, specials must hold ${unknownToken}; they are ${specials.join(" ")}.`,
      );
    }
    const counts = new Map<string, number>();
    requireSequence("Vocabulary.build", "sequences", sequences, "texts as lists of tokens");
    for (const tokens of sequences) {
      requireSequence("Vocabulary.build", "a sequence", tokens, "a list of tokens");
      for (const token of tokens) {
        if (typeof token !== "string")
          throw new OptionError(`Vocabulary.build: a token must be a string, got ${kindOf(token)}.`);
        counts.set(token, (counts.get(token) ?? 0) + 1);
      }
    }
    const frequent = [...counts]
      .filter(([token, count]) => count >= minFrequency && !specials.includes(token))
      .sort(([a, m], [b, n]) => n - m || (a < b ? -1 : 1))
      .slice(0, maxSize - specials.length);
    return new Vocabulary({
      tokens: [...specials, ...frequent.map(([token]) => token)],
      counts: [...specials.map(() => 0), ...frequent.map(([, count]) => count)],
      specials: specials.length,
      unknown,
      unknownToken,
    });
  }

  /** Number of tokens; ids are less than it. */
  get size(): number {
    return this.tokens.length;
  }

  /** Id of a token, or undefined if there is none. */
  idOf(token: string): number | undefined {
    return this.#ids.get(token);
  }

  /** @throws IndexError for an id that is none. */
  tokenOf(id: number): string {
    const token = this.tokens[id];
    if (token !== undefined) return token;
    throw new IndexError(`Vocabulary: id ${id} is outside the vocabulary of ${this.size}.`);
  }

  /** Ids of tokens. @throws DataError for one that is not there, where the policy is `"error"`. */
  encode(tokens: readonly string[]): number[] {
    requireSequence("Vocabulary.encode", "tokens", tokens, "a list of tokens");
    const stand = this.#ids.get(this.unknownToken);
    const ids: number[] = [];
    for (const token of tokens) {
      const id = this.#ids.get(token) ?? (this.unknown === "replace" ? stand : undefined);
      if (id !== undefined) ids.push(id);
      else if (this.unknown === "error") {
        throw new DataError(
          `Vocabulary: it has no token ${JSON.stringify(token)}. Build it from more texts, or with unknown: "replace" or "skip".`,
        );
      }
    }
    return ids;
  }

  /** Tokens of ids. @throws IndexError for an id that is none. */
  decode(ids: ArrayLike<number>, options: { skipSpecial?: boolean } = {}): string[] {
    checkOptions("Vocabulary.decode", options, ["skipSpecial"]);
    const kept = Array.from(ids, (id) => ({ id, token: this.tokenOf(id) }));
    const first = checkFlag("Vocabulary.decode", "skipSpecial", options.skipSpecial ?? false)
      ? this.specials.length
      : 0;
    return kept.filter(({ id }) => id >= first).map(({ token }) => token);
  }

  toJSON(): VocabularyJson {
    const { tokens, specials, counts, unknown, unknownToken } = this;
    return {
      format: "nanoflux-vocabulary",
      version: 1,
      tokens,
      specials: specials.length,
      counts,
      unknown,
      unknownToken,
    };
  }

  /** The vocabulary that `JSON.stringify` saved. @throws DataError naming what is malformed. */
  static fromJSON(json: unknown): Vocabulary {
    const wrong = (what: string): never => {
      throw new DataError(`Vocabulary.fromJSON: ${what}. Expected what JSON.stringify(vocabulary) saved.`);
    };
    if (!isRecord(json) || json["format"] !== "nanoflux-vocabulary") return wrong("this is no vocabulary");
    if (json["version"] !== 1) return wrong(`version ${String(json["version"])} is not known`);
    const { tokens, counts, specials, unknown, unknownToken } = json;
    if (!Array.isArray(tokens) || !tokens.every((token) => typeof token === "string"))
      return wrong("tokens must be strings");
    if (new Set(tokens).size !== tokens.length) return wrong("a token is there twice");
    const isCount = (count: unknown): count is number =>
      typeof count === "number" && Number.isSafeInteger(count) && count >= 0;
    if (!Array.isArray(counts) || counts.length !== tokens.length || !counts.every(isCount))
      return wrong("counts must be one whole number for each token");
    if (!isCount(specials) || specials > tokens.length)
      return wrong("specials must be the number of special tokens");
    if (unknown !== "replace" && unknown !== "skip" && unknown !== "error")
      return wrong(`unknown must be one of ${POLICIES.join(", ")}`);
    if (typeof unknownToken !== "string") return wrong("unknownToken must be a string");
    if (unknown === "replace" && !tokens.slice(0, specials).includes(unknownToken))
      return wrong(`the special tokens lack ${unknownToken}`);
    return new Vocabulary({ tokens, counts, specials, unknown, unknownToken });
  }
}

/** A string can be iterated over, but gives letters where tokens or texts are meant. @throws OptionError for one. */
function requireSequence(op: string, name: string, value: unknown, expected: string): void {
  if (typeof value === "object" && value !== null && Symbol.iterator in value) return;
  const got = typeof value === "string" ? `the string ${JSON.stringify(value.slice(0, 40))}` : kindOf(value);
  throw new OptionError(
    `${op}: ${name} must be ${expected}, got ${got}. splitWords(text) or splitCharacters(text) make tokens of a text.`,
  );
}

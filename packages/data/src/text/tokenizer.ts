import { checkOptions, OptionError } from "@nf/core";
import { isRecord } from "../collate.ts";
import { DataError } from "../errors.ts";
import { kindOf } from "../ndarray.ts";
import { Vocabulary, type VocabularyJson, type VocabularyOptions } from "./vocabulary.ts";

/** The characters of a text, by code point. */
export function splitCharacters(text: string): string[] {
  return Array.from(text);
}

/**
 * Words of a text (letters, marks, digits, and apostrophes between them), and every other character but blanks by itself.
 *
 * @example
 * ```ts no-run
 * import { splitWords } from "@nf/data";
 * splitWords("It isn't, is it?"); // ["It", "isn't", ",", "is", "it", "?"]
 * ```
 */
export function splitWords(text: string): string[] {
  return text.match(/[\p{L}\p{M}\p{N}]+(?:['’][\p{L}\p{M}\p{N}]+)*|[^\s]/gu) ?? [];
}

/** Options of {@link TextTokenizer.train}. */
export interface TextTokenizerOptions extends VocabularyOptions {
  /** What texts are split into: {@link splitCharacters} or {@link splitWords}. */
  level: "character" | "word";
  /** Make texts small letters first. Default false. */
  lowercase?: boolean;
}

/** A {@link TextTokenizer} as plain JSON. */
export interface TextTokenizerJson {
  readonly format: "nanoflux-tokenizer";
  readonly version: 1;
  readonly level: "character" | "word";
  readonly lowercase: boolean;
  readonly vocabulary: VocabularyJson;
}

/**
 * Text to ids and back, by characters or words. It has the `encode`, `decode` and `vocabularySize` of the `Tokenizer` of
 * `@nf/io`, which reads trained tokenizers (byte pair encoding and others): one does in place of the other.
 */
export class TextTokenizer {
  readonly level: "character" | "word";
  readonly lowercase: boolean;
  readonly vocabulary: Vocabulary;

  /** @throws OptionError for a level that is none. */
  constructor(vocabulary: Vocabulary, options: { level: "character" | "word"; lowercase?: boolean }) {
    checkOptions("TextTokenizer", options, ["level", "lowercase"]);
    const { level, lowercase = false } = options;
    if (level !== "character" && level !== "word")
      throw new OptionError(`TextTokenizer: level must be "character" or "word", got ${String(level)}.`);
    if (typeof lowercase !== "boolean")
      throw new OptionError(`TextTokenizer: lowercase must be true or false, got ${String(lowercase)}.`);
    this.level = level;
    this.lowercase = lowercase;
    this.vocabulary = vocabulary;
  }

  /** Builds the vocabulary of texts; the options of {@link Vocabulary.build} go along. */
  static train(texts: Iterable<string>, options: TextTokenizerOptions): TextTokenizer {
    if (typeof texts !== "object" || texts === null || !(Symbol.iterator in texts)) {
      throw new OptionError(
        `TextTokenizer.train: texts must be a list of texts, as in TextTokenizer.train([text], …), got ${kindOf(texts)}.`,
      );
    }
    const { level, lowercase, ...more } = options ?? {};
    const settings = { level, ...(lowercase !== undefined && { lowercase }) };
    const split = new TextTokenizer(Vocabulary.build([]), settings);
    const sequences = function* (): Generator<string[]> {
      for (const text of texts) yield split.tokenize(text);
    };
    return new TextTokenizer(Vocabulary.build(sequences(), more), settings);
  }

  /** Number of ids. */
  get vocabularySize(): number {
    return this.vocabulary.size;
  }

  /** The tokens of a text, before they become ids. */
  tokenize(text: string): string[] {
    if (typeof text !== "string")
      throw new OptionError(`TextTokenizer: expected a text, got ${typeof text}.`);
    const prepared = this.lowercase ? text.toLowerCase() : text;
    return this.level === "character" ? splitCharacters(prepared) : splitWords(prepared);
  }

  /** Ids of a text. @throws DataError for a token that the vocabulary lacks, where its policy is `"error"`. */
  encode(text: string): number[] {
    return this.vocabulary.encode(this.tokenize(text));
  }

  /** Text of ids, without special tokens: characters as they were, words with blanks between and none before `.,!?;:)`. */
  decode(ids: ArrayLike<number>): string {
    const tokens = this.vocabulary.decode(ids, { skipSpecial: true });
    return this.level === "character" ? tokens.join("") : tokens.join(" ").replace(/ ([.,!?;:)])/g, "$1");
  }

  toJSON(): TextTokenizerJson {
    const { level, lowercase, vocabulary } = this;
    return { format: "nanoflux-tokenizer", version: 1, level, lowercase, vocabulary: vocabulary.toJSON() };
  }

  /** The tokenizer that `JSON.stringify` saved. @throws DataError naming what is malformed. */
  static fromJSON(json: unknown): TextTokenizer {
    const fields = isRecord(json) ? json : {};
    const { format, version, level, lowercase } = fields;
    if (
      format !== "nanoflux-tokenizer" ||
      version !== 1 ||
      (level !== "character" && level !== "word") ||
      typeof lowercase !== "boolean"
    ) {
      throw new DataError(
        "TextTokenizer.fromJSON: expected what JSON.stringify(tokenizer) saved, version 1.",
      );
    }
    return new TextTokenizer(Vocabulary.fromJSON(fields["vocabulary"]), { level, lowercase });
  }
}

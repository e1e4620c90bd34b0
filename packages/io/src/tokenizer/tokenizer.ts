import { Tokenizer as HuggingFaceTokenizer } from "@huggingface/tokenizers";
import { checkOptions, IndexError, OptionError } from "@nf/core";
import { reasonOf, TokenizerError } from "../errors.ts";
import { type ChatMessage, type ChatOptions, renderChat } from "./chat.ts";
import { prepareForLongWords } from "./long-words.ts";
import { DecodeStream } from "./stream.ts";
import { refuseUnknownParts } from "./unknown.ts";

/** Options of {@link Tokenizer.encode}. */
export interface EncodeOptions {
  /** Add what the model expects around a text, such as the token of the beginning; default true. */
  readonly addSpecial?: boolean;
}

/** Options of {@link Tokenizer.decode} and {@link Tokenizer.decodeStream}. */
export interface DecodeOptions {
  /** Leave special tokens out; default true. */
  readonly skipSpecial?: boolean;
}

/** The parts that a tokenizer is made of, as Hugging Face's `tokenizer.json` and `tokenizer_config.json` hold them. */
export interface TokenizerParts {
  /** What messages call it. */
  readonly name: string;
  /** The contents of `tokenizer.json`. */
  readonly tokenizer: Readonly<Record<string, unknown>>;
  /** The contents of `tokenizer_config.json`, as far as there are any. */
  readonly config?: Readonly<Record<string, unknown>>;
  readonly bosId?: number | undefined;
  readonly eosId?: number | undefined;
  readonly chatTemplate?: string | undefined;
}

/** The library's tokenizer, as far as it is used. Its own declarations do not resolve under Node's module rules. */
interface Encoder {
  readonly model: unknown;
  encode(
    text: string,
    options: { add_special_tokens: boolean },
  ): { readonly ids: (number | null | undefined)[] };
  decode(
    ids: number[],
    options: { skip_special_tokens: boolean; clean_up_tokenization_spaces: boolean },
  ): string;
  token_to_id(token: string): number | undefined;
  id_to_token(id: number): string | undefined;
  get_vocab(): ReadonlyMap<string, number>;
}

/** Text to ids and back, exactly as the model was trained with. */
export class Tokenizer {
  /** Number of ids, added tokens among them; ids are less than it. */
  readonly vocabularySize: number;
  /** Id of the token that begins a text, if the model has one. */
  readonly bosId: number | undefined;
  /** Id of the token that ends a text, if the model has one. */
  readonly eosId: number | undefined;
  /** The Jinja template that turns messages into a prompt, if the model has one. */
  readonly chatTemplate: string | undefined;
  readonly #name: string;
  readonly #encoder: Encoder;
  readonly #cleanUp: boolean;

  /** @throws TokenizerError if the parts do not make a tokenizer. */
  constructor(parts: TokenizerParts) {
    const config = parts.config ?? {};
    this.#name = parts.name;
    try {
      this.#encoder = new HuggingFaceTokenizer(parts.tokenizer, config);
      prepareForLongWords(this.#encoder.model);
      refuseUnknownParts(this.#encoder.model);
    } catch (error) {
      throw new TokenizerError(`${parts.name}: makes no tokenizer: ${reasonOf(error)}.`, { cause: error });
    }
    let greatest = -1;
    for (const id of this.#encoder.get_vocab().values()) greatest = Math.max(greatest, id);
    this.vocabularySize = greatest + 1;
    this.bosId = parts.bosId;
    this.eosId = parts.eosId;
    this.chatTemplate = parts.chatTemplate;
    // The library would tidy blanks before punctuation by default; models that want it say so.
    this.#cleanUp = config["clean_up_tokenization_spaces"] === true;
  }

  /**
   * Ids of a text. What the vocabulary lacks becomes its bytes where it has those, else the token for the unknown.
   *
   * @throws TokenizerError if it has neither.
   */
  encode(text: string, options: EncodeOptions = {}): number[] {
    checkOptions("encode", options, ["addSpecial"]);
    if (typeof text !== "string") throw new OptionError(`encode: expected a text, got ${typeof text}.`);
    const ids = this.#attempt("encode the text", () =>
      this.#encoder.encode(text, { add_special_tokens: options.addSpecial ?? true }),
    ).ids;
    if (isComplete(ids)) return ids;
    const unknown = ids.findIndex(isNoId);
    throw new TokenizerError(
      `${this.#name}: the text has something at token ${unknown} that the vocabulary lacks, and it has no token for the unknown. Leave it out of the text.`,
    );
  }

  /** Text of ids. */
  decode(ids: ArrayLike<number>, options: DecodeOptions = {}): string {
    checkOptions("decode", options, ["skipSpecial"]);
    const list = Array.from(ids, (id) => this.#checkId(id));
    if (list.length === 0) return "";
    return this.#attempt("decode the ids", () =>
      this.#encoder.decode(list, {
        skip_special_tokens: options.skipSpecial ?? true,
        clean_up_tokenization_spaces: this.#cleanUp,
      }),
    );
  }

  /** A decoder for ids that come one by one; the pieces together are what {@link decode} gives for all of them. */
  decodeStream(options: DecodeOptions = {}): DecodeStream {
    checkOptions("decodeStream", options, ["skipSpecial"]);
    return new DecodeStream((ids) => this.decode(ids, options));
  }

  /** Id of a token by its name, such as `</s>`; undefined if there is none. */
  idOf(token: string): number | undefined {
    return this.#encoder.token_to_id(token);
  }

  /** Name of a token, as the vocabulary writes it. */
  tokenOf(id: number): string | undefined {
    return this.#encoder.id_to_token(this.#checkId(id));
  }

  /**
   * The prompt for a conversation, by the model's own template. Encode it with `addSpecial: false`: a template writes
   * the special tokens itself.
   *
   * @throws TokenizerError if the model has no template, or it fails.
   */
  applyChatTemplate(messages: readonly ChatMessage[], options: ChatOptions = {}): string {
    const nameOf = (id: number | undefined): string => (id === undefined ? "" : (this.tokenOf(id) ?? ""));
    return renderChat(this.#name, this.chatTemplate, messages, options, {
      bos_token: nameOf(this.bosId),
      eos_token: nameOf(this.eosId),
    });
  }

  /** A file that makes a tokenizer can still be one that fails at work. */
  #attempt<T>(what: string, work: () => T): T {
    try {
      return work();
    } catch (error) {
      throw new TokenizerError(`${this.#name}: cannot ${what}: ${reasonOf(error)}.`, { cause: error });
    }
  }

  #checkId(id: number): number {
    if (Number.isInteger(id) && id >= 0 && id < this.vocabularySize) return id;
    throw new IndexError(`decode: id ${id} is outside the vocabulary of ${this.vocabularySize}.`);
  }
}

/** What the library gives for a token that neither it nor the unknown has an id for. */
type NoId = null | undefined;

function isNoId(id: number | NoId): id is NoId {
  return id === undefined || id === null;
}

function isComplete(ids: (number | NoId)[]): ids is number[] {
  return !ids.some(isNoId);
}

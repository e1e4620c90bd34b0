import { TokenizerError } from "../errors.ts";
import type { MetadataValue, WeightFile } from "../weight-file.ts";
import { byteLevelTokenizer } from "./byte-level.ts";
import { pieceTokenizer } from "./sentencepiece.ts";
import { Tokenizer } from "./tokenizer.ts";

/** Kinds of tokens as `tokenizer.ggml.token_type` numbers them. */
const UNKNOWN = 2;
const CONTROL = 3;
const USER_DEFINED = 4;

/**
 * The tokenizer in a GGUF file: SentencePiece vocabularies with scores (`llama`) and byte pair encoding with merges
 * (`gpt2`).
 *
 * @throws TokenizerError for other kinds, or if lists are missing, of different lengths, or not of the right type.
 */
export function ggufTokenizer(file: WeightFile): Tokenizer {
  const metadata = new Metadata(file);
  const model = metadata.get("tokenizer.ggml.model");
  const pieces = metadata.strings("tokenizer.ggml.tokens");
  const types = metadata.numbers("tokenizer.ggml.token_type", pieces.length) ?? pieces.map(() => 1);
  const bosId = metadata.id("tokenizer.ggml.bos_token_id", pieces.length);
  const eosId = metadata.id("tokenizer.ggml.eos_token_id", pieces.length);
  const idsOf = (...wanted: number[]): number[] =>
    types.flatMap((type, id) => (wanted.includes(type) ? [id] : []));
  const around = (byDefault: boolean): { before: readonly number[]; after: readonly number[] } => ({
    before: metadata.flag("tokenizer.ggml.add_bos_token", byDefault) && bosId !== undefined ? [bosId] : [],
    after: metadata.flag("tokenizer.ggml.add_eos_token", false) && eosId !== undefined ? [eosId] : [],
  });
  const common = { name: file.name, pieces, userIds: idsOf(USER_DEFINED) };
  let tokenizer: Readonly<Record<string, unknown>>;
  if (model === "llama") {
    tokenizer = pieceTokenizer({
      ...common,
      ...around(true),
      controlIds: idsOf(UNKNOWN, CONTROL),
      scores:
        metadata.numbers("tokenizer.ggml.scores", pieces.length) ?? metadata.fail("tokenizer.ggml.scores"),
      unknownId: metadata.id("tokenizer.ggml.unknown_token_id", pieces.length) ?? 0,
      addPrefix: metadata.flag("tokenizer.ggml.add_space_prefix", true),
    });
  } else if (model === "gpt2") {
    const preTokenizer = metadata.get("tokenizer.ggml.pre") ?? "gpt-2";
    tokenizer = byteLevelTokenizer({
      ...common,
      ...around(preTokenizer === "llama-bpe"),
      controlIds: idsOf(CONTROL),
      merges: metadata.strings("tokenizer.ggml.merges"),
      preTokenizer: String(preTokenizer),
    });
  } else {
    throw new TokenizerError(
      `${file.name}: has a tokenizer of the kind ${JSON.stringify(model)}; "llama" and "gpt2" are read. ` +
        "Put the model's tokenizer.json beside it and load that.",
    );
  }
  const chatTemplate = metadata.get("tokenizer.chat_template");
  return new Tokenizer({
    name: file.name,
    tokenizer,
    bosId,
    eosId,
    chatTemplate: typeof chatTemplate === "string" ? chatTemplate : undefined,
  });
}

/** Typed access to the entries of a file. */
class Metadata {
  readonly #file: WeightFile;

  constructor(file: WeightFile) {
    this.#file = file;
  }

  get(key: string): MetadataValue | undefined {
    return this.#file.metadata.get(key);
  }

  fail(key: string): never {
    throw new TokenizerError(
      `${this.#file.name}: ${key} is missing, or not what a tokenizer needs. Convert the model again.`,
    );
  }

  strings(key: string): readonly string[] {
    const value = this.get(key);
    const sound = Array.isArray(value) && value.length > 0 && value.every((one) => typeof one === "string");
    return sound ? (value as readonly string[]) : this.fail(key);
  }

  /** One number a token; undefined if there is no such entry. */
  numbers(key: string, count: number): readonly number[] | undefined {
    const value = this.get(key);
    if (value === undefined) return undefined;
    const sound =
      Array.isArray(value) && value.length === count && value.every((one) => typeof one === "number");
    return sound ? (value as readonly number[]) : this.fail(key);
  }

  id(key: string, count: number): number | undefined {
    const value = this.get(key);
    if (value === undefined) return undefined;
    return typeof value === "number" && Number.isInteger(value) && value >= 0 && value < count
      ? value
      : this.fail(key);
  }

  flag(key: string, byDefault: boolean): boolean {
    const value = this.get(key) ?? byDefault;
    return typeof value === "boolean" ? value : this.fail(key);
  }
}

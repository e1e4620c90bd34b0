import { reasonOf, TokenizerError } from "../errors.ts";
import type { ByteSource } from "../files/source.ts";
import { surround } from "./sentencepiece.ts";
import { Tokenizer, type TokenizerParts } from "./tokenizer.ts";

type Fields = Readonly<Record<string, unknown>>;

/** Largest `tokenizer.json`; the largest published ones have 33 MB. */
const LARGEST = 50_000_000;
const DEEPEST = 64;
/** The largest published vocabularies have 1.9 million values, 0.5 million of them pairs. */
const MOST_VALUES = 2_500_000;
const MOST_LISTS = 1_000_000;
/** Ids leave no larger gaps: the library keeps a list as long as the greatest id. */
const GREATEST_ID = 2 ** 22;

const KINDS: readonly unknown[] = ["BPE", "WordPiece", "Unigram", "WordLevel"];

/** Names that the ends of a text usually have, for a `tokenizer.json` without a configuration. */
const USUAL_BOS = ["<s>", "<|begin_of_text|>", "<|startoftext|>", "<bos>"];
const USUAL_EOS = ["</s>", "<|end_of_text|>", "<|endoftext|>", "<eos>"];

/** What may lie beside a `tokenizer.json`. */
export interface TokenizerNeighbours {
  /** `tokenizer_config.json` */
  readonly tokenizerConfig?: Fields | undefined;
  /** `config.json` of the model */
  readonly config?: Fields | undefined;
  /** `chat_template.jinja` */
  readonly chatTemplate?: string | undefined;
}

/** A tokenizer from the contents of a `tokenizer.json` and what lies beside it. */
export function jsonTokenizer(name: string, tokenizer: Fields, beside: TokenizerNeighbours): Tokenizer {
  const config = beside.tokenizerConfig ?? {};
  const names = addedNames(name, tokenizer);
  checkModel(name, tokenizer);
  const bosId = endId("bos", USUAL_BOS, names, config, beside.config);
  const eosId = endId("eos", USUAL_EOS, names, config, beside.config);
  const parts: TokenizerParts = {
    name,
    tokenizer: withEnds(tokenizer, config, names, bosId, eosId),
    config,
    bosId,
    eosId,
    chatTemplate: beside.chatTemplate ?? templateOf(config),
  };
  return new Tokenizer(parts);
}

/** Reads a JSON object, after a look at its depth and length: `JSON.parse` would build what it is given. */
export async function readFields(source: ByteSource): Promise<Fields> {
  const { name, size } = source;
  if (size > LARGEST)
    throw new TokenizerError(`${name}: ${size} bytes are more than the ${LARGEST} a tokenizer may have.`);
  const bytes = await source.read(0, size);
  if (!isWithinLimits(bytes))
    throw new TokenizerError(
      `${name}: is no JSON, or nested deeper than ${DEEPEST}, or has more than ${MOST_VALUES} values or ${MOST_LISTS} lists and objects.`,
    );
  let value: unknown;
  try {
    value = JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(bytes));
  } catch (error) {
    throw new TokenizerError(`${name}: no sound JSON: ${reasonOf(error)}.`, { cause: error });
  }
  return isFields(value) ? value : fail(name, "holds no object");
}

function fail(name: string, what: string): never {
  throw new TokenizerError(`${name}: ${what}. Fetch it again.`);
}

function isFields(value: unknown): value is Fields {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** Whether brackets close, and are not too many or too deep. Texts are skipped, all else is left to the parser. */
export function isWithinLimits(bytes: Uint8Array): boolean {
  let depth = 0;
  let values = 0;
  let lists = 0;
  for (let at = 0; at < bytes.length; at++) {
    const byte = bytes[at];
    if (byte === 0x22) {
      for (at++; at < bytes.length && bytes[at] !== 0x22; at++) if (bytes[at] === 0x5c) at++;
    } else if (byte === 0x7b || byte === 0x5b) {
      if (++lists > MOST_LISTS || ++depth > DEEPEST) return false;
    } else if (byte === 0x7d || byte === 0x5d) {
      depth--;
    } else if (byte === 0x2c && ++values > MOST_VALUES) return false;
  }
  return depth === 0;
}

function addedNames(name: string, tokenizer: Fields): ReadonlyMap<string, number> {
  const added = tokenizer["added_tokens"] ?? [];
  if (!Array.isArray(added)) return fail(name, "its added_tokens are no list");
  return new Map(
    added.map((token: unknown) => {
      const fields = isFields(token) ? token : fail(name, "one of its added_tokens is no object");
      const { content, id } = fields;
      if (typeof content !== "string" || content === "" || !isId(id))
        return fail(name, "one of its added_tokens has no content, or no id");
      return [content, id] as const;
    }),
  );
}

function isId(id: unknown): id is number {
  return Number.isInteger(id) && (id as number) >= 0 && (id as number) <= GREATEST_ID;
}

function checkModel(name: string, tokenizer: Fields): void {
  const model = tokenizer["model"];
  if (!isFields(model)) fail(name, "has no model");
  const { type, vocab, merges } = model as Fields;
  // The library takes a kind it does not know for one that splits nothing. Old files name none.
  if (type !== undefined && !KINDS.includes(type))
    fail(name, `its model is of the unknown kind ${JSON.stringify(type)}`);
  const entries = Array.isArray(vocab)
    ? vocab
    : isFields(vocab)
      ? Object.values(vocab)
      : fail(name, "has no vocabulary");
  if (!Array.isArray(vocab) && !entries.every(isId))
    fail(name, `an id of its vocabulary is no number up to ${GREATEST_ID}`);
  if (merges !== undefined && !Array.isArray(merges)) fail(name, "its merges are no list");
}

/** The id of the token that begins or ends a text. */
function endId(
  which: "bos" | "eos",
  usual: readonly string[],
  names: ReadonlyMap<string, number>,
  tokenizerConfig: Fields,
  config: Fields | undefined,
): number | undefined {
  const named = tokenizerConfig[`${which}_token`];
  const name = isFields(named) ? named["content"] : named;
  if (typeof name === "string" && names.has(name)) return names.get(name);
  const ids = config?.[`${which}_token_id`];
  const id: unknown = Array.isArray(ids) ? ids[0] : ids;
  if (isId(id)) return id;
  return names.get(usual.find((one) => names.has(one)) ?? "");
}

/** Tokenizers of older models leave it to the configuration to put tokens around a text. */
function withEnds(
  tokenizer: Fields,
  config: Fields,
  names: ReadonlyMap<string, number>,
  bosId: number | undefined,
  eosId: number | undefined,
): Fields {
  const { post_processor = null } = tokenizer;
  if (post_processor !== null) return tokenizer;
  const pieces: string[] = [];
  for (const [name, id] of names) pieces[id] = name;
  const put = (key: string, id: number | undefined): readonly number[] =>
    config[key] === true && id !== undefined && pieces[id] !== undefined ? [id] : [];
  return {
    ...tokenizer,
    post_processor: surround(pieces, put("add_bos_token", bosId), put("add_eos_token", eosId)),
  };
}

/** One template, or the one called `default` of several. */
function templateOf(config: Fields): string | undefined {
  const template = config["chat_template"];
  if (typeof template === "string") return template;
  if (!Array.isArray(template)) return undefined;
  const found: unknown = template.find((one) => isFields(one) && one["name"] === "default");
  return isFields(found) && typeof found["template"] === "string" ? found["template"] : undefined;
}

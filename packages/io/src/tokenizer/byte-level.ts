import { TokenizerError } from "../errors.ts";
import { addedTokens, surround } from "./sentencepiece.ts";

/** A vocabulary of byte pair encoding over bytes, as GPT-2 introduced it. */
export interface ByteLevelVocabulary {
  readonly name: string;
  /** Tokens by id, each byte written as GPT-2's visible character for it. */
  readonly pieces: readonly string[];
  /** Pairs that are joined, first the most urgent, as `left right`. */
  readonly merges: readonly string[];
  readonly controlIds: readonly number[];
  readonly userIds: readonly number[];
  /** llama.cpp's name of the rule by which text is cut before merging. */
  readonly preTokenizer: string;
  readonly before: readonly number[];
  readonly after: readonly number[];
}

const contractions = "(?i:'s|'t|'re|'ve|'m|'ll|'d)";
const rest = " ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+";

/** Where text is cut; undefined stands for GPT-2's own rule. */
const CUTS: Readonly<Record<string, string | undefined>> = {
  "gpt-2": undefined,
  "llama-bpe": `${contractions}|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}{1,3}|${rest}`,
  qwen2: `${contractions}|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}|${rest}`,
};

/** The vocabulary as the contents of a `tokenizer.json`. */
export function byteLevelTokenizer(vocabulary: ByteLevelVocabulary): Readonly<Record<string, unknown>> {
  const { name, pieces, preTokenizer } = vocabulary;
  if (!Object.hasOwn(CUTS, preTokenizer)) {
    throw new TokenizerError(
      `${name}: cuts text by the rule ${JSON.stringify(preTokenizer)}; ${Object.keys(CUTS).join(", ")} are known. ` +
        "Put the model's tokenizer.json beside it and load that.",
    );
  }
  const cut = CUTS[preTokenizer];
  const byteLevel = {
    type: "ByteLevel",
    add_prefix_space: false,
    trim_offsets: true,
    use_regex: cut === undefined,
  };
  const split = { type: "Split", pattern: { Regex: cut }, behavior: "Isolated", invert: false };
  return {
    version: "1.0",
    added_tokens: addedTokens(pieces, vocabulary.controlIds, vocabulary.userIds),
    normalizer: null,
    pre_tokenizer: cut === undefined ? byteLevel : { type: "Sequence", pretokenizers: [split, byteLevel] },
    post_processor: surround(pieces, vocabulary.before, vocabulary.after),
    decoder: { type: "ByteLevel", add_prefix_space: true, trim_offsets: true, use_regex: true },
    model: {
      type: "BPE",
      unk_token: null,
      fuse_unk: false,
      byte_fallback: false,
      // llama.cpp, too, takes a whole word that is in the vocabulary without merging, for these rules.
      ignore_merges: preTokenizer === "llama-bpe",
      vocab: Object.fromEntries(pieces.map((piece, id) => [piece, id])),
      merges: vocabulary.merges.map((merge) => splitMerge(name, merge)),
    },
  };
}

function splitMerge(name: string, merge: string): readonly [string, string] {
  // A blank within a token is written otherwise, so the first one separates.
  const at = merge.indexOf(" ", 1);
  if (at < 0)
    throw new TokenizerError(`${name}: the merge ${JSON.stringify(merge.slice(0, 100))} is no pair.`);
  return [merge.slice(0, at), merge.slice(at + 1)];
}

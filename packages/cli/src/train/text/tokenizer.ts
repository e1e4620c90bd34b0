/** Character that texts begin with. */
export const FIRST = "\n";

/** A `tokenizer.json` whose tokens are single characters, in the order of their ids. */
export function characterTokenizer(characters: readonly string[]): object {
  return {
    version: "1.0",
    truncation: null,
    padding: null,
    added_tokens: [],
    normalizer: null,
    pre_tokenizer: null,
    post_processor: null,
    decoder: { type: "Fuse" },
    // Byte pairs without pairs: each character stays by itself.
    model: {
      type: "BPE",
      dropout: null,
      unk_token: null,
      continuing_subword_prefix: null,
      end_of_word_suffix: null,
      fuse_unk: false,
      byte_fallback: false,
      vocab: Object.fromEntries(characters.map((character, id) => [character, id])),
      merges: [],
    },
  };
}

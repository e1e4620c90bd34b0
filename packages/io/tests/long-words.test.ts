import { Tokenizer as Library } from "@huggingface/tokenizers";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { loadTokenizer } from "../src/index.ts";
import { quickenLongWords } from "../src/tokenizer/long-words.ts";

interface Encoder {
  readonly model: { bpe(word: string): string[] };
}

/** Merges with ties, with a part that is made in two ways, and one that is named twice. */
const merges = [
  "a a",
  "a b",
  "b a",
  "aa b",
  "a ab",
  "\u{1f600} a",
  "aa aa",
  "b b",
  "aab a",
  "a b",
  "bb \u{1f600}",
];
const letters = ["a", "b", "\u{1f600}", "x", "\u00e9"];

function encoder(): Encoder {
  const pieces = [...new Set([...letters, ...merges.map((merge) => merge.replace(" ", ""))])];
  const vocab = Object.fromEntries(pieces.map((piece, id) => [piece, id]));
  const parts = {
    added_tokens: [],
    normalizer: null,
    pre_tokenizer: null,
    post_processor: null,
    decoder: null,
  };
  return new Library({ ...parts, model: { type: "BPE", vocab, merges, unk_token: null } }, {});
}

describe("long words", () => {
  it("are cut as the library cuts them", () => {
    const library = encoder();
    const quick = encoder();
    quickenLongWords(quick.model);
    const word = fc
      .array(fc.constantFrom(...letters), { minLength: 2048, maxLength: 2300 })
      .map((list) => list.join(""));
    fc.assert(
      fc.property(word, (text) => {
        expect(quick.model.bpe(text)).toEqual(library.model.bpe(text));
      }),
      { numRuns: 100 },
    );
  });

  it("fit on the stack in Unigram, too", async () => {
    const model = {
      type: "Unigram",
      unk_id: 0,
      vocab: [
        ["<unk>", 0],
        ["a", -3],
        ["aa", -4],
      ],
    };
    const parts = {
      added_tokens: [],
      normalizer: null,
      pre_tokenizer: null,
      post_processor: null,
      decoder: { type: "Fuse" },
    };
    const tokenizer = await loadTokenizer(new TextEncoder().encode(JSON.stringify({ ...parts, model })));
    const ids = tokenizer.encode("a".repeat(300_000));
    expect(ids).toHaveLength(150_000);
    expect(new Set(ids)).toEqual(new Set([2]));
  });

  it("leave short ones and other models alone", () => {
    const quick = encoder();
    const before = quick.model.bpe("aab");
    quickenLongWords(quick.model);
    expect(quick.model.bpe("aab")).toEqual(before);
    quickenLongWords(null);
    quickenLongWords({ bpe: 1 });
  });
});

import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { splitCharacters, splitWords, TextTokenizer, Vocabulary } from "../src/index.ts";

const data = expect.objectContaining({ code: "NF_DATA" });
const option = expect.objectContaining({ code: "NF_OPTION" });

describe("Vocabulary", () => {
  const texts = [["b", "a", "b"], ["c", "b", "a"], ["d"]];

  it("has special tokens, then the frequent ones, equals in the order of their characters", () => {
    const vocabulary = Vocabulary.build(texts);
    expect(vocabulary.tokens).toEqual(["<pad>", "<unk>", "b", "a", "c", "d"]);
    expect(vocabulary.counts).toEqual([0, 0, 3, 2, 1, 1]);
    expect([vocabulary.idOf("b"), vocabulary.idOf("x"), vocabulary.tokenOf(3)]).toEqual([2, undefined, "a"]);
    expect(Vocabulary.build(texts, { minFrequency: 2 }).tokens).toEqual(["<pad>", "<unk>", "b", "a"]);
    expect(Vocabulary.build(texts, { maxSize: 3, specials: ["<s>"] }).tokens).toEqual(["<s>", "b", "a"]);
    expect(Vocabulary.build([["<pad>", "__proto__", "constructor"]]).tokens).toEqual([
      ...["<pad>", "<unk>", "__proto__", "constructor"],
    ]);
  });

  it("replaces, skips or refuses what it lacks", () => {
    const encode = (options: object): number[] => Vocabulary.build(texts, options).encode(["b", "x", "a"]);
    expect(encode({})).toEqual([2, 1, 3]);
    expect(encode({ unknown: "skip" })).toEqual([2, 3]);
    expect(() => encode({ unknown: "error" })).toThrow(data);
    expect(() => encode({ specials: [] })).toThrow(/no token "x"/);
    expect(encode({ specials: ["<pad>", "[UNK]"], unknownToken: "[UNK]" })).toEqual([2, 1, 3]);
  });

  it("decodes what it encoded, with or without special tokens", () => {
    const vocabulary = Vocabulary.build(texts);
    expect(vocabulary.decode([2, 1, 0])).toEqual(["b", "<unk>", "<pad>"]);
    expect(vocabulary.decode(Int32Array.of(2, 1, 3), { skipSpecial: true })).toEqual(["b", "a"]);
    expect(() => vocabulary.decode([6])).toThrow(expect.objectContaining({ code: "NF_INDEX" }));
    fc.assert(
      fc.property(fc.array(fc.array(fc.string())), (sequences) => {
        const own = Vocabulary.build(sequences, { specials: [] });
        for (const tokens of sequences) expect(own.decode(own.encode(tokens))).toEqual(tokens);
        const again = Vocabulary.fromJSON(JSON.parse(JSON.stringify(own)));
        expect(again.toJSON()).toEqual(own.toJSON());
        for (const tokens of sequences) expect(again.encode(tokens)).toEqual(own.encode(tokens));
      }),
    );
  });

  it("does not take a text for a list of tokens, nor for a list of texts", () => {
    const texts: unknown[] = ["abc", ["abc"], undefined, [undefined], [[1]], 3];
    for (const wrong of texts) expect(() => Vocabulary.build(wrong as string[][])).toThrow(option);
    expect(() => Vocabulary.build(["abc"] as never)).toThrow(
      /list of tokens, got the string "abc".*splitWords/,
    );
    expect(() => Vocabulary.build([["a"]]).encode("a" as never)).toThrow(option);
    expect(() => Vocabulary.build([["a"]]).decode([1], { skipSpecial: "no" as never })).toThrow(option);
    for (const wrong of ["abc", undefined, 3])
      expect(() => TextTokenizer.train(wrong as never, { level: "word" })).toThrow(/list of texts/);
  });

  it("refuses options and files that make no sense", () => {
    expect(() => Vocabulary.build([], { unknown: "replace", specials: [] })).toThrow(option);
    expect(() => Vocabulary.build([], { specials: ["a", "a"] })).toThrow(option);
    expect(() => Vocabulary.build([], { maxSize: 1 })).toThrow(option);
    const wrong: object = { unknown: "guess" };
    expect(() => Vocabulary.build([], wrong)).toThrow(option);
    const saved = Vocabulary.build(texts).toJSON();
    const broken: object[] = [
      { format: "other" },
      { version: 2 },
      { tokens: ["a", "a"] },
      { tokens: "abc" },
      { counts: [1] },
      { specials: 7 },
      { unknown: "guess" },
      { unknownToken: "<s>" },
    ];
    for (const change of broken) expect(() => Vocabulary.fromJSON({ ...saved, ...change })).toThrow(data);
    for (const nothing of [null, [], "x"]) expect(() => Vocabulary.fromJSON(nothing)).toThrow(data);
  });
});

describe("splitting texts", () => {
  it("gives characters by code point, and words with marks by themselves", () => {
    expect(splitCharacters("a😀ß")).toEqual(["a", "😀", "ß"]);
    expect(splitWords("It isn't, is it?")).toEqual(["It", "isn't", ",", "is", "it", "?"]);
    expect(splitWords("Grüße 3,5 — l’été…")).toEqual(["Grüße", "3", ",", "5", "—", "l’été", "…"]);
    expect(splitWords(" \n")).toEqual([]);
  });

  it("loses nothing but blanks", () => {
    fc.assert(
      fc.property(fc.string({ unit: "binary" }), (text) => {
        expect(splitWords(text).join("")).toBe(text.replace(/\s/gu, ""));
        expect(splitCharacters(text).join("")).toBe(text);
      }),
    );
  });
});

describe("TextTokenizer", () => {
  it("goes from text to ids and back by characters", () => {
    const tokenizer = TextTokenizer.train(["hello", "wörld"], { level: "character", specials: [] });
    expect(tokenizer.vocabularySize).toBe(8);
    expect(tokenizer.encode("lo")).toEqual([0, 4]);
    expect(tokenizer.decode(tokenizer.encode("dröhell"))).toBe("dröhell");
    expect(() => tokenizer.encode("x")).toThrow(data);
  });

  it("goes by words, in small letters if asked, with blanks where they belong", () => {
    const tokenizer = TextTokenizer.train(["The cat sat. The dog?"], { level: "word", lowercase: true });
    expect(tokenizer.vocabulary.tokens.slice(0, 3)).toEqual(["<pad>", "<unk>", "the"]);
    expect(tokenizer.decode(tokenizer.encode("THE dog sat."))).toBe("the dog sat.");
    expect(tokenizer.encode("the fox")).toEqual([2, 1]);
    const again = TextTokenizer.fromJSON(JSON.parse(JSON.stringify(tokenizer)));
    expect(again.encode("The DOG, the cat")).toEqual(tokenizer.encode("The DOG, the cat"));
  });

  it("refuses levels, options and files it does not know", () => {
    const wrong: object = { level: "byte" };
    expect(() => TextTokenizer.train([], wrong as { level: "word" })).toThrow(option);
    const unknown: object = { level: "word", minCount: 2 };
    expect(() => TextTokenizer.train([], unknown as { level: "word" })).toThrow(/unknown option "minCount"/);
    const saved = TextTokenizer.train([], { level: "word" }).toJSON();
    for (const change of [{ format: "x" }, { version: 9 }, { level: "byte" }, { vocabulary: {} }])
      expect(() => TextTokenizer.fromJSON({ ...saved, ...change })).toThrow(data);
  });
});

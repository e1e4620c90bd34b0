import { readFileSync } from "node:fs";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { loadTokenizer, type Tokenizer, TokenizerError } from "../src/index.ts";
import { dataFolder } from "./support/data.ts";
import { temporaryFolder } from "./support/files.ts";
import { type Entry, gguf } from "./support/gguf.ts";
import { withUnknown } from "./support/options.ts";

const json = (value: unknown): Uint8Array => new TextEncoder().encode(JSON.stringify(value));

/** A byte pair encoding of a few letters. */
const small = {
  version: "1.0",
  added_tokens: [
    { id: 0, content: "<s>", special: true },
    { id: 1, content: "</s>", special: true },
  ],
  normalizer: null,
  pre_tokenizer: null,
  post_processor: null,
  decoder: { type: "Fuse" },
  model: {
    type: "BPE",
    unk_token: null,
    vocab: { "<s>": 0, "</s>": 1, a: 2, b: 3, ab: 4, __proto__x: 5 },
    merges: ["a b"],
  },
};

function streamed(tokenizer: Tokenizer, ids: readonly number[]): string {
  const stream = tokenizer.decodeStream();
  return ids.map((id) => stream.push(id)).join("") + stream.end();
}

describe("loadTokenizer", () => {
  it("takes the ends of a text and the template from the files beside tokenizer.json", async () => {
    const folder = temporaryFolder();
    const write = (name: string, text: string | Uint8Array): Promise<void> =>
      writeFile(join(folder, name), text);
    await write("tokenizer.json", json(small));
    const plain = await loadTokenizer(folder);
    expect([plain.bosId, plain.eosId, plain.chatTemplate, plain.vocabularySize]).toEqual([
      0,
      1,
      undefined,
      6,
    ]);
    expect(plain.encode("aab")).toEqual([2, 4]);
    expect(plain.encode("a</s>b")).toEqual([2, 1, 3]);
    expect(plain.decode([0, 4, 1])).toBe("ab");
    expect(plain.decode([0, 4, 1], { skipSpecial: false })).toBe("<s>ab</s>");
    expect([plain.idOf("ab"), plain.tokenOf(4), plain.idOf("none")]).toEqual([4, "ab", undefined]);

    await write("config.json", json({ bos_token_id: 2, eos_token_id: [3, 4] }));
    const configured = await loadTokenizer(folder);
    expect([configured.bosId, configured.eosId]).toEqual([2, 3]);

    const templates = [
      { name: "tools", template: "no" },
      { name: "default", template: "{{ bos_token }}{{ messages[0].content }}" },
    ];
    await write(
      "tokenizer_config.json",
      json({
        bos_token: { content: "</s>" },
        eos_token: "<s>",
        add_bos_token: true,
        chat_template: templates,
      }),
    );
    const full = await loadTokenizer(folder);
    expect([full.bosId, full.eosId]).toEqual([1, 0]);
    expect(full.encode("ab")).toEqual([1, 4]);
    expect(full.encode("ab", { addSpecial: false })).toEqual([4]);
    expect(full.applyChatTemplate([{ role: "user", content: "hi" }])).toBe("</s>hi");

    await write("chat_template.jinja", "{{ add_generation_prompt }}{{ extra }}");
    const filed = await loadTokenizer(folder);
    expect(filed.applyChatTemplate([], { addGenerationPrompt: false, variables: { extra: 1 } })).toBe(
      "false1",
    );
  });

  it("loses nothing of a text: bytes first, then the token for the unknown, else an error", async () => {
    const variant = (model: object): Promise<Tokenizer> =>
      loadTokenizer(json({ ...small, model: { ...small.model, ...model } }));
    const strict = await variant({});
    expect(() => strict.encode("aéb")).toThrow(TokenizerError);
    expect(() => strict.encode("aéb")).toThrow(/lacks "é", and it has no token for the unknown/);
    // A word long enough to be merged by the other way.
    expect(() => strict.encode(`${"a".repeat(5000)}z`)).toThrow(/lacks "z"/);
    expect(strict.encode("ab</s>")).toEqual([4, 1]);

    const bytes = { "<0xC3>": 6, "<0xA9>": 7 };
    const fallback = await variant({ byte_fallback: true, vocab: { ...small.model.vocab, ...bytes } });
    expect(fallback.encode("aéb")).toEqual([2, 6, 7, 3]);
    expect(() => fallback.encode("a–b")).toThrow(/lacks "–"/);

    const known = await variant({ unk_token: "<u>", vocab: { ...small.model.vocab, "<u>": 6 } });
    expect(known.encode("aéb")).toEqual([2, 6, 3]);
    const absent = await variant({ unk_token: "<u>" });
    expect(() => absent.encode("aéb")).toThrow(TokenizerError);

    const pieces = [
      ["a", -1],
      ["b", -2],
    ];
    const unigram = await variant({ type: "Unigram", vocab: pieces, unk_id: null, merges: undefined });
    expect(() => unigram.encode("aéb")).toThrow(TokenizerError);
  });

  it("refuses misuse by name", async () => {
    const tokenizer = await loadTokenizer(json(small));
    expect(() => tokenizer.encode("ab", withUnknown({ add_special: true }))).toThrow(
      /unknown option "add_special"/,
    );
    expect(() => tokenizer.decode([6])).toThrow(/id 6 is outside the vocabulary of 6/);
    expect(() => tokenizer.decode([1.5])).toThrow(/outside the vocabulary/);
    expect(() => tokenizer.applyChatTemplate([])).toThrow(/no chat template/);
    expect(() => tokenizer.encode(7 as never)).toThrow(/expected a text/);
    expect(tokenizer.decode([])).toBe("");
    const failing = await loadTokenizer(gguf([...spm, ["tokenizer.chat_template", [8, "{% if %}"]]]));
    expect(() => failing.applyChatTemplate([])).toThrow(TokenizerError);
  });

  it.each([
    ["no model", { ...small, model: undefined }],
    ["no vocabulary", { ...small, model: { type: "BPE", merges: [] } }],
    ["ids that are no numbers", { ...small, model: { ...small.model, vocab: { a: "x" } } }],
    ["ids that are huge", { ...small, model: { ...small.model, vocab: { a: 4e9 } } }],
    ["merges that are no list", { ...small, model: { ...small.model, merges: 5 } }],
    ["merges of numbers", { ...small, model: { ...small.model, merges: [1, 2] } }],
    ["an unknown kind of model", { ...small, model: { ...small.model, type: "Magic" } }],
    ["an unknown decoder", { ...small, decoder: { type: "Magic" } }],
    ["added tokens without an id", { ...small, added_tokens: [{ content: "x" }] }],
    ["added tokens that are no list", { ...small, added_tokens: { length: 1e9 } }],
    ["a list", []],
  ])("refuses a tokenizer.json with %s", async (_, contents) => {
    await expect(loadTokenizer(json(contents))).rejects.toMatchObject({
      code: "NF_DATA",
      name: "TokenizerError",
    });
  });

  it("refuses deep and broken JSON before it is built", async () => {
    const text = new TextEncoder();
    for (const broken of [`{"a":${"[".repeat(1e6)}`, `{"a":"${"x".repeat(100)}`, "{}{"]) {
      await expect(loadTokenizer(text.encode(broken))).rejects.toMatchObject({ code: "NF_DATA" });
    }
    await expect(loadTokenizer(temporaryFolder())).rejects.toThrow(/holds no tokenizer/);
  });

  it("keeps prototypes out of a hostile vocabulary", async () => {
    const text = JSON.stringify(small).replace('"__proto__x":5', '"__proto__":5');
    const tokenizer = await loadTokenizer(new TextEncoder().encode(text));
    expect(tokenizer.idOf("__proto__")).toBe(5);
    expect(Object.keys(Object.prototype)).toEqual([]);
  });
});

const spm: readonly (readonly [string, Entry])[] = [
  ["tokenizer.ggml.model", [8, "llama"]],
  ["tokenizer.ggml.tokens", [9, [8, ["<unk>", "<s>", "</s>", "\u2581", "a", "\u2581a", "<|u|>"]]]],
  ["tokenizer.ggml.scores", [9, [6, [0, 0, 0, -1, -2, -0.5, 0]]]],
  ["tokenizer.ggml.token_type", [9, [5, [2, 3, 3, 1, 1, 1, 4]]]],
  ["tokenizer.ggml.bos_token_id", [4, 1]],
  ["tokenizer.ggml.eos_token_id", [4, 2]],
];
const change = (key: string, entry?: Entry): Uint8Array =>
  gguf([...spm.filter(([one]) => one !== key), ...(entry === undefined ? [] : [[key, entry] as const])]);

describe("the vocabulary of GGUF", () => {
  it("follows its flags", async () => {
    expect((await loadTokenizer(gguf(spm))).encode("a<|u|>")).toEqual([1, 5, 6]);
    const bare = await loadTokenizer(
      gguf([
        ...spm,
        ["tokenizer.ggml.add_bos_token", [7, 0]],
        ["tokenizer.ggml.add_eos_token", [7, 1]],
        ["tokenizer.ggml.add_space_prefix", [7, 0]],
      ]),
    );
    expect(bare.encode("a a")).toEqual([4, 5, 2]);
    expect(bare.decode([3, 4])).toBe(" a");
  });

  it("cuts words by the rule it names", async () => {
    const letters = ["1", "2", "3", "4", "12", "123", "1234", "<e>"];
    const entries = (pre: string): [string, Entry][] => [
      ["tokenizer.ggml.model", [8, "gpt2"]],
      ["tokenizer.ggml.pre", [8, pre]],
      ["tokenizer.ggml.tokens", [9, [8, letters]]],
      ["tokenizer.ggml.token_type", [9, [5, [1, 1, 1, 1, 1, 1, 1, 3]]]],
      ["tokenizer.ggml.merges", [9, [8, ["1 2", "12 3", "123 4"]]]],
    ];
    expect((await loadTokenizer(gguf(entries("gpt-2")))).encode("1234<e>")).toEqual([6, 7]);
    expect((await loadTokenizer(gguf(entries("llama-bpe")))).encode("1234")).toEqual([5, 3]);
    expect((await loadTokenizer(gguf(entries("qwen2")))).encode("1234")).toEqual([0, 1, 2, 3]);
    await expect(loadTokenizer(gguf(entries("toString")))).rejects.toThrow(
      /rule "toString"; gpt-2, llama-bpe, qwen2/,
    );
  });

  it.each([
    ["no model", change("tokenizer.ggml.model")],
    ["another model", change("tokenizer.ggml.model", [8, "t5"])],
    ["no tokens", change("tokenizer.ggml.tokens")],
    ["tokens that are numbers", change("tokenizer.ggml.tokens", [9, [4, [1, 2]]])],
    ["too few scores", change("tokenizer.ggml.scores", [9, [6, [0]]])],
    ["no scores", change("tokenizer.ggml.scores")],
    ["an id past the end", change("tokenizer.ggml.bos_token_id", [4, 7])],
    ["a flag that is a number", change("tokenizer.ggml.add_bos_token", [4, 1])],
    [
      "a huge piece",
      change("tokenizer.ggml.tokens", [9, [8, ["<unk>", "<s>", "</s>", "a", "b", "c", "x".repeat(5000)]]]),
    ],
  ])("is refused with %s", async (_, bytes) => {
    await expect(loadTokenizer(bytes)).rejects.toMatchObject({ code: "NF_DATA", name: "TokenizerError" });
  });
});

const folder = dataFolder("llama-tokenizer");
const nightly = process.env["NF_NIGHTLY"] === "1";
const SOURCES = [
  ["tokenizer.json", "llama-spm"],
  ["ggml-vocab-llama-spm.gguf", "llama-spm"],
  ["llama2.c-tokenizer.bin", "llama-spm"],
  ["ggml-vocab-gpt-2.gguf", "gpt-2"],
] as const;

/** Texts and their ids; the last separator ends the file. */
function pairs(vocabulary: string): readonly (readonly [string, readonly number[]])[] {
  const read = (ending: string): string =>
    readFileSync(join(folder as string, `ggml-vocab-${vocabulary}.gguf.${ending}`), "utf8");
  const texts = read("inp").split("\n__ggml_vocab_test__\n").slice(0, -1);
  const lines = read("out").split("\n");
  return texts.map((text, i) => [text, (lines[i].match(/\d+/g) ?? []).map(Number)]);
}

describe.skipIf(folder === undefined).each(SOURCES)("%s", (file, vocabulary) => {
  const load = (): Promise<Tokenizer> => loadTokenizer(join(folder as string, file));

  it("encodes 46 of 46 texts to the expected ids, and decodes them back, at once and one by one", async () => {
    const tokenizer = await load();
    const expected = pairs(vocabulary);
    expect(expected).toHaveLength(46);
    for (const [text, ids] of expected) {
      expect(tokenizer.encode(text, { addSpecial: false })).toEqual(ids);
      expect(tokenizer.decode(ids)).toBe(text);
      expect(streamed(tokenizer, ids)).toBe(text);
    }
  });

  // SentencePiece vocabularies share one way of merging, whatever file they come from.
  const often = nightly || file === "tokenizer.json" || vocabulary === "gpt-2";
  it.skipIf(!often).each(nightly ? ["a", " ", "\n", "\u{1f600}"] : ["a", " "])(
    "takes a megabyte of %j within 15 s",
    async (character) => {
      const tokenizer = await load();
      const text = character.repeat(1_000_000 / Buffer.byteLength(character));
      const start = performance.now();
      const ids = tokenizer.encode(text, { addSpecial: false });
      expect(performance.now() - start).toBeLessThan(15_000);
      expect(tokenizer.decode(ids)).toBe(text);
    },
  );
});

describe.skipIf(folder === undefined)("streams", () => {
  it("give what decoding at once gives, whatever the ids", async () => {
    for (const [file] of SOURCES) {
      const tokenizer = await loadTokenizer(join(folder as string, file));
      for (let round = 0; round < 20; round++) {
        // Bytes of SentencePiece lie below 259, those of GPT-2 below 256: unfinished characters everywhere.
        const ids = Array.from(
          { length: 150 },
          (_, i) => ((i * 7919 + round * 104729) ** 2 % 10007) % (round % 2 ? 259 : 9000),
        );
        expect(streamed(tokenizer, ids)).toBe(tokenizer.decode(ids));
      }
    }
  });

  it("speak in the model's own template", async () => {
    const target = temporaryFolder();
    const source = (name: string): Buffer => readFileSync(join(folder as string, name));
    await writeFile(join(target, "tokenizer.json"), source("tokenizer.json"));
    await writeFile(
      join(target, "tokenizer_config.json"),
      source("tinyllama-tokenizer_config.metaspace.json"),
    );
    await writeFile(join(target, "chat_template.jinja"), source("tinyllama-chat_template.jinja"));
    const tokenizer = await loadTokenizer(target);
    const prompt = tokenizer.applyChatTemplate([
      { role: "system", content: "Be brief." },
      { role: "user", content: "Hello" },
    ]);
    expect(prompt).toBe("<|system|>\nBe brief.</s>\n<|user|>\nHello</s>\n<|assistant|>\n");
    expect(tokenizer.encode(prompt, { addSpecial: false }).filter((id) => id === 2)).toHaveLength(2);
  });
});

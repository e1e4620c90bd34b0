import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { loadTokenizer, openLlama2c, openWeights } from "../src/index.ts";
import { dataFolder } from "./support/data.ts";
import { llama2cCheckpoint, llama2cVocabulary, temporaryFolder } from "./support/files.ts";

const floats = (bytes: Uint8Array): number[] => [...new Float32Array(bytes.buffer)];

describe("openLlama2c", () => {
  // 2 heads of 4 values, 1 of keys.
  const tied = llama2cCheckpoint([8, 3, 2, 2, 1, 5, 6]);

  it("names tensors and configuration as Hugging Face does", async () => {
    const file = await openLlama2c(tied);
    expect([...file.tensors.keys()].filter((name) => !name.includes(".1."))).toEqual([
      "model.embed_tokens.weight",
      "model.layers.0.input_layernorm.weight",
      "model.layers.0.self_attn.q_proj.weight",
      "model.layers.0.self_attn.k_proj.weight",
      "model.layers.0.self_attn.v_proj.weight",
      "model.layers.0.self_attn.o_proj.weight",
      "model.layers.0.post_attention_layernorm.weight",
      "model.layers.0.mlp.gate_proj.weight",
      "model.layers.0.mlp.down_proj.weight",
      "model.layers.0.mlp.up_proj.weight",
      "model.norm.weight",
    ]);
    expect(file.tensors.get("model.layers.1.mlp.down_proj.weight")).toMatchObject({
      dtype: "f32",
      shape: [8, 3],
      bytes: 96,
    });
    expect(file.tensors.get("model.layers.1.self_attn.k_proj.weight")?.shape).toEqual([4, 8]);
    expect(file.config).toMatchObject({
      hidden_size: 8,
      intermediate_size: 3,
      num_hidden_layers: 2,
      num_attention_heads: 2,
      num_key_value_heads: 1,
      vocab_size: 5,
      max_position_embeddings: 6,
      tie_word_embeddings: true,
    });
  });

  it("reads weights in file order, each kind for all layers", async () => {
    const file = await openLlama2c(tied);
    expect(floats(await file.read("model.embed_tokens.weight"))).toEqual(
      Array.from({ length: 40 }, (_, i) => i),
    );
    expect(floats(await file.read("model.layers.1.input_layernorm.weight"))[0]).toBe(48);
    // Behind 40 + 16 values, wq 2 x 64, wk 2 x 32, then wv.
    expect(floats(await file.read("model.layers.0.self_attn.v_proj.weight"))[0]).toBe(56 + 128 + 64);
  });

  it("puts the pairs of query and key rows half a head apart", async () => {
    const file = await openLlama2c(tied);
    const q = floats(await file.read("model.layers.0.self_attn.q_proj.weight"));
    const rows = Array.from({ length: 8 }, (_, row) => ((q[row * 8] as number) - 56) / 8);
    expect(rows).toEqual([0, 2, 1, 3, 4, 6, 5, 7]);
  });

  it("has an output projection where the vocabulary is negative", async () => {
    const file = await openLlama2c(llama2cCheckpoint([8, 3, 1, 2, 2, -5, 6]));
    expect(file.tensors.get("lm_head.weight")?.shape).toEqual([5, 8]);
    expect(file.config?.["tie_word_embeddings"]).toBe(false);
    const last = floats(await file.read("lm_head.weight")).at(-1) as number;
    expect(28 + 4 * (last + 1)).toBe(llama2cCheckpoint([8, 3, 1, 2, 2, -5, 6]).length);
  });

  it.each([
    ["truncated", tied.subarray(0, tied.length - 1)],
    ["longer than it says", Uint8Array.from([...tied, 0])],
    ["no header", new Uint8Array(5)],
    ["huge counts", new Uint8Array(Int32Array.from([2 ** 30, 2 ** 30, 4096, 2, 1, 2 ** 30, 2 ** 30]).buffer)],
    ["negative sizes", new Uint8Array(Int32Array.from([-8, 3, 2, 2, 1, 5, 6]).buffer)],
    ["zero heads", new Uint8Array(Int32Array.from([8, 3, 2, 0, 0, 5, 6]).buffer)],
    ["version 2", new Uint8Array(Int32Array.from([0x616b3432, 2, 0, 0, 0, 0, 0]).buffer)],
  ])("refuses a file that is %s", async (_, bytes) => {
    await expect(openLlama2c(bytes)).rejects.toMatchObject({ code: "NF_DATA", name: "WeightFileError" });
  });

  it("says how many bytes are missing, in a folder too", async () => {
    const folder = temporaryFolder();
    const path = join(folder, "model.bin");
    const short = /has 2556 bytes, this file 1000: 1556 are missing\. It is truncated/;
    const cut = tied.subarray(0, 1000);
    await writeFile(path, cut);
    await writeFile(join(folder, "tokenizer.bin"), llama2cVocabulary([["a", -1]]));
    for (const input of [cut, path, folder]) await expect(openWeights(input)).rejects.toThrow(short);
    // One that is whole is meant rather than one that is not.
    await writeFile(join(folder, "whole.bin"), tied);
    expect((await openWeights(folder)).name).toBe(join(folder, "whole.bin"));
  });

  it("says in a folder, too, that a version is not read", async () => {
    const folder = temporaryFolder();
    const numbers = Int32Array.from([0x616b3432, 2, 0, 0, 0, 0, 0]);
    await writeFile(join(folder, "model.bin"), new Uint8Array(numbers.buffer));
    await expect(openWeights(folder)).rejects.toThrow(/checkpoint of version 2; version 0/);
  });

  it("names the tensor that is not there", async () => {
    await expect((await openLlama2c(tied)).read("lm_head.weight")).rejects.toThrow(
      /no tensor "lm_head.weight"/,
    );
  });
});

describe("the vocabulary of llama2.c", () => {
  const bytes = llama2cVocabulary([
    [" ", -10],
    ["a", -11],
    ["b", -12],
    ["ab", -1],
    [" ab", -2],
    ["bb", -0.5],
  ]);

  it("joins the piece with the greatest score first", async () => {
    const tokenizer = await loadTokenizer(bytes);
    expect(tokenizer.encode("ab")).toEqual([1, 263]);
    expect(tokenizer.encode("abb")).toEqual([1, 259, 260, 264]);
    expect(tokenizer.encode("")).toEqual([1]);
    expect(tokenizer.encode("ab", { addSpecial: false })).toEqual([263]);
    expect([tokenizer.vocabularySize, tokenizer.bosId, tokenizer.eosId]).toEqual([265, 1, 2]);
  });

  it("writes what it lacks as bytes, and reads them back", async () => {
    const tokenizer = await loadTokenizer(bytes);
    const ids = tokenizer.encode("a\u00e9", { addSpecial: false });
    expect(ids).toEqual([259, 260, 0xc3 + 3, 0xa9 + 3]);
    expect(tokenizer.decode(ids)).toBe("a\u00e9");
  });

  it("refuses a truncated one", async () => {
    await expect(loadTokenizer(bytes.subarray(0, -1))).rejects.toMatchObject({ code: "NF_DATA" });
  });
});

const folder = dataFolder("stories260k");

describe.skipIf(folder === undefined)("stories260K", () => {
  it("opens as a folder, with its tokenizer", async () => {
    const file = await openWeights(folder as string);
    expect(file.tensors.size).toBe(2 + 9 * 5);
    const tokenizer = await loadTokenizer(folder as string);
    const text = (await readFile(join(folder as string, "expected-greedy-200.txt"), "utf8")).trimEnd();
    const ids = tokenizer.encode(text);
    expect(ids).toHaveLength(201);
    expect(tokenizer.decode(ids)).toBe(text);
    await file.close();
  });
});

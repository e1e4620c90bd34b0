import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { cpu } from "@nf/backend-cpu";
import { Generator, manualSeed, use } from "@nf/core";
import { WeightFileError } from "@nf/io";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import {
  type GenerateOptions,
  LlamaConfigError,
  type LoadedLlama,
  loadLlama,
  parseGenerationConfig,
} from "../src/index.ts";
import { writeTiny } from "./tiny.ts";

describe("parseGenerationConfig", () => {
  it("takes what draws tokens with do_sample, and else what draws none", () => {
    const drawing = { temperature: 0.6, top_k: 40, top_p: 0.9, min_p: 0.05 };
    const { defaults } = parseGenerationConfig({ ...drawing, do_sample: true });
    expect(defaults).toEqual({ temperature: 0.6, topK: 40, topP: 0.9, minP: 0.05 });
    expect(parseGenerationConfig(drawing).defaults).toEqual({});
    expect(parseGenerationConfig({ ...drawing, do_sample: false }).defaults).toEqual({ greedy: true });
    expect(parseGenerationConfig({ do_sample: true, temperature: 0, top_k: 5 }).defaults).toEqual({
      greedy: true,
    });
    const neutral = { do_sample: true, top_k: 0, top_p: 1, repetition_penalty: 1, min_p: null };
    expect(parseGenerationConfig(neutral).defaults).toEqual({});
  });

  it("takes tokens and lengths, and names what it passes over", () => {
    const parsed = parseGenerationConfig({
      bos_token_id: 1,
      eos_token_id: [2, 7],
      pad_token_id: 0,
      max_length: 64,
      max_new_tokens: 9,
      repetition_penalty: 1.1,
      num_beams: 1,
      no_repeat_ngram_size: 3,
      suppress_tokens: [],
      bad_words_ids: [[4]],
      transformers_version: "4.40.0",
      _from_model_config: true,
    });
    expect(parsed).toEqual({
      defaults: { repetitionPenalty: 1.1, maxTokens: 9, maxLength: 64 },
      bosToken: 1,
      eosTokens: [2, 7],
      passedOver: ["no_repeat_ngram_size", "bad_words_ids"],
    });
    expect(parseGenerationConfig(undefined).eosTokens).toBeNull();
  });

  it("lists all that is out of its domain", () => {
    const wrong = {
      do_sample: "yes",
      temperature: -1,
      top_k: 1.5,
      eos_token_id: ["</s>"],
      max_new_tokens: 0,
    };
    expect(() => parseGenerationConfig(wrong)).toThrow(LlamaConfigError);
    expect(() => parseGenerationConfig(wrong)).toThrow(
      /do_sample[\s\S]*temperature[\s\S]*top_k[\s\S]*max_new_tokens[\s\S]*eos_token_id/,
    );
  });

  it("has no infinite temperature", () => {
    expect(() => parseGenerationConfig({ do_sample: true, temperature: Number.POSITIVE_INFINITY })).toThrow(
      /temperature must be a number from 0 to .*, got Infinity/,
    );
  });

  it("is not told what to print by the file", () => {
    const noted = { "\u001b[2J": 1, [`a${"b".repeat(100)}`]: 1, ["__proto__"]: 1, suppress_tokens: [5] };
    expect(parseGenerationConfig(noted).passedOver).toEqual(["suppress_tokens"]);
    const thrown = (): unknown => parseGenerationConfig({ top_k: "x".repeat(1e6) });
    expect(thrown).toThrow(/top_k must be .*got "x{99}…/);
    expect(thrown).not.toThrow(/x{101}/);
  });
});

describe("a folder with generation_config.json", () => {
  let root: string;
  beforeAll(async () => {
    await use(cpu());
    root = await mkdtemp(join(tmpdir(), "nf-generation-"));
  });
  afterAll(() => rm(root, { recursive: true, force: true }));

  async function load(name: string, config: unknown): Promise<LoadedLlama> {
    const folder = join(root, name);
    await writeTiny(folder);
    await writeFile(join(folder, "generation_config.json"), JSON.stringify(config));
    return loadLlama(folder);
  }

  const tokens = async (llama: LoadedLlama, options: GenerateOptions): Promise<readonly number[]> =>
    (await llama.generate("abc", { ignoreEos: true, ...options }).finished()).tokens;

  it("draws as it says, and otherwise where options say so", async () => {
    using llama = await load("drawn", { do_sample: true, temperature: 3, top_k: 3, max_new_tokens: 12 });
    const drawn = await tokens(llama, { seed: 5 });
    expect(drawn).toHaveLength(12);
    expect(drawn).toEqual(await tokens(llama, { seed: 5, temperature: 3, topK: 3, maxTokens: 12 }));
    const open: object = { maxTokens: undefined, topK: undefined };
    expect(await tokens(llama, { seed: 5, ...open })).toEqual(drawn);
    const plain = await tokens(llama, { seed: 5, temperature: 1, topK: 36, maxTokens: 12 });
    expect(drawn).not.toEqual(plain);
    // Nothing is drawn where options ask for the likeliest token, whatever the defaults are.
    const likeliest = await tokens(llama, { greedy: true });
    expect(await tokens(llama, { temperature: 0, maxTokens: 5 })).toEqual(likeliest.slice(0, 5));
    const answer = await llama
      .chat([{ role: "user", content: "hi" }], { seed: 1, ignoreEos: true })
      .finished();
    expect(answer.tokens).toHaveLength(12);
  });

  it("draws nothing with do_sample: false, unless options ask for it", async () => {
    using llama = await load("greedy", { do_sample: false, max_length: 20, repetition_penalty: 1.0 });
    manualSeed(1);
    const likeliest = await tokens(llama, {});
    expect(likeliest).toHaveLength(20 - llama.tokenizer.encode("abc").length);
    expect(likeliest).toEqual(await tokens(llama, { greedy: true, maxTokens: likeliest.length }));
    const hot = await tokens(llama, { temperature: 5, generator: new Generator(3) });
    expect(hot).not.toEqual(likeliest);
    expect(await tokens(llama, { greedy: false, seed: 3, temperature: 5 })).toEqual(hot);
  });

  it("has the tokens that end a text", async () => {
    using llama = await load("ends", { eos_token_id: [9, 11] });
    expect(llama.eosTokens).toEqual([9, 11, 1]);
  });

  it("is refused by name where it is none", async () => {
    await expect(load("list", [])).rejects.toThrow(WeightFileError);
    await expect(load("wrong", { top_p: 2 })).rejects.toThrow(/generation_config.json: top_p must be/);
  });
});

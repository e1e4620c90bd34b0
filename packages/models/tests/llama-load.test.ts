import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { cpu } from "@nf/backend-cpu";
import { type Backend, BackendDecorator, cast, memory, OutOfMemoryError, ones, use } from "@nf/core";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type GenerateOptions, LlamaWeightsError, type LoadedLlama, loadLlama } from "../src/index.ts";
import { writeTiny } from "./tiny.ts";

let root: string;
let tiny: string;
let backend: Backend;
beforeAll(async () => {
  backend = await use(cpu());
  root = await mkdtemp(join(tmpdir(), "nf-llama-"));
  tiny = join(root, "tiny");
  await writeTiny(tiny);
});
afterAll(() => rm(root, { recursive: true, force: true }));

describe("loading a folder", () => {
  it("takes what it estimated, and gives it back", async () => {
    const before = memory();
    const told: number[] = [];
    const llama = await loadLlama(tiny, { onProgress: (done, total) => told.push(done / total) });
    const taken = memory().liveBytes - before.liveBytes;
    const { weights, cache, working, total } = llama.memory;
    expect(total).toBe(weights + cache + working);
    expect(taken).toBeGreaterThanOrEqual(weights + cache);
    expect(taken).toBeLessThan(1.3 * (weights + cache) + 256 * 30);
    expect(told.at(-1)).toBe(1);
    expect(told).toHaveLength(21);
    llama.dispose();
    expect(memory()).toMatchObject({ liveBytes: before.liveBytes, liveTensors: before.liveTensors });
  });

  it("keeps matrices as asked, and says which could not be", async () => {
    using llama = await loadLlama(tiny, { weights: "q4_0", maxSequenceLength: 16 });
    expect(llama.model.embedding.format).toBe("q4_0");
    expect(llama.model.norm.dtype).toBe("f32");
    expect(llama.unquantized).toEqual([
      "model.layers.0.mlp.down_proj.weight",
      "model.layers.1.mlp.down_proj.weight",
    ]);
    expect(llama.cache.maxSequenceLength).toBe(16);
    const { text } = await llama.generate("abc", { greedy: true, maxTokens: 5, ignoreEos: true }).finished();
    expect(typeof text).toBe("string");
  });

  it("keeps 16 bits by itself only where the backend multiplies with them", async () => {
    const folder = join(root, "half");
    await writeTiny(folder, {
      change: (tensors) => {
        for (const [name, tensor] of tensors) tensors.set(name, cast(tensor, "bf16"));
      },
    });
    using kept = await loadLlama(folder);
    expect(kept.model.embedding.weight?.dtype).toBe("bf16");
    const { matmulWeights: _none, ...capabilities } = backend.capabilities;
    const plain = new (class extends BackendDecorator {})("plain", await cpu(), capabilities);
    using widened = await loadLlama(folder, { backend: plain });
    expect(widened.model.embedding.weight?.dtype).toBe("f32");
    using asked = await loadLlama(folder, { backend: plain, weights: "bf16" });
    expect(asked.model.embedding.weight?.dtype).toBe("bf16");
    const settings = { greedy: true, maxTokens: 8, ignoreEos: true };
    const texts = [kept, widened, asked].map((llama) => llama.generate("abc", settings).finished());
    const [first, ...others] = (await Promise.all(texts)).map(({ tokens }) => tokens);
    for (const other of others) expect(other).toEqual(first);
  });

  it("refuses what does not fit into memory before it reads a weight", async () => {
    const before = memory().poolMisses;
    const told: number[] = [];
    const load = loadLlama(tiny, { memoryLimit: 50_000, onProgress: (done) => told.push(done) });
    await expect(load).rejects.toThrow(OutOfMemoryError);
    await expect(load).rejects.toThrow(
      /needs about .* \(weights .*, cache .*, working memory .*\), and 50 kB are available/,
    );
    expect(memory().poolMisses).toBe(before);
    expect(told).toEqual([]);
  });

  it("names halfs for the cache where they make a model fit", async () => {
    const deep = join(root, "deep");
    await writeTiny(deep, {
      config: { num_hidden_layers: 4 },
      change: (tensors) => {
        for (const [name, tensor] of [...tensors])
          tensors.set(
            name.replace(/layers\.(\d)/, (_, layer) => `layers.${Number(layer) + 2}`),
            tensor,
          );
      },
    });
    using whole = await loadLlama(deep);
    using halfs = await loadLlama(deep, { cache: "f16" });
    const { total } = halfs.memory;
    expect(total).toBeLessThan(whole.memory.total);
    await expect(loadLlama(deep, { memoryLimit: total })).rejects.toThrow(
      'or "q4_0", or a smaller maxSequenceLength, or cache: "f16", or raise memoryLimit.',
    );
    await loadLlama(deep, { memoryLimit: total, cache: "f16" }).then((llama) => llama.dispose());
    for (const cache of ["f32", "f16"] as const)
      await expect(loadLlama(deep, { memoryLimit: total - 1, cache })).rejects.toThrow(
        'or "q4_0", or a smaller maxSequenceLength, or raise memoryLimit.',
      );
  });

  it("refuses a cache or a weight larger than a buffer", async () => {
    const small = await cpu({ maxBytes: 20_000 });
    // 36,864 bytes of f32, 20,480 of f16.
    const tooLong = /Choose a maxSequenceLength of at most 69\.$/;
    await expect(loadLlama(tiny, { backend: small })).rejects.toThrow(tooLong);
    await expect(loadLlama(tiny, { backend: await cpu({ maxBytes: 21_000 }) })).rejects.toThrow(
      /at most 72, or cache: "f16"\.$/,
    );
    // What was loaded before memory ran out goes back.
    await expect(loadLlama(tiny, { backend: small, maxSequenceLength: 8 })).rejects.toThrow(OutOfMemoryError);
    expect(memory(small).liveBuffers).toBe(0);
    const smaller = await cpu({ maxBytes: 5_000 });
    await expect(loadLlama(tiny, { backend: smaller })).rejects.toThrow("gate_proj.weight takes");
  });

  it("lists all tensors that do not fit, and loads none", async () => {
    const folder = join(root, "wrong");
    await writeTiny(folder, {
      change: (tensors) => {
        tensors.delete("model.norm.weight");
        tensors.delete("model.layers.1.mlp.up_proj.weight");
        tensors.set("model.layers.0.self_attn.q_norm.weight", ones([8]));
        tensors.set("lm_head.weight", ones([35, 32]));
        tensors.set("model.layers.0.self_attn.rotary_emb.inv_freq", ones([4]));
      },
    });
    const error = await loadLlama(folder).then(
      () => undefined,
      (reason: unknown) => reason,
    );
    expect(error).toBeInstanceOf(LlamaWeightsError);
    if (!(error instanceof LlamaWeightsError)) return;
    expect(error.missing).toEqual(["model.layers.1.mlp.up_proj.weight", "model.norm.weight"]);
    expect(error.unexpected).toEqual(["model.layers.0.self_attn.q_norm.weight"]);
    expect(error.misshaped).toEqual(["lm_head.weight: expected [36, 32], got [35, 32]"]);
    expect(error.message).toContain("Nothing was loaded");
  });

  it("passes over a tied head that is written out", async () => {
    const folder = join(root, "tied");
    await writeTiny(folder, { config: { tie_word_embeddings: true } });
    using llama = await loadLlama(folder);
    expect(llama.model.head).toBeNull();
  });

  it.each<readonly [object, string]>([
    [{ dtype: "f32" }, 'unknown option "dtype"'],
    [{ weights: "q2_k" }, 'weights must be one of "auto"'],
    [{ maxSequenceLength: 129 }, "1 to 128, got 129"],
    [{ maxSequenceLength: 0 }, "1 to 128, got 0"],
  ])("refuses %j", async (options, message) => {
    await expect(loadLlama(tiny, options)).rejects.toThrow(message);
  });
});

describe("a loaded model", () => {
  let llama: LoadedLlama;
  const settings: GenerateOptions = { greedy: true, maxTokens: 12, ignoreEos: true };
  beforeAll(async () => {
    llama = await loadLlama(tiny);
  });
  afterAll(() => {
    llama.dispose();
    expect(backend.name).toBe("cpu");
  });

  it("streams pieces that make the text", async () => {
    const generation = llama.generate("hello", settings);
    const pieces: string[] = [];
    for await (const piece of generation) pieces.push(piece);
    expect(pieces.join("")).toBe(generation.text);
    expect(generation.text).toBe(llama.tokenizer.decode(generation.tokens));
    expect(generation).toMatchObject({ finish: "length", promptTokens: llama.tokenizer.encode("hello") });
    expect(generation.tokens).toHaveLength(12);
    await expect(generation.finished()).rejects.toThrow("can be read once");
  });

  it("computes only what the cache does not have", async () => {
    const first = await llama.generate("once upon a time", settings).finished();
    const whole = [...first.promptTokens, ...first.tokens];
    const more = await llama.generate(whole, settings).finished();
    expect(more.timing.prefillTokens).toBe(1);
    expect(first.timing.prefillTokens).toBeGreaterThan(10);
    llama.cache.truncate(0);
    const anew = await llama.generate(whole, settings).finished();
    expect(anew.timing.prefillTokens).toBe(whole.length);
    expect(anew.tokens).toEqual(more.tokens);
    const again = await llama.generate(whole, settings).finished();
    expect(again.tokens).toEqual(more.tokens);
  });

  it("penalises what the cached part of the prompt has, too", async () => {
    const options = { ...settings, repetitionPenalty: 1.8 };
    const text = "the quick brown fox";
    llama.cache.truncate(0);
    const { tokens } = await llama.generate(text, options).finished();
    expect((await llama.generate(text, options).finished()).tokens).toEqual(tokens);
    expect((await llama.generate(text, settings).finished()).tokens).not.toEqual(tokens);
  });

  it("ends at a stop string, of which it gives nothing out", async () => {
    const { text } = await llama.generate("hello", settings).finished();
    const stop = text.slice(4, 7);
    const generation = llama.generate("hello", { ...settings, stop: ["#", stop] });
    const pieces: string[] = [];
    for await (const piece of generation) pieces.push(piece);
    expect(pieces.join("")).toBe(text.slice(0, text.indexOf(stop)));
    expect(generation.finish).toBe("stop");
    expect(generation.tokens.length).toBeLessThan(12);
    // What only begins like a stop string comes in the end.
    const whole = await llama.generate("hello", { ...settings, stop: [`${text.slice(-2)}#`] }).finished();
    expect(whole).toMatchObject({ text, finish: "length" });
  });

  it("ends at the model's end token unless told not to", async () => {
    const end = (await llama.generate("xyz", settings).finished()).tokens[2] as number;
    const { ignoreEos: _ignored, ...rest } = settings;
    const generation = await llama.generate("xyz", { ...rest, eosTokens: [end] }).finished();
    expect(generation.finish).toBe("eos");
    expect(generation.tokens).not.toContain(end);
    expect(llama.eosTokens).toEqual([1]);
    expect(() => llama.generate("xyz", { ...settings, eosTokens: [end] })).toThrow("with ignoreEos");
  });

  it("keeps the logits of each token on request", async () => {
    const generation = await llama.generate("hello", { ...settings, logits: true }).finished();
    expect(generation.logits.map(({ length }) => length)).toEqual(new Array(12).fill(36));
    const best = generation.logits.map((row) => row.indexOf(Math.max(...row)));
    expect(best).toEqual(generation.tokens);
  });

  it("begins an empty prompt with the token of the beginning", async () => {
    expect((await llama.generate("", settings).finished()).promptTokens).toEqual([0]);
  });

  it("keeps what there is when it is left or cancelled, and goes on afterwards", async () => {
    const left = llama.generate("hello", settings);
    for await (const _ of left) if (left.tokens.length === 3) break;
    expect(left).toMatchObject({ finish: "aborted" });
    expect(left.tokens).toHaveLength(3);
    const controller = new AbortController();
    const cancelled = llama.generate("hello", { ...settings, signal: controller.signal });
    const read = async () => {
      for await (const _ of cancelled)
        if (cancelled.tokens.length === 4) controller.abort(new Error("enough"));
    };
    await expect(read()).rejects.toThrow("enough");
    expect(cancelled).toMatchObject({ finish: "aborted" });
    expect(cancelled.text).toBe(llama.tokenizer.decode(cancelled.tokens));
    expect((await llama.generate("hello", settings).finished()).tokens.slice(0, 4)).toEqual(cancelled.tokens);
  });

  it("writes one text at a time", async () => {
    const first = llama.generate("a", settings);
    for await (const _ of first) {
      await expect(llama.generate("b", settings).finished()).rejects.toThrow(
        "another text is being generated",
      );
      break;
    }
    await expect(llama.generate("b", settings).finished()).resolves.toBeDefined();
  });

  it("answers by the model's template", async () => {
    const messages = [{ role: "user", content: "hi" }];
    const generation = await llama.chat(messages, settings).finished();
    expect(llama.tokenizer.decode(generation.promptTokens, { skipSpecial: false })).toBe(
      "<s><|user|>hi<|assistant|>",
    );
    expect(generation.tokens).toHaveLength(12);
  });

  it.each<readonly [object, string]>([
    [{ context: [] }, 'unknown option "context"'],
    [{ beams: 2 }, 'unknown option "beams"'],
    [{ stop: "x" }, "stop must be a list"],
    [{ stop: [""] }, "stop must be a list"],
  ])("refuses %j", (options, message) => {
    expect(() => llama.generate("a", options)).toThrow(message);
  });

  it("says how fast it was", async () => {
    const { timing } = await llama.generate("some words", settings).finished();
    expect(timing.tokensPerSecond).toBeCloseTo(11 / timing.decodeSeconds, 6);
    expect(timing.prefillTokensPerSecond).toBeCloseTo(timing.prefillTokens / timing.prefillSeconds, 6);
    const none = await llama.generate("some words", { ...settings, maxTokens: 0 }).finished();
    expect(none.timing).toMatchObject({ tokensPerSecond: 0, prefillTokensPerSecond: 0 });
  });
});

import { cp, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { cpu } from "@nf/backend-cpu";
import {
  crossEntropy,
  currentBackend,
  fromData,
  Generator,
  manualSeed,
  memory,
  noGrad,
  reshape,
  scope,
  type Tensor,
  use,
} from "@nf/core";
import { openWeights, toTensor, WeightsMismatchError, writeSafetensors } from "@nf/io";
import { functionalize, inspectModel } from "@nf/nn";
import { AdamW } from "@nf/optim";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import {
  Gpt,
  GptCache,
  GptConfigError,
  type GptSettings,
  generateGptTokens,
  gptConfig,
  gptConfigJson,
  gptParameters,
  loadGpt,
  NANOGPT,
  parseGptConfig,
  readGpt,
} from "../src/index.ts";

const TINY: GptSettings = { vocabSize: 12, maxPositions: 8, hiddenSize: 16, layers: 2, heads: 4 };

let root: string;
beforeAll(async () => {
  await use(cpu());
  root = await mkdtemp(join(tmpdir(), "nf-gpt-"));
});
afterAll(() => rm(root, { recursive: true, force: true }));

/** Repeatable tokens `[batch, positions]`. */
function tokens(batch: number, positions: number, vocabSize: number, factor = 7919): Tensor {
  const ids = Int32Array.from({ length: batch * positions }, (_, i) => ((i + 1) * factor) % vocabSize);
  return fromData(ids, [batch, positions]);
}

describe("nanoGPT", () => {
  it("has exactly 626,625 parameters, each where it belongs", () => {
    const { rows, parameters } = inspectModel(new Gpt(NANOGPT), [128], { dtype: "i32" });
    expect(parameters).toBe(626_625);
    expect(gptParameters(gptConfig(NANOGPT))).toBe(626_625);
    const count = (path: string): number => rows.find((row) => row.path === path)?.parameters ?? -1;
    expect(count("embedding")).toBe(8_320);
    expect(count("position")).toBe(16_384);
    for (const block of ["blocks.0", "blocks.1", "blocks.2"]) {
      expect(count(`${block}.attentionNorm`)).toBe(256);
      expect(count(`${block}.attention`)).toBe(65_536);
      expect(count(`${block}.feedForwardNorm`)).toBe(256);
      expect(count(`${block}.feedForward.up`)).toBe(66_048);
      expect(count(`${block}.feedForward.down`)).toBe(65_664);
    }
    expect(count("norm")).toBe(256);
    expect(count("head")).toBe(8_385);
    expect(rows[0]?.outputs).toEqual([[1, 128, 65]]);
  });

  it.each<readonly [string, GptSettings]>([
    ["GPT-2's layout", { ...TINY, tiedHead: true, biases: { attention: true, mlp: true, head: false } }],
    ["no biases", { ...TINY, intermediateSize: 20, biases: { attention: false, mlp: false, head: false } }],
    ["all biases", { ...TINY, biases: { attention: true, mlp: true, head: true } }],
  ])("counts the parameters of %s", (_, settings) => {
    const model = new Gpt(settings);
    const sizes = model.parameters().map(({ size }) => size);
    expect(gptParameters(model.config)).toBe(sizes.reduce((sum, size) => sum + size, 0));
  });

  it("knows nothing at first: a loss near ln 65", async () => {
    const model = new Gpt(NANOGPT, { generator: new Generator(5) });
    const logits = noGrad(() => model.forward(tokens(2, 128, 65)));
    const loss = crossEntropy(reshape(logits, [-1, 65]), reshape(tokens(2, 128, 65, 104729), [-1]));
    expect(Math.abs((await loss.item()) - Math.log(65))).toBeLessThan(0.1);
  });

  it("draws matrices at 0.02, those that add to the stream smaller, and starts norms at 1", async () => {
    const model = new Gpt(NANOGPT, { generator: new Generator(5) });
    const deviation = async (x: Tensor): Promise<number> => {
      const values = await x.data();
      return Math.sqrt(Array.from(values).reduce((sum, value) => sum + value * value, 0) / values.length);
    };
    const [block] = model.blocks;
    expect(await deviation(model.embedding.weight)).toBeCloseTo(0.02, 3);
    expect(await deviation(block?.attention.out.weight as Tensor)).toBeCloseTo(0.02 / Math.sqrt(6), 3);
    expect(await deviation(block?.feedForward.down.weight as Tensor)).toBeCloseTo(0.02 / Math.sqrt(6), 3);
    expect(await deviation(block?.feedForward.down.bias as Tensor)).toBe(0);
    expect(await deviation(model.norm.weight as Tensor)).toBe(1);
    const again = new Gpt(NANOGPT, { generator: new Generator(5) });
    expect(await again.head?.weight.data()).toEqual(await model.head?.weight.data());
  });

  it("looks at no later token", async () => {
    const model = new Gpt(TINY, { generator: new Generator(3) }).eval();
    const rows = async (ids: readonly number[]): Promise<number[]> => {
      const logits = noGrad(() => model.forward(fromData(Int32Array.from(ids), [1, ids.length])));
      return Array.from(await logits.data());
    };
    const [first, second] = [await rows([1, 2, 3, 4, 5]), await rows([1, 2, 3, 9, 9])];
    expect(first.slice(0, 36)).toEqual(second.slice(0, 36));
    expect(first.slice(36)).not.toEqual(second.slice(36));
    const short = await rows([1, 2, 3]);
    short.forEach((value, i) => {
      expect(Math.abs(value - (first[i] as number))).toBeLessThan(1e-6);
    });
  });

  it("refuses more positions than it has, and what is no batch of texts", () => {
    const model = new Gpt(TINY);
    expect(() => model.forward(tokens(1, 9, 12))).toThrow("1 to 8 positions, got [1, 9]");
    expect(() => model.forward(fromData(Int32Array.of(1, 2), [2]))).toThrow("got [2]");
    const cache = new GptCache(model.config, currentBackend());
    noGrad(() => model.hidden(tokens(1, 6, 12), cache));
    expect(cache.length).toBe(6);
    expect(() => noGrad(() => model.hidden(tokens(1, 3, 12), cache))).toThrow("[1, positions] with 1 to 2");
    expect(() => noGrad(() => model.hidden(tokens(2, 1, 12), cache))).toThrow("got [2, 1]");
  });

  it("learns a short text by heart", { timeout: 60_000 }, async () => {
    const model = new Gpt(TINY, { generator: new Generator(1) });
    const optimizer = new AdamW(model.parameters(), { lr: 1e-2 });
    const text = [3, 1, 4, 1, 5, 9, 2, 6, 5, 3, 5, 8, 9, 7, 9, 3, 2];
    const x = fromData(Int32Array.from([...text.slice(0, 8), ...text.slice(8, 16)]), [2, 8]);
    const y = fromData(Int32Array.from([...text.slice(1, 9), ...text.slice(9, 17)]), [16]);
    let loss = Number.POSITIVE_INFINITY;
    for (let step = 0; step < 150; step++) {
      scope(() => {
        optimizer.zeroGrad();
        const result = crossEntropy(reshape(model.forward(x), [16, 12]), y);
        result.backward();
        optimizer.step();
        loss = result.itemSync();
      });
    }
    expect(loss).toBeLessThan(0.02);
    const ids: number[] = [];
    const options = { greedy: true, maxTokens: 5 };
    for await (const { id } of generateGptTokens(model.eval(), [3, 1, 4], options)) ids.push(id);
    expect(ids).toEqual([1, 5, 9, 2, 6]);
  });

  it("drops values in training alone, and the same ones for the same generator", async () => {
    const make = () => new Gpt({ ...TINY, dropout: 0.2 }, { generator: new Generator(9) });
    const [model, other, plain] = [make(), make(), new Gpt(TINY, { generator: new Generator(9) })];
    const x = tokens(2, 8, 12);
    const values = (one: Gpt) => noGrad(() => one.forward(x)).data();
    const dropped = await values(model);
    expect(await values(other)).toEqual(dropped);
    expect(await values(model)).not.toEqual(dropped);
    expect(await values(model.eval())).toEqual(await values(plain));
  });

  it("is a pure structure, too", async () => {
    const model = new Gpt(TINY, { generator: new Generator(2) }).eval();
    const { structure, params, state } = functionalize(model);
    const x = tokens(1, 8, 12);
    const [pure] = structure.apply({ params, state }, x);
    const direct = noGrad(() => model.forward(x));
    expect(await (pure as Tensor).data()).toEqual(await direct.data());
  });

  it.each<readonly [object, string]>([
    [{ ...TINY, width: 3 }, 'unknown option "width"'],
    [{ ...TINY, layers: 0 }, "layers"],
    [{ ...TINY, heads: 3 }, "hiddenSize (16) must be a multiple of heads (3)"],
    [{ ...TINY, activation: "swish" }, "activation"],
    [{ ...TINY, dropout: 1.5 }, "dropout"],
    [{ ...TINY, tiedHead: 1 }, "tiedHead must be true or false"],
    [{ ...TINY, biases: { mlp: true } }, "biases must say true or false for each of attention, mlp, head"],
    [{ ...TINY, biases: { attention: 0, mlp: true, head: true } }, "attention must be true or false"],
    [{ ...TINY, biases: 3 }, "biases"],
    [
      { ...TINY, tiedHead: true, biases: { attention: true, mlp: true, head: true } },
      "a tied head has no bias",
    ],
  ])("refuses %j", (settings, message) => {
    expect(() => gptConfig(settings as GptSettings)).toThrow(message);
  });
});

describe("config.json", () => {
  const gpt2 = { model_type: "gpt2", n_embd: 16, n_head: 4, n_layer: 2, n_positions: 8, vocab_size: 12 };

  it("has GPT-2's defaults", () => {
    const { config } = parseGptConfig({ model_type: "gpt2" });
    expect(gptParameters(config)).toBe(124_439_808);
    expect(config).toMatchObject({
      activation: "geluTanh",
      tiedHead: true,
      normEps: 1e-5,
      maxPositions: 1024,
    });
  });

  it("reads what it has written", () => {
    const config = gptConfig({ ...NANOGPT, dropout: 0.1 });
    const written = JSON.parse(JSON.stringify(gptConfigJson(config, { bosToken: 3 })));
    expect(parseGptConfig(written)).toEqual({ config, bosToken: 3, eosTokens: [], layout: "nanogpt" });
  });

  it.each<readonly [object, string]>([
    [{ ...gpt2, n_embd: "16" }, "n_embd must be a whole number"],
    [{ ...gpt2, activation_function: "silu" }, "activation_function"],
    [{ ...gpt2, scale_attn_by_inverse_layer_idx: true }, "scale_attn_by_inverse_layer_idx"],
    [{ ...gpt2, rotary_dim: 4 }, 'ignore: ["rotary_dim"]'],
    [{ ...gpt2, model_type: "llama" }, "expected gpt2 or nanogpt"],
    [{ ...gptConfigJson(gptConfig(TINY)), extra: 1 }, 'unknown option "extra"'],
  ])("refuses %j", (json, message) => {
    expect(() => parseGptConfig(json)).toThrow(message);
  });

  it("passes over what it is told to, and lists everything else at once", () => {
    const odd = { ...gpt2, rotary_dim: 4 };
    expect(parseGptConfig(odd, { ignore: ["rotary_dim"] }).config.heads).toBe(4);
    const refused = (): unknown => parseGptConfig({ ...odd, n_layer: 0, activation_function: "silu" });
    expect(refused).toThrow(GptConfigError);
    for (const part of ["rotary_dim", "n_layer", "silu"]) expect(refused).toThrow(part);
  });
});

describe("generating", () => {
  it("goes on beyond the model's positions, with the last of them in view", async () => {
    const model = new Gpt(TINY, { generator: new Generator(4) }).eval();
    const options = { maxTokens: 20, seed: 3 };
    const ids: number[] = [];
    for await (const { id } of generateGptTokens(model, [1], options)) ids.push(id);
    expect(ids).toHaveLength(20);
    const greedy: number[] = [];
    for await (const { id } of generateGptTokens(model, ids, { greedy: true, maxTokens: 1 })) greedy.push(id);
    const direct: number[] = [];
    for await (const { id } of generateGptTokens(model, ids.slice(-8), { greedy: true, maxTokens: 1 }))
      direct.push(id);
    expect(greedy).toEqual(direct);
    // Token by token, with and without the cache, by passes over all that is in view.
    const text = [1];
    for (let i = 0; i < 12; i++) {
      const view = text.slice(-8);
      const logits = noGrad(() => model.forward(fromData(Int32Array.from(view), [1, view.length])));
      const last = Array.from(await logits.data()).slice(-12);
      text.push(last.indexOf(Math.max(...last)));
    }
    const all: number[] = [];
    for await (const { id } of generateGptTokens(model, [1], { greedy: true, maxTokens: 12 })) all.push(id);
    expect(all).toEqual(text.slice(1));
  });

  it("gives the same tokens for the same seed, ends at end tokens, and leaves nothing behind", async () => {
    const model = new Gpt(TINY, { generator: new Generator(4) }).eval();
    const run = async (options: object) => {
      const ids: number[] = [];
      for await (const { id } of generateGptTokens(model, [1, 2], { maxTokens: 12, ...options }))
        ids.push(id);
      return ids;
    };
    const first = await run({ seed: 7 });
    const before = memory().liveTensors;
    expect(await run({ seed: 7 })).toEqual(first);
    expect(memory().liveTensors).toBe(before);
    expect(await run({ seed: 8 })).not.toEqual(first);
    const end = first[4] as number;
    expect(await run({ seed: 7, eosTokens: [end] })).toEqual(first.slice(0, first.indexOf(end)));
    const left = new AbortController();
    left.abort(new Error("enough"));
    await expect(run({ signal: left.signal })).rejects.toThrow("enough");
    await expect(run({ beams: 2 })).rejects.toThrow('unknown option "beams"');
    await expect(generateGptTokens(model, [12], {}).next()).rejects.toThrow("token 12");
    await expect(generateGptTokens(model, [], {}).next()).rejects.toThrow("at least one token");
  });

  it("keeps the logits on request", async () => {
    const model = new Gpt(TINY, { generator: new Generator(4) }).eval();
    for await (const { id, logits } of generateGptTokens(model, [5], {
      greedy: true,
      maxTokens: 3,
      logits: true,
    })) {
      const row = Array.from(logits ?? []);
      expect(row).toHaveLength(12);
      expect(row.indexOf(Math.max(...row))).toBe(id);
    }
  });
});

describe("generating in training mode", () => {
  it("computes as in evaluation mode, and brings the modes back", async () => {
    const settings = { ...TINY, dropout: 0.9 };
    const model = new Gpt(settings, { generator: new Generator(4) });
    const run = async () => {
      const ids: number[] = [];
      for await (const { id } of generateGptTokens(model, [1, 2], { maxTokens: 12, seed: 7 })) {
        ids.push(id);
        expect(model.modules().map(({ training }) => training)).toEqual(modes);
      }
      return ids;
    };
    model.eval();
    let modes = model.modules().map(() => false);
    const expected = await run();
    model.train();
    model.norm.eval();
    modes = model.modules().map((module) => module !== model.norm);
    expect(await run()).toEqual(expected);
    expect(model.modules().map(({ training }) => training)).toEqual(modes);
  });
});

const GOLDEN = new URL("../../../goldens/gpt2/tied/", import.meta.url).pathname;

/** A copy of a small GPT-2 with another configuration or other tensors. */
async function changedGpt2(config: object, change: (tensors: Map<string, Tensor>) => void = () => {}) {
  const folder = await mkdtemp(join(root, "gpt2-"));
  await cp(GOLDEN, folder, { recursive: true });
  const json = JSON.parse(await readFile(join(folder, "config.json"), "utf8"));
  await writeFile(join(folder, "config.json"), JSON.stringify({ ...json, ...config }));
  const file = await openWeights(GOLDEN);
  const tensors = new Map<string, Tensor>();
  for (const name of file.tensors.keys()) tensors.set(name, await toTensor(file, name));
  await file.close();
  change(tensors);
  await writeSafetensors(join(folder, "model.safetensors"), tensors);
  return openWeights(folder);
}

describe("a GPT-2 file", () => {
  it.each<readonly [object, string]>([
    [{ n_layer: 20_000 }, "asks for 20000 layers, and the file names 2"],
    [{ vocab_size: 2 ** 30 }, "wte.weight has [48, 32]"],
    [{ n_positions: 2 ** 30 }, "wpe.weight has [32, 32]"],
    [{ n_inner: 2 ** 30 }, "c_fc.weight has [128, 32]"],
    [{ n_embd: 2 ** 28 }, "this vocabulary and width"],
  ])("that %j does not fit is refused before a model is made", async (config, message) => {
    const file = await changedGpt2(config);
    const { liveTensors } = memory();
    const started = performance.now();
    const error = await readGpt(file).catch((reason: unknown) => reason);
    expect(error).toBeInstanceOf(GptConfigError);
    expect(String(error)).toContain(message);
    expect(performance.now() - started).toBeLessThan(5000);
    expect(memory().liveTensors).toBe(liveTensors);
    await file.close();
  });

  it("that names layers without their weights is refused, too", async () => {
    const file = await changedGpt2({ n_layer: 3000 }, (tensors) => {
      const scalar = fromData(Float32Array.of(1), [1]);
      for (let i = 2; i < 3000; i++) tensors.set(`h.${i}.ln_1.bias`, scalar);
    });
    await expect(readGpt(file)).rejects.toThrow(/asks for \d+ weights, and the file holds \d+/);
    await file.close();
  });

  it("must not have a weight twice, nor names of our own", async () => {
    const twice = await changedGpt2({}, (tensors) => {
      const bias = tensors.get("transformer.ln_f.bias") ?? tensors.get("ln_f.bias");
      for (const name of ["transformer.ln_f.bias", "ln_f.bias", "norm.bias"])
        tensors.set(name, bias as Tensor);
    });
    const error = await readGpt(twice).catch((reason: unknown) => reason);
    expect(error).toBeInstanceOf(WeightsMismatchError);
    expect(error).toMatchObject({ unexpected: ["norm.bias"], missing: [] });
    expect((error as WeightsMismatchError).repeated).toEqual([
      expect.stringMatching(
        /^norm\.bias \(from (transformer\.ln_f\.bias, ln_f\.bias|ln_f\.bias, transformer\.ln_f\.bias)\)$/,
      ),
    ]);
    await twice.close();
  });
});

/** Writes a folder of a model of letters. */
async function writeFolder(name: string, change: (tensors: Map<string, Tensor>) => void = () => {}) {
  manualSeed(6);
  const folder = await mkdtemp(join(root, name));
  const model = new Gpt(TINY);
  const tensors = new Map(Object.entries(model.stateDict()));
  change(tensors);
  await writeSafetensors(join(folder, "model.safetensors"), tensors);
  await writeFile(join(folder, "config.json"), JSON.stringify(gptConfigJson(model.config, { bosToken: 0 })));
  await writeFile(
    join(folder, "tokenizer.json"),
    JSON.stringify({
      version: "1.0",
      added_tokens: [],
      normalizer: null,
      pre_tokenizer: null,
      post_processor: null,
      decoder: { type: "Fuse" },
      model: {
        type: "BPE",
        vocab: Object.fromEntries([..."\n abcdefghij"].map((letter, id) => [letter, id])),
        merges: [],
        unk_token: null,
        byte_fallback: false,
      },
    }),
  );
  return { folder, model };
}

describe("a folder", () => {
  it("loads as it was saved, and goes on a text", async () => {
    const { folder, model } = await writeFolder("plain");
    using gpt = await loadGpt(folder);
    const x = tokens(1, 8, 12);
    expect(await noGrad(() => gpt.model.forward(x)).data()).toEqual(
      await noGrad(() => model.forward(x)).data(),
    );
    const generation = gpt.generate("abc", { maxTokens: 20, seed: 1 });
    const pieces: string[] = [];
    for await (const piece of generation) pieces.push(piece);
    expect(pieces.join("")).toBe(generation.text);
    expect(generation.text).toBe(gpt.tokenizer.decode(generation.tokens));
    expect(generation).toMatchObject({ finish: "length", promptTokens: [2, 3, 4] });
    expect(generation.tokens).toHaveLength(20);
    expect((await gpt.generate("", { maxTokens: 2 }).finished()).promptTokens).toEqual([0]);
    expect(() => gpt.generate("a", { beams: 1 } as object)).toThrow('unknown option "beams"');
    expect(() => gpt.generate("abxyz")).toThrow('does not know: "x", "y", "z"');
  });

  it("is refused with everything that does not fit, and leaves nothing behind", async () => {
    const { folder, model } = await writeFolder("wrong", (tensors) => {
      tensors.set("more.weight", tensors.get("norm.weight") as Tensor);
      tensors.set("head.bias", tensors.get("norm.weight") as Tensor);
      tensors.delete("norm.weight");
    });
    model.dispose();
    const before = memory().liveTensors;
    const error = await loadGpt(folder).catch((reason: unknown) => reason);
    expect(error).toBeInstanceOf(WeightsMismatchError);
    expect(error).toMatchObject({
      missing: ["norm.weight"],
      unexpected: ["more.weight"],
      mismatched: [{ name: "head.bias", expected: [12], received: [16] }],
    });
    expect(memory().liveTensors).toBe(before);
  });
});

import { cpu } from "@nf/backend-cpu";
import {
  argmax,
  type Backend,
  crossEntropy,
  fromData,
  Generator,
  memory,
  noGrad,
  reshape,
  slice,
  type Tensor,
  use,
} from "@nf/core";
import { functionalize } from "@nf/nn";
import { beforeAll, describe, expect, it } from "vitest";
import {
  generateTokens,
  KVCache,
  Llama,
  type LlamaConfig,
  type LlamaSettings,
  llamaConfig,
  llamaParameters,
  llamaTensors,
  parseLlamaConfig,
} from "../src/index.ts";

const SIZES = { vocabSize: 40, hiddenSize: 24, intermediateSize: 20, layers: 3, heads: 4 };

function model(settings: Partial<LlamaSettings> = {}): Llama {
  return new Llama(llamaConfig({ ...SIZES, ...settings }), { generator: new Generator(5) });
}

const tokens = (ids: readonly number[]): Tensor => fromData(Int32Array.from(ids), [1, ids.length]);
const TEXT = [3, 17, 9, 39, 0, 4, 4, 21, 30, 12, 8, 8, 27, 1, 33];

async function difference(a: Tensor, b: Tensor): Promise<number> {
  expect(a.shape).toEqual(b.shape);
  const [left, right] = [await a.data(), await b.data()];
  return Math.max(...Array.from(left, (value, i) => Math.abs(value - (right[i] as number))));
}

let backend: Backend;
beforeAll(async () => {
  backend = await use(cpu());
});

const VARIANTS: readonly (readonly [string, Partial<LlamaSettings>])[] = [
  ["one key head for each", {}],
  ["grouped heads", { kvHeads: 2 }],
  ["one key head for all, heads of another width", { kvHeads: 1, headDim: 8 }],
  ["a tied head and all biases", { tiedHead: true, biases: { qkv: true, out: true, mlp: true } }],
  ["rotation of neighbours", { ropeInterleaved: true }],
  ["windows", { kvHeads: 2, windows: [4, null, 1] }],
];

describe("the model", () => {
  it.each(VARIANTS)("with %s has the parameters of its configuration", (_name, settings) => {
    const made = model(settings);
    const sizes = made.namedParameters().map(([name, { shape }]) => `${name} ${shape.join()}`);
    const specified = llamaTensors(made.config).map(({ name, shape }) => `${name} ${shape.join()}`);
    expect(sizes.toSorted()).toEqual(specified.toSorted());
    expect(made.parameters().reduce((sum, { size }) => sum + size, 0)).toBe(llamaParameters(made.config));
  });

  it.each(VARIANTS)(
    "with %s gives the same with a cache, however the text is cut",
    async (_name, settings) => {
      const made = model(settings);
      const whole = noGrad(() => made.forward(tokens(TEXT)));
      const want = Array.from(await whole.data());
      for (const chunk of [1, 2, 4, 7, TEXT.length]) {
        using cache = new KVCache(made.config, 20);
        const got: number[] = [];
        for (let start = 0; start < TEXT.length; start += chunk)
          got.push(...(await made.forward(tokens(TEXT.slice(start, start + chunk)), cache).data()));
        expect(cache.length).toBe(TEXT.length);
        const apart = Math.max(...got.map((value, i) => Math.abs(value - (want[i] as number))));
        expect(apart).toBeLessThan(1e-6);
      }
    },
  );

  it("sees what came before, in order, and nothing that comes after", async () => {
    const made = model();
    const last = (ids: readonly number[]): Tensor => noGrad(() => made.forward(tokens(ids)));
    const whole = Array.from(await last(TEXT).data());
    const start = Array.from(await last(TEXT.slice(0, 5)).data());
    expect(start).toEqual(whole.slice(0, start.length));
    const swapped = Array.from(await last([17, 3, 9]).data()).slice(-40);
    const straight = Array.from(await last([3, 17, 9]).data()).slice(-40);
    expect(Math.max(...swapped.map((value, i) => Math.abs(value - (straight[i] as number))))).toBeGreaterThan(
      1e-4,
    );
  });

  it("does not see past its windows", async () => {
    const made = model({ layers: 1, windows: [3] });
    const ends = [TEXT, [11, ...TEXT.slice(1)]].map((ids) => noGrad(() => made.forward(tokens(ids))));
    const [a, b] = await Promise.all(ends.map(async (one) => Array.from(await one.data())));
    expect(a?.slice(3 * 40)).toEqual(b?.slice(3 * 40));
    expect(a?.slice(2 * 40, 3 * 40)).not.toEqual(b?.slice(2 * 40, 3 * 40));
  });

  it("treats the texts of a batch alike", async () => {
    const made = model({ kvHeads: 2 });
    const other = TEXT.toReversed();
    const both = noGrad(() => made.forward(fromData(Int32Array.from([...TEXT, ...other]), [2, TEXT.length])));
    const rows = Array.from(await both.data());
    for (const [i, ids] of [TEXT, other].entries()) {
      const alone = Array.from(await noGrad(() => made.forward(tokens(ids))).data());
      const half = rows.slice(i * alone.length, (i + 1) * alone.length);
      expect(Math.max(...alone.map((value, k) => Math.abs(value - (half[k] as number))))).toBeLessThan(1e-6);
    }
  });

  it("learns: gradients reach every parameter, and a step along them lowers the loss", async () => {
    const made = model({ kvHeads: 2, biases: { qkv: true, out: true, mlp: true } });
    const loss = (): Tensor =>
      crossEntropy(
        reshape(made.forward(tokens(TEXT.slice(0, -1))), [-1, 40]),
        fromData(Int32Array.from(TEXT.slice(1)), [14]),
      );
    const before = loss();
    before.backward();
    const value = await before.item();
    for (const [name, { grad }] of made.namedParameters()) {
      expect(grad, name).not.toBeNull();
      const norm = Math.max(...Array.from(await (grad as Tensor).data(), Math.abs));
      // A bias of all keys shifts the scores of a query alike.
      if (!name.endsWith("k.bias")) expect(norm, name).toBeGreaterThan(0);
    }
    const { SGD } = await import("@nf/optim");
    new SGD(made.parameters(), { lr: 0.05 }).step();
    expect(await noGrad(loss).item()).toBeLessThan(value);
  });

  it("draws the same weights from the same seed, also as a pure structure", async () => {
    const [a, b] = [model(), model()];
    for (const [i, parameter] of a.parameters().entries())
      expect(await difference(parameter, b.parameters()[i] as Tensor)).toBe(0);
    const { structure, params, state } = functionalize(a);
    const [out] = structure.apply({ params, state }, tokens(TEXT));
    expect(
      await difference(
        out,
        noGrad(() => a.forward(tokens(TEXT))),
      ),
    ).toBe(0);
  });

  it("refuses what does not fit", () => {
    const made = model();
    expect(() => made.forward(fromData(Int32Array.of(1, 2), [2]))).toThrow(
      "expected tokens [batch, positions]",
    );
    expect(() => made.forward(tokens([40]))).toThrow("out of range for size 40");
    expect(() => new Llama(made.config, { weights: new Map() })).toThrow('no "embedding.weight"');
    const short = new Map([
      ["embedding.weight", noGrad(() => reshape(made.embedding.weight as Tensor, [24, 40]))],
    ]);
    expect(() => new Llama(made.config, { weights: short })).toThrow(
      "must have the shape [40, 24], got [24, 40]",
    );
  });
});

describe("the cache", () => {
  it("is one block, with tables of positions beside it", () => {
    const { config } = model({ kvHeads: 2 });
    const before = memory();
    const cache = new KVCache(config, 100);
    const after = memory();
    expect(after.liveBuffers - before.liveBuffers).toBe(3);
    expect(KVCache.bytes(config, 100)).toBe(4 * (3 * 2 * 2 * 100 * 6 + 100 * 6));
    expect(after.liveBytes - before.liveBytes).toBeGreaterThanOrEqual(KVCache.bytes(config, 100));
    expect(after.liveBytes - before.liveBytes).toBeLessThan(1.3 * KVCache.bytes(config, 100) + 512);
    cache.dispose();
    expect(memory().liveBuffers).toBe(before.liveBuffers);
  });

  it("keeps halfs in half the memory, and logits stay close", async () => {
    const made = model({ kvHeads: 2, windows: [null, 3, null] });
    const { config } = made;
    expect(KVCache.bytes(config, 100, "f16")).toBe(2 * (3 * 2 * 2 * 100 * 6) + 4 * 100 * 6);
    using cache = new KVCache(config, 12, { dtype: "f16" });
    const whole = made.forward(tokens([5, 6, 7, 8, 9, 10]));
    const most = Math.max(...(await whole.data()).map(Math.abs));
    made.forward(tokens([5, 6, 7]), cache).dispose();
    for (const [at, id] of [8, 9, 10].entries()) {
      const off = await difference(made.forward(tokens([id]), cache), slice(whole, null, [3 + at, 4 + at]));
      // Halfs keep 11 bits.
      expect(off).toBeLessThan(2e-3 * most);
      expect(off).toBeGreaterThan(0);
    }
    expect(() => new KVCache(config, 12, { dtype: "bf16" as "f16" })).toThrow('must be one of "f32", "f16"');
  });

  it("goes back, and what it forgot has no effect", async () => {
    const made = model({ windows: [null, 3, null] });
    using cache = new KVCache(made.config, 12);
    made.forward(tokens([5, 6, 7, 8, 9, 10]), cache).dispose();
    cache.truncate(3);
    const after = made.forward(tokens([20, 21]), cache);
    using fresh = new KVCache(made.config, 12);
    made.forward(tokens([5, 6, 7]), fresh).dispose();
    expect(await difference(after, made.forward(tokens([20, 21]), fresh))).toBe(0);
    expect(() => cache.truncate(6)).toThrow("0 to 5");
  });

  it("refuses what it has no room for, and stays as it was", () => {
    const made = model();
    using cache = new KVCache(made.config, 4);
    made.forward(tokens([1, 2, 3]), cache).dispose();
    expect(() => made.forward(tokens([4, 5]), cache)).toThrow("2 positions do not fit: 3 of 4 are filled");
    expect(() => made.forward(fromData(Int32Array.of(1, 2), [2, 1]), cache)).toThrow("[1, positions]");
    expect(cache.length).toBe(3);
  });

  it("lets a step run without allocations, leaks, or garbage that grows with the position", async () => {
    const own = await use(cpu());
    const made = model({ kvHeads: 2, windows: [null, 6, null] });
    const cache = new KVCache(made.config, 600);
    const garbage: number[] = [];
    const step = async (id: number): Promise<number> => {
      const before = process.memoryUsage().heapUsed;
      const next = noGrad(() => argmax(made.forward(tokens([id]), cache), { axis: -1 }));
      garbage.push(process.memoryUsage().heapUsed - before);
      const chosen = await next.item();
      next.dispose();
      return chosen;
    };
    let id = 1;
    for (let i = 0; i < 100; i++) id = await step(id);
    const warm = memory(own);
    for (let i = 100; i < 600; i++) id = await step(id);
    const { poolMisses, liveTensors, liveBytes } = warm;
    expect(memory(own)).toMatchObject({ poolMisses, liveTensors, liveBytes, leaks: 0 });
    // The median, since the collector runs in between.
    const typical = (from: number): number =>
      garbage.slice(from, from + 100).toSorted((a, b) => a - b)[50] as number;
    expect(typical(500)).toBeLessThan(1.1 * typical(200));
    cache.dispose();
    for (const parameter of made.parameters()) parameter.dispose();
    expect(memory(own).liveBuffers).toBe(0);
    await use(backend);
  });
});

describe("generating", () => {
  const run = async (options: Parameters<typeof generateTokens>[3], prompt: readonly number[] = TEXT) => {
    const made = model({ kvHeads: 2 });
    using cache = new KVCache(made.config, 40);
    const stream = generateTokens(made, cache, prompt, options);
    const ids: number[] = [];
    const logits: number[] = [];
    for (;;) {
      const next = await stream.next();
      if (next.done === true) return { ids, logits, finish: next.value, length: cache.length };
      ids.push(next.value.id);
      logits.push(next.value.logits?.length ?? 0);
    }
  };

  it("gives the same whatever the chunks of the prompt", async () => {
    const { ids } = await run({ greedy: true, maxTokens: 10 });
    for (const prefillChunk of [1, 4, 14, 15, 16])
      expect((await run({ greedy: true, maxTokens: 10, prefillChunk })).ids).toEqual(ids);
  });

  it("stops at maxTokens, at an end token, and where the cache is full", async () => {
    const all = await run({ greedy: true });
    expect(all).toMatchObject({ finish: "length", length: 40 });
    expect(all.ids).toHaveLength(40 - TEXT.length + 1);
    expect(await run({ greedy: true, maxTokens: 0 })).toMatchObject({ ids: [], finish: "length" });
    const end = all.ids[3] as number;
    const stopped = await run({ greedy: true, eosTokens: [end] });
    expect(stopped).toMatchObject({ finish: "eos", ids: all.ids.slice(0, all.ids.indexOf(end)) });
  });

  it("gives logits on request, of which the greedy token is the greatest", async () => {
    const plain = await run({ greedy: true, maxTokens: 5 });
    const asked = await run({ greedy: true, maxTokens: 5, logits: true });
    expect(asked.ids).toEqual(plain.ids);
    expect(asked.logits).toEqual([40, 40, 40, 40, 40]);
    expect(plain.logits).toEqual([0, 0, 0, 0, 0]);
  });

  it("draws the same from the same seed", async () => {
    const options = { temperature: 3, topK: 30, topP: 0.95, maxTokens: 20 };
    const [a, b, c] = [
      await run({ ...options, seed: 1 }),
      await run({ ...options, seed: 1 }),
      await run({ ...options, seed: 2 }),
    ];
    expect(a.ids).toEqual(b.ids);
    expect(a.ids).not.toEqual(c.ids);
  });

  it("is cancelled between tokens", async () => {
    const controller = new AbortController();
    const made = model();
    using cache = new KVCache(made.config, 40);
    const ids: number[] = [];
    const work = async () => {
      for await (const { id } of generateTokens(made, cache, [1], {
        greedy: true,
        signal: controller.signal,
      })) {
        ids.push(id);
        if (ids.length === 3) controller.abort(new Error("enough"));
      }
    };
    await expect(work()).rejects.toThrow("enough");
    expect(ids).toHaveLength(3);
    expect(cache.length).toBe(3);
  });

  it.each([
    [{ beams: 3 }, 'unknown option "beams"'],
    [{ maxTokens: -1 }, "maxTokens"],
    [{ prefillChunk: 0 }, "prefillChunk"],
    [{ greedy: true, topK: 3 }, "topK would have no effect"],
  ])("refuses %j", async (options: object, message) => {
    await expect(run(options)).rejects.toThrow(message);
  });

  it("refuses prompts that are empty, too long, or not of the vocabulary", async () => {
    await expect(run({}, [])).rejects.toThrow("at least one token");
    await expect(run({}, [3, 40])).rejects.toThrow("token 40 of the prompt");
    await expect(run({}, new Array<number>(41).fill(1))).rejects.toThrow("41 positions do not fit");
  });
});

describe("configurations", () => {
  it("fill in what is left out", () => {
    expect(llamaConfig(SIZES)).toEqual({
      ...SIZES,
      kvHeads: 4,
      headDim: 6,
      maxPositions: 2048,
      normEps: 1e-5,
      ropeBase: 10000,
      ropeScaling: null,
      ropeInterleaved: false,
      tiedHead: false,
      biases: { qkv: false, out: false, mlp: false },
      windows: [null, null, null],
    } satisfies LlamaConfig);
  });

  it.each([
    [{ heads: 5 }, "headDim must be a positive even number"],
    [{ kvHeads: 3 }, "heads (4) must be a multiple of kvHeads (3)"],
    [{ windows: [null] }, "windows must have an entry for each of the 3 layers"],
    [{ windows: [0, 1, 2] }, "null or a whole number from 1, got 0"],
    [{ layers: 0 }, "layers"],
    [{ experts: 8 }, 'unknown option "experts"'],
  ])("refuse %j", (settings, message) => {
    expect(() => llamaConfig({ ...SIZES, ...settings })).toThrow(message);
  });

  const HF = {
    model_type: "llama",
    vocab_size: 100,
    hidden_size: 32,
    intermediate_size: 64,
    num_hidden_layers: 2,
    num_attention_heads: 4,
  };

  it("are read from older and newer files alike", () => {
    const older = {
      ...HF,
      torch_dtype: "float16",
      rope_theta: 5e5,
      rope_scaling: { type: "linear", factor: 2 },
    };
    const newer = {
      ...HF,
      dtype: "float16",
      rope_parameters: { rope_type: "linear", rope_theta: 5e5, factor: 2 },
    };
    expect(parseLlamaConfig(older)).toEqual(parseLlamaConfig(newer));
    expect(parseLlamaConfig(older).config).toMatchObject({
      ropeBase: 5e5,
      ropeScaling: { type: "linear", factor: 2 },
      kvHeads: 4,
      normEps: 1e-6,
      windows: [null, null],
    });
  });

  it("take the tokens at the ends of texts along", () => {
    const parsed = parseLlamaConfig({ ...HF, bos_token_id: 1, eos_token_id: [2, 9] });
    expect(parsed).toMatchObject({ bosToken: 1, eosTokens: [2, 9] });
    expect(parseLlamaConfig(HF)).toMatchObject({ bosToken: null, eosTokens: [] });
  });

  it("know the families' windows and biases", () => {
    const mistral = { ...HF, model_type: "mistral", num_key_value_heads: 2 };
    expect(parseLlamaConfig(mistral).config.windows).toEqual([4096, 4096]);
    expect(parseLlamaConfig({ ...mistral, sliding_window: null }).config.windows).toEqual([null, null]);
    const qwen = {
      ...HF,
      model_type: "qwen2",
      num_key_value_heads: 2,
      sliding_window: 8,
      max_window_layers: 1,
    };
    expect(parseLlamaConfig(qwen).config).toMatchObject({
      windows: [null, null],
      biases: { qkv: true, out: false, mlp: false },
    });
    expect(parseLlamaConfig({ ...qwen, use_sliding_window: true }).config.windows).toEqual([null, 8]);
    const typed = { ...qwen, use_sliding_window: true, layer_types: ["sliding_attention", "full_attention"] };
    expect(parseLlamaConfig(typed).config.windows).toEqual([8, null]);
  });

  it.each<readonly [object, string]>([
    [{ model_type: "gpt2" }, 'model_type "gpt2" is none of this family: expected llama, mistral, qwen2'],
    [{ hidden_act: "gelu" }, 'hidden_act "gelu" is not supported'],
    [{ rope_scaling: { rope_type: "yarn", factor: 4 } }, 'rope scaling of type "yarn" is not supported'],
    [
      { rope_parameters: { rope_type: "default", partial_rotary_factor: 0.5 } },
      "takes no partial_rotary_factor",
    ],
    [
      { quantization_config: { bits: 4 } },
      "not known here, so that the model might compute something else: quantization_config",
    ],
    [{ sliding_window: 8 }, "a model of type llama has no sliding_window"],
    [{ num_hidden_layers: 1e12 }, "num_hidden_layers must be a whole number from 1 to 4096"],
    [{ hidden_size: undefined }, "hidden_size must be a whole number from 1 to 2147483647, it is missing"],
    [{ tie_word_embeddings: "yes" }, "tie_word_embeddings must be true or false"],
    [{ rms_norm_eps: -1 }, "rms_norm_eps must be a number above 0"],
  ])("refuse %j", (fields, message) => {
    expect(() => parseLlamaConfig({ ...HF, ...fields })).toThrow(message);
  });

  it("list all that is wrong, and pass over what they are told to", () => {
    const wrong = { ...HF, hidden_act: "relu", vocab_size: 0, attn_logit_softcapping: 50 };
    expect(() => parseLlamaConfig(wrong)).toThrow(
      /hidden_act[\s\S]*vocab_size|attn_logit_softcapping[\s\S]*vocab_size/,
    );
    expect(parseLlamaConfig({ ...HF, note: "mine" }, { ignore: ["note"] }).config.hiddenSize).toBe(32);
    expect(() => parseLlamaConfig([])).toThrow("expected a JSON object");
  });
});

import { readFileSync } from "node:fs";
import { cpu } from "@nf/backend-cpu";
import { dequantize, fromData, noGrad, type Tensor, use } from "@nf/core";
import { openWeights } from "@nf/io";
import { beforeAll, describe, expect, it } from "vitest";
import {
  generateTokens,
  KVCache,
  Llama,
  type LlamaFromFile,
  type LlamaWeightFormat,
  Projection,
  readLlama,
} from "../src/index.ts";

interface Expected {
  readonly prompt: readonly number[];
  readonly logits: readonly (readonly number[])[];
  readonly greedy: readonly number[];
}

const folder = (name: string): string => new URL(`../../../goldens/llama/${name}`, import.meta.url).pathname;
const expectedOf = (name: string): Expected =>
  JSON.parse(readFileSync(`${folder(name)}/expected.json`, "utf8"));

const ODD = [0, 1].map((layer) => `model.layers.${layer}.self_attn.o_proj.weight`);

async function read(name: string, weights?: LlamaWeightFormat): Promise<LlamaFromFile> {
  const file = await openWeights(folder(name));
  const loaded = await readLlama(file, weights === undefined ? {} : { weights });
  await file.close();
  return loaded;
}

const tokens = (ids: readonly number[]) => fromData(Int32Array.from(ids), [1, ids.length]);

/** The greatest difference, as a share of the greatest logit. */
function apart(got: ArrayLike<number>, { logits }: Expected): number {
  const want = logits.flat();
  expect(got.length).toBe(want.length);
  const largest = Math.max(...want.map(Math.abs));
  return Math.max(...want.map((value, i) => Math.abs(value - (got[i] as number)))) / largest;
}

beforeAll(async () => {
  await use(cpu());
});

describe.each(["grouped", "tied", "sharded", "mistral", "qwen2"])("%s equals transformers", (name) => {
  const expected = expectedOf(name);
  // Four heads of 12 values make rows of 48.
  const odd = name === "grouped" ? ODD : [];

  it("in logits, uncached", async () => {
    const { model } = await read(name);
    const logits = noGrad(() => model.forward(tokens(expected.prompt)));
    expect(logits.shape).toEqual([1, expected.prompt.length, model.config.vocabSize]);
    expect(apart(await logits.data(), expected)).toBeLessThan(1e-5);
  });

  it.each([1, 3, 64])("in logits, cached and %i at a time", async (chunk) => {
    const { model, config } = await read(name);
    using cache = new KVCache(config, 64);
    const rows: number[] = [];
    for (let start = 0; start < expected.prompt.length; start += chunk) {
      const logits = model.forward(tokens(expected.prompt.slice(start, start + chunk)), cache);
      rows.push(...(await logits.data()));
    }
    expect(apart(rows, expected)).toBeLessThan(1e-5);
  });

  it.each([1, 4, 128])("in the greedy text, after a prompt in chunks of %i", async (prefillChunk) => {
    const { model, config } = await read(name);
    using cache = new KVCache(config, 64);
    const ids: number[] = [];
    const options = { greedy: true, maxTokens: expected.greedy.length, prefillChunk };
    for await (const { id } of generateTokens(model, cache, expected.prompt, options)) ids.push(id);
    expect(ids).toEqual(expected.greedy);
  });

  it.each([
    ["f32", 1e-5],
    ["bf16", 0.03],
    ["f16", 0.005],
  ] as const)("loaded as %s, within %f of the greatest logit", async (weights, bound) => {
    const { model, unquantized } = await read(name, weights);
    const logits = noGrad(() => model.forward(tokens(expected.prompt)));
    expect(apart(await logits.data(), expected)).toBeLessThan(bound);
    expect(model.embedding.weight?.dtype).toBe(weights);
    expect(unquantized).toEqual([]);
  });

  it.each(["q8_0", "q4_0"] as const)("loaded as %s, with what its blocks hold", async (weights) => {
    const { model, config, unquantized } = await read(name, weights);
    expect(model.embedding.format).toBe(weights);
    // Rows of 40 values are no whole number of blocks.
    expect([...unquantized].sort()).toEqual(
      [0, 1]
        .map((layer) => `model.layers.${layer}.mlp.down_proj.weight`)
        .concat(odd)
        .sort(),
    );
    const plain = new Llama(config, { weights: widened(model) });
    const [got, want] = [model, plain].map((one) => noGrad(() => one.forward(tokens(expected.prompt))));
    const rows = Array.from(await (want as Tensor).data());
    expect(apart(await (got as Tensor).data(), { ...expected, logits: [rows] })).toBeLessThan(1e-5);
    // The blocks are those of these weights, and not of others.
    expect(apart(rows, expected)).toBeLessThan(weights === "q8_0" ? 0.06 : 0.6);
  });
});

/** The weights of a model by name, blocks as the values they hold. */
function widened(model: Llama): ReadonlyMap<string, Tensor> {
  const weights = new Map<string, Tensor>(model.namedParameters());
  for (const [name, module] of model.namedModules()) {
    if (!(module instanceof Projection) || module.format === null || module.bytes === null) continue;
    const { format, shape, bytes } = module;
    weights.set(`${name}.weight`, dequantize({ format, shape, bytes }));
  }
  return weights;
}

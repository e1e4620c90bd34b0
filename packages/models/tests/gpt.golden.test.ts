import { readFileSync } from "node:fs";
import { cpu } from "@nf/backend-cpu";
import { crossEntropy, currentBackend, fromData, noGrad, reshape, type Tensor, use } from "@nf/core";
import { openWeights } from "@nf/io";
import { AdamW } from "@nf/optim";
import { beforeAll, describe, expect, it } from "vitest";
import { Gpt, GptCache, type GptFromFile, generateGptTokens, gptConfig, readGpt } from "../src/index.ts";

interface Expected {
  readonly prompt: readonly number[];
  readonly logits: readonly (readonly number[])[];
  readonly greedy: readonly number[];
}

interface NanoGolden {
  readonly config: Readonly<Record<"vocab" | "tokens" | "width" | "heads" | "blocks", number>>;
  readonly lr: number;
  readonly weightDecay: number;
  readonly x: readonly (readonly number[])[];
  readonly y: readonly (readonly number[])[];
  readonly weights: Readonly<Record<string, readonly number[]>>;
  readonly gradients: Readonly<Record<string, readonly number[]>>;
  readonly logits: readonly number[];
  readonly losses: readonly number[];
}

const golden = (path: string): string => new URL(`../../../goldens/gpt2/${path}`, import.meta.url).pathname;
const json = (path: string) => JSON.parse(readFileSync(golden(path), "utf8"));
const int = (rows: readonly (readonly number[])[]): Tensor =>
  fromData(Int32Array.from(rows.flat()), [rows.length, rows[0]?.length ?? 0]);

async function read(name: string): Promise<GptFromFile> {
  const file = await openWeights(golden(name));
  const loaded = await readGpt(file);
  await file.close();
  return loaded;
}

/** The greatest difference, as a share of the greatest value. */
function apart(got: ArrayLike<number>, want: readonly number[]): number {
  expect(got.length).toBe(want.length);
  const largest = Math.max(...want.map(Math.abs));
  return Math.max(...want.map((value, i) => Math.abs(value - (got[i] as number)))) / largest;
}

beforeAll(async () => {
  await use(cpu());
});

describe.each(["tied", "own"])("GPT-2, %s head, equals transformers", (name) => {
  const expected: Expected = json(`${name}/expected.json`);

  it("in configuration", async () => {
    const { config, eosTokens, bosToken, layout } = await read(name);
    const tied = name === "tied";
    expect(config).toEqual({
      vocabSize: 48,
      maxPositions: 32,
      hiddenSize: 32,
      intermediateSize: tied ? 128 : 40,
      layers: 2,
      heads: 4,
      activation: tied ? "geluTanh" : "gelu",
      normEps: tied ? 1e-5 : 1e-4,
      tiedHead: tied,
      biases: { attention: true, mlp: true, head: false },
      dropout: 0,
    });
    expect({ eosTokens, bosToken, layout }).toEqual({ eosTokens: [2], bosToken: 1, layout: "gpt2" });
  });

  it("in logits", async () => {
    const { model } = await read(name);
    expect(model.training).toBe(false);
    const logits = noGrad(() => model.forward(int([expected.prompt])));
    expect(logits.shape).toEqual([1, expected.prompt.length, 48]);
    expect(apart(await logits.data(), expected.logits.flat())).toBeLessThan(1e-5);
  });

  it.each([1, 3, 64])("in logits, cached and %i at a time", async (chunk) => {
    const { model, config } = await read(name);
    const cache = new GptCache(config, currentBackend());
    const rows: number[] = [];
    for (let start = 0; start < expected.prompt.length; start += chunk) {
      const part = int([expected.prompt.slice(start, start + chunk)]);
      rows.push(...(await noGrad(() => model.logits(model.hidden(part, cache))).data()));
    }
    cache.dispose();
    expect(apart(rows, expected.logits.flat())).toBeLessThan(1e-5);
  });

  it("in the greedy text", async () => {
    const { model } = await read(name);
    const ids: number[] = [];
    const options = { greedy: true, maxTokens: expected.greedy.length };
    for await (const { id } of generateGptTokens(model, expected.prompt, options)) ids.push(id);
    expect(ids).toEqual(expected.greedy);
  });
});

describe("nanoGPT equals the same model in PyTorch", () => {
  const want: NanoGolden = json("nanogpt.json");
  const { vocab, tokens, width, heads, blocks } = want.config;
  const make = (): Gpt => {
    const config = gptConfig({
      vocabSize: vocab,
      maxPositions: tokens,
      hiddenSize: width,
      heads,
      layers: blocks,
    });
    const model = new Gpt(config, { draw: false });
    const shaped = Object.entries(want.weights).map(
      ([name, data]) =>
        [name, fromData(Float32Array.from(data), model.stateDict()[name]?.shape ?? [])] as const,
    );
    model.loadStateDict(Object.fromEntries(shaped));
    return model;
  };
  const lossOf = (model: Gpt) => {
    const logits = model.forward(int(want.x));
    return { logits, loss: crossEntropy(reshape(logits, [-1, vocab]), reshape(int(want.y), [-1])) };
  };

  it("in logits and the gradient of every weight", async () => {
    const model = make();
    const { logits, loss } = lossOf(model);
    expect(apart(await logits.data(), want.logits)).toBeLessThan(1e-5);
    expect(Math.abs((await loss.item()) - (want.losses[0] as number))).toBeLessThan(1e-6);
    loss.backward();
    const named = model.namedParameters();
    expect(named.map(([name]) => name).sort()).toEqual(Object.keys(want.gradients).sort());
    for (const [name, parameter] of named) {
      const gradient = await (parameter.grad as Tensor).data();
      expect(apart(gradient, want.gradients[name] as readonly number[]), name).toBeLessThan(1e-5);
    }
  });

  it("in the losses of three steps of AdamW", async () => {
    const model = make();
    const optimizer = new AdamW(model.parameters(), { lr: want.lr, weightDecay: want.weightDecay });
    for (const expected of want.losses) {
      optimizer.zeroGrad();
      const { loss } = lossOf(model);
      loss.backward();
      optimizer.step();
      expect(Math.abs((await loss.item()) - expected)).toBeLessThan(1e-5);
    }
  });
});

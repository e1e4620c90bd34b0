import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { cpu } from "@nf/backend-cpu";
import { native } from "@nf/backend-native";
import { wasm } from "@nf/backend-wasm";
import { webgpu } from "@nf/backend-webgpu";
import { argmax, type Backend, fromData, memory, noGrad, use } from "@nf/core";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { provideAdapter } from "../../backend-webgpu/tests/adapter.ts";
import { type LoadedLlama, loadLlama } from "../src/index.ts";

/** Whether there is a binary of the native backend for this machine. */
const hasNative = await native().then(
  (backend) => backend.dispose().then(() => true),
  () => process.env["NF_NATIVE"] === "required",
);
if (!hasNative) console.log("skipped: stories260K on native, which has no binary here");

const noAdapter = await provideAdapter("stories260K on webgpu");

/** Backends that the expected text must come from, token for token. */
const BACKENDS: Readonly<Record<string, () => Promise<Backend>>> = {
  cpu: () => cpu(),
  wasm: () => wasm(),
  ...(hasNative && { native: () => native() }),
  ...(noAdapter === undefined && { webgpu: () => webgpu() }),
};

const root = process.env["NF_DATA_DIR"];
const folder = join(root ?? "", "stories260k");
const there = root !== undefined && existsSync(join(folder, "stories260K.bin"));
if (!there) console.log(`skipped: NF_DATA_DIR (${root ?? "not set"}) has no folder stories260k`);

/** Logits after the first of some tokens at once, and after each of the last eight. */
async function stepwise({ model, cache }: LoadedLlama, tokens: readonly number[]): Promise<number[]> {
  cache.truncate(0);
  const results: number[] = [];
  const parts = [tokens.slice(0, -8), ...tokens.slice(-8).map((token) => [token])];
  for (const part of parts) {
    const ids = fromData(Int32Array.from(part), [1, part.length], { backend: cache.backend });
    using logits = model.forward(ids, cache);
    ids.dispose();
    results.push(...(await logits.data()).slice(-512));
  }
  return results;
}

describe.runIf(there).each(Object.entries(BACKENDS))("stories260K on %s", (_name, open) => {
  let backend: Backend;
  let llama: LoadedLlama;
  let expected: string;

  beforeAll(async () => {
    backend = await open();
    await use(backend);
    llama = await loadLlama(folder, { backend });
    expected = readFileSync(join(folder, "expected-greedy-200.txt"), "utf8").replace(/\n$/, "");
  });
  afterAll(async () => {
    llama?.dispose();
    expect(memory(backend).liveTensors).toBe(0);
    await backend?.dispose();
  });

  it("has the checkpoint's parameters", () => {
    const { embedding, blocks, head } = llama.model;
    expect(embedding.shape).toEqual([512, 64]);
    expect(blocks).toHaveLength(5);
    expect(head).toBeNull();
    expect(llama.model.parameters().reduce((sum, { size }) => sum + size, 0)).toBe(260_032);
  });

  it("writes the expected text with the cache", async () => {
    const generation = await llama.generate("", { greedy: true, maxTokens: 200 }).finished();
    expect(generation.promptTokens).toEqual([1]);
    expect(generation.text).toBe(expected);
    expect(generation.finish).toBe("length");
    expect([1, ...generation.tokens]).toEqual(llama.tokenizer.encode(expected));
  });

  it("begins with the same text from blocks of 8 bits", async () => {
    using quantized = await loadLlama(folder, { backend, weights: "q8_0" });
    const generation = await quantized.generate("", { greedy: true, maxTokens: 40 }).finished();
    expect(generation.tokens).toHaveLength(40);
    expect(expected.startsWith(generation.text)).toBe(true);
  });

  // Logits, not the text: what two words nearly tie in would follow the rounding, and that the adapter.
  it("computes nearly the same from a cache of halfs, which takes half the memory", async () => {
    using halfs = await loadLlama(folder, { backend, cache: "f16" });
    const tokens = llama.tokenizer.encode(expected).slice(0, 40);
    const [wide, narrow] = [await stepwise(llama, tokens), await stepwise(halfs, tokens)];
    const largest = Math.max(...wide.map(Math.abs));
    const apart = wide.map((value, i) => Math.abs(value - (narrow[i] as number)));
    expect(wide).toHaveLength(9 * 512);
    expect(Math.max(...apart)).toBeLessThan(0.02 * largest);
    expect(Math.max(...apart)).toBeGreaterThan(0);
    const generation = await halfs.generate("", { greedy: true, maxTokens: 3 }).finished();
    expect(expected.startsWith(generation.text)).toBe(true);
    expect(halfs.memory.cache).toBeLessThan(0.6 * llama.memory.cache);
    expect(halfs.memory.weights).toBe(llama.memory.weights);
  });

  it("writes the same tokens without a cache", async () => {
    const tokens = llama.tokenizer.encode(expected);
    expect(tokens).toHaveLength(201);
    // Every position sees only those before it, so one pass says what each step would have chosen.
    const chosen = noGrad(() => {
      const logits = llama.model.forward(
        fromData(Int32Array.from(tokens.slice(0, 200)), [1, 200], { backend }),
      );
      return argmax(logits, { axis: -1 });
    });
    expect(Array.from(await chosen.data())).toEqual(tokens.slice(1));
    chosen.dispose();
  });

  it("allocates nothing in a step once it is warm", async () => {
    llama.cache.truncate(0);
    const seen: number[] = [];
    const generation = llama.generate([1], {
      temperature: 0.7,
      topP: 0.9,
      seed: 3,
      maxTokens: 400,
      ignoreEos: true,
    });
    for await (const _ of generation) if (generation.tokens.length > 2) seen.push(memory(backend).poolMisses);
    expect(seen.length).toBeGreaterThan(300);
    expect(new Set(seen).size).toBe(1);
  });
});

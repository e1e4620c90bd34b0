import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { cpu } from "@nf/backend-cpu";
import { type Backend, fromData, type HostArray, memory, mul, noGrad, profile, use } from "@nf/core";
import { openWeights } from "@nf/io";
import { functionalize } from "@nf/nn";
import { afterAll, beforeAll, expect, it } from "vitest";
import { KVCache, type Llama, type LlamaWeightFormat, readLlama } from "../src/index.ts";
import { writeTiny } from "./tiny.ts";

const TOKENS = [5, 9, 12, 7, 30, 6];

let folder: string;
beforeAll(async () => {
  await use(cpu());
  folder = await mkdtemp(join(tmpdir(), "nf-llama-"));
  await writeTiny(folder);
});
afterAll(() => rm(folder, { recursive: true, force: true }));

async function load(backend: Backend, weights: LlamaWeightFormat = "auto"): Promise<Llama> {
  const file = await openWeights(folder);
  const { model } = await readLlama(file, { backend, weights });
  await file.close();
  return model;
}

/** Logits of the tokens, all at once without a cache, or with one. */
async function logits(model: Llama, backend: Backend, cached: boolean): Promise<HostArray> {
  using cache = new KVCache(model.config, 16, { backend });
  const result = noGrad(() => {
    const tokens = fromData(Int32Array.from(TOKENS), [1, TOKENS.length], { backend });
    return model.forward(tokens, cached ? cache : undefined);
  });
  const values = await result.data();
  result.dispose();
  return values;
}

function expectSame(a: HostArray, b: HostArray): void {
  const most = Math.max(...Array.from(b, (value) => Math.abs(Number(value))));
  expect(most).toBeGreaterThan(0.1);
  a.forEach((value, i) => {
    expect(Math.abs(Number(value) - Number(b[i]))).toBeLessThan(1e-5 * most);
  });
}

it.each(["f32", "q8_0", "q4_0"] as const)(
  "%s: a step has four products a layer, and one more",
  async (weights) => {
    const counted = profile(await cpu());
    using model = await load(counted, weights);
    const products = async (cached: boolean): Promise<number> => {
      counted.reset();
      await logits(model, counted, cached);
      const { programs } = counted.report();
      const of = programs.filter(({ kernel }) => kernel === "matmul" || kernel === "quantizedMatmul");
      return of.reduce((sum, { calls }) => sum + calls, 0);
    };
    // The decomposed attention has two products of its own in each of the two layers.
    const own = counted.capabilities.dtypes["attention"] === undefined ? 4 : 0;
    expect(await products(true)).toBe(2 * 4 + 1 + own);
    expect(await products(false)).toBe(2 * 7 + 1 + own);
    expectSame(await logits(model, counted, true), await logits(model, counted, false));
    await counted.dispose();
  },
);

it("sees what is loaded into the weights", async () => {
  const backend = await cpu();
  using model = await load(backend);
  const before = await logits(model, backend, true);
  const { weight } = (model.blocks[0] as Llama["blocks"][number]).attention.k;
  const state = Object.entries(model.stateDict());
  expect(state.map(([name]) => name)).toContain("blocks.1.feedForward.gate.weight");
  const changed = noGrad(() =>
    state.map(([name, value]) => [name, value === weight ? mul(value, -1) : value] as const),
  );
  model.loadStateDict(Object.fromEntries(changed));
  const after = await logits(model, backend, true);
  expect(after).not.toEqual(before);
  expectSame(after, await logits(model, backend, false));
  await backend.dispose();
});

it("computes one by one what was moved apart, and gives all memory back", async () => {
  const [from, to] = [await cpu(), await cpu()];
  const model = await load(from, "q8_0");
  const before = await logits(model, from, true);
  await model.to(to);
  // The joined matrices end with the move, not with the model.
  expect(memory(from).liveTensors).toBe(0);
  expect(memory(from).liveBytes).toBe(0);
  expectSame(await logits(model, to, true), before);
  await model.to(from);
  expectSame(await logits(model, from, true), before);
  model.dispose();
  for (const backend of [from, to]) {
    expect(memory(backend).liveTensors).toBe(0);
    await backend.dispose();
  }
});

it("gives a copy no part in its joined matrices", async () => {
  const backend = await cpu();
  using model = await load(backend);
  const before = await logits(model, backend, true);
  const { structure, params, state } = functionalize(model);
  const copy = structure.bind({ params, state });
  expectSame(await logits(copy, backend, true), before);
  copy.dispose();
  expectSame(await logits(model, backend, true), before);
  await backend.dispose();
});

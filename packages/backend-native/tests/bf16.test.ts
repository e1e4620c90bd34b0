import { cpu } from "@nf/backend-cpu";
import { conformance, gptTraces, lenetTraces, type ModelTrace } from "@nf/conformance";
import { type Backend, fromData, use } from "@nf/core";
import { CrossEntropyLoss } from "@nf/nn";
import { describe, expect, it } from "vitest";
import { type NativeOptions, native } from "../src/index.ts";
import { missing } from "./built.ts";
import { blank, download, run, upload } from "./helper.ts";
import { RoundedFactors } from "./rounding.ts";

const nightly = process.env["NF_NIGHTLY"] === "1";
const options: NativeOptions = { threads: 2, matmulPrecision: "bf16" };
const rounded = async (): Promise<Backend> => new RoundedFactors(await native({ threads: 2 }));

/**
 * By how much tolerances are wider: bf16 rounds factors to 8 bits, f32 to 24, and tolerances follow what a rounding moves.
 * Families that are not named here hold with the tolerances of f32. Fused kernels stand beside decompositions that multiply
 * matrices.
 */
const WIDEN = { products: 2 ** 16, kernels: 2 ** 16, determinism: 2 ** 16, fused: 2 ** 16 };

/** What cannot be held against limits that know nothing of factors with 8 bits. */
function skip({ family, name }: { readonly family: string; readonly name: string }): string | undefined {
  if (family === "fused" && /^(conv|attention) equals/.test(name))
    return "the kernel stays in f32, the products of its decomposition round; its own family holds in f32";
  return family === "graphs"
    ? "the limit of 1e-7 is for f32; products of graphs are held against rounded factors"
    : undefined;
}

/** Where products round, and the models that are made of them; the other families hold as they do in f32. */
const FAMILIES = ["products", "kernels", "cells", "determinism", "models"];

/**
 * Steps of training until a value that lies between two of bf16 is rounded one way here and the other way there, for a
 * difference in the last bit of a sum: until then losses are nearly the same, while those of f32 are off by 2e-3.
 */
const STEPS = 6;

/** The losses of a trace's training on a backend. */
async function lossesOn(backend: Backend, trace: ModelTrace): Promise<number[]> {
  await use(backend);
  const model = trace.build();
  const optimizer = trace.optimizer(model.parameters());
  const criterion = new CrossEntropyLoss();
  const losses: number[] = [];
  for (let step = 0; step < trace.losses.length; step++) {
    const { inputs, target } = trace.batch(step);
    const tensors = [...inputs, target].map(({ values, shape }) => fromData(values, shape));
    const loss = criterion.forward(
      trace.forward(model, tensors.slice(0, -1)),
      tensors.at(-1) as (typeof tensors)[0],
    );
    optimizer.zeroGrad();
    loss.backward();
    optimizer.step();
    losses.push(await loss.item());
    for (const tensor of tensors) tensor.dispose();
  }
  optimizer.dispose();
  model.dispose();
  return losses;
}

/** The suite's models with the losses of f32 arithmetic over rounded factors of matrix products. */
async function roundedTraces(): Promise<ModelTrace[]> {
  const backend = await rounded();
  const traces: ModelTrace[] = [];
  for (const trace of [...lenetTraces(), ...gptTraces()])
    traces.push({ ...trace, losses: (await lossesOn(backend, trace)).slice(0, STEPS), tolerance: 2e-5 });
  await backend.dispose();
  return traces;
}

describe.skipIf(missing !== undefined)("native with factors of bf16", async () => {
  const traces = missing === undefined ? await roundedTraces() : [];
  conformance(() => native(options), {
    describe,
    it,
    reference: () => cpu(),
    limited: (maxBytes) => native({ ...options, maxBytes }),
    widen: WIDEN,
    skip,
    traces,
    ...(nightly ? { examples: 200 } : { examples: 2, families: FAMILIES }),
  });
});

describe.skipIf(missing !== undefined)("what bf16 rounds", () => {
  const noise = (count: number, seed: number): number[] =>
    Array.from({ length: count }, (_, i) => Math.fround(Math.sin(i * 12.9898 + seed * 78.233)));

  it("is the factors of products, to the last bits of f32", async () => {
    const backends = [await native(options), await rounded()];
    for (const [batch, rows, depth, columns] of [
      [1, 9, 33, 9],
      [3, 40, 700, 17],
      [1, 8, 40, 60],
      [2, 30, 50, 8],
    ] as const) {
      const [a, b] = [noise(batch * rows * depth, 1), noise(batch * depth * columns, 2)];
      const [got, wanted] = backends.map((backend) => {
        const out = blank(backend, "f32", [batch, rows, columns]);
        const inputs = [
          upload(backend, "f32", [batch, rows, depth], a),
          upload(backend, "f32", [batch, depth, columns], b),
        ];
        run(backend, { kernel: "matmul", inputs, outputs: [out] });
        return download(backend, out);
      }) as [number[], number[]];
      const furthest = Math.max(...got.map((value, i) => Math.abs(value - (wanted[i] as number))));
      // Products of rounded factors are exact in f32; they are added up in another order.
      if (rows > 8 && columns > 8) expect(furthest).toBeLessThan(depth * 2 ** -24);
      else expect(got).toEqual(wanted);
    }
    for (const backend of backends) await backend.dispose();
  });

  it("leads training elsewhere than f32 does", async () => {
    const trace = gptTraces()[0] as ModelTrace;
    const backend = await native(options);
    const losses = await lossesOn(backend, trace);
    await backend.dispose();
    const apart = losses.map((loss, step) => Math.abs(loss - (trace.losses[step] as number)));
    expect(Math.max(...apart)).toBeGreaterThan(2 * trace.tolerance);
    expect(Math.max(...apart)).toBeLessThan(0.05);
  });
});

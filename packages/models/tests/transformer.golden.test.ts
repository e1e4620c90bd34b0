import { readFileSync } from "node:fs";
import { cpu } from "@nf/backend-cpu";
import { wasm } from "@nf/backend-wasm";
import { type Backend, fromData, type Tensor, use } from "@nf/core";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { Transformer, transformerConfig, transformerParameters } from "../src/index.ts";

interface Order {
  readonly logits: readonly number[];
  readonly loss: number;
  readonly gradients: Readonly<Record<string, readonly number[]>>;
}

interface Golden {
  readonly sizes: Parameters<typeof transformerConfig>[0];
  readonly labelSmoothing: number;
  readonly source: readonly (readonly number[])[];
  readonly target: readonly (readonly number[])[];
  readonly weights: Readonly<Record<string, readonly number[]>>;
  readonly orders: Readonly<Record<"postNorm" | "preNorm", Order>>;
}

const golden: Golden = JSON.parse(
  readFileSync(new URL("../../../goldens/transformer/expected.json", import.meta.url), "utf8"),
);

/** A name of torch.nn.Transformer's state dict as this model has it. */
function nameOf(torch: string): string {
  return torch
    .replace(/^(source|target)\./, "$1Embedding.")
    .replace(/^transformer\.(encoder|decoder)\.norm\./, "$1Norm.")
    .replace(/^transformer\.(encoder|decoder)\.layers\./, "$1.")
    .replace("self_attn.", "selfAttention.")
    .replace("multihead_attn.", "crossAttention.")
    .replace(/\.linear([12])\./, ".feedForward.linear$1.")
    .replace(/\.norm([123])\./, (_, place) => `.residuals.${Number(place) - 1}.norm.`);
}

const ids = (rows: readonly (readonly number[])[]): Tensor =>
  fromData(Int32Array.from(rows.flat()), [rows.length, rows[0]?.length ?? 0]);

/** The greatest difference, as a share of the greatest value. */
function apart(got: ArrayLike<number>, want: readonly number[]): number {
  expect(got.length).toBe(want.length);
  const largest = Math.max(...want.map(Math.abs), 1e-3);
  return Math.max(...want.map((value, i) => Math.abs(value - (got[i] as number)))) / largest;
}

const BACKENDS: readonly (readonly [string, () => Promise<Backend>])[] = [
  ["cpu", () => cpu()],
  ["wasm", () => wasm()],
];

const CASES = BACKENDS.flatMap(([name, open]) =>
  (["postNorm", "preNorm"] as const).map((order) => [order, name, open] as const),
);

describe.each(CASES)("torch.nn.Transformer, %s on %s", (order, _, open) => {
  let backend: Backend;

  beforeAll(async () => {
    backend = await use(open());
  });
  afterAll(async () => {
    await backend.dispose();
  });

  const expected = golden.orders[order];

  function build(): Transformer {
    const config = transformerConfig({
      ...golden.sizes,
      normFirst: order === "preNorm",
      finalNorm: true,
      dropout: 0,
    });
    const model = new Transformer(config);
    const shapes = new Map(model.namedParameters().map(([name, { shape }]) => [name, shape]));
    const weights = Object.entries(golden.weights).map(([torch, values]) => {
      const name = nameOf(torch);
      return [name, fromData(Float32Array.from(values), shapes.get(name) ?? [values.length])] as const;
    });
    model.loadStateDict(Object.fromEntries(weights));
    expect(transformerParameters(config)).toBe(Object.values(golden.weights).flat().length);
    return model;
  }

  it("gives the same logits, at padding too", async () => {
    const model = build();
    const target = golden.target.map((row) => row.slice(0, -1));
    const logits = model.forward(ids(golden.source), ids(target));
    expect(apart(await logits.data(), expected.logits)).toBeLessThan(2e-6);
  });

  it("gives the same loss and gradients of all weights", async () => {
    const model = build();
    const { labelSmoothing } = golden;
    const loss = model.loss(ids(golden.source), ids(golden.target), { labelSmoothing });
    expect(await loss.item()).toBeCloseTo(expected.loss, 6);
    loss.backward();
    const parameters = new Map(model.namedParameters());
    expect(parameters.size).toBe(Object.keys(expected.gradients).length);
    for (const [torch, want] of Object.entries(expected.gradients)) {
      const gradient = parameters.get(nameOf(torch))?.grad as Tensor;
      expect(apart(await gradient.data(), want), torch).toBeLessThan(1e-5);
    }
  });
});

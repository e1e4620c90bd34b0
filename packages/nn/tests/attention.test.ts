import { readFileSync } from "node:fs";
import { cpu } from "@nf/backend-cpu";
import {
  concat,
  fromData,
  Generator,
  IndexError,
  linear,
  OptionError,
  ones,
  randn,
  ShapeError,
  softmax,
  sum,
  type Tensor,
  tensor,
  use,
  zeros,
} from "@nf/core";
import { beforeAll, describe, expect, it } from "vitest";
import {
  Embedding,
  functionalize,
  type KeysValues,
  LayerNorm,
  MultiheadAttention,
  type MultiheadAttentionOptions,
} from "../src/index.ts";

beforeAll(async () => {
  await use(cpu());
});

const draw = (shape: readonly number[], seed: number): Tensor =>
  randn(shape, { generator: new Generator(seed) });

async function near(got: Tensor, want: Tensor, digits = 5): Promise<void> {
  expect(got.shape).toEqual(want.shape);
  const [a, b] = [await got.data(), await want.data()];
  for (const [i, value] of b.entries()) expect(a[i]).toBeCloseTo(value, digits);
}

describe("MultiheadAttention", () => {
  const make = (options = {}): MultiheadAttention =>
    new MultiheadAttention(6, 2, { generator: new Generator(1), ...options });

  it("has PyTorch's parameters and initial values", async () => {
    const attention = make();
    const shapes = attention.namedParameters().map(([name, { shape }]) => [name, shape]);
    expect(shapes).toEqual([
      ["in_proj_weight", [18, 6]],
      ["in_proj_bias", [18]],
      ["out_proj.weight", [6, 6]],
      ["out_proj.bias", [6]],
    ]);
    // Xavier-uniform over the joint weight: 6 in, 18 out.
    const bound = Math.sqrt(6 / 24);
    const largest = Math.max(...(await (attention.inProjWeight as Tensor).data()).map(Math.abs));
    expect(largest).toBeLessThanOrEqual(bound);
    expect(largest).toBeGreaterThan(0.9 * bound);
    for (const bias of [attention.inProjBias, attention.outProj.bias])
      expect(await bias?.toArray()).toEqual(new Array(bias?.size).fill(0));
    expect(make({ bias: false }).namedParameters()).toHaveLength(2);
  });

  it("is a softmax over the keys of each head", async () => {
    const attention = make();
    const [q, kv] = [draw([1, 3, 6], 2), draw([1, 4, 6], 3)];
    const project = (x: Tensor, place: number): Tensor =>
      x.slice(0).matmul((attention.inProjWeight as Tensor).slice([place * 6, place * 6 + 6]).transpose());
    const heads = [0, 1].map((head) => {
      const part = (x: Tensor): Tensor => x.slice(null, [3 * head, 3 * head + 3]);
      const scores = part(project(q, 0))
        .matmul(part(project(kv, 1)).transpose())
        .div(Math.sqrt(3));
      return softmax(scores).matmul(part(project(kv, 2)));
    });
    const { weight } = attention.outProj;
    const want = heads
      .map((head, i) => head.matmul(weight.slice(null, [3 * i, 3 * i + 3]).transpose()))
      .reduce((a, b) => a.add(b));
    await near(attention.forward(q, kv, kv), want.reshape([1, 3, 6]));
  });

  it("leaves out masked keys, by padding, by mask and causally", async () => {
    const attention = make();
    const [q, kv] = [draw([2, 2, 6], 4), draw([2, 3, 6], 5)];
    const first = kv.slice(null, [0, 2]);
    const want = attention.forward(q, first, first);
    const keyMask = tensor(new Array(2).fill([true, true, false]));
    await near(attention.forward(q, kv, kv, { keyMask }), want);
    await near(attention.forward(q, kv, kv, { mask: tensor([true, true, false]) }), want);
    await near(attention.forward(q, kv, kv, { mask: tensor([0, 0, -Infinity]) }), want);
    const both = {
      keyMask: tensor(new Array(2).fill([true, true, true])),
      mask: tensor([true, true, false]),
    };
    await near(attention.forward(q, kv, kv, both), want);
    // The last query meets the last key, so the first one meets the one before.
    await near(attention.forward(q, kv, kv, { causal: true }).slice(null, 0), want.slice(null, 0));
  });

  it("goes on from keys and values that were kept", async () => {
    const attention = make();
    const [q, kv] = [draw([1, 2, 6], 6), draw([1, 5, 6], 7)];
    await near(attention.attend(q, attention.project(kv, kv)), attention.forward(q, kv, kv));
  });

  it("drops weights in training alone", async () => {
    const attention = make({ dropout: 0.5 });
    const x = draw([1, 8, 6], 8);
    const [a, b] = [attention.forward(x, x, x), attention.forward(x, x, x)];
    expect(await a.toArray()).not.toEqual(await b.toArray());
    attention.eval();
    await near(attention.forward(x, x, x), attention.forward(x, x, x));
  });

  it("gives gradients to all of its parameters and inputs", async () => {
    const attention = make();
    const x = draw([2, 3, 6], 9);
    x.requiresGrad = true;
    sum(attention.forward(x, x, x, { causal: true }).square()).backward();
    for (const one of [x, ...attention.parameters()])
      expect(Math.max(...(await (one.grad as Tensor).data()).map(Math.abs))).toBeGreaterThan(0);
  });

  it("gives what meets outProj to hooks that keep it", async () => {
    const attention = make();
    const kept: Tensor[] = [];
    attention.outProj.registerForwardHook((_, inputs: readonly unknown[]) => {
      kept.push(inputs[0] as Tensor);
    });
    const x = draw([1, 3, 6], 4);
    const y = attention.forward(x, x, x);
    await near(linear(kept[0] as Tensor, attention.outProj.weight), y);
  });

  it("refuses what does not fit", () => {
    expect(() => new MultiheadAttention(6, 4)).toThrow(/multiple of numHeads, got 6 and 4/);
    expect(() => new MultiheadAttention(6, 2, { addBiasKv: true } as object)).toThrow(OptionError);
    const attention = make();
    const x = zeros([1, 2, 6]);
    expect(() => attention.forward(x, zeros([1, 2, 5]), x)).toThrow(
      /key must be \[batch, positions, 6\], got \[1, 2, 5\]/,
    );
    expect(() => attention.forward(x, x, x, { keyMask: ones([1, 2]) })).toThrow(ShapeError);
    const masks = { keyMask: tensor([[true, false]]), mask: zeros([2]) };
    expect(() => attention.forward(x, x, x, masks)).toThrow(/does not go together with keyMask/);
    expect(() => attention.forward(x, x, x, { isCausal: true } as object)).toThrow(/"isCausal"/);
    expect(make({ dropout: 0.1, bias: false }).toString()).toBe(
      "MultiheadAttention(6, 2, { dropout: 0.1, bias: false })",
    );
  });
});

interface Values {
  readonly shape: readonly number[];
  readonly data: readonly number[];
}
interface Case {
  readonly options: MultiheadAttentionOptions;
  readonly padding: boolean;
  readonly causal: boolean;
  readonly inputs: Readonly<Record<string, Values>>;
  readonly weights: Readonly<Record<string, Values>>;
  readonly attention: Values;
  readonly seeds: readonly [Values];
  readonly results: readonly [Values];
  readonly gradients: Readonly<Record<string, Values>>;
}

const golden: { readonly attention: readonly Case[] } = JSON.parse(
  readFileSync(new URL("../../../goldens/recurrent.json", import.meta.url), "utf8"),
);
const tensorOf = ({ shape, data }: Values): Tensor =>
  fromData(Float64Array.from(data), shape, { dtype: "f64" });

describe("torch.nn.MultiheadAttention", () => {
  it.each(golden.attention.map((one) => [JSON.stringify(one.options), one] as const))(
    "%s",
    async (_, { options, padding, causal, inputs, weights, attention, seeds, results, gradients }) => {
      const layer = new MultiheadAttention(4, 2, { ...options, dtype: "f64" });
      layer.loadStateDict(
        Object.fromEntries(Object.entries(weights).map(([name, values]) => [name, tensorOf(values)])),
      );
      const leaves = Object.fromEntries(
        Object.entries(inputs).map(([name, values]) => [name, tensorOf(values)]),
      );
      for (const leaf of Object.values(leaves)) leaf.requiresGrad = true;
      const query = leaves["query"] as Tensor;
      const [key, value] = [leaves["key"] ?? query, leaves["value"] ?? query];
      const keys = key.shape[1] as number;
      const keyMask = tensor(
        [true, false].map((whole) => Array.from({ length: keys }, (_, i) => whole || i < keys - 1)),
      );
      const masks = { causal, ...(padding && { keyMask }) };
      const output = layer.forward(query, key, value, masks);
      await near(output, tensorOf(results[0]), 7);
      await near(layer.attentionWeights(query, key, masks), tensorOf(attention), 7);
      sum(output.mul(tensorOf(seeds[0]))).backward();
      const all = { ...leaves, ...Object.fromEntries(layer.namedParameters()) };
      expect(Object.keys(all).sort()).toEqual(Object.keys(gradients).sort());
      for (const [name, want] of Object.entries(gradients))
        await near(all[name]?.grad as Tensor, tensorOf(want), 7);
    },
  );

  it("shares keys among heads of queries", async () => {
    const grouped = new MultiheadAttention(8, 4, { numKvHeads: 2, generator: new Generator(1) });
    expect((grouped.inProjWeight as Tensor).shape).toEqual([16, 8]);
    const full = new MultiheadAttention(8, 4);
    const spread = (x: Tensor): Tensor => {
      // Each head of keys or values, for two of queries.
      const [rows] = [x.shape[0] as number];
      const parts = [0, 0, 1, 1].map((head) => x.slice([2 * head, 2 * head + 2]));
      expect(rows).toBe(4);
      return concat(parts);
    };
    const joint = (x: Tensor): Tensor =>
      concat([x.slice([0, 8]), spread(x.slice([8, 12])), spread(x.slice([12, 16]))]);
    const state = grouped.stateDict();
    full.loadStateDict({
      ...state,
      in_proj_weight: joint(state["in_proj_weight"] as Tensor),
      in_proj_bias: joint(state["in_proj_bias"] as Tensor),
    });
    const x = draw([2, 3, 8], 2);
    await near(grouped.forward(x, x, x, { causal: true }), full.forward(x, x, x, { causal: true }));
    await near(grouped.attentionWeights(x, x), full.attentionWeights(x, x));
    expect(grouped.toString()).toBe("MultiheadAttention(8, 4, { numKvHeads: 2 })");
    expect(() => new MultiheadAttention(8, 4, { numKvHeads: 3 })).toThrow(/multiple of numKvHeads/);
  });

  it("goes on step by step from a cache, and does without a batch", async () => {
    const layer = new MultiheadAttention(6, 2, { generator: new Generator(3) });
    const x = draw([2, 4, 6], 4);
    const whole = layer.forward(x, x, x, { causal: true });
    let cache: KeysValues | undefined;
    for (const [from, to] of [
      [0, 2],
      [2, 3],
      [3, 4],
    ] as const) {
      const part = x.slice(null, [from, to]);
      cache = layer.extend(cache, part, part);
      await near(layer.attend(part, cache, { causal: true }), whole.slice(null, [from, to]));
    }
    const one = x.slice(0);
    await near(layer.forward(one, one, one, { causal: true }), whole.slice(0));
  });
});

describe("Embedding", () => {
  it("gives rows, and adds up the gradients of one that is there twice", async () => {
    const table = new Embedding(4, 2);
    table.loadStateDict({
      weight: tensor([
        [0, 1],
        [2, 3],
        [4, 5],
        [6, 7],
      ]),
    });
    const rows = table.forward(fromData(Int32Array.of(3, 1, 3), [1, 3]));
    expect(await rows.toArray()).toEqual([
      [
        [6, 7],
        [2, 3],
        [6, 7],
      ],
    ]);
    sum(rows).backward();
    expect(await table.weight.grad?.toArray()).toEqual([
      [0, 0],
      [1, 1],
      [0, 0],
      [2, 2],
    ]);
  });

  it("starts normal, and refuses ids that it does not have", async () => {
    const { weight } = new Embedding(100, 50, { generator: new Generator(2) });
    const values = Array.from(await weight.data());
    const mean = values.reduce((total, value) => total + value, 0) / values.length;
    const square = values.reduce((total, value) => total + value * value, 0) / values.length;
    expect(mean).toBeCloseTo(0, 1);
    expect(Math.sqrt(square)).toBeCloseTo(1, 1);
    expect(() => new Embedding(4, 2).forward(fromData(Int32Array.of(4), [1]))).toThrow(IndexError);
    expect(() => new Embedding(4, 2, { maxNorm: 1 } as object)).toThrow(OptionError);
  });
});

describe("LayerNorm", () => {
  it("normalises trailing dimensions, with a factor and a bias", async () => {
    const norm = new LayerNorm(4, { eps: 0 });
    const x = tensor([[1, 2, 3, 4]]);
    const deviation = Math.sqrt(1.25);
    await near(norm.forward(x), tensor([[-1.5, -0.5, 0.5, 1.5].map((value) => value / deviation)]));
    norm.loadStateDict({ weight: tensor([2, 2, 2, 2]), bias: tensor([1, 1, 1, 1]) });
    await near(norm.forward(x), tensor([[-1.5, -0.5, 0.5, 1.5].map((value) => (2 * value) / deviation + 1)]));
    const wide = new LayerNorm([2, 2], { eps: 0, elementwiseAffine: false });
    expect(wide.parameters()).toEqual([]);
    await near(wide.forward(x.reshape([1, 2, 2])).reshape([1, 4]), new LayerNorm(4, { eps: 0 }).forward(x));
  });

  it("has a weight without a bias where told, and starts anew", async () => {
    const norm = new LayerNorm([3], { bias: false });
    expect(norm.namedParameters().map(([name]) => name)).toEqual(["weight"]);
    const { structure } = functionalize(new LayerNorm(3));
    const { params } = structure.init(new Generator(1).next());
    expect(await params["weight"]?.toArray()).toEqual([1, 1, 1]);
    expect(await params["bias"]?.toArray()).toEqual([0, 0, 0]);
    expect(() => new LayerNorm([])).toThrow(OptionError);
    expect(() => new LayerNorm(3).forward(zeros([2, 4]))).toThrow(ShapeError);
    expect(new LayerNorm([2, 3], { elementwiseAffine: false }).toString()).toBe(
      "LayerNorm([2, 3], { elementwiseAffine: false })",
    );
  });
});

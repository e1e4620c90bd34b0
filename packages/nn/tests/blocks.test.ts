import { cpu } from "@nf/backend-cpu";
import {
  add,
  Generator,
  gelu,
  mul,
  OptionError,
  randn,
  reshape,
  rope,
  ShapeError,
  silu,
  sum,
  type Tensor,
  tensor,
  use,
  zeros,
} from "@nf/core";
import { beforeAll, describe, expect, it } from "vitest";
import {
  FeedForward,
  functionalize,
  LearnedPositions,
  MixtureOfExperts,
  RoPE,
  SinusoidalPositions,
  SwiGLU,
} from "../src/index.ts";

beforeAll(async () => {
  await use(cpu());
});

const draw = (shape: readonly number[], seed: number): Tensor =>
  randn(shape, { generator: new Generator(seed) });

const rowsOf = async (x: Tensor): Promise<readonly (readonly number[])[]> => {
  const width = x.shape.at(-1) as number;
  const values = await x.data();
  return Array.from({ length: values.length / width }, (_, i) =>
    Array.from(values.slice(i * width, (i + 1) * width)),
  );
};

async function near(got: Tensor, want: Tensor, digits = 5): Promise<void> {
  expect(got.shape).toEqual(want.shape);
  const [a, b] = [await got.data(), await want.data()];
  for (const [i, value] of b.entries()) expect(a[i]).toBeCloseTo(value, digits);
}

describe("FeedForward", () => {
  it("is two maps with a nonlinearity between them", async () => {
    const layer = new FeedForward(4, 6, { activation: "gelu", generator: new Generator(1) });
    expect(layer.namedParameters().map(([name, { shape }]) => `${name} ${shape}`)).toEqual([
      "linear1.weight 6,4",
      "linear1.bias 6",
      "linear2.weight 4,6",
      "linear2.bias 4",
    ]);
    const x = draw([2, 3, 4], 2);
    const { linear1, linear2 } = layer;
    await near(layer.forward(x as Tensor<never>), linear2.forward(gelu(linear1.forward(x as Tensor<never>))));
    expect(layer.toString()).toBe('FeedForward(4, 6, { activation: "gelu" })');
  });

  it("drops between the maps in training alone", async () => {
    const layer = new FeedForward(4, 64, { dropout: 0.5, generator: new Generator(1) });
    const x = draw([3, 4], 3) as Tensor<never>;
    expect(await layer.forward(x).data()).not.toEqual(await layer.forward(x).data());
    layer.eval();
    expect(await layer.forward(x).data()).toEqual(await layer.forward(x).data());
  });

  it("refuses what it does not know", () => {
    expect(() => new FeedForward(4, 6, { activation: "tanh" } as object)).toThrow(
      /activation must be one of/,
    );
    expect(() => new FeedForward(4, 0)).toThrow(/dimFeedforward/);
    expect(() => new SwiGLU(4, 6, { dropout: 0.1 } as object)).toThrow(OptionError);
  });
});

describe("SwiGLU", () => {
  it("is a map of gated ones, with the names of Llama", async () => {
    const layer = new SwiGLU(4, 6, { generator: new Generator(1) });
    expect(layer.namedParameters().map(([name]) => name)).toEqual([
      "gate_proj.weight",
      "up_proj.weight",
      "down_proj.weight",
    ]);
    const x = draw([3, 4], 4);
    const { gateProj, upProj, downProj } = layer;
    const part = (weight: Tensor, of: Tensor): Tensor => of.matmul(weight.transpose());
    const want = part(downProj.weight, mul(silu(part(gateProj.weight, x)), part(upProj.weight, x)));
    await near(layer.forward(x as Tensor<never>), want);
    expect(new SwiGLU(4, 6, { bias: true }).parameters()).toHaveLength(6);
  });
});

describe("positions", () => {
  it("are waves, from an offset on", async () => {
    const layer = new SinusoidalPositions(10, 4);
    const [row] = await rowsOf(layer.forward(zeros([1, 1, 4]), 3));
    for (const [i, want] of [Math.sin(3), Math.cos(3), Math.sin(0.03), Math.cos(0.03)].entries())
      expect(row?.[i]).toBeCloseTo(want, 6);
    expect(Object.keys(layer.stateDict())).toEqual([]);
    const { structure } = functionalize(layer);
    await near(structure.bind(structure.init()).waves, layer.waves);
    expect(layer.toString()).toBe("SinusoidalPositions(10, 4)");
  });

  it("are learned", async () => {
    const layer = new LearnedPositions(50, 40, { generator: new Generator(1) });
    const x = draw([2, 3, 40], 5);
    await near(layer.forward(x, 2), add(x, layer.weight.slice([2, 5])));
    sum(layer.forward(x)).backward();
    const gradient = await rowsOf(layer.weight.grad as Tensor);
    expect(gradient.map(([first]) => first)).toEqual(gradient.map((_, i) => (i < 3 ? 2 : 0)));
    const values = Array.from(await layer.weight.data());
    const rms = Math.sqrt(values.reduce((total, value) => total + value * value, 0) / values.length);
    expect(Math.abs(rms / 0.02 - 1)).toBeLessThan(0.1);
  });

  it("turn queries and keys", async () => {
    const layer = new RoPE(8, 20, { base: 500, interleaved: true });
    const x = draw([2, 3, 5, 8], 6);
    await near(layer.forward(x, 4), rope(x, { base: 500, interleaved: true, offset: 4 }));
    expect(layer.parameters()).toEqual([]);
    const { structure } = functionalize(layer);
    const fresh = structure.bind(structure.init());
    await near(fresh.forward(x), layer.forward(x));
  });

  it("refuse sequences that are too long or wide", () => {
    for (const layer of [new SinusoidalPositions(4, 6), new LearnedPositions(4, 6)]) {
      expect(() => layer.forward(zeros([1, 5, 6]))).toThrow(/positions for 4 tokens, got 5/);
      expect(() => layer.forward(zeros([1, 3, 6]), 2)).toThrow(ShapeError);
      expect(() => layer.forward(zeros([1, 3, 4]))).toThrow(/expected \[…, positions, 6\]/);
      expect(() => layer.forward(zeros([1, 3, 6]), -1)).toThrow(/offset/);
    }
    expect(() => new RoPE(8, 4).forward(zeros([5, 8]))).toThrow(ShapeError);
    expect(() => new RoPE(7, 4)).toThrow(ShapeError);
  });
});

describe("MixtureOfExperts", () => {
  it("gives each position topK experts whose weights sum to one", async () => {
    const experts = new MixtureOfExperts(8, 6, { count: 4, topK: 2, generator: new Generator(3) });
    const { weights, chosen } = experts.route(randn([20, 8], { generator: new Generator(5) }));
    const picks = await rowsOf(chosen);
    for (const [position, row] of (await rowsOf(weights)).entries()) {
      expect(row.reduce((total, value) => total + value)).toBeCloseTo(1, 6);
      expect(row.filter((value) => value > 0)).toHaveLength(2);
      expect(row.map((value) => (value > 0 ? 1 : 0))).toEqual(picks[position]);
    }
  });

  it("is the weighted sum of its experts", async () => {
    const experts = new MixtureOfExperts(8, 6, { count: 4, topK: 2, generator: new Generator(3) });
    const x = randn([5, 8], { generator: new Generator(6) });
    const weights = await rowsOf(experts.route(x).weights);
    const got = await rowsOf(reshape(experts.forward(reshape(x, [1, 5, 8])), [5, 8]));
    const one = (expert: number): Tensor => {
      const inner = add(x.matmul(experts.up.slice(expert)), experts.upBias.slice(expert)).relu();
      return add(inner.matmul(experts.down.slice(expert)), experts.downBias.slice(expert));
    };
    const outs = await Promise.all([0, 1, 2, 3].map((expert) => rowsOf(one(expert))));
    for (const [position, row] of got.entries()) {
      for (const [i, value] of row.entries()) {
        const want = outs.reduce(
          (total, out, e) => total + (weights[position]?.[e] ?? 0) * (out[position]?.[i] ?? 0),
          0,
        );
        expect(value).toBeCloseTo(want, 5);
      }
    }
  });

  it("has a load-balancing loss of 1 where the load is even, and more where it is not", async () => {
    const experts = new MixtureOfExperts(8, 6, { count: 4, topK: 2 });
    const even = tensor([
      [1, 1, 0, 0],
      [0, 0, 1, 1],
    ]);
    const flat = tensor(new Array(2).fill([0.25, 0.25, 0.25, 0.25]));
    expect(
      await experts.balanceLoss({ weights: flat, probabilities: flat, chosen: even }).item(),
    ).toBeCloseTo(1, 6);
    const one = tensor([
      [1, 1, 0, 0],
      [1, 1, 0, 0],
    ]);
    const sure = tensor([
      [0.5, 0.5, 0, 0],
      [0.5, 0.5, 0, 0],
    ]);
    expect(await experts.balanceLoss({ weights: sure, probabilities: sure, chosen: one }).item()).toBeCloseTo(
      2,
      6,
    );
    // The second position is padding.
    const mixed = {
      weights: sure,
      probabilities: tensor([
        [0.5, 0.5, 0, 0],
        [0, 0, 0, 1],
      ]),
      chosen: one,
    };
    const mask = tensor([[true, false]]);
    expect(await experts.balanceLoss(mixed, mask).item()).toBeCloseTo(2, 6);
  });

  it("refuses what does not fit", () => {
    expect(() => new MixtureOfExperts(8, 6, { count: 2, topK: 3 })).toThrow(/topK/);
    expect(() => new MixtureOfExperts(8, 6, { count: 2, k: 1 } as never)).toThrow(/unknown option "k"/);
    const experts = new MixtureOfExperts(8, 6, { count: 1 });
    expect(experts.toString()).toBe("MixtureOfExperts(8, 6, { count: 1, topK: 1 })");
    expect(() => experts.forward(zeros([2, 8]))).toThrow(/expected \[batch, positions, 8\], got \[2, 8\]/);
  });
});

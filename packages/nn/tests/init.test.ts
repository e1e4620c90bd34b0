import { readFileSync } from "node:fs";
import { cpu } from "@nf/backend-cpu";
import { Generator, parameter, type Tensor, use, zeros } from "@nf/core";
import { beforeAll, describe, expect, it } from "vitest";
import { Conv2d, init, Linear } from "../src/index.ts";

interface Distribution {
  readonly shape: readonly number[];
  readonly distribution: "uniform" | "normal";
  readonly bound?: number;
  readonly std: number;
}
interface LayerCase {
  readonly layer: "Linear" | "Conv2d";
  readonly options: Readonly<Record<string, number | readonly number[]>>;
  readonly weight: Distribution;
  readonly bias: Distribution;
}
interface SchemeCase extends Distribution {
  readonly scheme: "xavierUniform" | "xavierNormal" | "heUniform" | "heNormal";
  readonly options: Readonly<Record<string, number | string>>;
  readonly fanIn: number;
  readonly fanOut: number;
}
interface Golden {
  readonly gains: Readonly<Record<init.Nonlinearity, number>>;
  readonly leakyReluSlope: number;
  readonly layers: readonly LayerCase[];
  readonly schemes: readonly SchemeCase[];
}

const golden: Golden = JSON.parse(
  readFileSync(new URL("../../../goldens/init.json", import.meta.url), "utf8"),
);

beforeAll(async () => {
  await use(cpu());
});

/** Whether draws come from a distribution: bound and deviation, as closely as their number allows. */
async function expectDraws(x: Tensor, { shape, distribution, bound, std }: Distribution): Promise<void> {
  expect(x.shape).toEqual(shape);
  const values = Array.from(await x.data());
  const n = values.length;
  const rms = Math.sqrt(values.reduce((sum, value) => sum + value * value, 0) / n);
  // 5 standard errors of the root mean square: std * sqrt((kurtosis - 1) / 4n), kurtosis 1.8 and 3.
  const slack = 5 * Math.sqrt((distribution === "uniform" ? 0.8 : 2) / (4 * n));
  expect(Math.abs(rms / std - 1)).toBeLessThan(slack);
  if (distribution === "uniform" && bound !== undefined) {
    const greatest = Math.max(...values.map(Math.abs));
    expect(greatest).toBeLessThanOrEqual(bound * (1 + 1e-6));
    // The chance that none of n draws comes this near to the bound is e^-20.
    expect(greatest).toBeGreaterThan(bound * (1 - Math.min(1, 20 / n)));
  }
}

describe("PyTorch's defaults", () => {
  it.each(golden.layers)("$layer $options", async ({ layer, options, weight, bias }) => {
    const { inFeatures, outFeatures, inChannels, outChannels, kernelSize, groups } = options;
    const made =
      layer === "Linear"
        ? new Linear(inFeatures as number, outFeatures as number, { generator: new Generator(1) })
        : new Conv2d(inChannels as number, outChannels as number, kernelSize as number, {
            groups: (groups as number | undefined) ?? 1,
            generator: new Generator(1),
          });
    await expectDraws(made.weight, weight);
    await expectDraws(made.bias as Tensor, bias);
  });
});

describe("schemes", () => {
  it.each(golden.schemes)(
    "$scheme $options $shape",
    async ({ scheme, options, fanIn, fanOut, ...distribution }) => {
      expect(init.fans(distribution.shape)).toEqual({ fanIn, fanOut });
      await expectDraws(
        init[scheme](distribution.shape, { ...options, generator: new Generator(2) }),
        distribution,
      );
    },
  );

  it("gains", () => {
    for (const [name, gain] of Object.entries(golden.gains)) {
      const got = init.calculateGain(name as init.Nonlinearity, golden.leakyReluSlope);
      expect(Math.abs(got / gain - 1), name).toBeLessThan(1e-12);
    }
  });

  it("into writes over a parameter, in its dtype, and repeats with a generator", async () => {
    const [a, b] = [parameter(zeros([3, 4], { dtype: "f64" })), parameter(zeros([3, 4], { dtype: "f64" }))];
    init.into(a, init.kaimingNormal, { generator: new Generator(3) });
    init.into(b, init.kaimingNormal, { generator: new Generator(3) });
    expect(await a.toArray()).toEqual(await b.toArray());
    init.into(b, init.xavierUniform);
    expect(await a.toArray()).not.toEqual(await b.toArray());
    expect(b.requiresGrad).toBe(true);
  });

  it("refuses what it does not know", () => {
    expect(() => init.xavierUniform([3])).toThrow(/at least 2 dimensions/);
    const mode: object = { mode: "fanSide" };
    expect(() => init.kaimingUniform([2, 2], mode)).toThrow(/fanIn.*fanOut/);
    const nonlinearity: object = { nonlinearity: "gelu" };
    expect(() => init.kaimingUniform([2, 2], nonlinearity)).toThrow(/unknown nonlinearity "gelu"/);
    const option: object = { gain: 2 };
    expect(() => init.kaimingUniform([2, 2], option)).toThrow(/unknown option "gain"/);
  });
});

describe("orthogonal", () => {
  it.each([
    [[5, 5], 1],
    [[3, 7], 2],
    [[7, 3], 0.5],
    [[4, 2, 3, 2], 1],
    [[12, 2, 3], 1],
    [[40, 40], 1],
    [[1, 1], 3],
  ] as const)("%j of gain %d", async (shape, gain) => {
    const x = init.orthogonal(shape, { gain, dtype: "f64", generator: new Generator(1) });
    expect(x.shape).toEqual(shape);
    const [rows = 0] = shape;
    const flat = x.reshape([rows, -1]);
    const columns = flat.shape[1] as number;
    const products = rows <= columns ? flat.matmul(flat.transpose()) : flat.transpose().matmul(flat);
    const n = Math.min(rows, columns);
    const values = await products.data();
    for (const [i, value] of values.entries())
      expect(value).toBeCloseTo(Math.floor(i / n) === i % n ? gain * gain : 0, 12);
  });

  it("is as good as f32 is, and draws anew", async () => {
    const x = init.orthogonal([64, 64], { generator: new Generator(2) });
    const values = await x.matmul(x.transpose()).data();
    const worst = Math.max(
      ...Array.from(values, (value, i) => Math.abs(value - (Math.floor(i / 64) === i % 64 ? 1 : 0))),
    );
    expect(worst).toBeLessThan(3e-6);
    const [a, b] = [init.orthogonal([3, 3]), init.orthogonal([3, 3])];
    expect(await a.data()).not.toEqual(await b.data());
    expect(() => init.orthogonal([3])).toThrow(/at least 2 dimensions/);
  });

  it("prefers no direction", async () => {
    // A positive diagonal of R makes Q uniform over rotations and reflections: each element has mean 0, variance 1 / n.
    const generator = new Generator(3);
    let [total, square] = [0, 0];
    for (let i = 0; i < 200; i++) {
      const [first = 0] = await init.orthogonal([2, 2], { generator }).data();
      total += first;
      square += first * first;
    }
    expect(Math.abs(total / 200)).toBeLessThan(0.25);
    expect(Math.abs(square / 200 - 0.5)).toBeLessThan(0.13);
  });
});

describe("truncatedNormal", () => {
  it.each([
    [{}, 0, 0.8796],
    [{ mean: 1, std: 2, low: 1, high: 5 }, 1 + 2 * 0.7228, 2 * 0.5013],
    [{ std: 0.02 }, 0, 0.02],
  ] as const)("%j", async (options, mean, std) => {
    // PyTorch's bounds are values, so that the last one is hardly truncated.
    const { low = -2, high = 2 } = options as { low?: number; high?: number };
    const values = Array.from(
      await init.truncatedNormal([200, 200], { ...options, generator: new Generator(4) }).data(),
    );
    expect(Math.min(...values)).toBeGreaterThanOrEqual(low);
    expect(Math.max(...values)).toBeLessThanOrEqual(high);
    const got = values.reduce((sum, value) => sum + value, 0) / values.length;
    const spread = Math.sqrt(values.reduce((sum, value) => sum + (value - got) ** 2, 0) / values.length);
    expect(Math.abs(got - mean)).toBeLessThan((5 * std) / 200);
    expect(Math.abs(spread / std - 1)).toBeLessThan(0.02);
  });

  it("keeps to its bounds far out", async () => {
    const values = Array.from(
      await init.truncatedNormal([1000], { low: -50, high: 50, generator: new Generator(5) }).data(),
    );
    expect(Math.max(...values.map(Math.abs))).toBeLessThan(6);
    expect(() => init.truncatedNormal([2], { low: 1, high: 1 })).toThrow(/low must be less than high/);
    for (const [low, high] of [
      [6, 8],
      [-9, -5],
    ] as const)
      expect(() => init.truncatedNormal([2], { low, high })).toThrow(/f32 cannot resolve/);
    const narrow = Array.from(await init.truncatedNormal([50], { low: 3.5, high: 4 }).data());
    expect(new Set(narrow).size).toBeGreaterThan(30);
    const near = await init.truncatedNormal([50], { low: 0, high: 1e-6 }).data();
    expect(new Set(near).size).toBeGreaterThan(30);
  });
});

describe("structure", () => {
  it("is a value, an identity, or a kernel that passes on", async () => {
    expect(await init.constant([2], { value: 0.5 }).toArray()).toEqual([0.5, 0.5]);
    expect(await init.zeros([2]).toArray()).toEqual([0, 0]);
    expect(await init.ones([2], { dtype: "f64" }).toArray()).toEqual([1, 1]);
    expect(await init.eye([2, 3]).toArray()).toEqual([
      [1, 0, 0],
      [0, 1, 0],
    ]);
    const layer = new Conv2d(3, 3, 3, { padding: 1, bias: false });
    init.into(layer.weight, init.dirac);
    const x = init.normal([1, 3, 4, 4]);
    expect(await layer.forward(x).toArray()).toEqual(await x.toArray());
    const grouped = await init.dirac([4, 1, 3], { groups: 2 }).toArray();
    expect(grouped).toEqual([[[0, 1, 0]], [[0, 0, 0]], [[0, 1, 0]], [[0, 0, 0]]]);
  });

  it("is sparse by column", async () => {
    const x = (await init
      .sparse([10, 50], { sparsity: 0.25, generator: new Generator(6) })
      .toArray()) as number[][];
    const places = new Set<string>();
    for (let column = 0; column < 50; column++) {
      const dropped = x.flatMap((row, i) => (row[column] === 0 ? [i] : []));
      expect(dropped).toHaveLength(3);
      places.add(dropped.join());
    }
    expect(places.size).toBeGreaterThan(20);
    const kept = x.flat().filter((value) => value !== 0);
    const rms = Math.sqrt(kept.reduce((sum, value) => sum + value * value, 0) / kept.length);
    expect(Math.abs(rms / 0.01 - 1)).toBeLessThan(0.2);
  });

  it("refuses shapes that have none", () => {
    expect(() => init.eye([2])).toThrow(/2 dimensions/);
    expect(() => init.sparse([2, 2, 2], { sparsity: 0.5 })).toThrow(/2 dimensions/);
    expect(() => init.sparse([2, 2], { sparsity: 2 })).toThrow(/sparsity/);
    expect(() => init.dirac([2, 2])).toThrow(/3, 4 or 5 dimensions/);
    expect(() => init.dirac([3, 1, 3], { groups: 2 })).toThrow(/groups must divide the 3 outputs/);
    expect(() => init.constant([2], {} as never)).toThrow(/value must be a number/);
    expect(() => init.zeros([2], { value: 1 } as object)).toThrow(/unknown option "value"/);
  });
});

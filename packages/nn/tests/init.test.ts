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

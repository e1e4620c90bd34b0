import { cpu } from "@nf/backend-cpu";
import {
  Generator,
  manualSeed,
  mean,
  memory,
  mul,
  ones,
  randn,
  Scope,
  sum,
  type Tensor,
  tensor,
  use,
  valueAndGrad,
  zeros,
} from "@nf/core";
import { beforeAll, beforeEach, describe, expect, it } from "vitest";
import * as nn from "../src/index.ts";
import { call, shape } from "./refusals.ts";

beforeAll(async () => {
  await use(cpu());
});
beforeEach(() => manualSeed(3));

/** All layers, and an input of a sample that fits. */
const LAYERS: readonly [make: () => nn.Layer, sample: readonly number[], output: readonly number[]][] = [
  [() => new nn.ConvTranspose1d(4, 3, 3, { stride: 2 }), [4, 6], [3, 13]],
  [() => new nn.ConvTranspose2d(4, 2, 3), [4, 5, 3], [2, 7, 5]],
  [() => new nn.ConvTranspose3d(2, 1, 2), [2, 2, 3, 2], [1, 3, 4, 3]],
  [() => new nn.ZeroPad1d([1, 2]), [3, 4], [3, 7]],
  [() => new nn.LPPool1d(3, 2), [3, 6], [3, 3]],
  [() => new nn.LPPool2d(2, 2, { stride: 1 }), [3, 4, 5], [3, 3, 4]],
  [() => new nn.LPPool3d(1, 2), [2, 2, 4, 2], [2, 1, 2, 1]],
  [() => new nn.Unfold(2), [3, 4, 3], [12, 6]],
  [() => new nn.Fold([4, 3], 2), [12, 6], [3, 4, 3]],
  [() => new nn.ChannelShuffle(3), [6, 2], [6, 2]],
  [() => new nn.ConstantPad2d([0, -1, 2, 0], 0.5), [3, 4, 5], [3, 6, 4]],
  [() => new nn.ReflectionPad3d([1, 2, 0, 0, 1, 0]), [2, 2, 3, 3], [2, 3, 3, 6]],
  [() => new nn.ReplicationPad2d(3), [3, 2, 1], [3, 8, 7]],
  [() => new nn.CircularPad1d(2), [3, 2], [3, 6]],
  [() => new nn.MaxPool3d(2), [2, 3, 4, 5], [2, 1, 2, 2]],
  [() => new nn.AvgPool3d(2), [2, 3, 4, 5], [2, 1, 2, 2]],
  [() => new nn.AdaptiveAvgPool1d(4), [3, 7], [3, 4]],
  [() => new nn.AdaptiveAvgPool2d([2, null]), [3, 7, 5], [3, 2, 5]],
  [() => new nn.AdaptiveAvgPool3d(2), [3, 3, 4, 5], [3, 2, 2, 2]],
  [() => new nn.AdaptiveMaxPool1d(4), [3, 7], [3, 4]],
  [() => new nn.AdaptiveMaxPool2d(1), [3, 7, 5], [3, 1, 1]],
  [() => new nn.AdaptiveMaxPool3d([1, 2, 3]), [3, 7, 5, 4], [3, 1, 2, 3]],
  [() => new nn.RReLU(), [3, 4], [3, 4]],
  [() => new nn.GlobalAvgPool(), [3, 7, 5], [3]],
  [() => new nn.GlobalMaxPool(), [3, 7], [3]],
  [() => new nn.BatchNorm1d(3), [3], [3]],
  [() => new nn.BatchNorm2d(3), [3, 5, 7], [3, 5, 7]],
  [() => new nn.BatchNorm2d(3, { momentum: null }), [3, 5, 7], [3, 5, 7]],
  [() => new nn.BatchNorm3d(3), [3, 2, 3, 2], [3, 2, 3, 2]],
  [() => new nn.RMSNorm(7), [3, 7], [3, 7]],
  [() => new nn.GroupNorm(3, 6), [6, 5], [6, 5]],
  [() => new nn.InstanceNorm1d(3), [3, 5], [3, 5]],
  [() => new nn.InstanceNorm2d(3, { affine: true, trackRunningStats: true }), [3, 5, 3], [3, 5, 3]],
  [() => new nn.InstanceNorm3d(3), [3, 2, 3, 2], [3, 2, 3, 2]],
  [() => new nn.Upsample({ size: 5 }), [3, 3, 2], [3, 5, 5]],
  [() => new nn.PixelShuffle(2), [4, 3, 2], [1, 6, 4]],
  [() => new nn.PixelUnshuffle(2), [1, 6, 4], [4, 3, 2]],
  [() => new nn.Unflatten(1, [2, -1]), [6], [2, 3]],
  [() => new nn.Residual(nn.sequential(new nn.Linear(4, 4), new nn.Tanh())), [4], [4]],
  [() => nn.block("Stem", ["conv", new nn.Conv1d(2, 3, 1)], ["act", new nn.ELU()]), [2, 5], [3, 5]],
  [() => new nn.Dropout1d(), [3, 5], [3, 5]],
  [() => new nn.Dropout2d(), [3, 5, 2], [3, 5, 2]],
  [() => new nn.Dropout3d(), [3, 2, 2, 2], [3, 2, 2, 2]],
  [() => new nn.PReLU({ numParameters: 3 }), [3, 5], [3, 5]],
  [() => new nn.GLU(), [3, 6], [3, 3]],
  [() => new nn.Softmax2d(), [3, 2, 2], [3, 2, 2]],
  ...[nn.ELU, nn.CELU, nn.SELU, nn.ReLU6, nn.Hardsigmoid, nn.Hardswish, nn.Hardtanh, nn.Hardshrink].map(
    (Type) => [() => new Type(), [4], [4]] as [() => nn.Layer, number[], number[]],
  ),
  ...[nn.Softshrink, nn.Mish, nn.LogSigmoid, nn.Softsign, nn.Tanhshrink, nn.Softplus, nn.Softmin].map(
    (Type) => [() => new Type(), [4], [4]] as [() => nn.Layer, number[], number[]],
  ),
];

describe("every layer", () => {
  it.each(LAYERS)(
    "%s: rows of the inspector, functional face, gradients, hooks",
    async (make, sample, output) => {
      const layer = make();
      const { rows, buffers } = nn.inspectModel(layer, sample, { batch: 2 });
      expect(rows[0]).toMatchObject({ inputs: [[2, ...sample]], outputs: [[2, ...output]] });
      expect(rows[0]!.type).toBe(layer.toString().replace(/\(.*/, ""));
      expect(buffers).toBe(layer.buffers().reduce((total, { size }) => total + size, 0));

      // The functional face: the same values, a next state, and nothing written.
      const { structure, params, state } = nn.functionalize(layer);
      const before = await Promise.all(Object.values(state).map((value) => value.data()));
      const x = randn([2, ...sample]);
      const options = { training: true, key: [0, 4] as const };
      const [y, next] = structure.apply({ params, state }, x, options);
      expect(y.shape).toEqual([2, ...output]);
      const after = await Promise.all(Object.values(state).map((value) => value.data()));
      expect(after).toEqual(before);
      expect(Object.keys(next)).toEqual(Object.keys(state));
      const step = valueAndGrad((weights: nn.Params) =>
        mean(structure.apply({ params: weights, state }, x, { ...options, training: false })[0]),
      );
      if (layer.parameters().length > 0) expect(Object.keys(step(params)[1])).toEqual(Object.keys(params));
      // Fresh values are those of a new layer.
      const fresh = structure.init([0, 1]);
      expect(Object.keys(fresh.params)).toEqual(Object.keys(params));

      // Gradients reach the input and all parameters; a hook sees one of them.
      const leaf = randn([2, ...sample]);
      leaf.requiresGrad = true;
      let seen = 0;
      for (const parameter of layer.parameters())
        parameter.registerHook(() => {
          seen++;
          return undefined;
        });
      const got = layer.forward(leaf);
      sum(mul(got, got)).backward();
      expect(leaf.grad?.shape).toEqual(leaf.shape);
      for (const [name, parameter] of layer.namedParameters())
        expect(parameter.grad?.shape, name).toEqual(parameter.shape);
      expect(seen).toBe(layer.parameters().length);
    },
  );

  it.each(LAYERS)("%s: an empty batch, and inputs that are no tensors", (make, sample, output) => {
    const layer = make().eval();
    expect(layer.forward(zeros([0, ...sample])).shape).toEqual([0, ...output]);
    for (const input of [3, undefined, [1, 2]])
      expect(call(layer, input)).toThrow(expect.objectContaining({ code: "NF_DTYPE" }));
  });
});

describe("normalisations", () => {
  it("refuse to train on one value a channel, as PyTorch does, and count nothing", async () => {
    for (const [layer, input] of [
      [new nn.BatchNorm1d(3), ones([1, 3])],
      [new nn.BatchNorm2d(3), ones([1, 3, 1, 1])],
      [new nn.BatchNorm3d(3, { momentum: null }), ones([1, 3, 1, 1, 1])],
      [new nn.BatchNorm1d(3, { trackRunningStats: false }).eval(), ones([1, 3])],
    ] as const) {
      expect(call(layer, input)).toThrow(shape(/more than one value a channel/));
      if (layer.numBatchesTracked !== null) expect(await layer.numBatchesTracked.item()).toBe(0);
    }
    expect(call(new nn.InstanceNorm1d(3), ones([2, 3, 1]))).toThrow(
      shape(/more than one value in each channel/),
    );
    // In evaluation one sample does.
    expect(new nn.BatchNorm1d(3).eval().forward(ones([1, 3])).shape).toEqual([1, 3]);
  });

  it("make nothing of an empty batch, and count it, as PyTorch does", async () => {
    const layer = new nn.BatchNorm2d(2);
    layer.loadStateDict({ running_mean: tensor([1, 2]) }, { strict: false });
    const output = layer.forward(zeros([0, 2, 3, 3]));
    expect(output.shape).toEqual([0, 2, 3, 3]);
    sum(output).backward();
    expect(await layer.weight?.grad?.toArray()).toEqual([0, 0]);
    expect(await layer.runningMean?.toArray()).toEqual([1, 2]);
    expect(await layer.numBatchesTracked?.item()).toBe(1);
    const bare = new nn.BatchNorm1d(2, { trackRunningStats: false });
    expect(bare.forward(zeros([0, 2])).shape).toEqual([0, 2]);
  });

  it("keep running statistics under PyTorch's names, and forget them", async () => {
    const layer = new nn.BatchNorm2d(2);
    expect(Object.keys(layer.stateDict()).sort()).toEqual([
      "bias",
      "num_batches_tracked",
      "running_mean",
      "running_var",
      "weight",
    ]);
    expect(layer.namedParameters().map(([name]) => name)).toEqual(["weight", "bias"]);
    layer.forward(randn([4, 2, 3, 3]));
    expect(await layer.numBatchesTracked?.item()).toBe(1);
    expect(await layer.runningMean?.toArray()).not.toEqual([0, 0]);
    layer.resetRunningStats();
    expect(await layer.runningMean?.toArray()).toEqual([0, 0]);
    expect(await layer.runningVar?.toArray()).toEqual([1, 1]);
    expect(await layer.numBatchesTracked?.item()).toBe(0);
    expect(
      Object.keys(new nn.BatchNorm2d(2, { affine: false, trackRunningStats: false }).stateDict()),
    ).toEqual([]);
  });

  it("come back as state from the functional face", async () => {
    for (const layer of [
      new nn.BatchNorm1d(2),
      new nn.BatchNorm1d(2, { momentum: null }),
      new nn.InstanceNorm1d(2, { trackRunningStats: true }),
    ]) {
      const { structure, params, state } = nn.functionalize(layer);
      const x = randn([3, 2, 4]);
      const [y, next] = structure.apply({ params, state }, x, { training: true });
      expect(await layer.runningMean?.toArray()).toEqual([0, 0]);
      const output = Reflect.apply(layer.train().forward, layer, [x]) as Tensor;
      expect(await y.toArray()).toEqual(await output.toArray());
      expect(await next["running_mean"]?.toArray()).toEqual(await layer.runningMean?.toArray());
      expect(await next["running_var"]?.toArray()).toEqual(await layer.runningVar?.toArray());
      const bound = structure.bind({ params, state: next });
      expect(await bound.runningMean?.toArray()).toEqual(await layer.runningMean?.toArray());
    }
  });

  it("hand their state out of valueAndGrad", async () => {
    const { structure, params, state } = nn.functionalize(
      nn.sequential(new nn.BatchNorm1d(2), new nn.Linear(2, 1)),
    );
    const step = valueAndGrad(
      (weights: nn.Params, before: nn.State, x: Tensor) => {
        const [y, after] = structure.apply({ params: weights, state: before }, x, { training: true });
        return [mean(mul(y, y)), after] as const;
      },
      { aux: true },
    );
    const [[, first], grads] = step(params, state, randn([5, 2]));
    expect(Object.keys(grads)).toEqual(Object.keys(params));
    const [[, second]] = step(params, first, randn([5, 2]));
    expect(await first["0.num_batches_tracked"]?.item()).toBe(1);
    expect(await second["0.num_batches_tracked"]?.item()).toBe(2);
    expect(await second["0.running_mean"]?.toArray()).not.toEqual(await first["0.running_mean"]?.toArray());
  });

  it("learn in a step of training, and leave no tensor behind", async () => {
    const model = nn.sequential(
      new nn.Linear(3, 4),
      new nn.BatchNorm1d(4),
      new nn.BatchNorm1d(4, { momentum: null }),
      new nn.ReLU(),
    );
    const run = (): void => {
      const scope = new Scope();
      scope.run(() => sum(model.forward(randn([5, 3]))).backward());
      scope.dispose();
      model.zeroGrad();
    };
    run();
    const before = memory().liveTensors;
    run();
    expect(memory().liveTensors).toBe(before);
  });
});

describe("dropout of channels", () => {
  it.each([
    [new nn.Dropout1d(0.5), [8, 16, 5]],
    [new nn.Dropout2d(0.5), [8, 16, 3, 2]],
    [new nn.Dropout3d(0.5), [8, 16, 2, 3, 2]],
  ] as const)("%s drops whole channels in training only", async (layer, size) => {
    const data = await layer.forward(ones([...size])).data();
    const width = data.length / 128;
    const channels = Array.from({ length: 128 }, (_, c) => new Set(data.slice(c * width, (c + 1) * width)));
    expect(channels.every((values) => values.size === 1)).toBe(true);
    const dropped = channels.filter((values) => values.has(0)).length;
    expect(dropped).toBeGreaterThan(32);
    expect(dropped).toBeLessThan(96);
    expect(new Set(data)).toEqual(new Set([0, 2]));
    expect(
      new Set(
        await layer
          .eval()
          .forward(ones([...size]))
          .data(),
      ),
    ).toEqual(new Set([1]));
  });
});

it("RReLU draws slopes within its bounds in training, and takes their mean in evaluation", async () => {
  const layer = new nn.RReLU({ generator: new Generator(2) });
  const slopes = await layer.forward(ones([1000]).mul(-1)).data();
  expect(Math.min(...slopes)).toBeGreaterThan(-1 / 3 - 1e-6);
  expect(Math.max(...slopes)).toBeLessThan(-1 / 8 + 1e-6);
  expect(Math.max(...slopes) - Math.min(...slopes)).toBeGreaterThan(0.2);
  expect(await layer.forward(tensor([2])).item()).toBe(2);
  expect(
    await layer
      .eval()
      .forward(tensor([-1]))
      .item(),
  ).toBeCloseTo(-(1 / 8 + 1 / 3) / 2, 6);
});

it("power means of negative powers are infinite where all of a window is, 0 where one element is", async () => {
  const x = tensor([[[Infinity, Infinity, 0, 4, 2, 2]]]);
  expect(await new nn.LPPool1d(-1, 2).forward(x).toArray()).toEqual([[[Infinity, 0, 1]]]);
});

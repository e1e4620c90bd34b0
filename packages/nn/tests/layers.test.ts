import { cpu } from "@nf/backend-cpu";
import {
  Generator,
  ones,
  parameter,
  randn,
  ShapeError,
  sum,
  type Tensor,
  tensor,
  use,
  zeros,
} from "@nf/core";
import { beforeAll, describe, expect, it } from "vitest";
import {
  AvgPool1d,
  AvgPool2d,
  Conv1d,
  Conv2d,
  Conv3d,
  ConvTranspose2d,
  Dropout,
  FeedForward,
  Flatten,
  GELU,
  Identity,
  init,
  type Layer,
  LeakyReLU,
  LearnedPositions,
  Linear,
  LogSoftmax,
  LSTMCell,
  MaxPool1d,
  MaxPool2d,
  MixtureOfExperts,
  MultiheadAttention,
  PReLU,
  parameterGroups,
  ReLU,
  Sigmoid,
  SiLU,
  Softmax,
  sequential,
  Tanh,
  Threshold,
} from "../src/index.ts";

beforeAll(async () => {
  await use(cpu());
});

async function values(x: Tensor): Promise<readonly number[]> {
  return Array.from(await x.data());
}

describe("shapes", () => {
  const cases: readonly [make: () => Layer, input: readonly number[], output: readonly number[]][] = [
    [() => new Linear(4, 3), [2, 4], [2, 3]],
    [() => new Linear(4, 3), [2, 5, 4], [2, 5, 3]],
    [() => new Conv1d(2, 3, 3), [1, 2, 8], [1, 3, 6]],
    [() => new Conv2d(1, 6, 5), [2, 1, 28, 28], [2, 6, 24, 24]],
    [() => new Conv2d(4, 8, [3, 1], { stride: 2, padding: [1, 0], groups: 2 }), [1, 4, 9, 9], [1, 8, 5, 5]],
    [() => new Conv2d(1, 1, 3, { dilation: 2, bias: false }), [1, 1, 7, 7], [1, 1, 3, 3]],
    [() => new Conv2d(1, 1, 3, { padding: "same" }), [1, 1, 7, 6], [1, 1, 7, 6]],
    [() => new Conv3d(1, 2, 2), [1, 1, 4, 4, 4], [1, 2, 3, 3, 3]],
    [() => new MaxPool1d(2), [1, 3, 8], [1, 3, 4]],
    [() => new MaxPool2d(2), [1, 6, 24, 24], [1, 6, 12, 12]],
    [() => new MaxPool2d(3, { stride: 2, padding: 1 }), [1, 1, 7, 7], [1, 1, 4, 4]],
    [() => new AvgPool1d(4, { stride: 2 }), [1, 3, 8], [1, 3, 3]],
    [() => new AvgPool2d(2, { ceilMode: true }), [1, 1, 5, 5], [1, 1, 3, 3]],
    [() => new Flatten(), [2, 16, 4, 4], [2, 256]],
    [() => new Softmax({ axis: 1 }), [2, 3, 4], [2, 3, 4]],
  ];
  it.each(cases)("%s takes %j and gives %j", (make, input, output) => {
    expect(make().forward(zeros(input)).shape).toEqual(output);
  });
});

describe("values", () => {
  it("Linear is x W^T + b", async () => {
    const layer = new Linear(2, 1);
    layer.loadStateDict({ weight: tensor([[2, -1]]), bias: tensor([0.5]) });
    expect(await values(layer.forward(tensor([[3, 4]])))).toEqual([2.5]);
  });

  it("activations", async () => {
    const x = tensor([-1, 0, 2]);
    const near = async (layer: Layer, expected: readonly number[]): Promise<void> => {
      const got = await values(layer.forward(x));
      for (const [index, value] of expected.entries()) expect(got[index]).toBeCloseTo(value, 5);
    };
    await near(new Identity(), [-1, 0, 2]);
    await near(new ReLU(), [0, 0, 2]);
    await near(new LeakyReLU(), [-0.01, 0, 2]);
    await near(new LeakyReLU({ negativeSlope: 0.5 }), [-0.5, 0, 2]);
    await near(new Tanh(), [Math.tanh(-1), 0, Math.tanh(2)]);
    await near(new Sigmoid(), [0.268941, 0.5, 0.880797]);
    await near(new SiLU(), [-0.268941, 0, 1.761594]);
    await near(new GELU(), [-0.158655, 0, 1.9545]);
    await near(new GELU({ approximate: "tanh" }), [-0.158808, 0, 1.954598]);
    await near(new Softmax(), [0.04201, 0.114195, 0.843795]);
    await near(new LogSoftmax(), [-3.169846, -2.169846, -0.169846]);
  });

  it("Dropout drops in training only, keeps the mean, and repeats with its generator", async () => {
    const make = (): Dropout => new Dropout(0.25, { generator: new Generator(1) });
    const x = ones([10_000]);
    const layer = make();
    const dropped = await values(layer.forward(x));
    expect(new Set(dropped)).toEqual(new Set([0, Math.fround(1 / 0.75)]));
    expect(dropped.reduce((total, value) => total + value, 0) / 10_000).toBeCloseTo(1, 1);
    expect(await values(make().forward(x))).toEqual(dropped);
    expect(await values(layer.forward(x))).not.toEqual(dropped);
    layer.eval();
    expect(await values(layer.forward(x))).toEqual(await values(x));
  });

  it("gradients reach every parameter of a stack", () => {
    const model = sequential(
      new Conv2d(1, 2, 3),
      new Tanh(),
      new AvgPool2d(2),
      new Flatten(),
      new Linear(18, 3),
    );
    sum(model.forward(randn([2, 1, 8, 8]))).backward();
    for (const [name, parameter] of model.namedParameters()) {
      expect(parameter.grad?.shape, name).toEqual(parameter.shape);
    }
  });
});

describe("special values", () => {
  it("Threshold lets NaN through, as PyTorch does", async () => {
    expect(await values(new Threshold(0.5, -1).forward(tensor([NaN, 0.5, 1, Infinity])))).toEqual([
      NaN,
      -1,
      1,
      Infinity,
    ]);
  });

  it("an infinite input gives PReLU's slope no gradient", async () => {
    const layer = new PReLU();
    const x = parameter(tensor([Infinity, 2, -3, 0, NaN]));
    const y = layer.forward(x);
    expect(await values(y)).toEqual([Infinity, 2, -0.75, 0, NaN]);
    const finite = layer.forward(tensor([Infinity, 2, -3, 0]));
    sum(finite).backward();
    expect(await values(layer.weight.grad as Tensor)).toEqual([-3]);
    sum(y).backward();
    expect((await values(x.grad as Tensor)).slice(0, 4)).toEqual([1, 1, 0.25, 0.25]);
  });
});

describe("wrong use says what to do", () => {
  it("features that do not fit", () => {
    expect(() => new Linear(256, 10).forward(zeros([2, 16, 4, 4]))).toThrow(
      /Linear\(256, 10\): expected 256 features .* got an input of shape \[2, 16, 4, 4\].*Flatten/,
    );
    expect(() => new Linear(84, 10).forward(zeros([2, 120]))).toThrow(/Make its inFeatures 120/);
  });

  it("channels and dimensions that do not fit", () => {
    expect(() => new Conv2d(7, 16, 5).forward(zeros([1, 6, 12, 12]))).toThrow(
      /Conv2d\(7, 16, 5\): expected 7 input channels/,
    );
    expect(() => new Conv2d(1, 6, 5).forward(zeros([1, 1, 28]))).toThrow(/expected an input of 4 dimensions/);
    expect(() => new Conv2d(1, 6, 5).forward(zeros([1, 28, 28]))).toThrow(/batch dimension/);
    expect(() => new Conv2d(1, 6, 5).forward(zeros([4, 784]))).toThrow(/Flatten or Linear/);
    expect(() => new MaxPool2d(2).forward(zeros([4, 784]))).toThrow(ShapeError);
  });

  it("inputs that are no tensors", () => {
    const layers = [
      new Linear(2, 5),
      new Conv1d(1, 1, 1),
      new Conv2d(1, 1, 1),
      new Conv3d(1, 1, 1),
      new MaxPool1d(2),
      new MaxPool2d(2),
      new AvgPool1d(2),
      new AvgPool2d(2),
      sequential(new Linear(2, 5)),
    ];
    for (const layer of layers)
      for (const input of [3, undefined, null, [1, 2], { shape: [2] }])
        expect(() => Reflect.apply(layer.forward, layer, [input]), `${layer}`).toThrow(
          expect.objectContaining({ code: "NF_DTYPE" }),
        );
    expect(() => Reflect.apply(layers[0]!.forward, layers[0], [3])).toThrow(
      "Linear(2, 5): expected a tensor, got 3. Make one with tensor(…).",
    );
  });

  it("layers that are no modules", () => {
    const build = (...layers: readonly unknown[]): (() => unknown) => {
      return () => Reflect.apply(sequential, undefined, layers);
    };
    expect(build(3)).toThrow(expect.objectContaining({ code: "NF_OPTION" }));
    expect(build(new ReLU(), undefined)).toThrow(/layer 1 must be a module, got undefined/);
    expect(build([new ReLU()])).toThrow(/got an array\. Spread it: sequential\(\.\.\.layers\)/);
    expect(build({ forward: (x: unknown) => x })).toThrow(/got an object/);
  });

  it("the layer of a sequential that failed", () => {
    // Sizes known only at run time are not the compiler's to check.
    const size: number = 5;
    const model = sequential(new Linear(2, size), new ReLU(), sequential(new Linear(size + 1, 1)));
    expect(() => model.forward(zeros([1, 2]))).toThrow(
      /layer 2 of sequential: layer 0 of sequential: Linear\(6, 1\)/,
    );
  });

  it("options and sizes", () => {
    const unknown: object = { biass: false };
    expect(() => new Linear(2, 2, unknown)).toThrow(/Linear: unknown option "biass"/);
    expect(() => new Conv2d(1, 2, 3, { ...unknown })).toThrow(/unknown option/);
    expect(() => new MaxPool2d(2, { ...unknown })).toThrow(/unknown option/);
    expect(() => new Linear(0, 2)).toThrow(/inFeatures must be a whole number/);
    expect(() => new Conv2d(1, 2, [3])).toThrow(/kernelSize must be a number or a list of 2/);
    expect(() => new Conv2d(3, 4, 3, { groups: 2 })).toThrow(/groups must divide/);
    expect(() => new Conv2d(1, 1, 3, { padding: "same", stride: 2 })).toThrow(/"same" needs stride 1/);
    const padding: object = { padding: "full" };
    expect(() => new Conv1d(1, 1, 3, padding)).toThrow(/padding must be one of "same", "valid"/);
    const approximate: object = { approximate: "fast" };
    expect(() => new GELU(approximate)).toThrow(/approximate must be one of/);
    expect(() => new Dropout(1.5)).toThrow(/probability/);
    expect(() => Reflect.construct(Dropout, ["0.5"])).toThrow(/probability/);
    const bias: object = { bias: "no" };
    for (const make of [
      () => new Linear(2, 2, bias),
      () => new Conv2d(1, 1, 3, bias),
      () => new ConvTranspose2d(1, 1, 3, bias),
      () => new LSTMCell(2, 2, bias),
      () => new MultiheadAttention(4, 2, bias),
      () => new FeedForward(4, 8, bias),
    ])
      expect(make).toThrow(/bias must be true or false, got "no"/);
    const std: object = { std: "x" };
    expect(() => new LearnedPositions(4, 2, std)).toThrow(/LearnedPositions: std must be a number/);
    const low: object = { low: "a" };
    expect(() => init.uniform([2], low)).toThrow(/init.uniform: low must be a number/);
    expect(() => init.orthogonal([2, 2], { dtype: "i32" })).toThrow(/dtype must be one of floats, got i32/);
    expect(() => Reflect.construct(MixtureOfExperts, [4, 8])).toThrow(/MixtureOfExperts: count is missing/);
    expect(() => Reflect.apply(parameterGroups, null, [new Linear(2, 2), [null]])).toThrow(
      /rule 0 must be an object/,
    );
    const slope: object = { negativeSlope: "steep" };
    expect(() => new LeakyReLU(slope)).toThrow(/negativeSlope must be a number/);
  });
});

it("a dtype is the parameters' dtype", () => {
  const layer = new Linear(2, 2, { dtype: "f64" });
  expect(layer.weight.dtype).toBe("f64");
  expect(layer.forward(zeros([1, 2], { dtype: "f64" })).dtype).toBe("f64");
});

import { format } from "node:util";
import { cpu } from "@nf/backend-cpu";
import { Generator, memory, mul, ones, parameter, sum, type Tensor, tensor, use, zeros } from "@nf/core";
import { beforeAll, describe, expect, it } from "vitest";
import {
  Dropout,
  functionalize,
  inspect,
  inspectModel,
  Linear,
  Module,
  ReLU,
  StateDictError,
  sequential,
} from "../src/index.ts";

beforeAll(async () => {
  await use(cpu());
});

/** Every way a module may hold something. */
class Everything extends Module {
  readonly gain = parameter(ones([3]));
  readonly mean: Tensor;
  readonly scratch: Tensor;
  readonly constant = tensor([7]);
  readonly blocks = [new Linear(3, 3), new Linear(3, 3, { bias: false })];
  readonly heads = { left: new Linear(3, 1), right: new Linear(3, 2) };
  cached: Tensor | undefined;

  constructor() {
    super();
    this.mean = this.registerBuffer("mean", zeros([3]));
    this.scratch = this.registerBuffer("scratch", zeros([1]), { persistent: false });
  }

  forward(x: Tensor): Tensor {
    this.cached = mul(x, this.gain);
    return this.heads.left.forward(this.cached);
  }
}

class Tied extends Module {
  readonly encoder = new Linear(2, 2, { bias: false });
  readonly decoder = this.encoder;
  readonly weight = this.encoder.weight;
  forward(x: Tensor): Tensor {
    return this.decoder.forward(this.encoder.forward(x));
  }
}

describe("Module", () => {
  it("finds parameters in properties, arrays and objects, under PyTorch's names", () => {
    expect(new Everything().namedParameters().map(([name]) => name)).toEqual([
      "gain",
      "blocks.0.weight",
      "blocks.0.bias",
      "blocks.1.weight",
      "heads.left.weight",
      "heads.left.bias",
      "heads.right.weight",
      "heads.right.bias",
    ]);
    expect(
      sequential(new Linear(2, 3), new ReLU(), new Linear(3, 1))
        .namedParameters()
        .map(([name]) => name),
    ).toEqual(["0.weight", "0.bias", "2.weight", "2.bias"]);
  });

  it("takes results that it stores for neither parameters nor state", () => {
    const model = new Everything();
    model.forward(ones([2, 3]));
    const names = model.namedParameters().map(([name]) => name);
    expect(names).not.toContain("cached");
    expect(Object.keys(model.stateDict())).not.toContain("cached");
    expect(Object.keys(model.stateDict())).not.toContain("constant");
  });

  it("keeps buffers apart, and only persistent ones in the state dict", () => {
    const model = new Everything();
    expect(model.namedBuffers().map(([name]) => name)).toEqual(["mean", "scratch"]);
    expect(Object.keys(model.stateDict())).toContain("mean");
    expect(Object.keys(model.stateDict())).not.toContain("scratch");
    expect(() => model.registerBuffer("gain", parameter(ones([1])))).toThrow(/registerBuffer.*gradient/);
  });

  it("counts a shared parameter once, and saves it under each name as PyTorch does", () => {
    const model = new Tied();
    expect(model.namedParameters().map(([name]) => name)).toEqual(["weight"]);
    expect(Object.keys(model.stateDict())).toEqual(["weight", "encoder.weight", "decoder.weight"]);
    expect(model.modules()).toHaveLength(2);
  });

  it("lists children and modules", () => {
    const model = sequential(new Linear(2, 3), sequential(new ReLU(), new Linear(3, 1)));
    expect(model.children()).toHaveLength(2);
    expect(model.namedModules().map(([name, module]) => `${name}:${module}`)).toEqual([
      ":Sequential()",
      "0:Linear(2, 3)",
      "1:Sequential()",
      "1.0:ReLU()",
      "1.1:Linear(3, 1)",
    ]);
  });

  it("switches all modules between training and evaluation", () => {
    const model = sequential(new Dropout(0.5), sequential(new Dropout(0.5)));
    expect(model.modules().every((module) => module.training)).toBe(true);
    expect(model.eval()).toBe(model);
    expect(model.modules().some((module) => module.training)).toBe(false);
    model.train();
    expect(model.modules().every((module) => module.training)).toBe(true);
  });

  it("keeps frozen parameters, and gives them no gradient", () => {
    const model = sequential(new Linear(2, 2), new Linear(2, 1));
    for (const parameter of model.layers[0].parameters()) parameter.requiresGrad = false;
    expect(model.parameters()).toHaveLength(4);
    expect(inspectModel(model, [2])).toMatchObject({ parameters: 9, trainable: 3 });
    expect(inspect(model, [2])).toMatch(/Trainable params: 3\nFrozen params: 6/);
    sum(model.forward(ones([1, 2]))).backward();
    expect(model.parameters().map((parameter) => parameter.grad === null)).toEqual([
      true,
      true,
      false,
      false,
    ]);
  });

  it("refuses a mode that is neither true nor false", () => {
    const model = sequential(new Dropout(0.5));
    expect(() => Reflect.apply(model.train, model, ["no"])).toThrow(
      expect.objectContaining({
        code: "NF_OPTION",
        message: expect.stringMatching(/true or false, got "no"/),
      }),
    );
    expect(model.layers[0].training).toBe(true);
  });

  it("refuses a buffer that is no tensor", () => {
    const model = new Everything();
    expect(() => Reflect.apply(model.registerBuffer, model, ["mean", 3])).toThrow(
      expect.objectContaining({ code: "NF_DTYPE" }),
    );
  });

  it("ends parameters, buffers and gradients with dispose()", () => {
    const x = ones([2, 3]);
    const { liveTensors } = memory();
    for (let round = 0; round < 100; round++) {
      const model = new Everything();
      sum(model.forward(x)).backward();
      model.dispose();
      expect(model.parameters().every(({ isDisposed }) => isDisposed)).toBe(true);
      model.constant.dispose();
      model.dispose();
    }
    expect(memory().liveTensors).toBe(liveTensors);
    const tied = new Tied();
    tied[Symbol.dispose]();
    expect(memory().liveTensors).toBe(liveTensors);
    expect(() => tied.forward(ones([1, 2]))).toThrow(expect.objectContaining({ code: "NF_DEAD_TENSOR" }));
    x.dispose();
  });

  it("forgets gradients", () => {
    const model = new Linear(2, 1);
    sum(model.forward(ones([1, 2]))).backward();
    expect(model.weight.grad).not.toBeNull();
    model.zeroGrad();
    expect(model.parameters().map((parameter) => parameter.grad)).toEqual([null, null]);
  });
});

describe("state dict", () => {
  it("carries values from one model to another, and keeps the parameters' identity", async () => {
    const [from, to] = [new Linear(4, 2), new Linear(4, 2)];
    const weight = to.weight;
    expect(await to.weight.toArray()).not.toEqual(await from.weight.toArray());
    expect(to.loadStateDict(from.stateDict())).toEqual({ missing: [], unexpected: [] });
    expect(to.weight).toBe(weight);
    expect(await to.weight.toArray()).toEqual(await from.weight.toArray());
    expect(await to.bias?.toArray()).toEqual(await from.bias?.toArray());
  });

  it("converts dtypes", async () => {
    const model = new Linear(1, 1, { bias: false });
    model.loadStateDict({ weight: tensor([[0.25]], { dtype: "f64" }) });
    expect(model.weight.dtype).toBe("f32");
    expect(await model.weight.toArray()).toEqual([[0.25]]);
  });

  it("lists everything that does not fit at once, and loads nothing", async () => {
    const model = sequential(new Linear(2, 3), new Linear(3, 1));
    const before = await model.layers[0].weight.toArray();
    const dict = {
      "0.weight": ones([3, 2]),
      "0.bias": ones([4]),
      "1.weight": ones([3]),
      stranger: ones([1]),
    };
    const load = (): unknown => model.loadStateDict(dict);
    expect(load).toThrow(StateDictError);
    let message = "";
    try {
      load();
    } catch (error) {
      if (!(error instanceof StateDictError)) throw error;
      message = error.message;
      expect(error.code).toBe("NF_DATA");
      expect(error.missing).toEqual(["1.bias"]);
      expect(error.unexpected).toEqual(["stranger"]);
      expect(error.mismatched.map(({ name }) => name)).toEqual(["0.bias", "1.weight"]);
    }
    expect(message).toContain("missing: 1.bias");
    expect(message).toContain("unexpected: stranger");
    expect(message).toContain("shape of 0.bias: expected [3], got [4]");
    expect(await model.layers[0].weight.toArray()).toEqual(before);
  });

  it("loads what fits when it is not strict, but never a wrong shape", async () => {
    const model = new Linear(1, 1);
    expect(model.loadStateDict({ bias: tensor([5]), other: ones([1]) }, { strict: false })).toEqual({
      missing: ["weight"],
      unexpected: ["other"],
    });
    expect(await model.bias?.toArray()).toEqual([5]);
    expect(() => model.loadStateDict({ bias: ones([2]) }, { strict: false })).toThrow(/shape of bias/);
  });

  it("lists what is no tensor with everything else", async () => {
    const model = sequential(new Linear(2, 3), new Linear(3, 1));
    const before = await model.layers[0].weight.toArray();
    const dict = {
      "0.weight": 3,
      "0.bias": undefined,
      "1.weight": { data: [1] },
      "1.bias": ones([2]),
      stranger: "text",
    };
    const load = (...args: readonly unknown[]): unknown => Reflect.apply(model.loadStateDict, model, args);
    for (const options of [{}, { strict: false }]) {
      let message = "";
      try {
        load(dict, options);
      } catch (error) {
        if (!(error instanceof StateDictError)) throw error;
        message = error.message;
        expect(error.notTensors.map(({ name }) => name)).toEqual(["0.weight", "0.bias", "1.weight"]);
        expect(error.mismatched.map(({ name }) => name)).toEqual(["1.bias"]);
        expect(error.unexpected).toEqual(["stranger"]);
      }
      expect(message).toContain("0.weight: expected a tensor, got 3");
      expect(message).toContain("0.bias: expected a tensor, got undefined");
      expect(message).toContain("1.weight: expected a tensor, got an object");
    }
    expect(await model.layers[0].weight.toArray()).toEqual(before);
    for (const nothing of [null, undefined, 3, "weights", ones([1])])
      expect(() => load(nothing)).toThrow(expect.objectContaining({ code: "NF_OPTION" }));
  });

  it("does not take inherited properties for entries", () => {
    class Odd extends Module {
      readonly toString2 = parameter(ones([1]));
      forward(x: Tensor): Tensor {
        return x;
      }
    }
    expect(() => new Odd().loadStateDict({})).toThrow(/missing: toString2/);
  });
});

describe("moving", () => {
  it("moves to another backend in place, gradients included", async () => {
    const other = await cpu();
    const model = new Linear(2, 1);
    const { weight } = model;
    const values = await weight.toArray();
    sum(model.forward(ones([1, 2]))).backward();
    expect(await model.to(other)).toBe(model);
    expect(model.weight).toBe(weight);
    expect(weight.backend).toBe(other);
    expect(weight.requiresGrad).toBe(true);
    expect(weight.grad?.backend).toBe(other);
    expect(await weight.toArray()).toEqual(values);
    const y = model.forward(ones([1, 2], { backend: other }));
    sum(y).backward();
    expect(await weight.grad?.toArray()).toEqual([[2, 2]]);
    expect(() => model.forward(ones([1, 2]))).toThrow(/different backends/);
    model.zeroGrad();
    await other.dispose();
  });
});

it("resetParameters draws new values from a generator", async () => {
  const make = (source: Generator): Linear => new Linear(3, 2, { generator: source });
  const [a, b] = [make(new Generator(5)), make(new Generator(5))];
  expect(await a.weight.toArray()).toEqual(await b.weight.toArray());
  a.resetParameters(new Generator(6));
  expect(await a.weight.toArray()).not.toEqual(await b.weight.toArray());
  b.resetParameters(new Generator(6));
  expect(await a.weight.toArray()).toEqual(await b.weight.toArray());
});

it("shows its layers on the console, and no numbers", () => {
  const model = sequential(
    ["stem", sequential(new Linear(2, 3), new ReLU())],
    ["head", new Linear(3, 1, { bias: false })],
  );
  const lines = `Sequential()
├─ stem: Sequential()
│  ├─ 0: Linear(2, 3)
│  └─ 1: ReLU()
└─ head: Linear(3, 1, { bias: false })`;
  expect(format(model)).toBe(lines);
  expect(format(functionalize(model).structure)).toBe(`Structure of ${lines}`);
});

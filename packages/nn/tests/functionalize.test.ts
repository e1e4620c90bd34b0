import { cpu } from "@nf/backend-cpu";
import {
  add,
  assign,
  crossEntropy,
  Generator,
  generator,
  manualSeed,
  mean,
  mul,
  noGrad,
  ones,
  parameter,
  randn,
  type Tensor,
  tensor,
  use,
  valueAndGrad,
  zeros,
} from "@nf/core";
import { beforeAll, describe, expect, it } from "vitest";
import {
  BatchNorm2d,
  Conv2d,
  ConvTranspose2d,
  Dropout,
  Embedding,
  FeedForward,
  functionalize,
  GroupNorm,
  LayerNorm,
  Linear,
  LSTM,
  MixtureOfExperts,
  Module,
  ModuleList,
  MultiheadAttention,
  type Params,
  PReLU,
  ReLU,
  RMSNorm,
  sequential,
} from "../src/index.ts";

beforeAll(async () => {
  await use(cpu());
});

/** Counts the batches it trained on, and follows their mean. */
class Running extends Module {
  readonly mean: Tensor;
  readonly scale: Tensor;
  constructor() {
    super();
    this.scale = parameter(ones([1]));
    this.mean = this.registerBuffer("mean", zeros([]));
  }
  override resetParameters(): void {
    noGrad(() => {
      assign(this.scale, ones([1]));
      assign(this.mean, zeros([]));
    });
  }
  forward(x: Tensor): Tensor {
    if (this.training) noGrad(() => assign(this.mean, add(mul(this.mean, 0.5), mul(mean(x), 0.5))));
    return mul(x, this.scale);
  }
}

describe("functionalize", () => {
  it("splits a model into structure and values, and applies them", async () => {
    const model = sequential(new Linear(3, 4), new ReLU(), new Linear(4, 2));
    const { structure, params, state } = functionalize(model);
    expect(Object.keys(params)).toEqual(["0.weight", "0.bias", "2.weight", "2.bias"]);
    expect(state).toEqual({});
    const x = randn([5, 3]);
    const [y] = structure.apply({ params, state }, x);
    expect(await y.toArray()).toEqual(await model.forward(x).toArray());
    const zero = Object.fromEntries(
      Object.entries(params).map(([name, value]) => [name, zeros(value.shape)]),
    );
    const [none] = structure.apply({ params: zero, state }, x);
    expect(await none.toArray()).toEqual(Array.from({ length: 5 }, () => [0, 0]));
    expect(Object.values(params).some((value) => value.requiresGrad)).toBe(false);
    expect(model.layers[0].weight.requiresGrad).toBe(true);
  });

  it("gives the gradients that backward gives", async () => {
    const model = sequential(new Linear(3, 4), new ReLU(), new Linear(4, 2));
    const { structure, params, state } = functionalize(model);
    const [x, y] = [randn([5, 3]), tensor([0, 1, 1, 0, 1], { dtype: "i32" })];
    const step = valueAndGrad((weights: Params) =>
      crossEntropy(structure.apply({ params: weights, state }, x)[0], y),
    );
    const [loss, gradients] = step(params);
    const classic = crossEntropy(model.forward(x), y);
    classic.backward();
    expect(await loss.item()).toBe(await classic.item());
    for (const [name, parameter] of model.namedParameters()) {
      expect(await gradients[name]?.toArray(), name).toEqual(await parameter.grad?.toArray());
    }
  });

  it("hands the state on instead of writing into it", async () => {
    const { structure, params, state } = functionalize(new Running());
    const x = tensor([2, 4]);
    const [, next] = structure.apply({ params, state }, x, { training: true });
    expect(await state["mean"]?.item()).toBe(0);
    expect(await next["mean"]?.item()).toBe(1.5);
    const [, unchanged] = structure.apply({ params, state: next }, x);
    expect(await unchanged["mean"]?.item()).toBe(1.5);
  });

  it("draws from the key it is given, and from nothing else", async () => {
    const own = new Generator(3);
    const { structure, params, state } = functionalize(
      sequential(new Dropout(0.5), new Dropout(0.5, { generator: own })),
    );
    const apply = (options: object): Promise<unknown> =>
      structure.apply({ params, state }, ones([64]), { training: true, ...options })[0].toArray();
    const key = new Generator(1).next();
    const before = [generator().state(), own.state()];
    const first = await apply({ key });
    expect(await apply({ key })).toEqual(first);
    expect(await apply({ key: new Generator(2).next() })).not.toEqual(first);
    expect([generator().state(), own.state()]).toEqual(before);
    // Without a key the layers draw as they do in a module, and their generators move on.
    expect(await apply({})).not.toEqual(await apply({}));
    expect(own.state().counter).toBe(2);
    expect(await structure.apply({ params, state }, ones([3]))[0].toArray()).toEqual([1, 1, 1]);
  });

  it("makes initial values as the constructors do", async () => {
    const structure = functionalize(sequential(new Linear(3, 4), new Running())).structure;
    const { key } = new Generator(9).state();
    const { params, state } = structure.init(key);
    const fresh = new Linear(3, 4, { generator: new Generator(9) });
    expect(await params["0.weight"]?.toArray()).toEqual(await fresh.weight.toArray());
    expect(await params["0.bias"]?.toArray()).toEqual(await fresh.bias?.toArray());
    expect(await state["1.mean"]?.item()).toBe(0);
    expect(params["0.weight"]?.requiresGrad).toBe(false);
    const again = structure.init(key);
    expect(await again.params["0.bias"]?.toArray()).toEqual(await params["0.bias"]?.toArray());
    manualSeed(4);
    const other = await structure.init().params["0.bias"]?.toArray();
    expect(await structure.init().params["0.bias"]?.toArray()).not.toEqual(other);
    expect(again.params["0.weight"]).not.toBe(params["0.weight"]);
  });

  it("leaves at a constant what the constructors leave at one, in every layer", async () => {
    const constants = async (named: Readonly<Record<string, Tensor>>): Promise<string[]> => {
      const found: string[] = [];
      for (const [name, value] of Object.entries(named)) {
        const data = Array.from(await value.data(), Number);
        if (data.every((one) => one === data[0])) found.push(`${name} ${data[0]}`);
      }
      return found;
    };
    const models = [
      [new MultiheadAttention(4, 2), new LayerNorm(4), new RMSNorm(4), new FeedForward(4, 8)],
      [new MixtureOfExperts(4, 8, { count: 2 }), new PReLU(), new Linear(4, 4), new LSTM(4, 4)],
      [new Conv2d(2, 3, 3), new BatchNorm2d(3), new GroupNorm(1, 3), new ConvTranspose2d(3, 2, 3)],
      [new MultiheadAttention(4, 2, { kdim: 3, vdim: 5 }), new Embedding(3, 4)],
    ].map((layers: readonly Module[]) => new ModuleList(layers));
    for (const model of models) {
      const { structure, params, state } = functionalize(model);
      const fresh = structure.init([3, 4]);
      expect(await constants(fresh.params)).toEqual(await constants(params));
      expect(await constants(fresh.state)).toEqual(await constants(state));
    }
  });

  it("binds values to a model of their own again", async () => {
    const { structure, params, state } = functionalize(sequential(new Linear(2, 2), new Running()));
    const model = structure.bind({ params, state });
    expect(model.layers[0].weight).not.toBe(params["0.weight"]);
    expect(await model.layers[0].weight.toArray()).toEqual(await params["0.weight"]?.toArray());
    expect(model.namedParameters().map(([name]) => name)).toEqual(["0.weight", "0.bias", "1.scale"]);
    expect(model.modules().some((module) => module.training)).toBe(false);
    model.train().forward(ones([1, 2]));
    expect(await state["1.mean"]?.item()).toBe(0);
  });

  it("keeps shared parameters shared", async () => {
    class Tied extends Module {
      readonly first = new Linear(2, 2, { bias: false });
      readonly second = this.first;
      forward(x: Tensor): Tensor {
        return this.second.forward(this.first.forward(x));
      }
    }
    const { structure, params, state } = functionalize(new Tied());
    expect(Object.keys(params)).toEqual(["first.weight"]);
    const [y] = structure.apply(
      {
        params: {
          "first.weight": tensor([
            [2, 0],
            [0, 3],
          ]),
        },
        state,
      },
      tensor([[1, 1]]),
    );
    expect(await y.toArray()).toEqual([[4, 9]]);
    expect(structure.bind({ params, state }).parameters()).toHaveLength(1);
  });

  it("passes further inputs on", async () => {
    class Sum extends Module {
      forward(a: Tensor, b: Tensor): Tensor {
        return add(a, b);
      }
    }
    const { structure, params, state } = functionalize(new Sum());
    const [y] = structure.apply({ params, state }, tensor([1]), { moreInputs: [tensor([2])] });
    expect(await y.toArray()).toEqual([3]);
  });

  it("says what is wrong with values and models", () => {
    const { structure, params, state } = functionalize(new Linear(2, 1));
    const x = ones([1, 2]);
    expect(() => structure.apply({ params: {}, state }, x)).toThrow(/params has no "weight"/);
    for (const [given, got] of [
      [{ params }, "{ params }"],
      [undefined, "undefined"],
      [params, "{ weight, bias }"],
    ] as const)
      expect(() => Reflect.apply(structure.apply, structure, [given, x])).toThrow(
        `expected { params, state }, as functionalize and init give them, got ${got}.`,
      );
    expect(() => structure.apply({ params: { ...params, extra: x }, state }, x)).toThrow(/no extra/);
    expect(() => structure.apply({ params: { ...params, weight: x.reshape([2]) }, state }, x)).toThrow(
      /shape \[1, 2\]/,
    );

    for (const key of [new Generator(1), 3, [1], [0.5, 1]]) {
      expect(() => Reflect.apply(structure.init, structure, [key])).toThrow(/key must be two whole numbers/);
      const options: object = { key };
      expect(() => structure.apply({ params, state }, x, options)).toThrow(/key must be two whole numbers/);
    }

    class Own extends Module {
      readonly gain = parameter(ones([1]));
      forward(y: Tensor): Tensor {
        return mul(y, this.gain);
      }
    }
    expect(() => functionalize(new Own()).structure.init()).toThrow(/Own has parameters.*resetParameters/);

    class Arrow extends Module {
      readonly inner = new Linear(1, 1);
      readonly forward = (y: Tensor): Tensor => this.inner.forward(y);
    }
    expect(() => functionalize(new Arrow())).toThrow(/"forward" of Arrow is a function/);

    class Private extends Module {
      readonly #factor = 2;
      forward(y: Tensor): Tensor {
        return mul(y, this.#factor);
      }
    }
    const hidden = functionalize(new Private());
    expect(() => hidden.structure.apply(hidden, x)).toThrow(/#private/);
  });
});

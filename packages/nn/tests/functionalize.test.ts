import { cpu } from "@nf/backend-cpu";
import {
  add,
  assign,
  crossEntropy,
  Generator,
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
import { Dropout, functionalize, Linear, Module, type Params, ReLU, sequential } from "../src/index.ts";

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

  it("draws from the generator it is given, and no other", async () => {
    const { structure, params, state } = functionalize(new Dropout(0.5));
    const run = async (seed: number): Promise<unknown> => {
      const options = { training: true, generator: new Generator(seed) };
      return structure.apply({ params, state }, ones([64]), options)[0].toArray();
    };
    const first = await run(1);
    expect(await run(1)).toEqual(first);
    expect(await run(2)).not.toEqual(first);
    expect(await structure.apply({ params, state }, ones([3]))[0].toArray()).toEqual([1, 1, 1]);
  });

  it("makes initial values as the constructors do", async () => {
    const structure = functionalize(sequential(new Linear(3, 4), new Running())).structure;
    const { params, state } = structure.init(new Generator(9));
    const fresh = new Linear(3, 4, { generator: new Generator(9) });
    expect(await params["0.weight"]?.toArray()).toEqual(await fresh.weight.toArray());
    expect(await params["0.bias"]?.toArray()).toEqual(await fresh.bias?.toArray());
    expect(await state["1.mean"]?.item()).toBe(0);
    expect(params["0.weight"]?.requiresGrad).toBe(false);
    const again = structure.init(new Generator(9));
    expect(again.params["0.weight"]).not.toBe(params["0.weight"]);
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
    expect(() => structure.apply({ params: { ...params, extra: x }, state }, x)).toThrow(/no extra/);
    expect(() => structure.apply({ params: { ...params, weight: x.reshape([2]) }, state }, x)).toThrow(
      /shape \[1, 2\]/,
    );

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

import { cpu } from "@nf/backend-cpu";
import { mul, ones, type Tensor, tensor, use } from "@nf/core";
import { Adam, AdamW, SGD } from "@nf/optim";
import { beforeAll, describe, expect, it } from "vitest";
import { functionalize, Linear, Module, parameterGroups, sequential, Tanh } from "../src/index.ts";

beforeAll(async () => {
  await use(cpu());
});

describe("hooks", () => {
  it("see and replace inputs and results, in order, until they are removed", async () => {
    const model = sequential(new Linear(2, 2), new Tanh());
    const [linear] = model.layers;
    const x = ones([1, 2]);
    const plain = await linear.forward(x).toArray();
    const seen: string[] = [];
    const removers = [
      linear.registerForwardPreHook((module, [input]) => {
        seen.push(`before ${module} ${input.shape}`);
        return undefined;
      }),
      linear.registerForwardPreHook((_module, [input]) => [mul(input, 0)]),
      linear.registerForwardHook((_module, [input], output) => {
        seen.push(`after ${input.shape} ${output.shape}`);
        return mul(output, 2);
      }),
      linear.registerForwardHook((_module, _inputs, output) => mul(output, 3)),
    ];
    const hooked = Array.from(await linear.forward(x).data());
    const bias = Array.from(await (linear.bias as Tensor).data());
    for (const [i, value] of bias.entries()) expect(hooked[i]).toBeCloseTo(6 * value, 6);
    model.forward(x);
    expect(seen).toEqual([
      "before Linear(2, 2) 1,2",
      "after 1,2 1,2",
      "before Linear(2, 2) 1,2",
      "after 1,2 1,2",
    ]);
    expect(functionalize(model).structure.bind(functionalize(model)).layers[0].forward).toBe(
      Linear.prototype.forward,
    );
    for (const remove of removers) remove();
    for (const remove of removers) remove();
    expect(await linear.forward(x).toArray()).toEqual(plain);
    expect(Object.hasOwn(linear, "forward")).toBe(false);
    expect(seen).toHaveLength(4);
  });

  it("keep a forward that is a property", () => {
    class Arrow extends Module {
      forward = (x: Tensor): Tensor => mul(x, 2);
    }
    const module = new Arrow();
    const own = module.forward;
    let calls = 0;
    const remove = module.registerForwardHook(() => {
      calls++;
      return undefined;
    });
    module.forward(ones([1]));
    remove();
    expect(calls).toBe(1);
    expect(module.forward).toBe(own);
  });

  it("reach the gradient of what a module gives", async () => {
    const linear = new Linear(1, 1);
    const gradients: number[][] = [];
    linear.registerForwardHook((_module, _inputs, output) => {
      output.registerHook((gradient) => {
        gradients.push([...gradient.shape]);
        return mul(gradient, 0.5);
      });
      return undefined;
    });
    linear
      .forward(tensor([[4]]))
      .sum()
      .backward();
    expect(gradients).toEqual([[1, 1]]);
    expect(await linear.weight.grad?.toArray()).toEqual([[2]]);
  });

  it("refuse what is no function and no list of inputs", () => {
    const linear = new Linear(1, 1);
    const call = (method: string, hook: unknown): (() => unknown) => {
      return () => Reflect.apply(Reflect.get(linear, method), linear, [hook]);
    };
    for (const method of ["registerForwardHook", "registerForwardPreHook"])
      expect(call(method, 3)).toThrow(expect.objectContaining({ code: "NF_OPTION" }));
    call("registerForwardPreHook", () => ones([1]))();
    expect(() => linear.forward(ones([1, 1]))).toThrow(/return the inputs as an array/);
  });
});

const encoder = () => sequential(sequential(new Linear(2, 2), new Tanh()), new Linear(2, 1));

describe("freezing", () => {
  it("by name, subtree and pattern; optimisers leave what is frozen", async () => {
    const model = encoder();
    const names = (): string[] =>
      model.namedParameters().flatMap(([name, { requiresGrad }]) => (requiresGrad ? [name] : []));
    expect(model.freeze("0")).toBe(model);
    expect(names()).toEqual(["1.weight", "1.bias"]);
    const optimizer = new Adam(model.parameters(), { lr: 0.1, weightDecay: 0.1 });
    const values = (): Promise<unknown[]> => Promise.all(model.parameters().map((one) => one.toArray()));
    const before = await values();
    model
      .forward(ones([1, 2]))
      .sum()
      .backward();
    optimizer.step();
    const after = await values();
    expect(after.map((value, i) => JSON.stringify(value) === JSON.stringify(before[i]))).toEqual([
      true,
      true,
      false,
      false,
    ]);
    model.unfreeze("*.*.bias");
    expect(names()).toEqual(["0.0.bias", "1.weight", "1.bias"]);
    model.freeze(/bias$/);
    expect(names()).toEqual(["1.weight"]);
    model.freeze();
    expect(names()).toEqual([]);
    model.unfreeze("0.0.weight", "1.*");
    expect(names()).toEqual(["0.0.weight", "1.weight", "1.bias"]);
    model.unfreeze();
    expect(names()).toHaveLength(4);
    // A gradient from before does not move what was frozen since.
    const settled = await values();
    model.freeze("1");
    optimizer.step();
    expect((await values()).slice(2)).toEqual(settled.slice(2));
  });

  it("refuses names that mean nothing", () => {
    const model = encoder();
    for (const pattern of ["2", "0.0.weigh", "weight", "", /gamma/, 3 as never])
      expect(() => model.freeze(pattern)).toThrow(expect.objectContaining({ code: "NF_OPTION" }));
    expect(() => model.freeze("head")).toThrow(
      "Sequential freeze: no parameter is called head. There are 0.0.weight, 0.0.bias, 1.weight, 1.bias.",
    );
    expect(model.parameters().every(({ requiresGrad }) => requiresGrad)).toBe(true);
  });
});

describe("parameter groups", () => {
  it("follow names, the first rule first, and leave the rest to the last group", () => {
    const model = encoder();
    const groups = parameterGroups(model, [
      { match: /bias$/, weightDecay: 0 },
      { match: ["0"], lr: 1e-4 },
    ]);
    const optimizer = new AdamW(groups, { lr: 1e-3, weightDecay: 0.1 });
    const [a, b] = [model.layers[0].layers[0], model.layers[1]];
    expect(optimizer.paramGroups.map(({ params, lr, weightDecay }) => [params, lr, weightDecay])).toEqual([
      [[a.bias, b.bias], 1e-3, 0],
      [[a.weight], 1e-4, 0.1],
      [[b.weight], 1e-3, 0.1],
    ]);
    expect(parameterGroups(model, [{ match: /./ }])).toHaveLength(1);
    expect(new SGD(parameterGroups(model, [])).paramGroups[0]?.params).toHaveLength(4);
  });

  it("refuse what means nothing, or nothing that is left", () => {
    const model = encoder();
    expect(() => parameterGroups(model, [{ match: "2" }])).toThrow(/rule 0: no parameter is called 2/);
    expect(() => parameterGroups(model, [{ match: "0" }, { match: "0.0.bias" }])).toThrow(
      /earlier rules take all parameters of rule 1/,
    );
    expect(() => Reflect.apply(parameterGroups, undefined, [3, []])).toThrow(/expected a module/);
    expect(() => Reflect.apply(parameterGroups, undefined, [model])).toThrow(/list of rules/);
    expect(() => Reflect.apply(parameterGroups, undefined, [model, [{}]])).toThrow(/names of parameters/);
    const wrong: object = { match: "0", rate: 3 };
    const groups = Reflect.apply(parameterGroups, undefined, [model, [wrong]]);
    expect(() => new SGD(groups)).toThrow(/unknown option "rate"/);
  });
});

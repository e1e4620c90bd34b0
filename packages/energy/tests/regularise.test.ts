import { cpu } from "@nf/backend-cpu";
import { add, mul, OptionError, parameter, randn, scope, type Tensor, tensor, use } from "@nf/core";
import { Conv2d, CrossEntropyLoss, Flatten, Linear, MultiheadAttention, ReLU, sequential } from "@nf/nn";
import { SGD } from "@nf/optim";
import { beforeAll, describe, expect, it } from "vitest";
import { flopShare, l1, l2, neuronPower, observe } from "../src/index.ts";

beforeAll(async () => {
  await use(cpu());
});

const gradOf = async (x: Tensor): Promise<number[]> => [...(await (x.grad as Tensor).data())].map(Number);

describe("l1 and l2", () => {
  it("add up what all parameters hold, with gradients sign and 2x", async () => {
    const [a, b] = [
      parameter(
        tensor([
          [1, -2],
          [0, 4],
        ]),
      ),
      parameter(tensor([-3])),
    ];
    expect(await l1([a, b]).item()).toBe(10);
    expect(await l2([a, b]).item()).toBe(30);
    l1([a, b]).backward();
    expect(await gradOf(a)).toEqual([1, -1, 0, 1]);
    a.grad = null;
    l2([a, b]).backward();
    expect(await gradOf(a)).toEqual([2, -4, 0, 8]);
  });

  it("take parameters() of a model", async () => {
    const model = sequential(new Linear(2, 3), new Linear(3, 1));
    let sum = 0;
    for (const p of model.parameters()) for (const value of await p.data()) sum += Math.abs(Number(value));
    expect(await l1(model.parameters()).item()).toBeCloseTo(sum, 5);
  });

  it("refuse nothing, other things, and several dtypes", () => {
    expect(() => l1([])).toThrow(OptionError);
    expect(() => l2([tensor([1]), tensor([1], { dtype: "f64" })])).toThrow(/f32, f64/);
    const numbers: Tensor[] = JSON.parse("[1]");
    expect(() => l1(numbers)).toThrow(/expected tensors, got number/);
  });
});

describe("flopShare", () => {
  it("weighs the density of each layer's input by its operations", async () => {
    // 8 × 4 × 2 = 64 operations with half of the inputs there, 4 × 1 × 2 = 8 with all or none.
    const model = sequential(new Linear(8, 4), new ReLU(), new Linear(4, 1));
    const x = tensor([[9, 9, 9, 9, 0, 0, 0, 0]]);
    const { activations } = observe(model, () => model.forward(x));
    const hidden = await (activations[1]!.outputs[0] as Tensor).data();
    let density = 0;
    for (const value of hidden) density += (1 - Math.exp(-Math.abs(Number(value)) / 0.01)) / 4;
    const share = await flopShare(activations, { width: 0.01 }).item();
    expect(share).toBeCloseTo((64 * 0.5 + 8 * density) / 72, 5);
  });

  it("counts convolutions by each output's window", async () => {
    const model = sequential(new Conv2d(2, 3, 3), new Flatten(), new Linear(3 * 2 * 2, 5));
    const { activations } = observe(model, () =>
      model.forward(tensor([[...Array(2)].map(() => Array(4).fill([9, 9, 9, 9]))])),
    );
    const ones = await flopShare(activations.slice(0, 1), { width: 0.01 }).item();
    expect(ones).toBeCloseTo(1, 6);
    const dense = [2 * 3 * 4 * 18, 2 * 5 * 12];
    const hidden = await flopShare(activations.slice(2, 3)).item();
    const all = await flopShare(activations, {}).item();
    expect(all).toBeCloseTo((dense[0]! + dense[1]! * hidden) / (dense[0]! + dense[1]!), 5);
  });

  it("reads the layers inside of attention, with gradients", async () => {
    const model = new MultiheadAttention(6, 2);
    const x = randn([2, 3, 6]);
    const { activations } = observe(model, () => model.forward(x, x, x));
    const share = flopShare(activations);
    expect(await share.item()).toBeGreaterThan(0);
    share.backward();
    expect((await gradOf(model.inProjWeight as Tensor)).some((value) => value !== 0)).toBe(true);
  });

  it("makes a model sparser when it is part of the loss", async () => {
    const train = async (factor: number): Promise<number> => {
      const { manualSeed } = await import("@nf/core");
      manualSeed(3);
      const model = sequential(new Linear(16, 32), new ReLU(), new Linear(32, 4));
      const optimizer = new SGD(model.parameters(), { lr: 0.2 });
      const criterion = new CrossEntropyLoss();
      const x = randn([64, 16]);
      const y = tensor(
        [...Array(64).keys()].map((i) => i % 4),
        { dtype: "i32" },
      );
      const run = (): Tensor => {
        const { result, activations } = observe(model, () => model.forward(x));
        return add(criterion.forward(result, y), mul(flopShare(activations, { width: 0.2 }), factor));
      };
      for (let step = 0; step < 60; step++) {
        scope(() => {
          optimizer.zeroGrad();
          run().backward();
          optimizer.step();
        });
      }
      const { activations } = observe(model, () => model.forward(x));
      return flopShare(activations.slice(2), { width: 0.01 }).item();
    };
    const [without, withIt] = [await train(0), await train(20)];
    expect(withIt).toBeLessThan(0.8 * without);
  });

  it("refuses a width that is none, and models without layers that multiply", () => {
    const model = sequential(new Linear(2, 2));
    const { activations } = observe(model, () => model.forward(tensor([[1, 2]])));
    expect(() => flopShare(activations, { width: 0 })).toThrow(OptionError);
    expect(() => flopShare([])).toThrow(/no linear or convolution layer/);
    const unknown: object = { threshold: 1 };
    expect(() => flopShare(activations, unknown)).toThrow(OptionError);
  });
});

describe("neuronPower", () => {
  it("is the mean square of what leaves give, summed over them", async () => {
    const model = sequential(new ReLU(), new Flatten());
    const { activations } = observe(model, () =>
      model.forward(
        tensor([
          [1, -2],
          [3, -4],
        ]),
      ),
    );
    expect(await neuronPower(activations).item()).toBeCloseTo(5, 6);
    expect(() => neuronPower([])).toThrow(OptionError);
  });
});

describe("observe", () => {
  it("keeps every call with its path, and leaves the model as it was", () => {
    const shared = new Linear(2, 2);
    const model = sequential(shared, new ReLU(), shared);
    const own = Object.getOwnPropertyDescriptor(shared, "forward");
    const { activations } = observe(model, () => model.forward(tensor([[1, 2]])));
    expect(activations.map(({ path, leaf }) => [path, leaf])).toEqual([
      ["0", true],
      ["1", true],
      ["0", true],
      ["", false],
    ]);
    expect(Object.getOwnPropertyDescriptor(shared, "forward")).toEqual(own);
    expect(() =>
      observe(model, () => {
        throw new TypeError("mine");
      }),
    ).toThrow(TypeError);
    expect(Object.getOwnPropertyDescriptor(shared, "forward")).toEqual(own);
  });

  it("refuses what is no model, no function, and a promise", () => {
    const model = new ReLU();
    const nothing = JSON.parse("{}");
    expect(() => observe(nothing, () => 1)).toThrow(OptionError);
    expect(() => observe(model, nothing)).toThrow(OptionError);
    expect(() => observe(model, async () => model.forward(tensor([1])))).toThrow(/promise/);
    expect(() => flopShare(nothing)).toThrow(OptionError);
  });
});

import { cpu } from "@nf/backend-cpu";
import { add, concat, generator, memory, parameter, relu, type Tensor, use, zeros } from "@nf/core";
import { beforeAll, describe, expect, it } from "vitest";
import {
  Conv2d,
  Dropout,
  Flatten,
  inspect,
  inspectModel,
  Linear,
  MaxPool2d,
  Module,
  ReLU,
  sequential,
  summary,
} from "../src/index.ts";

beforeAll(async () => {
  await use(cpu());
});

function network() {
  return sequential(
    sequential(new Conv2d(1, 6, 5), new ReLU(), new MaxPool2d(2)),
    new Flatten(),
    sequential(new Linear(864, 100), new Dropout(0.5)),
    new Linear(100, 10),
  );
}

describe("inspect", () => {
  it("draws the table", () => {
    expect(`\n${inspect(network(), [1, 28, 28])}\n`).toBe(`
Layer (Type)         Input           Output          Param #
────────────────────────────────────────────────────────────
Sequential           [1, 1, 28, 28]  [1, 10]          87,666
├─ 0 (Sequential)    [1, 1, 28, 28]  [1, 6, 12, 12]      156
│  ├─ 0 (Conv2d)     [1, 1, 28, 28]  [1, 6, 24, 24]      156
│  ├─ 1 (ReLU)       [1, 6, 24, 24]  [1, 6, 24, 24]        0
│  └─ 2 (MaxPool2d)  [1, 6, 24, 24]  [1, 6, 12, 12]        0
├─ 1 (Flatten)       [1, 6, 12, 12]  [1, 864]              0
├─ 2 (Sequential)    [1, 864]        [1, 100]         86,500
│  ├─ 0 (Linear)     [1, 864]        [1, 100]         86,500
│  └─ 1 (Dropout)    [1, 100]        [1, 100]              0
└─ 3 (Linear)        [1, 100]        [1, 10]           1,010
────────────────────────────────────────────────────────────
Total params: 87,666
Trainable params: 87,666
Size: 342.4 KiB
`);
  });

  it("gives the rows as data", () => {
    const { rows, parameters, trainable, buffers, bytes } = inspectModel(network(), [1, 28, 28], {
      batch: 3,
    });
    expect({ parameters, trainable, buffers, bytes }).toEqual({
      parameters: 87_666,
      trainable: 87_666,
      buffers: 0,
      bytes: 350_664,
    });
    expect(rows[2]).toEqual({
      path: "0.0",
      name: "0",
      type: "Conv2d",
      depth: 2,
      inputs: [[3, 1, 28, 28]],
      outputs: [[3, 6, 24, 24]],
      parameters: 156,
    });
    expect(JSON.parse(JSON.stringify(rows))).toEqual(rows);
  });

  it("leaves mode, random state, forward and memory as they were", () => {
    const model = network();
    model.layers[2].eval();
    const modes = model.modules().map((module) => module.training);
    const random = generator().state();
    const tensors = memory().liveTensors;
    inspect(model, [1, 28, 28]);
    expect(model.modules().map((module) => module.training)).toEqual(modes);
    expect(generator().state()).toEqual(random);
    expect(memory().liveTensors).toBe(tensors);
    expect(model.modules().filter((module) => Object.hasOwn(module, "forward"))).toEqual([]);
    expect(() => inspect(model, [1, 5, 5])).toThrow(/layer 2 of sequential: maxPool2d/);
    expect(model.modules().map((module) => module.training)).toEqual(modes);
    expect(model.modules().filter((module) => Object.hasOwn(module, "forward"))).toEqual([]);
    expect(memory().liveTensors).toBe(tensors);
  });

  it("shows modules of several inputs and results, and those that were not called", () => {
    class Pair extends Module {
      readonly left = new Linear(4, 2);
      readonly unused = new Linear(3, 3);
      forward(x: Tensor): Tensor[] {
        return [this.left.forward(x), x];
      }
    }
    const text = inspect(new Pair(), [4]);
    expect(text).toMatch(/^Pair +\[1, 4\] +\[1, 2\] \[1, 4\] +22$/m);
    expect(text).toMatch(/^└─ unused \(Linear\) +not called +not called +12$/m);
  });

  it("refuses what is no model, and what is no shape", () => {
    const call = (...args: readonly unknown[]): (() => unknown) => {
      return () => Reflect.apply(inspect, undefined, args);
    };
    const model = new Linear(4, 2);
    for (const args of [
      [3, [4]],
      [undefined, [4]],
      [{ forward() {} }, [4]],
      [model],
      [model, 4],
      [model, [-1]],
      [model, ["4"]],
      [model, [4], { batch: 0 }],
      [model, [4], { dtype: "float" }],
    ])
      expect(call(...args)).toThrow(expect.objectContaining({ code: "NF_OPTION" }));
    expect(call(3, [4])).toThrow("inspect: expected a module, got 3.");
    expect(call(model)).toThrow(/shape of one sample .* got undefined/);
  });

  it("sends the dtype it is told", () => {
    let seen = "";
    class Tokens extends Module {
      forward(x: Tensor): Tensor {
        seen = x.dtype;
        return x;
      }
    }
    inspect(new Tokens(), [8], { dtype: "i32" });
    expect(seen).toBe("i32");
    const wrong: object = { colour: true };
    expect(() => inspect(new Tokens(), [8], wrong)).toThrow(/unknown option "colour"/);
  });

  it("counts operations and bytes where it is asked to, on tensors of its own", async () => {
    const model = network();
    const tensors = memory().liveTensors;
    const weight = model.layers[3].weight;
    const text = inspect(model, [1, 28, 28], { flops: true, bytes: true });
    expect(text).toMatch(/^Layer \(Type\) +Input +Output +Param # +FLOPs +Bytes moved$/m);
    const { rows } = inspectModel(model, [1, 28, 28], { flops: true, bytes: true });
    const row = (path: string) => rows.find((one) => one.path === path);
    // A product counts a multiplication and an addition for each weight and place, and the bias another.
    expect(row("0.0")?.flops).toBe(2 * 25 * 6 * 576 + 6 * 576);
    expect(row("0.0")?.bytes).toBe(4 * (784 + 156 + 6 * 576));
    expect(row("2.0")?.flops).toBe(2 * 86_400 + 100);
    expect(row("0.1")?.bytes).toBe(4 * 2 * 3456);
    expect(row("1")?.flops).toBe(0);
    for (const name of ["flops", "bytes"] as const) {
      const sum = (paths: readonly string[]) =>
        paths.reduce((total, path) => total + (row(path)?.[name] ?? 0), 0);
      expect(row("0")?.[name]).toBe(sum(["0.0", "0.1", "0.2"]));
      expect(row("")?.[name]).toBe(sum(["0", "1", "2", "3"]));
    }
    const ten = inspectModel(model, [1, 28, 28], { flops: true, batch: 10 });
    expect(ten.rows[0]?.flops).toBe(10 * (row("")?.flops ?? 0));
    expect(ten.rows[0]).not.toHaveProperty("bytes");
    expect(model.layers[3].weight).toBe(weight);
    expect(memory().liveTensors).toBe(tensors);
    expect(() => inspect(model, [1, 5, 5], { flops: true })).toThrow(/maxPool2d/);
    expect(model.layers[3].weight).toBe(weight);
    expect(memory().liveTensors).toBe(tensors);
    expect(() => inspect(model, [1, 28, 28], { flops: 1 as never })).toThrow(/flops must be true/);
  });

  it("shows branches: residuals, two inputs, a layer that is called twice, one that is shared", () => {
    class Residual extends Module {
      readonly inner = new Linear(4, 4);
      readonly gain = parameter(zeros([1]));
      forward(x: Tensor): Tensor {
        return add(x, relu(this.inner.forward(this.inner.forward(x))).mul(this.gain));
      }
    }
    class TwoTowers extends Module {
      readonly left = new Residual();
      readonly right = new Linear(3, 4);
      readonly head: Linear;
      readonly again: Module = this.right;
      constructor() {
        super();
        this.head = new Linear(8, 1);
      }
      forward(a: Tensor, b: Tensor): Tensor {
        return this.head.forward(concat([this.left.forward(a), this.right.forward(b)], -1));
      }
    }
    const shapes = [[4], [3]];
    expect(`\n${inspect(new TwoTowers(), shapes, { batch: 2, flops: true })}\n`).toBe(`
Layer (Type)          Input          Output  Param #  FLOPs
───────────────────────────────────────────────────────────
TwoTowers             [2, 4] [2, 3]  [2, 1]       46    258
├─ left (Residual)    [2, 4]         [2, 4]       21    168
│  └─ inner (Linear)  [2, 4]         [2, 4]       20    144
├─ right (Linear)     [2, 3]         [2, 4]       16     56
└─ head (Linear)      [2, 8]         [2, 1]        9     34
───────────────────────────────────────────────────────────
Total params: 46
Trainable params: 46
Size: 184 B
`);
    const mixed = inspectModel(new TwoTowers(), shapes, { dtype: ["f32", "f32"] });
    expect(mixed.rows[0]?.inputs).toEqual([
      [1, 4],
      [1, 3],
    ]);
    expect(() => inspect(new TwoTowers(), shapes, { dtype: ["f32"] })).toThrow(/list of 2, got 1/);
    expect(() => inspect(new TwoTowers(), [[4], [-1]])).toThrow(/each size of inputShape/);
  });

  it("sums up as text and as JSON", () => {
    const model = network();
    const both = summary(model, [1, 28, 28], { flops: true });
    expect(`${both}`).toBe(inspect(model, [1, 28, 28], { flops: true }));
    expect(JSON.parse(JSON.stringify(both))).toEqual(inspectModel(model, [1, 28, 28], { flops: true }));
  });
});

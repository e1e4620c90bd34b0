import { cpu } from "@nf/backend-cpu";
import {
  memory,
  moveTo,
  mul,
  parameter,
  square,
  sum,
  type Tensor,
  tensor,
  use,
  valueAndGrad,
  zeros,
} from "@nf/core";
import { beforeAll, describe, expect, it } from "vitest";
import { Adam, AdamW, adam, type Optimizer, SGD, sgd } from "../src/index.ts";

beforeAll(async () => {
  await use(cpu());
});

function descend(optimizer: Optimizer, steps: number, loss: () => Tensor): void {
  for (let step = 0; step < steps; step++) {
    optimizer.zeroGrad();
    loss().backward();
    optimizer.step();
  }
}

const pair = (): [Tensor, Tensor] => [parameter(tensor([1, 2])), parameter(tensor([3]))];
const squares = (...tensors: readonly Tensor[]): (() => Tensor) => {
  return () => tensors.map((x) => sum(square(x))).reduce((total, term) => total.add(term));
};

describe("classes", () => {
  it("keep the parameter's identity and skip parameters without a gradient", async () => {
    const [a, b] = pair();
    const optimizer = new SGD([a, b], { lr: 0.5 });
    descend(optimizer, 1, squares(a));
    expect(await a.toArray()).toEqual([0, 0]);
    expect(await b.toArray()).toEqual([3]);
  });

  it("give groups settings of their own", async () => {
    const [a, b] = pair();
    const optimizer = new SGD([{ params: [a] }, { params: [b], lr: 0.25, momentum: 0.9 }], { lr: 0.5 });
    expect(optimizer.paramGroups.map(({ lr, momentum }) => [lr, momentum])).toEqual([
      [0.5, 0],
      [0.25, 0.9],
    ]);
    descend(optimizer, 1, squares(a, b));
    expect(await a.toArray()).toEqual([0, 0]);
    expect(await b.toArray()).toEqual([1.5]);
  });

  it("let the learning rate change between steps", async () => {
    const [a] = pair();
    const optimizer = new SGD([a], { lr: 0.5 });
    optimizer.lr = 0;
    descend(optimizer, 1, squares(a));
    expect(await a.toArray()).toEqual([1, 2]);
    optimizer.lr = 0.25;
    expect(optimizer.lr).toBe(0.25);
    descend(optimizer, 1, squares(a));
    expect(await a.toArray()).toEqual([0.5, 1]);
    optimizer.lr = Number.NaN;
    expect(() => optimizer.step()).toThrow(/SGD: lr must be a finite number/);
  });

  it("find the minimum", async () => {
    for (const make of [SGD, Adam, AdamW]) {
      const [a, b] = pair();
      descend(new make([a, b], { lr: 0.1 }), 300, squares(a, b));
      for (const value of [...(await a.data()), ...(await b.data())])
        expect(Math.abs(value)).toBeLessThan(1e-3);
    }
  });

  it("leave nothing behind: tensors and bytes are constant", () => {
    const [a, b] = pair();
    const optimizer = new Adam([a, b], { lr: 0.1 });
    descend(optimizer, 5, squares(a, b));
    const { liveTensors, liveBytes } = memory();
    descend(optimizer, 50, squares(a, b));
    expect(memory().liveTensors).toBe(liveTensors);
    expect(memory().liveBytes).toBe(liveBytes);
  });
});

describe("state", () => {
  it("resumes bit for bit", async () => {
    const run = async (interrupted: boolean): Promise<unknown> => {
      const [a, b] = pair();
      const make = (): Adam =>
        new Adam([{ params: [a] }, { params: [b], lr: 0.01 }], { lr: 0.1, amsgrad: true });
      let optimizer = make();
      descend(optimizer, 3, squares(a, b));
      if (interrupted) {
        const saved = optimizer.stateDict();
        optimizer = make();
        optimizer.lr = 77;
        optimizer.loadStateDict(saved);
      }
      descend(optimizer, 3, squares(a, b));
      return [await a.toArray(), await b.toArray()];
    };
    expect(await run(true)).toEqual(await run(false));
  });

  it("can be loaded into the optimiser that it came from", async () => {
    const run = async (reload: boolean): Promise<unknown> => {
      const [a] = pair();
      const optimizer = new Adam([a], { lr: 0.1 });
      descend(optimizer, 2, squares(a));
      if (reload) optimizer.loadStateDict(optimizer.stateDict());
      descend(optimizer, 2, squares(a));
      return a.toArray();
    };
    expect(await run(true)).toEqual(await run(false));
  });

  it("is copied, not shared", async () => {
    const [a, b] = pair();
    const optimizer = new SGD([a], { lr: 0.1, momentum: 0.5 });
    descend(optimizer, 1, squares(a));
    const saved = optimizer.stateDict();
    const slot = saved.state["0"]?.slots["momentumBuffer"] as Tensor;
    const other = new SGD([parameter(tensor([1, 2]))], { lr: 0.1, momentum: 0.5 });
    other.loadStateDict(saved);
    const before = await slot.toArray();
    descend(other, 1, squares(...other.parameters()));
    expect(await slot.toArray()).toEqual(before);
    expect(() => new Adam([a]).loadStateDict(saved)).toThrow(/expected a state of Adam .* got one of SGD/);
    expect(() => new SGD([b], { momentum: 0.5 }).loadStateDict(saved)).toThrow(
      /momentumBuffer .* must have shape \[1\]/,
    );
    expect(() => new SGD([a, b]).loadStateDict(saved)).toThrow(/groups of \[2\]/);
  });

  it("refuses what is no state", () => {
    const optimizer = new Adam(pair());
    const { paramGroups } = optimizer.stateDict();
    for (const dict of [
      {},
      null,
      undefined,
      3,
      { optimizer: "Adam", state: {} },
      { optimizer: "Adam", state: {}, paramGroups: [{}] },
      { optimizer: "Adam", state: { 0: {} }, paramGroups },
      { optimizer: "Adam", state: { 0: { count: 1, slots: { expAvg: 3 } } }, paramGroups },
    ]) {
      expect(() => Reflect.apply(optimizer.loadStateDict, optimizer, [dict])).toThrow(
        expect.objectContaining({ code: "NF_OPTION" }),
      );
    }
  });

  it("ends with dispose(), and the parameters live on", async () => {
    const [a, b] = pair();
    const before = memory().liveTensors;
    const optimizer = new Adam([a, b], { lr: 0.1 });
    descend(optimizer, 2, squares(a, b));
    optimizer.zeroGrad();
    expect(memory().liveTensors).toBe(before + 4);
    optimizer.dispose();
    optimizer[Symbol.dispose]();
    expect(memory().liveTensors).toBe(before);
    expect(await a.toArray()).toHaveLength(2);
    for (const use of [() => optimizer.step(), () => optimizer.stateDict()])
      expect(use).toThrow(expect.objectContaining({ code: "NF_DEAD_TENSOR" }));
  });

  it("follows parameters to another backend", async () => {
    const other = await cpu();
    const run = async (move: boolean): Promise<unknown> => {
      const [a] = pair();
      const optimizer = new Adam([a], { lr: 0.1 });
      descend(optimizer, 2, squares(a));
      if (move) await moveTo(a, other);
      descend(optimizer, 2, squares(a));
      const state = optimizer.stateDict().state["0"];
      expect(state?.slots["expAvg"]?.backend).toBe(a.backend);
      expect(a.backend === other).toBe(move);
      return a.toArray();
    };
    expect(await run(true)).toEqual(await run(false));
    await other.dispose();
  });
});

describe("pure", () => {
  it("reads its arguments and makes new results", async () => {
    const params = { w: tensor([1, 2]), deep: [tensor([3])] };
    const { init, update } = adam({ lr: 0.1 });
    const state = init(params);
    const step = valueAndGrad((p: typeof params) => sum(square(p.w)).add(sum(p.deep[0] as Tensor)));
    const [, grads] = step(params);
    const [next, nextState] = update(grads, state, params);
    expect(await params.w.toArray()).toEqual([1, 2]);
    expect(await next.w.toArray()).not.toEqual([1, 2]);
    expect(next.deep).toHaveLength(1);
    expect([state.count, nextState.count]).toEqual([0, 1]);
    const [again] = update(grads, state, params);
    expect(await again.w.toArray()).toEqual(await next.w.toArray());
  });

  it("runs in constant memory when it may donate", async () => {
    let params = { w: tensor([1, 2]) };
    const optimizer = sgd({ lr: 0.1, momentum: 0.9 });
    let state = optimizer.init(params);
    const step = valueAndGrad((p: typeof params) => sum(square(p.w)));
    let counts: readonly number[] = [];
    for (let i = 0; i < 30; i++) {
      const [loss, grads] = step(params);
      [params, state] = optimizer.update(grads, state, params, { donate: true });
      loss.dispose();
      counts = [...counts, memory().liveTensors];
    }
    expect(new Set(counts.slice(2)).size).toBe(1);
    expect(await params.w.toArray()).toHaveLength(2);
  });

  it("takes a learning rate for one step", async () => {
    const params = [tensor([1])];
    const { init, update } = sgd({ lr: 0.5 });
    const [next] = update([tensor([1])], init(params), params, { lr: 0.25 });
    expect(await next[0]?.toArray()).toEqual([0.75]);
  });

  it("refuses trees that do not fit", () => {
    const { init, update } = adam();
    const params = [tensor([1])];
    expect(() => update([], init(params), params)).toThrow(/grads\.0: missing/);
    expect(() => update([tensor([1])], init([]), params)).toThrow(/state\.slots\.expAvg\.0: missing/);
    const tree = { w: tensor([1]), deep: { b: tensor([2, 3]), c: [tensor([4])] } };
    const one = tensor([1]);
    const wrong = { deep: { b: one, c: { 0: one } }, v: one };
    let message = "";
    try {
      update(wrong, init(tree), tree);
    } catch (error) {
      expect(error).toMatchObject({ code: "NF_SHAPE" });
      message = String(error);
    }
    for (const part of [
      "grads.v: there is no params.v",
      "grads.w: missing",
      "grads.deep.b: expected shape [2], got [1]",
      "grads.deep.c: expected an array, got an object",
    ])
      expect(message).toContain(part);
    const holed: object = { w: null };
    expect(() => Reflect.apply(init, undefined, [holed])).toThrow(/params\.w: expected a tensor.* got null/);
    expect(() => Reflect.apply(init, undefined, [])).toThrow(/got undefined/);
  });

  it("pairs gradients and state with parameters by key, not by position", async () => {
    const { init, update } = sgd({ lr: 1, momentum: 0.5 });
    const params = { w: tensor([10]), b: tensor([20]) };
    const first = update({ b: tensor([1]), w: tensor([2]) }, init(params), params);
    expect(await first[0].w.toArray()).toEqual([8]);
    expect(await first[0].b.toArray()).toEqual([19]);
    // The same parameters, put together in another order.
    const turned = { b: first[0].b, w: first[0].w };
    const [second] = update({ w: tensor([0]), b: tensor([0]) }, first[1], turned);
    expect(await second.w.toArray()).toEqual([7]);
    expect(await second.b.toArray()).toEqual([18.5]);
  });

  it("refuses a state that it did not make", () => {
    const params = { w: tensor([1]) };
    const { update } = adam();
    for (const state of [
      undefined,
      null,
      {},
      3,
      { count: 0 },
      { count: -1, slots: {} },
      sgd().init(params),
    ]) {
      const call = (): unknown => Reflect.apply(update, undefined, [params, state, params]);
      expect(call).toThrow(expect.objectContaining({ code: "NF_OPTION" }));
      expect(call).toThrow(/Pass what init\(params\) or the last update gave/);
    }
  });
});

describe("wrong use says what to do", () => {
  const p = (): Tensor => parameter(zeros([2]));
  it("parameters", () => {
    const shared = p();
    expect(() => new SGD([])).toThrow(/no parameters/);
    expect(() => new SGD([shared, shared])).toThrow(/parameter 1 appears twice/);
    expect(() => new SGD([zeros([2])])).toThrow(/does not require a gradient/);
    expect(() => new SGD([mul(p(), 2)])).toThrow(/result of an operation/);
  });

  it("options", () => {
    const unknown: object = { learningRate: 1 };
    expect(() => new Adam([p()], unknown)).toThrow(/Adam: unknown option "learningRate"/);
    expect(() => new Adam([{ params: [p()], ...unknown }])).toThrow(/Adam group: unknown option/);
    expect(() => adam(unknown)).toThrow(/unknown option/);
    expect(() => new SGD([p()], { lr: -1 })).toThrow(/lr must be a finite number of at least 0, got -1/);
    expect(() => new SGD([p()], { nesterov: true })).toThrow(/nesterov needs a momentum/);
    expect(() => new Adam([p()], { betas: [0.9, 1] })).toThrow(/betas\[1\] must be from 0 to below 1/);
    expect(() => new Adam([p()], { eps: Number.NaN })).toThrow(/eps/);
  });
});

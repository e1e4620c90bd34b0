import { cpu } from "@nf/backend-cpu";
import { beforeEach, describe, expect, it } from "vitest";
import * as core from "../../src/index.ts";
import { fixed, leaf, open, values } from "./helper.ts";

const { assign, defineUpdate, follow, moveTo, noGrad, pureUpdate, runUpdate, to } = core;
const s = core.scalar;

beforeEach(async () => {
  await open();
});

const ADD = defineUpdate({
  name: "adder",
  state: 1,
  inputs: 1,
  params: ["factor"],
  body: ([x], [y], [factor]) => [s.add(x as core.Expr, s.mul(y as core.Expr, factor as core.Expr))],
});

describe("a write", () => {
  it("is seen by everything that shares the memory, and by nothing else", () => {
    const x = fixed([
      [1, 2],
      [3, 4],
    ]);
    const [row, copy] = [x.slice(1), x.clone()];
    assign(
      x,
      fixed([
        [5, 6],
        [7, 8],
      ]),
    );
    expect([values(row), values(copy)]).toEqual([
      [7, 8],
      [1, 2, 3, 4],
    ]);
    assign(row, fixed(0));
    expect(values(x)).toEqual([5, 6, 0, 0]);
    assign(x.transpose().slice(0), fixed([9, 9]));
    expect(values(x)).toEqual([9, 6, 9, 0]);
  });

  it("broadcasts and converts the value", () => {
    const x = fixed([
      [1, 2],
      [3, 4],
    ]);
    assign(x, core.tensor(Int32Array.from([7, 8])));
    expect(values(x)).toEqual([7, 8, 7, 8]);
    const i = core.tensor(Int32Array.from([0, 0]));
    assign(i, core.tensor([2.9, -2.9]));
    expect(values(i)).toEqual([2, -2]);
    expect(() => assign(x, fixed([1, 2, 3]))).toThrow(expect.objectContaining({ code: "NF_SHAPE" }));
    expect(() => assign(fixed([1]), fixed([1, 2]))).toThrow(
      /value of shape \[2\] does not fit a target of \[1\]/,
    );
  });

  it("is right where it overlaps what it reads", () => {
    const x = fixed([1, 2, 3, 4, 5, 6]);
    assign(x.slice([1, 6]), x.slice([0, 5]));
    expect(values(x)).toEqual([1, 1, 2, 3, 4, 5]);
    assign(x, x.flip(0));
    expect(values(x)).toEqual([5, 4, 3, 2, 1, 1]);
    const m = fixed([
      [1, 2],
      [3, 4],
    ]);
    assign(m, m.transpose());
    expect(values(m)).toEqual([1, 3, 2, 4]);
    assign(m, m.slice(1));
    expect(values(m)).toEqual([2, 4, 2, 4]);
    assign(x.slice({ step: 2 }), x.slice({ start: 1, step: 2 }));
    expect(values(x)).toEqual([4, 4, 2, 2, 1, 1]);
    runUpdate(ADD, [m], [m.transpose()], [10]);
    expect(values(m)).toEqual([22, 24, 42, 44]);
  });

  it("refuses values and targets on the tape, and repeated elements", () => {
    const w = leaf([1, 2]);
    const x = fixed([0, 0]);
    expect(() => assign(x, w.mul(2))).toThrow(
      expect.objectContaining({ code: "NF_GRADIENT", message: expect.stringMatching(/detach\(\).*noGrad/) }),
    );
    expect(() => assign(w.mul(2), x)).toThrow(
      expect.objectContaining({ code: "NF_OVERWRITTEN", message: expect.stringMatching(/result of "mul"/) }),
    );
    noGrad(() => assign(x, w.mul(2)));
    expect(values(x)).toEqual([2, 4]);
    assign(x, w.mul(3).detach());
    expect(values(x)).toEqual([3, 6]);
    expect(() => assign(x.expand([3, 2]), fixed(1))).toThrow(
      expect.objectContaining({ code: "NF_SHAPE", message: expect.stringMatching(/repeats its elements/) }),
    );
    expect(() => runUpdate(ADD, [x.slice(0).expand([2])], [x], [1])).toThrow(
      /^adder: .*repeats its elements/,
    );
    expect(values(x)).toEqual([3, 6]);
  });

  it("is noticed by a backward that needs the old value, which names the writer", () => {
    const w = leaf([1, 2]);
    const squares = w.mul(w).sum();
    assign(w, fixed([3, 4]));
    expect(() => squares.backward()).toThrow(
      expect.objectContaining({
        code: "NF_OVERWRITTEN",
        message: expect.stringMatching(
          /^backward of mul: a value it needs \(result of "tensor", shape \[2\]\) was overwritten by "assign"/,
        ),
      }),
    );
    const again = w.exp().mul(w).sum();
    runUpdate(ADD, [w], [fixed([1, 1])], [1]);
    expect(() => again.backward()).toThrow(/overwritten by "adder"\. Call backward before the write/);
    const part = leaf([1, 2, 3]);
    const product = part
      .slice([0, 2])
      .mul(part.slice([1, 3]))
      .sum();
    assign(part.detach().slice(2), fixed(9));
    expect(() => product.backward()).toThrow(/overwritten by "assign"/);
  });

  it("is no matter where the old value is not needed", () => {
    const w = leaf([1, 2]);
    const y = w.mul(3).add(w).sum();
    assign(w, fixed([30, 40]));
    y.backward();
    expect(values(w.grad)).toEqual([4, 4]);
    const z = w.relu().sum();
    assign(w, fixed([-1, -1]));
    z.backward();
    expect(values(w.grad)).toEqual([5, 5]);
  });
});

describe("a state update", () => {
  it("gives the same numbers in place and as fresh tensors", () => {
    const [x, y] = [fixed([1, 2]), fixed([10, 20])];
    const [next] = pureUpdate(ADD, [x], [y], [0.5]);
    expect(values(x)).toEqual([1, 2]);
    runUpdate(ADD, [x], [y], [0.5]);
    expect(values(x)).toEqual([6, 12]);
    expect(values(next)).toEqual([6, 12]);
  });

  it("reads all old values before it writes any", () => {
    const swap = defineUpdate({
      name: "swap",
      state: 2,
      inputs: 0,
      params: [],
      body: ([a, b]) => [b as core.Expr, a as core.Expr],
    });
    const [a, b] = [fixed([1, 2]), fixed([3, 4])];
    runUpdate(swap, [a, b], [], []);
    expect([values(a), values(b)]).toEqual([
      [3, 4],
      [1, 2],
    ]);
    const whole = fixed([1, 2, 3, 4]);
    runUpdate(swap, [whole.slice([0, 2]), whole.slice([2, 4])], [], []);
    expect(values(whole)).toEqual([3, 4, 1, 2]);
  });

  it("refuses wrong counts, shapes, backends and dead tensors by name", async () => {
    const [x, y] = [fixed([1, 2]), fixed([10, 20])];
    const other = core.tensor([1, 2], { dtype: "f64", backend: await cpu() });
    const dead = fixed([1, 2]);
    dead.dispose();
    const cases: [() => unknown, string, RegExp][] = [
      [
        () => runUpdate(ADD, [x], [], [1]),
        "NF_SHAPE",
        /^adder: expected 1 state tensors, 1 inputs and the numbers factor, got 1, 0 and 1/,
      ],
      [() => runUpdate(ADD, [x], [y], []), "NF_SHAPE", /^adder: expected/],
      [() => runUpdate(ADD, [x], [fixed([1])], [1]), "NF_SHAPE", /shape of the first, \[2\]; got \[1\]/],
      [() => runUpdate(ADD, [x], [other], [1]), "NF_BACKEND_MIX", /model\.to/],
      [() => runUpdate(ADD, [x], [dead], [1]), "NF_DEAD_TENSOR", /^adder: /],
      [() => assign(x, other), "NF_BACKEND_MIX", /x\.to\(y\.backend\)/],
    ];
    for (const [act, code, message] of cases)
      expect(act).toThrow(expect.objectContaining({ code, message: expect.stringMatching(message) }));
    expect(values(x)).toEqual([1, 2]);
  });
});

describe("moving between backends", () => {
  it("copies with to: values, dtype, leafness; the tensor itself where it is there already", async () => {
    const other = await cpu();
    const x = leaf([
      [1, 2],
      [3, 4],
    ]);
    const moved = await to(x.transpose().detach(), other);
    expect(moved.backend).toBe(other);
    expect([moved.shape, values(moved)]).toEqual([
      [2, 2],
      [1, 3, 2, 4],
    ]);
    expect((await x.to(other)).requiresGrad).toBe(true);
    expect(await x.to(x.backend)).toBe(x);
    for (const dtype of ["f16", "bf16", "i8", "bool", "u32"] as const) {
      const y = core.tensor([1, 0, 1], { dtype });
      expect(values(await y.to(other))).toEqual([1, 0, 1]);
    }
    await expect(x.mul(2).to(other)).rejects.toThrow(
      expect.objectContaining({
        code: "NF_GRADIENT",
        message: expect.stringMatching(/^to: the result of "mul".*x\.detach\(\)\.to/),
      }),
    );
    expect(() => moved.add(x)).toThrow(expect.objectContaining({ code: "NF_BACKEND_MIX" }));
  });

  it("moves a leaf in place with its gradient and what follows it, and back", async () => {
    const home = core.currentBackend();
    const other = await cpu();
    const w = core.parameter(fixed([1, 2]));
    const view = w.detach();
    const moment = core.zerosLike(w);
    follow(moment, w);
    w.mul(w).sum().backward();
    core.zeroGrad([]);
    const before = core.memory(home).liveTensors;
    await moveTo(w, other);
    expect([w.backend, w.grad?.backend, moment.backend, view.backend]).toEqual([other, other, other, home]);
    expect(core.memory(home).liveTensors).toBe(before - 3);
    expect(core.memory(other).liveTensors).toBe(3);
    expect([values(w), values(w.grad), values(view)]).toEqual([
      [1, 2],
      [2, 4],
      [1, 2],
    ]);
    expect([w.isParameter, w.requiresGrad, w.isLeaf]).toEqual([true, true, true]);
    runUpdate(ADD, [moment], [w.grad as core.Tensor], [1]);
    w.mul(3).sum().backward();
    expect([values(w.grad), values(moment)]).toEqual([
      [5, 7],
      [2, 4],
    ]);
    await moveTo(w, home);
    expect([w.backend, w.grad?.backend, moment.backend]).toEqual([home, home, home]);
    expect(core.memory(other)).toMatchObject({ leaks: 0 });
    core.zeroGrad([w]);
    w.dispose();
    moment.dispose();
    view.dispose();
    await expect(moveTo(w, other)).rejects.toThrow(expect.objectContaining({ code: "NF_DEAD_TENSOR" }));
    await expect(moveTo(leaf([1]).mul(2), other)).rejects.toThrow(/moveTo: the result of "mul"/);
  });
});

import { beforeEach, describe, expect, it } from "vitest";
import * as core from "../../src/index.ts";
import { fixed, leaf, open, values } from "./helper.ts";

const { noGrad, zeroGrad } = core;

beforeEach(async () => {
  await open();
});

describe("backward", () => {
  it("meets every operation once, users before operands, in diamonds", () => {
    const x = leaf([1, 2]);
    let visits = 0;
    const a = x.mul(3);
    a.registerHook(() => {
      visits++;
      return undefined;
    });
    const b = a.mul(a);
    const c = a.add(b).mul(b.add(a.neg()));
    // c = (a + a²)(a² - a) = a⁴ - a², dc/dx = 3 (4 a³ - 2 a)
    c.sum().backward();
    expect(values(x.grad)).toEqual([3, 6].map((v) => 3 * (4 * v ** 3 - 2 * v)));
    expect(visits).toBe(1);
  });

  it("goes through long chains and wide diamonds without recursion or repeats", () => {
    const x = leaf(1);
    let y = x.mul(1);
    for (let i = 0; i < 3000; i++) y = y.add(0.001);
    // 2^40 paths, 40 nodes.
    for (let i = 0; i < 40; i++) y = y.add(y).mul(0.5);
    y.backward();
    expect(values(x.grad)).toEqual([1]);
  });

  it("adds up where a tensor is used repeatedly, also twice by one operation", () => {
    const x = leaf([2, 3]);
    x.mul(x).add(x).add(x).sum().backward();
    expect(values(x.grad)).toEqual([6, 8]);
    zeroGrad([x]);
    core
      .concat([x, x, x.neg()])
      .mul(fixed([1, 2, 3, 4, 5, 6]))
      .sum()
      .backward();
    expect(values(x.grad)).toEqual([1 + 3 - 5, 2 + 4 - 6]);
  });

  it("sums over what was broadcast", () => {
    const a = leaf([[1], [2]]);
    const b = leaf([10, 20, 30]);
    const c = leaf(5);
    a.mul(b)
      .add(c)
      .mul(
        fixed([
          [1, 2, 3],
          [4, 5, 6],
        ]),
      )
      .sum()
      .backward();
    expect(a.grad?.shape).toEqual([2, 1]);
    expect(values(a.grad)).toEqual([10 + 40 + 90, 40 + 100 + 180]);
    expect(values(b.grad)).toEqual([1 + 8, 2 + 10, 3 + 12]);
    expect(c.grad?.shape).toEqual([]);
    expect(values(c.grad)).toEqual([21]);
    zeroGrad([a, b, c]);
    b.expand([4, 2, 3]).mul(2).sum().backward();
    expect(values(b.grad)).toEqual([16, 16, 16]);
  });

  it("reaches leaves alone, and only those that ask", () => {
    const x = leaf([1, 2]);
    const frozen = fixed([3, 4]);
    const y = x.mul(frozen);
    y.sum().backward();
    expect(values(x.grad)).toEqual([3, 4]);
    expect([frozen.grad, y.grad]).toEqual([null, null]);
    expect([x.isLeaf, y.isLeaf, y.requiresGrad, frozen.requiresGrad]).toEqual([true, false, true, false]);
    const scalar = leaf(3);
    scalar.backward();
    expect(values(scalar.grad)).toEqual([1]);
  });

  it("starts from a gradient where x is no scalar, and says so where it is missing", () => {
    const x = leaf([1, 2, 3]);
    const given = fixed([1, 10, 100]);
    x.mul(x).backward(given);
    expect(values(x.grad)).toEqual([2, 40, 600]);
    expect(values(given)).toEqual([1, 10, 100]);
    expect(() => x.mul(2).backward()).toThrow(
      expect.objectContaining({
        code: "NF_GRADIENT",
        message: expect.stringMatching(
          /^backward: x has shape \[3\]\. Reduce it to a scalar \(x\.sum\(\)\), or give/,
        ),
      }),
    );
    expect(() => x.mul(2).backward(fixed([1, 2]))).toThrow(
      expect.objectContaining({
        code: "NF_SHAPE",
        message: expect.stringMatching(/gradient has shape \[2\], x \[3\]/),
      }),
    );
    expect(() => fixed([1]).mul(2).backward()).toThrow(
      /result of "mul" does not depend on any tensor that requires/,
    );
    expect(() => x.sum().backward(undefined, { retain: true } as core.BackwardOptions)).toThrow(
      /unknown option "retain"/,
    );
  });

  it("leaves the caller's gradient alone, and gives each leaf its own", () => {
    const [a, b] = [leaf([1, 2]), leaf([3, 4])];
    const given = fixed([5, 6]);
    core.scope(() => a.add(b)).backward(given);
    expect(a.grad).not.toBe(given);
    expect(a.grad).not.toBe(b.grad);
    core.assign(a.grad as core.Tensor, fixed([0, 0]));
    expect([values(given), values(b.grad)]).toEqual([
      [5, 6],
      [5, 6],
    ]);
    a.add(b).mul(2).sum().backward();
    a.add(b).mul(2).sum().backward();
    expect([values(a.grad), values(b.grad)]).toEqual([
      [4, 4],
      [9, 10],
    ]);
    zeroGrad([a, b]);
    expect(given.isDisposed).toBe(false);
  });

  it("adds up over several, and zeroGrad starts anew", () => {
    const x = leaf([1, 2]);
    x.mul(3).sum().backward();
    x.mul(x).sum().backward();
    expect(values(x.grad)).toEqual([5, 7]);
    zeroGrad([x]);
    expect(x.grad).toBeNull();
    x.sum().backward();
    expect(values(x.grad)).toEqual([1, 1]);
  });
});

describe("a graph", () => {
  it("is consumed by backward: a second one says so, by operation", () => {
    const x = leaf([1, 2]);
    const y = x.exp();
    const z = y.mul(2).sum();
    z.backward();
    for (const again of [() => z.backward(), () => y.sum().backward()])
      expect(again).toThrow(
        expect.objectContaining({
          code: "NF_GRADIENT",
          message: expect.stringMatching(
            /^backward: the graph at "\w+" was already consumed by an earlier backward\. Pass \{ retainGraph: true \}/,
          ),
        }),
      );
  });

  it("serves several backwards with retainGraph", () => {
    const x = leaf([1, 2]);
    const y = x.mul(x).mul(x).sum();
    y.backward(undefined, { retainGraph: true });
    y.backward(undefined, { retainGraph: true });
    y.backward();
    expect(values(x.grad)).toEqual([9, 36]);
    expect(() => y.backward()).toThrow(/consumed/);
  });

  it("serves a second loss on a part that the first did not touch", () => {
    const x = leaf([1, 2]);
    const w = leaf([3, 4]);
    const h = x.mul(2);
    const detached = h.detach().mul(w);
    h.sum().backward();
    detached.sum().backward();
    expect([values(x.grad), values(w.grad)]).toEqual([
      [2, 2],
      [2, 4],
    ]);
  });

  it("gives derivatives to third order with createGraph", () => {
    const x = leaf([0.5, -1.5]);
    x.sin().mul(x).sum().backward(undefined, { createGraph: true });
    const first = x.grad as core.Tensor;
    expect(values(first)?.[0]).toBeCloseTo(Math.cos(0.5) * 0.5 + Math.sin(0.5), 12);
    x.grad = null;
    const [d2] = core.vjp((p) => core.grad((q: core.Tensor) => q.sin().mul(q).sum())(p as core.Tensor), x);
    expect(values(d2)?.[1]).toBeCloseTo(Math.cos(-1.5) * -1.5 + Math.sin(-1.5), 12);
    const f = (p: core.Tensor): core.Tensor => p.pow(4).sum();
    const derivative = (g: (p: core.Tensor) => core.Tensor): ((p: core.Tensor) => core.Tensor) =>
      core.grad((p: core.Tensor) => g(p).sum());
    const y = fixed([1, 2]);
    expect(values(derivative(f)(y))).toEqual([4, 32]);
    expect(values(derivative(derivative(f))(y))).toEqual([12, 48]);
    expect(values(derivative(derivative(derivative(f)))(y))).toEqual([24, 48]);
    expect(values(derivative(derivative(derivative(derivative(f))))(y))).toEqual([24, 24]);
  });

  it("adds penalties on gradients to a loss, as for Lipschitz critics", () => {
    const w = leaf([0.3, -0.7]);
    const x = leaf([1, 2]);
    const output = w.mul(x).tanh().sum();
    output.backward(undefined, { createGraph: true });
    const slope = x.grad as core.Tensor;
    zeroGrad([w]);
    slope.mul(slope).sum().backward();
    // slope = w (1 - t²), t = tanh(w x)
    const expected = [
      [0.3, 1],
      [-0.7, 2],
    ].map(([wi, xi]) => {
      const t = Math.tanh((wi as number) * (xi as number));
      const s = 1 - t * t;
      return 2 * (wi as number) * s * (s - 2 * (wi as number) * t * s * (xi as number));
    });
    values(w.grad)?.forEach((value, i) => {
      expect(value).toBeCloseTo(expected[i] as number, 12);
    });
  });
});

describe("recording", () => {
  it("is off in noGrad, on again in enableGrad, and back after errors", () => {
    const x = leaf([1, 2]);
    const [plain, on] = noGrad(() => [x.mul(2), core.enableGrad(() => x.mul(3))] as const);
    expect([plain.requiresGrad, on.requiresGrad]).toEqual([false, true]);
    on.sum().backward();
    expect(values(x.grad)).toEqual([3, 3]);
    expect(() =>
      noGrad(() => {
        throw new Error("mine");
      }),
    ).toThrow("mine");
    expect(core.gradientsEnabled()).toBe(true);
    expect(noGrad(() => core.gradientsEnabled())).toBe(false);
  });

  it("stops at detach and stopGradient, which share memory", () => {
    const x = leaf([2, 3]);
    const before = core.memory().liveBuffers;
    const still = x.detach();
    expect(core.memory().liveBuffers).toBe(before);
    x.mul(still)
      .add(core.stopGradient(x.mul(100)))
      .sum()
      .backward();
    expect(values(x.grad)).toEqual([2, 3]);
  });

  it("follows requiresGrad, which is a leaf's to set and a float's to have", () => {
    const x = fixed([1, 2]);
    expect(x.mul(2).requiresGrad).toBe(false);
    x.requiresGrad = true;
    const y = x.mul(2);
    expect(y.requiresGrad).toBe(true);
    y.sum().backward();
    expect(values(x.grad)).toEqual([2, 2]);
    x.requiresGrad = false;
    expect(x.mul(2).requiresGrad).toBe(false);
    expect(() => {
      y.requiresGrad = false;
    }).toThrow(
      expect.objectContaining({ code: "NF_GRADIENT", message: expect.stringMatching(/detach\(\)/) }),
    );
    const index = core.tensor(Int32Array.from([1]));
    expect(() => {
      index.requiresGrad = true;
    }).toThrow(expect.objectContaining({ code: "NF_DTYPE" }));
    expect(() => core.parameter(index)).toThrow(/needs a float tensor/);
    const w = leaf([1]);
    expect(() => core.parameter(w.mul(2))).toThrow(/parameter\(x\.detach\(\)\)/);
  });

  it("carries no gradient through comparisons, indices and casts to integers", () => {
    const x = leaf([1, -2]);
    for (const y of [x.greater(0), x.argmax(), x.cast("i32"), core.isNaN(x)])
      expect(y.requiresGrad).toBe(false);
    expect(x.cast("f32").requiresGrad).toBe(true);
    x.cast("f32").mul(2).sum().backward();
    expect(x.grad?.dtype).toBe("f64");
    expect(values(x.grad)).toEqual([2, 2]);
  });
});

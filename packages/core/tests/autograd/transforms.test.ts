import { beforeEach, describe, expect, it } from "vitest";
import * as core from "../../src/index.ts";
import { fixed, leaf, open, values } from "./helper.ts";

const { grad, valueAndGrad, vjp } = core;
type T = core.Tensor;

beforeEach(async () => {
  await open();
});

describe("grad and valueAndGrad", () => {
  it("follow the form of the argument: tensors, arrays, objects, nested", () => {
    const params = {
      layers: [
        { w: fixed([1, 2]), b: fixed(3) },
        { w: fixed([4, 5]), b: fixed(6) },
      ],
      scale: fixed(2),
    };
    const f = (p: typeof params): T =>
      p.layers
        .map(({ w, b }) => w.mul(w).sum().add(b))
        .reduce((a, b) => a.mul(b))
        .mul(p.scale);
    const g = grad(f)(params);
    // (5 + 3) (41 + 6) 2
    expect(values(g.scale)).toEqual([8 * 47]);
    expect(values(g.layers[0]?.b)).toEqual([94]);
    expect(values(g.layers[1]?.w)).toEqual([8 * 2 * 8, 8 * 2 * 10]);
    const [value] = valueAndGrad(f)(params);
    expect(values(value)).toEqual([8 * 47 * 2]);
  });

  it("take argnums, one or several, and pass other arguments through", () => {
    const f = (a: T, factor: number, b: T): T => a.mul(b).mul(factor).sum();
    const [a, b] = [fixed([1, 2]), fixed([3, 4])];
    expect(values(grad(f)(a, 2, b))).toEqual([6, 8]);
    expect(values(grad(f, { argnums: 2 })(a, 2, b))).toEqual([2, 4]);
    const [ga, gb] = grad(f, { argnums: [0, 2] })(a, 2, b);
    expect([values(ga), values(gb)]).toEqual([
      [6, 8],
      [2, 4],
    ]);
    expect(() => grad(f, { argnums: 1 })(a, 2, b)).toThrow(/argument 1 holds no tensors/);
    expect(() => grad(f, { argnum: 1 } as never)).toThrow(/unknown option "argnum"/);
  });

  it("hand further results through with aux", () => {
    const f = (x: T): readonly [T, { logits: T; count: number }] => {
      const logits = x.mul(3);
      return [logits.mul(logits).sum(), { logits, count: 7 }];
    };
    const [[loss, { logits, count }], g] = valueAndGrad(f, { aux: true })(fixed([1, 2]));
    expect([values(loss), values(logits), count, values(g)]).toEqual([[45], [3, 6], 7, [18, 36]]);
    expect(logits.requiresGrad).toBe(false);
  });

  it("give zeros where the value does not depend on the argument, and write to no .grad", () => {
    const x = leaf([1, 2]);
    expect(values(grad((_p: T) => fixed(3))(x))).toEqual([0, 0]);
    expect(values(grad((p: T[]) => (p[0] as T).sum())([fixed([1]), fixed([2, 3])])[1])).toEqual([0, 0]);
    grad((p: T) => p.mul(x).sum())(x);
    expect(x.grad).toBeNull();
  });

  it("nest: derivatives of derivatives, of several variables and mixed", () => {
    const f = (x: T, y: T): T => x.mul(x).mul(y).sum();
    const [x, y] = [fixed(3), fixed(5)];
    const fx = grad(f);
    expect(values(fx(x, y))).toEqual([30]);
    expect(values(grad((a: T, b: T) => fx(a, b))(x, y))).toEqual([10]);
    expect(values(grad((b: T, a: T) => fx(a, b))(y, x))).toEqual([6]);
    // A gradient inside, used as a plain value.
    expect(
      values(grad((a: T) => a.mul(core.stopGradient(grad((p: T) => p.pow(3).sum())(a))).sum())(x)),
    ).toEqual([27]);
    expect(values(grad((a: T) => a.mul(grad((p: T) => p.pow(3).sum())(a)).sum())(x))).toEqual([81]);
  });

  it("treat what a function closes over as constant, and leave its graph whole", () => {
    const w = leaf([1, 2]);
    const h = w.mul(w);
    const g = grad((x: T) => x.mul(h).mul(h.exp()).sum())(fixed([3, 4]));
    expect(values(g)?.[0]).toBeCloseTo(Math.E, 12);
    expect(g.requiresGrad).toBe(false);
    expect(w.grad).toBeNull();
    h.sum().backward();
    expect(values(w.grad)).toEqual([2, 4]);
  });

  it("differentiate through a transform with respect to what it closed over", () => {
    const slope = (w: T): T =>
      grad((x: T) => x.mul(x).mul(w).sum(), { createGraph: true })(fixed([3, 4])).sum();
    expect(values(grad(slope)(fixed([1, 2])))).toEqual([6, 8]);
    const w = leaf([1, 2]);
    slope(w).backward();
    expect(values(w.grad)).toEqual([6, 8]);
  });

  it("join the graph around them where createGraph says so, and keep nothing otherwise", () => {
    const x = leaf([1, 2]);
    const cube = (p: T): T => p.pow(3).sum();
    const g = grad(cube, { createGraph: true })(x);
    expect(g.requiresGrad).toBe(true);
    g.sum().backward();
    expect(values(x.grad)).toEqual([6, 12]);
    const before = core.memory();
    for (let step = 0; step < 3; step++) {
      const [value, gradient] = core.valueAndGrad(cube)(x);
      expect([value.requiresGrad, gradient.requiresGrad]).toEqual([false, false]);
      value.dispose();
      gradient.dispose();
    }
    expect(core.memory().liveBuffers).toBe(before.liveBuffers);
  });

  it("give each gradient a handle of its own", () => {
    const f = (a: T, b: T): T => a.add(b).sum();
    for (const createGraph of [false, true]) {
      const [ga, gb] = grad(f, { argnums: [0, 1], createGraph })(leaf([1, 2]), leaf([3, 4])) as readonly [
        T,
        T,
      ];
      expect(ga).not.toBe(gb);
      ga.dispose();
      expect(values(gb)).toEqual([1, 1]);
    }
  });

  it("say what is wrong with a function", () => {
    const x = fixed([1, 2]);
    expect(() => grad((p: T) => p.mul(2))(x)).toThrow(
      /^grad: the function must return a scalar, got a tensor of shape \[2\]/,
    );
    expect(() => valueAndGrad((p: T) => p.mul(2).sum(), { aux: true })(x)).not.toThrow();
    expect(() => valueAndGrad(() => [3, 4], { aux: true })()).toThrow(/holds no tensors/);
    expect(() => valueAndGrad((_p: T) => [3, 4], { aux: true })(x)).toThrow(
      /must return a scalar first, as \[value, …more\], got 3/,
    );
    expect(() => grad((p: T) => p.sum())(core.tensor(Int32Array.from([1])))).toThrow(
      /only float tensors have gradients, got i32/,
    );
  });
});

describe("vjp", () => {
  it("gives value and pullback, for any shape and several primals", () => {
    const [a, b] = [
      fixed([
        [1, 2],
        [3, 4],
      ]),
      fixed([5, 6]),
    ];
    const [value, pullback] = vjp((m, v) => (m as T).matmul(v as T), a, b);
    expect(values(value)).toEqual([17, 39]);
    const [ga, gb] = pullback(fixed([1, 10]));
    expect([values(ga), values(gb)]).toEqual([
      [5, 6, 50, 60],
      [31, 42],
    ]);
  });

  it("pulls back once, or as often as wanted with retainGraph", () => {
    const [, pullback] = vjp((x) => (x as T).exp(), fixed([0, 0]));
    expect(values(pullback(fixed([1, 2]), { retainGraph: true })[0])).toEqual([1, 2]);
    expect(values(pullback(fixed([3, 4]))[0])).toEqual([3, 4]);
    expect(() => pullback(fixed([1, 2]))).toThrow(/already consumed/);
  });

  it("never hands the caller's gradient back, nor one handle twice", () => {
    const given = fixed([1, 2]);
    const [, pullback] = vjp((a, b) => (a as T).add(b as T), fixed([1, 2]), fixed([3, 4]));
    const results = pullback(given);
    expect(new Set([given, ...results]).size).toBe(3);
    for (const one of results) one.dispose();
    expect(values(given)).toEqual([1, 2]);
  });

  it("is differentiable with createGraph", () => {
    const x = leaf([2]);
    const [, pullback] = vjp((p) => (p as T).pow(3), x);
    const [g] = pullback(fixed([1]), { createGraph: true });
    expect(values(g)).toEqual([12]);
    (g as T).sum().backward();
    expect(values(x.grad)).toEqual([12]);
  });

  it("says what is wrong instead of giving wrong numbers", () => {
    const [value, pullback] = vjp((x) => (x as T).exp(), fixed([1, 2]));
    expect(() => pullback(fixed([1, 2, 3]))).toThrow(expect.objectContaining({ code: "NF_SHAPE" }));
    expect(() => pullback(fixed([1, 2]), { keep: true } as core.BackwardOptions)).toThrow(/unknown option/);
    value.dispose();
    expect(() => pullback(fixed([1, 2]))).toThrow(
      expect.objectContaining({ code: "NF_DEAD_TENSOR", message: expect.stringMatching(/^vjp pullback/) }),
    );
    const [, none] = vjp(() => fixed([1, 2]), fixed([3]));
    expect(values(none(fixed([1, 1]))[0])).toEqual([0]);
  });
});

describe("gradcheck", () => {
  it("passes what is right, to second order, and names the element that is wrong", async () => {
    await core.gradcheck((x) => (x as T).tanh().mul(x as T), [fixed([0.3, -0.8])]);
    await core.gradcheck((x) => (x as T).exp().sin(), [fixed([0.3, -0.8])], { order: 2 });
    const wrong = (x: T): T => x.mul(core.stopGradient(x));
    await expect(core.gradcheck((x) => wrong(x as T), [fixed([1, 2])])).rejects.toThrow(
      /^gradcheck: input 0 of shape \[2\], element 0: gradient .*, central difference/,
    );
    await expect(core.gradcheck((x) => x as T, [core.tensor([1])])).rejects.toThrow(/input 0 is f32/);
    const { liveTensors } = core.memory();
    await core.gradcheck((x) => (x as T).exp(), [fixed([1])]);
    expect(core.memory().liveTensors).toBe(liveTensors + 1);
  });
});

import { beforeAll, describe, expect, it } from "vitest";
import * as core from "../../src/index.ts";
import { expectClose, numbers, scoped, setUp, tensorOf, valuesOf } from "./helper.ts";

const { grad, hessian, jacobian, jvp, mul, remat, sum, tanh, tensor } = core;
type T = core.Tensor;

const WIDE = { dtype: "f64" } as const;
const CLOSE = { relative: 1e-12, absolute: 1e-13 };
const of = (seed: number, ...shape: number[]): T =>
  tensorOf(
    numbers(
      shape.reduce((product, size) => product * size, 1),
      seed,
    ),
    shape,
    "f64",
  );

beforeAll(setUp);

describe("jvp", () => {
  const fn = (x: T, w: T): T => core.softmax(core.matmul(tanh(x), w), { axis: -1 });
  const points = (): [T, T] => [of(1, 2, 3), of(2, 3, 4)];
  const directions = (): [T, T] => [of(3, 2, 3), of(4, 3, 4)];

  it(
    "is the derivative along a direction",
    scoped(() => {
      const [x, w] = points();
      const [dx, dw] = directions();
      const [value, tangent] = jvp(fn, [x, w], [dx, dw]);
      expectClose(valuesOf(value), valuesOf(fn(x, w)), CLOSE);
      const step = 1e-6;
      const moved = (sign: number): T => fn(x.add(dx.mul(sign * step)), w.add(dw.mul(sign * step)));
      const difference = moved(1)
        .sub(moved(-1))
        .div(2 * step);
      expectClose(valuesOf(tangent), valuesOf(difference), { relative: 1e-6, absolute: 1e-8 });
      expect([value.requiresGrad, tangent.requiresGrad]).toEqual([false, false]);
    }),
  );

  it(
    "agrees with the transposed product: u (J v) = (uᵀ J) v",
    scoped(() => {
      const [x, w] = points();
      const [dx, dw] = directions();
      const u = of(5, 2, 4);
      const [, tangent] = jvp(fn, [x, w], [dx, dw]);
      const [, pullback] = core.vjp(fn, x, w);
      const [gx, gw] = pullback(u) as [T, T];
      const right = sum(mul(gx, dx)).add(sum(mul(gw, dw)));
      expect(sum(mul(u, tangent)).itemSync()).toBeCloseTo(right.itemSync(), 10);
    }),
  );

  it("can be differentiated by primals and tangents, and nested", async () => {
    const along = (x: T, v: T): T => jvp((y) => mul(tanh(y), y), [x], [v])[1];
    await core.gradcheck(along, [of(1, 3), of(2, 3)], { order: 2 });
    scoped(() => {
      // The second derivative of x³ along 1, twice: 6 x.
      const cube = (x: T): T => mul(x, mul(x, x));
      const x = tensor([2, -3], WIDE);
      const ones = core.onesLike(x);
      const second = jvp((y) => jvp(cube, [y], [core.onesLike(y)])[1], [x], [ones])[1];
      expect(valuesOf(second)).toEqual([12, -18]);
    })();
  });

  it(
    "gives 0 where nothing depends on the primals",
    scoped(() => {
      const x = of(1, 2);
      const [value, tangent] = jvp(() => tensor([1, 2, 3]), [x], [x]);
      expect([valuesOf(value), valuesOf(tangent)]).toEqual([
        [1, 2, 3],
        [0, 0, 0],
      ]);
      expect(valuesOf(jvp((y) => core.floor(y), [x], [x])[1])).toEqual([0, 0]);
      expect(valuesOf(jvp((y) => y, [x], [of(2, 2)])[1])).toEqual(valuesOf(of(2, 2)));
    }),
  );

  it(
    "refuses tangents that do not fit",
    scoped(() => {
      const x = of(1, 2);
      expect(() => jvp(tanh, [x], [])).toThrow(core.OptionError);
      expect(() => jvp(tanh, x as never, x as never)).toThrow(core.OptionError);
      expect(() => jvp(tanh, [x], [of(1, 3)])).toThrow(/tangent 0 is f64 \[3\], its primal f64 \[2\]/);
      expect(() => jvp(() => 1 as never, [x], [x])).toThrow(/must return a tensor/);
      expect(() => jvp((y) => y, [tensorOf([1], [1], "i32")], [tensorOf([1], [1], "i32")])).toThrow(
        core.GradientError,
      );
    }),
  );
});

describe("jacobian, hessian", () => {
  it(
    "hold every derivative",
    scoped(() => {
      const w = of(1, 3, 2);
      const x = of(2, 2);
      const linear = jacobian((y: T) => core.matmul(w, y));
      expect(valuesOf(linear(x))).toEqual(valuesOf(w));
      const all = jacobian((y: T, scale: number) => core.outer(mul(y, scale), y))(x, 3);
      expect(all.shape).toEqual([2, 2, 2]);
      const [a, b] = valuesOf(x) as [number, number];
      expectClose(valuesOf(all), [6 * a, 0, 3 * b, 3 * a, 3 * b, 3 * a, 0, 6 * b], CLOSE);
      expect(jacobian((y: T) => sum(y))(x).shape).toEqual([2]);
      expect(valuesOf(jacobian((y: T) => y)(x))).toEqual([1, 0, 0, 1]);
      expect(jacobian((y: T) => y)(core.zeros([0])).shape).toEqual([0, 0]);
      expect(valuesOf(jacobian(() => tensor([1, 2]))(x))).toEqual([0, 0, 0, 0]);
    }),
  );

  it(
    "the hessian is that of a quadratic form, and symmetric for anything smooth",
    scoped(() => {
      const m = of(3, 3, 3);
      const form = hessian((y: T) => sum(mul(y, core.matmul(m, y))))(of(4, 3));
      expectClose(valuesOf(form), valuesOf(m.add(m.transpose())), CLOSE);
      const smooth = hessian((y: T) => core.logSumExp(mul(tanh(y), y)))(of(5, 2, 2));
      expect(smooth.shape).toEqual([2, 2, 2, 2]);
      const matrix = core.reshape(smooth, [4, 4]);
      expectClose(valuesOf(matrix), valuesOf(matrix.transpose()), { relative: 1e-9, absolute: 1e-12 });
      expect(valuesOf(hessian((y: T) => sum(y))(of(1, 2)))).toEqual([0, 0, 0, 0]);
    }),
  );

  it("can be differentiated", async () => {
    await core.gradcheck((x) => jacobian((y: T) => mul(tanh(y), sum(y)))(x), [of(1, 2)], { order: 2 });
    await core.gradcheck((x) => hessian((y: T) => sum(core.exp(mul(y, sum(y)))))(x), [of(2, 2)]);
  });

  it(
    "reach through closures of an outer transform",
    scoped(() => {
      const x = tensor([2, 3], WIDE);
      const outer = grad((y: T) => sum(jacobian((z: T) => mul(mul(y, y), z))(tensor([1, 1], WIDE))));
      expect(valuesOf(outer(x))).toEqual([4, 6]);
    }),
  );

  it("leave nothing behind but the result", () => {
    const before = core.memory();
    const x = of(1, 3);
    const result = hessian((y: T) => sum(mul(tanh(y), y)))(x);
    const [value, tangent] = jvp(tanh, [x], [x]);
    expect(core.memory().liveTensors).toBe(before.liveTensors + 4);
    for (const one of [x, result, value, tangent]) one.dispose();
    expect(core.memory().liveTensors).toBe(before.liveTensors);
    expect(core.memory().liveBuffers).toBe(before.liveBuffers);
  });

  it(
    "refuse what has no derivative",
    scoped(() => {
      expect(() => jacobian((y: T) => y)(tensorOf([1], [1], "i32"))).toThrow(/jacobian: only float/);
      expect(() => hessian((y: T) => y)(of(1, 2))).toThrow(/must return a scalar/);
      expect(() => jacobian(() => 1 as never)(of(1, 2))).toThrow(core.GradientError);
    }),
  );
});

describe("remat", () => {
  const block = (x: T, w: { a: T; b: T }): { y: T; count: T } => ({
    y: core.add(tanh(core.matmul(tanh(core.matmul(x, w.a)), w.b)), x),
    count: core.countNonzero(x),
  });
  const points = (): T[] => [of(1, 2, 3), of(2, 3, 4), of(3, 4, 3)];
  const run = (fn: typeof block, [x, a, b]: T[]): T => {
    const first = fn(x!, { a: a!, b: b! });
    return fn(first.y, { a: a!, b: b! }).y;
  };

  it("gives the values and gradients of the function, to second order", async () => {
    const inputs = points();
    const wrapped = remat(block);
    scoped(() => {
      const loss =
        (fn: typeof block) =>
        (...xs: T[]) =>
          sum(mul(run(fn, xs), of(9, 2, 3)));
      const all = { argnums: [0, 1, 2] };
      expect(loss(wrapped)(...inputs).itemSync()).toBe(loss(block)(...inputs).itemSync());
      const expected = grad(loss(block), all)(...inputs) as readonly T[];
      const found = grad(loss(wrapped), all)(...inputs) as readonly T[];
      found.forEach((gradient, i) => {
        expectClose(valuesOf(gradient), valuesOf(expected[i]!), CLOSE);
      });
      expect(valuesOf(wrapped(inputs[0]!, { a: inputs[1]!, b: inputs[2]! }).count)).toEqual([6]);
    })();
    await core.gradcheck((...xs) => run(wrapped, xs), inputs);
    await core.gradcheck((...xs) => run(wrapped, xs), inputs, { order: 2 });
  });

  it(
    "has right gradients to third order, and nests",
    scoped(() => {
      const x = of(1, 3);
      const third = (fn: (y: T) => T): number[] =>
        valuesOf(grad((y: T) => sum(hessian((z: T) => sum(fn(z)))(y)))(x));
      const plain = (y: T): T => mul(tanh(y), core.exp(y));
      const nested = remat((y: T) => mul(remat((z: T) => tanh(z))(y), core.exp(y)));
      expectClose(third(nested), third(plain), CLOSE);
    }),
  );

  it("gives gradients to parameters that the function reads by itself", () => {
    const before = core.memory().liveTensors;
    const [x, a] = [core.parameter(of(1, 2, 3)), core.parameter(of(2, 3, 3))];
    const layer = remat((y: T) => tanh(core.matmul(y, a)));
    sum(mul(layer(layer(x)), of(9, 2, 3))).backward();
    const found = [x, a].map((leaf) => valuesOf(leaf.grad!));
    core.zeroGrad([x, a]);
    const plain = (y: T): T => tanh(core.matmul(y, a));
    sum(mul(plain(plain(x)), of(9, 2, 3))).backward();
    [x, a].forEach((leaf, i) => {
      expectClose(found[i]!, valuesOf(leaf.grad!), CLOSE);
    });
    core.zeroGrad([x, a]);
    for (const one of [x, a]) one.dispose();
    expect(core.memory().liveTensors - before).toBe(2); // The two weights of the losses.
  });

  it("holds no more after ten steps than after one", () => {
    const w = core.parameter(of(2, 3, 3));
    const layer = remat((y: T) => tanh(core.matmul(y, w)));
    const x = of(1, 2, 3);
    const step = (): number[] => {
      sum(layer(layer(x))).backward();
      core.zeroGrad([w]);
      const { liveTensors, liveBuffers } = core.memory();
      return [liveTensors, liveBuffers];
    };
    const first = step();
    for (let i = 0; i < 8; i++) step();
    expect(step()).toEqual(first);
    for (const one of [w, x]) one.dispose();
  });

  it("keeps less for backward", () => {
    const size = 64 * 1024;
    const deep = (x: T): T => {
      let y = x;
      for (let i = 0; i < 6; i++) y = tanh(core.sin(y));
      return y;
    };
    const peakOf = (layer: (x: T) => T): { peak: number; gradient: number[] } => {
      const x = core.linspace(-1, 1, size);
      core.resetPeakMemory();
      const start = core.memory().liveBytes;
      const [value, gradient] = core.valueAndGrad((y: T) => {
        let z = y;
        for (let i = 0; i < 6; i++) z = layer(z);
        return sum(z);
      })(x);
      const peak = core.memory().peakBytes - start;
      const values = valuesOf(gradient);
      for (const one of [x, value, gradient]) one.dispose();
      expect(core.memory().liveBytes).toBeLessThan(start);
      return { peak, gradient: values };
    };
    const plain = peakOf(deep);
    const less = peakOf(remat(deep));
    expect(less.gradient).toEqual(plain.gradient);
    const tensors = (bytes: number): number => bytes / (size * 4);
    expect(tensors(plain.peak)).toBeGreaterThan(70);
    expect(tensors(less.peak)).toBeLessThan(30);
  });

  it(
    "draws the same random numbers again, and moves the generators on once",
    scoped(() => {
      const x = core.ones([64], { requiresGrad: true });
      core.manualSeed(4);
      const own = new core.Generator(5);
      const noisy = remat((y: T, options: { generator: core.Generator }) =>
        mul(core.dropout(core.dropout(y, { p: 0.5 }), { p: 0.5, ...options }), y),
      );
      const y = noisy(x, { generator: own });
      const counters = [core.generator().state().counter, own.state().counter];
      expect(counters).toEqual([1, 1]);
      sum(y).backward();
      expect([core.generator().state().counter, own.state().counter]).toEqual(counters);
      // The product of mask and x² has gradient 2 mask at 1.
      expect(valuesOf(x.grad!)).toEqual(valuesOf(y).map((value) => 2 * value));
      const kept = valuesOf(y).filter((value) => value !== 0).length;
      expect(kept).toBeGreaterThan(4);
      expect(kept).toBeLessThan(30);
    }),
  );

  it(
    "passes everything else through, and records nothing under noGrad",
    scoped(() => {
      const x = core.ones([2], { requiresGrad: true });
      const mixed = remat(
        (y: T, scale: number, name: string) => [mul(y, scale), { name, y, constant: tensor(1) }] as const,
      );
      const [scaled, rest] = mixed(x, 3, "a");
      expect([valuesOf(scaled), rest.name, rest.constant.requiresGrad]).toEqual([[3, 3], "a", false]);
      sum(scaled.add(rest.y)).backward();
      expect(valuesOf(x.grad!)).toEqual([4, 4]);
      expect(core.noGrad(() => remat(tanh)(x)).requiresGrad).toBe(false);
      expect(remat(tanh)(core.ones([2])).requiresGrad).toBe(false);
    }),
  );

  it(
    "refuses results of outside operations, changed parameters and promises",
    scoped(() => {
      const x = core.ones([2], { requiresGrad: true });
      const outside = core.exp(x);
      expect(() => remat((y: T) => mul(y, outside))(x)).toThrow(
        /result of "exp", a differentiable operation outside/,
      );
      const w = core.parameter(tensor([2, 3]));
      const y = sum(remat((z: T) => mul(z, w))(x));
      core.assign(w, tensor([0, 0]));
      expect(() => y.backward()).toThrow(core.LifetimeError);
      w.dispose();
      expect(() => remat(async (z: T) => z)(x)).toThrow(core.ScopeError);
      let calls = 0;
      const fickle = remat((z: T) => (calls++ === 0 ? [mul(z, 2), mul(z, 3)] : [mul(z, 2)]));
      const [first] = fickle(x);
      expect(() => sum(first!).backward()).toThrow(/returned something else/);
    }),
  );
});

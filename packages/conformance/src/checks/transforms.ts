import * as nf from "@nf/core";
import { type Check, type Context, NotApplicable, undeclared } from "../check.ts";
import { check, expectError, expectThat, expectValues } from "./expect.ts";

const FAMILY = "transforms";
type T = nf.Tensor;

/** f64 where the backend computes it. */
function home(context: Context): "f64" | "f32" {
  const found = (["f64", "f32"] as const).find(
    (dtype) => undeclared(context.backend, ["map", "reduce", "matmul"], dtype) === undefined,
  );
  if (found === undefined)
    throw new NotApplicable(undeclared(context.backend, ["map", "reduce", "matmul"], "f32") ?? "");
  return found;
}

type Vector = (...values: number[]) => T;
/** A leaf that collects gradients, which the scope ends like anything else. */
const leaf = (x: T): T => {
  x.requiresGrad = true;
  return x;
};

/** Runs in a scope, with a maker of vectors, and compares what comes out. */
async function compare(
  context: Context,
  run: (vector: Vector, dtype: "f32" | "f64") => Readonly<Record<string, readonly [T, readonly number[]]>>,
): Promise<void> {
  const dtype = home(context);
  const scope = new nf.Scope();
  try {
    const results = scope.run(() => run((...values) => nf.tensor(values, { dtype }), dtype));
    for (const [label, [x, wanted]] of Object.entries(results))
      context.compare(label, await x.data(), wanted, { dtype, tolerance: "summed", scale: 8 });
  } finally {
    scope.dispose();
  }
}

const cubes = (x: T): T => nf.sum(nf.mul(nf.square(x), x));

const gradients = (context: Context): Promise<void> =>
  compare(context, (vector) => {
    const x = vector(1, 2, -3);
    const w = vector(2, 0, 1);
    const [value, gradient] = nf.valueAndGrad(cubes)(x) as [T, T];
    const both = nf.grad((a: T, b: T) => nf.sum(nf.mul(nf.square(a), b)), { argnums: [0, 1] })(
      x,
      w,
    ) as readonly T[];
    const second = nf.grad((a: T) => nf.sum(nf.grad(cubes, { createGraph: true })(a) as T))(x) as T;
    const third = nf.grad((a: T) =>
      nf.sum(
        nf.grad((b: T) => nf.sum(nf.grad(cubes, { createGraph: true })(b) as T), { createGraph: true })(
          a,
        ) as T,
      ),
    )(x) as T;
    const [, pullback] = nf.vjp((a) => nf.square(a), x);
    return {
      "valueAndGrad, value": [value, [-18]],
      "valueAndGrad, gradient": [gradient, [3, 12, 27]],
      "grad by the first of two": [both[0]!, [4, 0, -6]],
      "grad by the second of two": [both[1]!, [1, 4, 9]],
      "second derivative": [second, [6, 12, -18]],
      "third derivative": [third, [6, 6, 6]],
      vjp: [pullback(w)[0]!, [4, 0, -6]],
    };
  });

const forwardMode = (context: Context): Promise<void> =>
  compare(context, (vector) => {
    const x = vector(1, 2, -3);
    const [value, tangent] = nf.jvp((a) => nf.mul(nf.square(a), a), [x], [vector(1, 10, 100)]);
    const squares = (a: T): T => nf.mul(nf.square(a), nf.sum(a));
    return {
      "jvp, value": [value, [1, 8, -27]],
      "jvp, tangent": [tangent, [3, 120, 2700]],
      jacobian: [nf.jacobian(squares)(vector(1, 2)) as T, [7, 1, 4, 16]],
      hessian: [
        nf.hessian((a: T) => nf.mul(nf.sum(nf.square(a)), nf.sum(a)))(vector(1, 2)) as T,
        [10, 6, 6, 14],
      ],
    };
  });

const leaves = (context: Context): Promise<void> =>
  compare(context, (vector) => {
    const x = leaf(vector(1, 2, -3));
    cubes(x).backward();
    nf.sum(nf.mul(x, 2)).backward();
    const added = nf.clone(x.grad as T).detach();
    nf.zeroGrad([x]);
    expectThat(context, x.grad === null, "zeroGrad leaves a gradient");
    const constant = nf.noGrad(() => nf.mul(x, 2));
    expectThat(context, !constant.requiresGrad && !nf.noGrad(() => nf.gradientsEnabled()), "noGrad records");
    const recorded = nf.noGrad(() => nf.enableGrad(() => nf.sum(nf.mul(x, 3))));
    recorded.backward();
    const other = nf.clone(x.grad as T).detach();
    nf.zeroGrad([x]);
    nf.sum(nf.mul(x, nf.stopGradient(nf.square(x)))).backward();
    const stopped = nf.clone(x.grad as T).detach();
    nf.zeroGrad([x]);
    return {
      "two backward passes add up": [added, [5, 14, 29]],
      "enableGrad in noGrad": [other, [3, 3, 3]],
      stopGradient: [stopped, [1, 4, 9]],
    };
  });

const again = (context: Context): Promise<void> =>
  compare(context, (vector) => {
    const w = leaf(vector(0.5, 0.25, -1));
    const x = vector(1, 2, -3);
    const block = (a: T): T => nf.mul(nf.square(nf.mul(a, w)), nf.mul(a, w));
    const run = (fn: (a: T) => T): readonly [T, T] => {
      const found = nf.grad((a: T) => nf.sum(fn(a)))(x) as T;
      nf.sum(fn(x)).backward();
      const own = nf.clone(w.grad as T).detach();
      nf.zeroGrad([w]);
      return [found, own];
    };
    const [byX, byW] = run(nf.remat(block));
    return {
      "remat, gradient of an argument": [byX, [0.375, 0.1875, -27]],
      "remat, gradient of a captured parameter": [byW, [0.75, 1.5, -81]],
    };
  });

/** Core's own check of gradients, on a function that is right and on one that is not. */
async function gradchecks(context: Context): Promise<void> {
  const missing = undeclared(context.backend, ["map", "reduce"], "f64");
  if (missing !== undefined) throw new NotApplicable(missing);
  const x = nf.tensor([0.5, -1.25, 2], { dtype: "f64" });
  try {
    await nf.gradcheck((a) => nf.tanh(nf.mul(a, a)), [x], { order: 2 });
    await expectError(
      context,
      "gradcheck of half a gradient",
      () => nf.gradcheck((a) => nf.mul(a, nf.stopGradient(a)), [x]),
      "NF_GRADIENT",
    );
  } finally {
    x.dispose();
  }
}

/** Writing into tensors, in place and purely. */
const updates = (context: Context): Promise<void> =>
  compare(context, (vector, dtype) => {
    const { scalar: s } = nf;
    const step = nf.defineUpdate({
      name: "step",
      state: 2,
      inputs: 1,
      params: ["rate"],
      body: ([p, m], [g], [rate]) => {
        const moved = s.add(s.mul(m!, 0.5), g!);
        return [s.sub(p!, s.mul(moved, rate!)), moved];
      },
    });
    const [p, m, g] = [vector(1, 2, 3), vector(1, 0, -1), vector(2, 2, 2)];
    const pure = nf.pureUpdate(step, [p, m], [g], [0.5]);
    const before = nf.clone(p);
    nf.runUpdate(step, [p, m], [g], [0.5]);
    // Of several sizes, so that one call has groups of unlike shape.
    const many = Array.from({ length: 5 }, (_, i) => {
      const shape = [i + 1, 700];
      const filled = (value: number): nf.Tensor => nf.full(shape, value, { dtype });
      return { state: [filled(i), filled(1)], inputs: [filled(2)] } as const;
    });
    nf.runUpdates(step, many, [0.5]);
    const base = nf.zeros([2, 3], { dtype });
    const view = nf.slice(base, null, [1, 3]);
    nf.assign(view, vector(7, 8));
    const turned = nf.reshape(vector(1, 2, 3, 4), [2, 2]);
    nf.assign(turned, nf.transpose(turned));
    return {
      "pureUpdate, state": [pure[0]!, [-0.25, 1, 2.25]],
      "pureUpdate, moments": [pure[1]!, [2.5, 2, 1.5]],
      "the state before": [before, [1, 2, 3]],
      "runUpdate, state": [p, [-0.25, 1, 2.25]],
      "runUpdate, moments": [m, [2.5, 2, 1.5]],
      ...Object.fromEntries(
        many.flatMap(({ state: [param, moment] }, i) => {
          const all = (value: number): number[] => new Array<number>(param.size).fill(value);
          return [
            [`runUpdates, state ${i}`, [param, all(i - 1.25)] as const],
            [`runUpdates, moments ${i}`, [moment, all(2.5)] as const],
          ];
        }),
      ),
      "assign to a slice": [base, [0, 7, 8, 0, 7, 8]],
      "assign of its own transpose": [turned, [1, 3, 2, 4]],
    };
  });

/** A backward that would read what was written over refuses to. */
async function staleValues(context: Context): Promise<void> {
  const scope = new nf.Scope();
  try {
    const [x, loss] = scope.run(() => {
      const x = leaf(nf.tensor([1, 2]));
      return [x, nf.sum(nf.square(x))] as const;
    });
    scope.run(() => nf.noGrad(() => nf.assign(x, nf.tensor([5, 6]))));
    await expectError(
      context,
      "backward over a value that was written to",
      () => scope.run(() => loss.backward()),
      "NF_OVERWRITTEN",
      /assign/,
    );
  } finally {
    scope.dispose();
  }
}

/** Shapes that depend on values. */
async function valueShapes(context: Context): Promise<void> {
  const scope = new nf.Scope();
  const made: T[] = [];
  try {
    const [x, empty] = scope.run(
      () =>
        [
          nf.tensor([
            [0, 3, NaN],
            [-1, 0, 0],
          ]),
          nf.zeros([0, 2]),
        ] as const,
    );
    const mask = scope.run(() => nf.greater(nf.transpose(x), -2));
    const wanted: readonly (readonly [string, () => Promise<T>, readonly number[], readonly number[]])[] = [
      ["nonzero", () => nf.nonzero(x), [3, 2], [0, 1, 0, 2, 1, 0]],
      ["nonzero of a view", () => nf.nonzero(scope.run(() => nf.transpose(x))), [3, 2], [0, 1, 1, 0, 2, 0]],
      ["nonzero of nothing", () => nf.nonzero(empty), [0, 2], []],
      [
        "maskedSelect",
        () =>
          nf.maskedSelect(
            scope.run(() => nf.transpose(x)),
            mask,
          ),
        [5],
        [0, -1, 3, 0, 0],
      ],
    ];
    for (const [label, call, shape, values] of wanted) {
      const result = await call();
      made.push(result);
      expectValues(context, `${label}, shape`, result.shape, shape);
      expectValues(context, label, await result.data(), values);
    }
  } finally {
    for (const one of made) one.dispose();
    scope.dispose();
  }
}

/** Sources of randomness: state that comes back, the default one, one for the time of a call. */
async function generators(context: Context): Promise<void> {
  await nf.use(context.backend);
  const scope = new nf.Scope();
  const draw = (generator?: nf.Generator): Promise<nf.HostArray> =>
    scope.run(() => nf.rand([4], generator === undefined ? {} : { generator })).data();
  try {
    const seeded = await draw(new nf.Generator(11));
    nf.manualSeed(11);
    expectValues(context, "manualSeed", await draw(), [...seeded]);
    const later = await draw(nf.generator());
    expectThat(context, later.join() !== seeded.join(), "a second draw is the first again");
    expectValues(
      context,
      "withGenerator",
      await nf.withGenerator(new nf.Generator(11), () => scope.run(() => nf.rand([4]))).data(),
      [...seeded],
    );
    const order = [...nf.permutation(9, new nf.Generator(3))];
    const device = scope.run(() => nf.randperm(9, { generator: new nf.Generator(3) }));
    expectValues(context, "permutation and randperm", await device.data(), order);
  } finally {
    nf.manualSeed(0);
    scope.dispose();
  }
}

/** Checks of what core makes of operations: derivatives of functions, writes, shapes that depend on values. */
export function transformChecks(): Check[] {
  return [
    check(FAMILY, "training", "grad, valueAndGrad and vjp, to the third order", gradients, [
      "grad",
      "valueAndGrad",
      "vjp",
    ]),
    check(FAMILY, "training", "jvp, jacobian and hessian", forwardMode, ["jvp", "jacobian", "hessian"]),
    check(FAMILY, "training", "backward, zeroGrad, noGrad, enableGrad and stopGradient", leaves, [
      "zeroGrad",
      "noGrad",
      "enableGrad",
      "stopGradient",
      "gradientsEnabled",
    ]),
    check(FAMILY, "training", "remat computes again what it did not keep", again, ["remat"]),
    check(FAMILY, "training", "gradcheck tells right from wrong", gradchecks, ["gradcheck"]),
    check(FAMILY, "training", "updates and writes", updates, [
      "defineUpdate",
      "runUpdate",
      "runUpdates",
      "pureUpdate",
      "assign",
    ]),
    check(FAMILY, "training", "backward refuses values that were written over", staleValues),
    check(FAMILY, "inference", "nonzero and maskedSelect", valueShapes, ["nonzero", "maskedSelect"]),
    check(FAMILY, "inference", "generators and seeds", generators, [
      "generator",
      "manualSeed",
      "withGenerator",
      "permutation",
    ]),
  ];
}

import fc from "fast-check";
import { beforeEach, describe, expect, it } from "vitest";
import * as core from "../../src/index.ts";
import { open } from "./helper.ts";

type T = core.Tensor;

beforeEach(async () => {
  await open();
});

/*
 * Random graphs of 5 to 15 operations over three inputs of shapes that broadcast. Every operation is smooth and keeps
 * its values small, so that central differences can be trusted. A node takes any earlier values, so that diamonds,
 * repeated use and dead ends all occur.
 */
const SHAPES = [[2, 3], [3], [2, 1]] as const;
const CHECKERED = [
  [true, false, true],
  [false, true, false],
];

interface Step {
  readonly op: number;
  readonly a: number;
  readonly b: number;
}

const OPERATIONS: readonly ((a: T, b: T) => T)[] = [
  (a, b) => a.add(b),
  (a, b) => a.sub(b).mul(0.7),
  (a, b) => a.mul(b).tanh(),
  (a, b) => a.div(b.mul(b).add(1)),
  (a) => a.sin(),
  (a) => a.sigmoid(),
  (a) => a.tanh().exp(),
  (a) => core.softplus(a),
  (a) => core.gelu(a),
  (a) => core.softmax(a),
  (a) => core.logSoftmax(a, { axis: 0 }).mul(0.3),
  (a) => a.sum({ axis: -1, keepDims: true }).mul(0.4),
  (a) => a.mean({ axis: 0, keepDims: true }),
  (a) =>
    a
      .expand([2, 3])
      .transpose()
      .matmul(a.expand([2, 3]))
      .slice([0, 2])
      .mul(0.3),
  (a, b) => core.concat([a.expand([2, 3]), b.expand([2, 3])], 1).slice(null, [1, 4]),
  (a) => a.expand([2, 3]).reshape([3, 2]).transpose(),
  (a) => a.flip(0),
  // A condition on a value could turn between the two points of a difference.
  (a, b) => core.where(core.tensor(CHECKERED), a, b.mul(2)),
  (a) =>
    core.std(a.expand([2, 3]).add(core.arange(6, undefined, 1, { dtype: "f64" }).reshape([2, 3])), {
      axis: 1,
      keepDims: true,
    }),
  (a) => core.logSumExp(a, { axis: 0, keepDims: true }),
];

const graphs = fc.record({
  steps: fc.array(fc.record({ op: fc.nat({ max: OPERATIONS.length - 1 }), a: fc.nat(), b: fc.nat() }), {
    minLength: 5,
    maxLength: 15,
  }),
  seed: fc.nat({ max: 2 ** 20 }),
});

function compute(steps: readonly Step[], inputs: readonly T[]): T {
  const made: T[] = [...inputs];
  for (const { op, a, b } of steps) {
    // The last value is always used, so that the graph is as deep as it is long.
    const left = made[made.length - 1 - (a % 3)] as T;
    const right = made[b % made.length] as T;
    made.push((OPERATIONS[op] as (a: T, b: T) => T)(left, right));
  }
  const last = made.at(-1) as T;
  return last
    .mul(last.cos())
    .sum()
    .add((made[made.length >> 1] as T).sum());
}

function makeInputs(seed: number): T[] {
  const generator = new core.Generator(seed);
  return SHAPES.map((shape) => core.randn([...shape], { generator, dtype: "f64" }));
}

const EXAMPLES = process.env["NF_NIGHTLY"] === "1" ? 5000 : 200;

describe("random graphs", () => {
  it("have the gradients of central differences, and leave nothing behind", () => {
    fc.assert(
      fc.property(graphs, ({ steps, seed }) => {
        const before = core.memory().liveBuffers;
        core.scope(() => {
          const inputs = makeInputs(seed);
          for (const input of inputs) input.requiresGrad = true;
          compute(steps, inputs).backward();
          const h = 1e-5;
          inputs.forEach((input, i) => {
            const gradient = input.grad?.dataSync() ?? new Float64Array(input.size);
            const data = input.dataSync();
            for (let element = 0; element < input.size; element++) {
              const at = (shift: number): number =>
                core.noGrad(() => {
                  const moved = Float64Array.from(data);
                  moved[element] = (moved[element] as number) + shift;
                  const point = inputs.map((other, j) =>
                    j === i ? core.fromData(moved, input.shape) : other,
                  );
                  return compute(steps, point).itemSync();
                });
              const numeric = (at(h) - at(-h)) / (2 * h);
              const exact = gradient[element] as number;
              expect(Math.abs(exact - numeric)).toBeLessThanOrEqual(1e-6 + 1e-5 * Math.abs(numeric));
            }
          });
          core.zeroGrad(inputs);
        });
        expect(core.memory().liveBuffers).toBe(before);
      }),
      { numRuns: EXAMPLES },
    );
  });

  it("have the same gradients by backward, grad, with retained graphs and fused or not", () => {
    fc.assert(
      fc.property(graphs, ({ steps, seed }) => {
        core.scope(() => {
          const inputs = makeInputs(seed);
          const functional = core.grad((...points: T[]) => compute(steps, points), { argnums: [0, 1, 2] })(
            ...inputs,
          ) as readonly T[];
          for (const input of inputs) input.requiresGrad = true;
          const loss = compute(steps, inputs);
          loss.backward(undefined, { retainGraph: true });
          const once = inputs.map(({ grad }) => Array.from(grad?.dataSync() ?? []));
          loss.backward();
          inputs.forEach((input, i) => {
            const gradient = once[i] as number[];
            expect(Array.from((functional[i] as T).dataSync())).toEqual(
              gradient.length === 0 ? new Array(input.size).fill(0) : gradient,
            );
            expect(Array.from(input.grad?.dataSync() ?? [])).toEqual(gradient.map((value) => 2 * value));
          });
          core.zeroGrad(inputs);
          core.withFusion("off", () => compute(steps, inputs).backward());
          inputs.forEach((input, i) => {
            Array.from(input.grad?.dataSync() ?? []).forEach((value, j) => {
              const expected = once[i]?.[j] as number;
              expect(Math.abs(value - expected)).toBeLessThanOrEqual(1e-12 + 1e-9 * Math.abs(expected));
            });
          });
          core.zeroGrad(inputs);
        });
      }),
      { numRuns: EXAMPLES / 2 },
    );
  });

  it("have the second derivatives of differences of gradients", () => {
    fc.assert(
      fc.property(graphs, ({ steps, seed }) => {
        core.scope(() => {
          const [first, ...others] = makeInputs(seed) as [T, ...T[]];
          const gradient = core.grad((p: T) => compute(steps, [p, ...others]));
          const generator = new core.Generator(seed + 1);
          const direction = core.randn(first.shape, { generator, dtype: "f64" });
          const along = core.grad((p: T) => gradient(p).mul(direction).sum())(first);
          const h = 1e-5;
          const ahead = gradient(first.add(direction.mul(h))).dataSync();
          const behind = gradient(first.sub(direction.mul(h))).dataSync();
          // The Hessian is symmetric, so that its product with the direction is the derivative along it.
          along.dataSync().forEach((value, i) => {
            const numeric = ((ahead[i] as number) - (behind[i] as number)) / (2 * h);
            expect(Math.abs(value - numeric)).toBeLessThanOrEqual(1e-5 + 1e-4 * Math.abs(numeric));
          });
        });
      }),
      { numRuns: EXAMPLES / 4 },
    );
  });
});

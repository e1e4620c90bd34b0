import { beforeAll, describe, expect, it } from "vitest";
import * as core from "../../src/index.ts";
import { expectClose, numbers, scoped, setUp, tensorOf, valuesOf } from "./helper.ts";

const { tensor } = core;

const of = (seed: number, ...shape: number[]): core.Tensor =>
  tensorOf(
    numbers(
      shape.reduce((product, size) => product * size, 1),
      seed,
    ),
    shape,
    "f64",
  );
const grads = (fn: (x: core.Tensor) => core.Tensor, x: core.Tensor): number[] => valuesOf(core.grad(fn)(x));

beforeAll(setUp);

describe("dropout1d, dropout2d", () => {
  it(
    "drop whole channels and scale the others",
    scoped(() => {
      const generator = new core.Generator(3);
      const flat = core.dropout1d(core.ones([8, 8, 5]), { p: 0.25, generator });
      const image = core.dropout2d(core.ones([8, 8, 2, 3]), { p: 0.25, generator });
      for (const x of [flat, image]) {
        const channels = valuesOf(core.mean(core.reshape(x, [64, -1]), { axis: 1 }));
        const kept = channels.filter((value) => Math.abs(value - 4 / 3) < 1e-6).length;
        expect(channels.filter((value) => value === 0).length).toBe(64 - kept);
        expect(kept).toBeGreaterThan(36);
        expect(kept).toBeLessThan(60);
      }
    }),
  );

  it(
    "pass x through unchanged out of training, and refuse other ranks",
    scoped(() => {
      const x = core.ones([1, 2, 3]);
      expect(core.dropout1d(x, { training: false }).storage).toBe(x.storage);
      expect(valuesOf(core.dropout1d(x, { p: 1 }))).toEqual([0, 0, 0, 0, 0, 0]);
      expect(() => core.dropout2d(x)).toThrow(core.ShapeError);
      expect(() => core.dropout1d(x, { p: 2 })).toThrow(/dropout1d: p/);
      expect(() => core.dropout1d(x, { rate: 0.5 } as never)).toThrow(core.OptionError);
    }),
  );
});

describe("multinomial", () => {
  it(
    "draws with the frequencies it is given",
    scoped(() => {
      const count = 20000;
      const generator = new core.Generator(5);
      const drawn = core.multinomial(tensor([1, 0, 3, 4]), count, { replacement: true, generator });
      expect([drawn.dtype, ...drawn.shape]).toEqual(["i32", count]);
      const seen = [0, 0, 0, 0];
      for (const index of valuesOf(drawn)) seen[index]!++;
      expect(seen[1]).toBe(0);
      // Five deviations of the count of a class.
      [1 / 8, 0, 3 / 8, 1 / 2].forEach((p, i) => {
        expect(Math.abs(seen[i]! - count * p)).toBeLessThanOrEqual(5 * Math.sqrt(count * p * (1 - p)));
      });
    }),
  );

  it(
    "draws each at most once without replacement, the likely ones first",
    scoped(() => {
      const generator = new core.Generator(6);
      const weights = core.expand(tensor([1, 2, 3, 0, 10]), [4000, 5]);
      const rows = core.multinomial(weights, 4, { generator });
      expect(rows.shape).toEqual([4000, 4]);
      const values = valuesOf(rows);
      let first = 0;
      for (let row = 0; row < 4000; row++) {
        const drawn = values.slice(4 * row, 4 * row + 4);
        expect([...drawn].sort()).toEqual([0, 1, 2, 4]);
        if (drawn[0] === 4) first++;
      }
      expect(Math.abs(first - 4000 * (10 / 16))).toBeLessThan(5 * Math.sqrt(4000 * (10 / 16) * (6 / 16)));
    }),
  );

  it(
    "repeats its bits for a seed, which this test pins for every backend",
    scoped(() => {
      const draw = (replacement: boolean): number[] =>
        valuesOf(
          core.multinomial(
            tensor([
              [0.1, 0.2, 0.3, 0.4],
              [4, 3, 2, 1],
            ]),
            4,
            {
              replacement,
              generator: new core.Generator(7),
            },
          ),
        );
      expect(draw(true)).toEqual(draw(true));
      expect(draw(false)).toEqual([2, 3, 1, 0, 0, 1, 2, 3]);
      expect(draw(true)).toEqual([2, 0, 1, 2, 2, 1, 1, 1]);
      core.manualSeed(1);
      const [one, two] = [core.multinomial(core.ones([50]), 50), core.multinomial(core.ones([50]), 50)];
      expect(valuesOf(one)).not.toEqual(valuesOf(two));
    }),
  );

  it(
    "refuses what does not fit",
    scoped(() => {
      expect(() => core.multinomial(core.ones([3]), 4)).toThrow(
        /cannot draw 4 of 3 classes without replacement/,
      );
      expect(() => core.multinomial(core.ones([0]), 1, { replacement: true })).toThrow(core.OptionError);
      expect(() => core.multinomial(core.ones([1, 1, 1]), 1)).toThrow(core.ShapeError);
      expect(() => core.multinomial(tensorOf([1], [1], "i32"), 1)).toThrow(core.DTypeError);
      expect(() => core.multinomial(core.ones([3]), 1, { seed: 1 } as never)).toThrow(core.OptionError);
      expect(core.multinomial(core.ones([3]), 0).shape).toEqual([0]);
    }),
  );
});

describe("gumbelSoftmax", () => {
  it(
    "is a distribution, sharper as tau falls, and one class where hard",
    scoped(() => {
      const logits = of(1, 50, 4);
      const options = (tau: number, hard = false): core.GumbelSoftmaxOptions => ({
        tau,
        hard,
        generator: new core.Generator(1),
      });
      const [soft, sharp, hard] = [
        core.gumbelSoftmax(logits, options(1)),
        core.gumbelSoftmax(logits, options(0.1)),
        core.gumbelSoftmax(logits, options(1, true)),
      ];
      for (const x of [soft, sharp, hard])
        expectClose(valuesOf(core.sum(x, { axis: 1 })), new Array(50).fill(1), {
          relative: 1e-12,
          absolute: 0,
        });
      const spread = (x: core.Tensor): number => core.mean(core.max(x, { axis: 1 })).itemSync();
      expect(spread(sharp)).toBeGreaterThan(spread(soft));
      expect(valuesOf(core.argmax(hard, { axis: 1 }))).toEqual(valuesOf(core.argmax(soft, { axis: 1 })));
      for (const value of valuesOf(hard))
        expect(Math.min(Math.abs(value), Math.abs(value - 1))).toBeLessThan(1e-12);
      expect(core.gumbelSoftmax(logits, { axis: 0 }).shape).toEqual([50, 4]);
    }),
  );

  it(
    "chooses a class as often as softmax says",
    scoped(() => {
      const logits = core.expand(tensor([0, 1, 2]), [6000, 3]);
      const hard = core.gumbelSoftmax(logits, { hard: true, generator: new core.Generator(2) });
      const seen = valuesOf(core.sum(hard, { axis: 0 }));
      const chances = valuesOf(core.softmax(tensor([0, 1, 2])));
      chances.forEach((p, i) => {
        expect(Math.abs(seen[i]! - 6000 * p)).toBeLessThan(5 * Math.sqrt(6000 * p * (1 - p)));
      });
    }),
  );

  it("has right gradients to second order, the same where hard", async () => {
    const logits = of(3, 2, 3);
    const run = (x: core.Tensor, hard: boolean): core.Tensor =>
      core.gumbelSoftmax(x, { tau: 2, hard, generator: new core.Generator(4) });
    await core.gradcheck((x) => run(x, false), [logits], { order: 2 });
    scoped(() => {
      const weights = of(4, 2, 3);
      const total = (hard: boolean) => (x: core.Tensor) => core.sum(core.mul(run(x, hard), weights));
      expectClose(grads(total(true), logits), grads(total(false), logits), {
        relative: 1e-12,
        absolute: 1e-15,
      });
    })();
  });

  it(
    "refuses what does not fit",
    scoped(() => {
      expect(() => core.gumbelSoftmax(of(1, 3), { tau: 0 })).toThrow(core.OptionError);
      expect(() => core.gumbelSoftmax(of(1, 3), { axis: 1 })).toThrow(core.IndexError);
      expect(() => core.gumbelSoftmax(tensorOf([1], [1], "i32"))).toThrow(core.DTypeError);
    }),
  );
});

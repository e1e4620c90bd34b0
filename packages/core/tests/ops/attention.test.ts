import fc from "fast-check";
import { beforeAll, describe, expect, it } from "vitest";
import * as core from "../../src/index.ts";
import { examples, expectClose, scoped, setUp, tensorOf, valuesOf } from "./helper.ts";
import { checkOrders, expectSamePaths, HALF, inputsOf } from "./paths.ts";

beforeAll(setUp);

const attend = core.scaledDotProductAttention;

interface Sizes {
  readonly batch: number;
  readonly kvHeads: number;
  readonly group: number;
  readonly queries: number;
  readonly keys: number;
  readonly headDim: number;
}

function problem(seed: number, sizes: Sizes): core.Tensor[] {
  const { batch, kvHeads, group, queries, keys, headDim } = sizes;
  const kv = [batch, kvHeads, keys, headDim];
  return inputsOf(seed, [batch, kvHeads * group, queries, headDim], kv, kv);
}

const SMALL: Sizes = { batch: 1, kvHeads: 2, group: 1, queries: 3, keys: 4, headDim: 2 };

/** The definition, element by element; `sees` says what a query may attend to, `bias` what is added. */
function byDefinition(
  [q, k, v]: readonly core.Tensor[],
  scale: number,
  sees: (query: number, key: number) => boolean,
): number[] {
  const [batch, heads, queries, size] = q!.shape as [number, number, number, number];
  const [, kvHeads, keys] = k!.shape as [number, number, number];
  const [qs, ks, vs] = [q, k, v].map((one) => valuesOf(one!)) as [number[], number[], number[]];
  const result: number[] = [];
  for (let b = 0; b < batch; b++)
    for (let h = 0; h < heads; h++)
      for (let i = 0; i < queries; i++) {
        const own = (b * kvHeads + Math.floor(h / (heads / kvHeads))) * keys;
        const row = ((b * heads + h) * queries + i) * size;
        const weights = Array.from({ length: keys }, (_, j) => {
          let score = 0;
          for (let d = 0; d < size; d++) score += qs[row + d]! * ks[(own + j) * size + d]!;
          return sees(i, j) ? Math.exp(score * scale) : 0;
        });
        const total = weights.reduce((sum, weight) => sum + weight, 0);
        for (let d = 0; d < size; d++) {
          let sum = 0;
          for (let j = 0; j < keys; j++)
            sum += (total === 0 ? 0 : weights[j]! / total) * vs[(own + j) * size + d]!;
          result.push(sum);
        }
      }
  return result;
}

const anySizes = fc.record({
  batch: fc.integer({ min: 1, max: 2 }),
  kvHeads: fc.integer({ min: 1, max: 2 }),
  group: fc.integer({ min: 1, max: 3 }),
  queries: fc.integer({ min: 1, max: 4 }),
  keys: fc.integer({ min: 1, max: 4 }),
  headDim: fc.integer({ min: 1, max: 3 }),
});

describe("scaledDotProductAttention", () => {
  it("is its definition, and every path agrees, for any sizes", () => {
    fc.assert(
      fc.property(anySizes, fc.boolean(), fc.boolean(), fc.nat(99), (sizes, causal, masked, seed) =>
        scoped(() => {
          const inputs = problem(seed, sizes);
          const { queries, keys, headDim } = sizes;
          const bits = Array.from({ length: queries * keys }, (_, i) => ((i * 7 + seed) % 3 === 0 ? 0 : 1));
          const mask = core.cast(tensorOf(bits, [queries, keys]), "bool");
          const options = { causal, ...(masked && { mask }) };
          const sees = (i: number, j: number): boolean =>
            (!causal || j <= i + keys - queries) && (!masked || bits[i * keys + j] === 1);
          const expected = byDefinition(inputs, 1 / Math.sqrt(headDim), sees);
          const close = { relative: 1e-12, absolute: 1e-12 };
          expectClose(valuesOf(attend(inputs[0]!, inputs[1]!, inputs[2]!, options)), expected, close);
          expectSamePaths((q, k, v) => attend(q!, k!, v!, options), inputs);
        })(),
      ),
      examples(100),
    );
  });

  it("has gradients of first and second order", async () => {
    await checkOrders((q, k, v) => attend(q!, k!, v!), problem(3, SMALL));
    await checkOrders(
      (q, k, v) => attend(q!, k!, v!, { causal: true, scale: 0.4 }),
      problem(4, { ...SMALL, group: 2, kvHeads: 1 }),
    );
    const mask = core.tensor([
      [true, false, true, true],
      [false, false, false, false],
      [true, true, false, false],
    ]);
    await checkOrders((q, k, v) => attend(q!, k!, v!, { mask }), problem(5, SMALL));
  });

  it("never drops the gradient of an added mask", async () => {
    const [bias] = inputsOf(9, [2, 3, 4]);
    await checkOrders((q, k, v, mask) => attend(q!, k!, v!, { mask: mask! }), [...problem(6, SMALL), bias!]);
  });

  it(
    "adds a mask of any broadcast shape",
    scoped(() => {
      const [q, k, v] = problem(11, { ...SMALL, batch: 2 }) as [core.Tensor, core.Tensor, core.Tensor];
      for (const shape of [[4], [3, 4], [2, 1, 4], [2, 1, 1, 4], [1, 2, 3, 1], []]) {
        const [mask] = inputsOf(12, shape);
        const whole = core.expand(mask!, [2, 2, 3, 4]);
        const dense = core.fromData(whole.dataSync(), whole.shape);
        const close = { relative: 0, absolute: 1e-14 };
        expectClose(
          valuesOf(attend(q, k, v, { mask: mask! })),
          valuesOf(attend(q, k, v, { mask: dense })),
          close,
        );
      }
      expectSamePaths(
        (...qkv) => attend(qkv[0]!, qkv[1]!, qkv[2]!, { mask: inputsOf(12, [2, 1, 4])[0]! }),
        [q, k, v],
      );
    }),
  );

  it("gives zeros and no gradient where there is nothing to attend to", () => {
    const sizes = { ...SMALL, queries: 4, keys: 2 };
    const masks = {
      bool: core.zeros([2], { dtype: "bool" }).keep(),
      float: core.full([2], -Infinity).keep(),
    };
    for (const mode of ["auto", "off"] as const) {
      for (const createGraph of [false, true]) {
        for (const options of [{ mask: masks.bool }, { mask: masks.float }, { causal: true }]) {
          scoped(() =>
            core.withFusion(mode, () => {
              const inputs = problem(13, sizes);
              const [value, pullback] = core.vjp((q, k, v) => attend(q!, k!, v!, options), ...inputs);
              const blind = "causal" in options ? 2 : 4;
              const rows = core.slice(value, null, null, [0, blind]);
              expect(valuesOf(rows)).toEqual(new Array(rows.size).fill(0));
              const [dq, dk, dv] = pullback(core.ones(value.shape, { dtype: "f64" }), { createGraph });
              const dRows = core.slice(dq!, null, null, [0, blind]);
              expect(valuesOf(dRows).every((one) => one === 0)).toBe(true);
              for (const one of [dk!, dv!]) expect(valuesOf(one).every(Number.isFinite)).toBe(true);
            }),
          )();
        }
      }
    }
    expect(valuesOf(core.ones([]))).toEqual([1]);
  });

  it(
    "takes no keys, no queries and no samples",
    scoped(() => {
      const make = (...shape: number[]): core.Tensor => core.ones(shape);
      expect(valuesOf(attend(make(1, 1, 2, 2), make(1, 1, 0, 2), make(1, 1, 0, 2)))).toEqual([0, 0, 0, 0]);
      expect(attend(make(1, 1, 0, 2), make(1, 1, 3, 2), make(1, 1, 3, 2)).shape).toEqual([1, 1, 0, 2]);
      expect(attend(make(0, 2, 3, 2), make(0, 2, 3, 2), make(0, 2, 3, 2)).shape).toEqual([0, 2, 3, 2]);
    }),
  );

  it("stays finite at ±1e4, forward and backward", () => {
    for (const mode of ["auto", "off"] as const) {
      for (const dtype of ["f32", "f16"] as const) {
        scoped(() =>
          core.withFusion(mode, () => {
            const q = tensorOf([1e4, -1e4, 1e4, 1e4], [1, 1, 2, 2], dtype);
            const [value, pullback] = core.vjp((a, b, c) => attend(a!, b!, c!), q, q, q);
            const results = [value, ...pullback(core.ones(value.shape, { dtype }))].flatMap(valuesOf);
            expect(results.every(Number.isFinite)).toBe(true);
            expect(valuesOf(value)).toEqual(valuesOf(q));
          }),
        )();
      }
    }
  });

  it(
    "computes 16-bit floats in f32",
    scoped(() => {
      const wide = problem(17, SMALL);
      const inputs = wide.map((one) => core.cast(one, "f16"));
      expectSamePaths((q, k, v) => attend(q!, k!, v!, { causal: true }), inputs, HALF);
    }),
  );

  it(
    "lets NaN through",
    scoped(() => {
      const q = core.ones([1, 1, 1, 2]);
      const k = tensorOf([1, NaN, 0, 0], [1, 1, 2, 2]);
      for (const mode of ["auto", "off"] as const)
        expect(valuesOf(core.withFusion(mode, () => attend(q, k, core.ones([1, 1, 2, 2]))))).toEqual([
          NaN,
          NaN,
        ]);
    }),
  );

  it(
    "drops weights repeatably and scales the rest",
    scoped(() => {
      const [q, k, v] = problem(19, { ...SMALL, queries: 40, keys: 40 }) as [
        core.Tensor,
        core.Tensor,
        core.Tensor,
      ];
      const run = (seed: number): number[] =>
        valuesOf(attend(q, k, v, { dropout: 0.5, generator: new core.Generator(seed) }));
      expect(run(1)).toEqual(run(1));
      expect(run(1)).not.toEqual(run(2));
      expect(valuesOf(attend(q, k, v, { dropout: 1 })).every((one) => one === 0)).toBe(true);
      const ones = core.ones(v.shape, { dtype: "f64" });
      const mean = core
        .mean(attend(q, k, ones, { dropout: 0.5, generator: new core.Generator(3) }))
        .itemSync();
      expect(Math.abs(mean - 1)).toBeLessThan(0.1);
    }),
  );

  it(
    "refuses what does not fit, by name",
    scoped(() => {
      const make = (...shape: number[]): core.Tensor => core.ones(shape);
      const q = make(1, 2, 3, 4);
      expect(() => attend(make(2, 3, 4), q, q)).toThrow(
        /q must be \[batch, heads, positions, headDim\], got \[2, 3, 4\]/,
      );
      expect(() => attend(q, make(1, 2, 3, 2), q)).toThrow(/do not fit/);
      expect(() => attend(make(1, 3, 3, 4), q, q)).toThrow(/multiple/);
      expect(() => attend(q, q, q, { mask: core.ones([2, 2]) })).toThrow(core.ShapeError);
      expect(() => attend(q, q, q, { mask: core.ones([2, 1, 1, 3, 3]) })).toThrow(/does not broadcast/);
      expect(() => attend(q, q, q, { mask: core.ones([3, 3], { dtype: "i32" }) })).toThrow(core.DTypeError);
      expect(() => attend(q, q, q, { dropout: 2 })).toThrow(core.OptionError);
      expect(() => attend(q, q, q, { scale: Number.NaN })).toThrow(core.OptionError);
      expect(() => attend(q, q, q, { isCausal: true } as object)).toThrow(/unknown option "isCausal"/);
      expect(() => attend(core.ones([1, 1, 1, 1], { dtype: "i32" }), q, q)).toThrow(core.DTypeError);
    }),
  );
});

describe("alibi", () => {
  it(
    "falls with the distance, by a slope for each head",
    scoped(() => {
      expect(core.alibiSlopes(4)).toEqual([1 / 4, 1 / 16, 1 / 64, 1 / 256]);
      // Between the powers of two: every second slope of twice as many heads.
      expect(core.alibiSlopes(3)).toEqual([1 / 16, 1 / 256, 1 / 4]);
      const bias = core.alibi(2, 2, 3);
      expect(bias.shape).toEqual([2, 2, 3]);
      const rows = [-1, 0, -1, -2, -1, 0];
      expectClose(valuesOf(bias), [...rows.map((one) => one / 16), ...rows.map((one) => one / 256)]);
      expect(core.alibi(1, 2, 2, { dtype: "f16" }).dtype).toBe("f16");
      const [q, k, v] = problem(21, { ...SMALL, queries: 2, keys: 3 }) as [
        core.Tensor,
        core.Tensor,
        core.Tensor,
      ];
      expectSamePaths(
        (...qkv) => attend(qkv[0]!, qkv[1]!, qkv[2]!, { mask: core.alibi(2, 2, 3), causal: true }),
        [q, k, v],
      );
    }),
  );

  it(
    "refuses what does not fit, by name",
    scoped(() => {
      expect(() => core.alibi(0, 2)).toThrow(/heads/);
      expect(() => core.alibi(2, 2, 2, { dtype: "i32" })).toThrow(core.DTypeError);
    }),
  );
});

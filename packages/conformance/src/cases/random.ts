import * as nf from "@nf/core";
import fc from "fast-check";
import type { Instance, Row } from "../model.ts";
import * as reference from "../reference/nd.ts";
import { erfc, threefry } from "../reference/special.ts";
import { ALL, always, between, data, FLOATS, row, shapes, shapesText } from "./define.ts";

const FAMILY = "random";

/** The key of draw number `count` of a generator with a seed. */
function keyOf(seed: number, count = 0): readonly [number, number] {
  return threefry([seed >>> 0, Math.floor(seed / 2 ** 32)], [count, 0]);
}

/** Both random words of each element. */
function words(seed: number, length: number, draw = 0): readonly (readonly [number, number])[] {
  const key = keyOf(seed, draw);
  return Array.from({ length }, (_, i) => threefry(key, [i, 0]));
}

/** What `rand` gives for a seed: multiples of 2^-24, for f64 of 2^-53. */
export function uniforms(seed: number, length: number, dtype: "f32" | "f64", draw = 0): number[] {
  return words(seed, length, draw).map(([high, low]) =>
    dtype === "f32" ? (high >>> 8) * 2 ** -24 : ((high >>> 5) * 2 ** 26 + (low >>> 6)) * 2 ** -53,
  );
}

/** The point below which a normal number lies with probability p, by Newton's method from a guess. */
function quantile(p: number): number {
  if (p > 0.5) return -quantile(1 - p);
  let x = -Math.sqrt(-2 * Math.log(p)) + 0.8;
  for (let i = 0; i < 60; i++) {
    const density = Math.exp((-x * x) / 2) / Math.sqrt(2 * Math.PI);
    const step = (0.5 * erfc(-x / Math.SQRT2) - p) / density;
    x -= step;
    if (Math.abs(step) < 1e-13) break;
  }
  return x;
}

function normals(seed: number, length: number, dtype: "f32" | "f64"): number[] {
  return words(seed, length).map(([high, low]) => {
    const count = dtype === "f32" ? high >>> 9 : high * 2 ** 20 + (low >>> 12);
    return quantile((2 * count + 1) * (dtype === "f32" ? 2 ** -24 : 2 ** -53));
  });
}

type Draw = (shape: readonly number[], generator: nf.Generator, dtype: nf.DType) => nf.Tensor;

function drawRow(
  op: string,
  draw: Draw,
  values: (seed: number, length: number, dtype: nf.DType) => readonly number[],
  more: Partial<Row> = {},
): Row {
  const instance = (shape: readonly number[], seed: number): Instance => ({
    label: `${shapesText(shape)} seed ${seed}`,
    operands: [],
    // The reference has a quantile near 0 from a probability near 1/2, which keeps fewer of its digits.
    ...(op === "randn" && { roundings: 1 }),
    run: (_inputs, dtype) => draw(shape, new nf.Generator(seed), dtype),
    reference: (_inputs, dtype) => reference.nd(shape, values(seed, reference.count(shape), dtype)),
  });
  return row(FAMILY, {
    op,
    order: 0,
    tolerance: "exact",
    instances: [
      instance([], 0),
      instance([0], 1),
      instance([7], 42),
      instance([3, 5], 2 ** 40 + 3),
      instance([2, 1, 3, 1, 2], 7),
      instance([1100], 9),
    ],
    arbitrary: fc.tuple(shapes(0, 3, 6), fc.nat(2 ** 31 - 1)).map(([shape, seed]) => instance(shape, seed)),
    ...more,
  });
}

const wide = (dtype: nf.DType): "f32" | "f64" => (dtype === "f64" ? "f64" : "f32");
/** 32 random bits scaled to a range, by the upper half of the product. */
const whole = (seed: number, length: number, low: number, high: number): number[] =>
  words(seed, length).map(([bits]) => low + Number((BigInt(bits) * BigInt(high - low)) >> 32n));

/** The bits of normal samples, which are the same wherever strict programs are: seed 42, as integers. */
const NORMAL_BITS: readonly number[] = [
  1049542193, 3205284393, 1066733900, 1073826151, 1011626163, 1035208895, 1051197096, 3210846876, 1061206479,
  3181869495, 1056405384, 3210126594,
];

function normalBits(): Row {
  const values = [...new Float32Array(Uint32Array.from(NORMAL_BITS).buffer)];
  const instance: Instance = {
    label: "seed 42",
    operands: [],
    run: () => nf.randn([NORMAL_BITS.length], { generator: new nf.Generator(42) }),
    reference: () => reference.nd([NORMAL_BITS.length], values),
  };
  return row(FAMILY, {
    op: "randn",
    variant: "bit by bit",
    dtypes: ["f32"],
    order: 0,
    tolerance: "exact",
    instances: [instance],
    arbitrary: fc.constant(instance),
  });
}

function permRow(): Row {
  const instance = (n: number, seed: number): Instance => ({
    label: `${n} seed ${seed}`,
    operands: [],
    run: () => nf.randperm(n, { generator: new nf.Generator(seed) }),
    reference: () => {
      const order = Array.from({ length: n }, (_, i) => i);
      const key = keyOf(seed);
      for (let last = n - 1; last > 0; last--) {
        const [high, low] = threefry(key, [last, 0]);
        const other = Math.floor(((high * 2 ** 21 + (low >>> 11)) / 2 ** 53) * (last + 1));
        [order[last], order[other]] = [order[other]!, order[last]!];
      }
      return reference.nd([n], order);
    },
  });
  return row(FAMILY, {
    op: "randperm",
    dtypes: ["i32"],
    order: 0,
    tolerance: "exact",
    instances: [instance(0, 1), instance(1, 1), instance(10, 3), instance(100, 5)],
    arbitrary: fc.tuple(between(0, 50), fc.nat(9999)).map(([n, seed]) => instance(n, seed)),
  });
}

const DROPOUTS = { dropout: nf.dropout, dropout1d: nf.dropout1d, dropout2d: nf.dropout2d } as const;

function dropoutRow(op: "dropout" | "dropout1d" | "dropout2d"): Row {
  const rank = op === "dropout" ? undefined : Number(op.at(-2)) + 2;
  const instance = (shape: readonly number[], p: number, seed: number): Instance => {
    const mask = rank === undefined ? shape : shape.map((size, axis) => (axis < 2 ? size : 1));
    return {
      label: `${shapesText(shape)} p ${p} seed ${seed}`,
      operands: [data(shape)],
      run: ([x]) => DROPOUTS[op](x!, { p, generator: new nf.Generator(seed) }),
      reference: ([x]) => {
        if (p === 0) return x!;
        const keep = uniforms(seed, reference.count(mask), "f32").map((u) => (u < 1 - p ? 1 / (1 - p) : 0));
        return reference.map((value, factor) => (p === 1 ? 0 : value * factor), x!, reference.nd(mask, keep));
      },
    };
  };
  const fixed =
    rank === undefined
      ? [[7], [3, 4], [], [0]]
      : [
          [2, 3, ...new Array<number>(rank - 2).fill(2)],
          [1, 4, ...new Array<number>(rank - 2).fill(3)],
        ];
  const any = rank === undefined ? shapes(0, 3, 5) : shapes(rank, rank, 3, 1);
  return row(FAMILY, {
    op,
    tolerance: "composed",
    instances: [
      ...fixed.map((shape) => instance(shape, 0.5, 3)),
      instance(fixed[0]!, 0.25, 4),
      instance(fixed[0]!, 0, 5),
      instance(fixed[0]!, 1, 6),
    ],
    arbitrary: fc
      .tuple(any, fc.constantFrom(0, 0.25, 0.5, 0.75), fc.nat(9999))
      .map(([shape, p, seed]) => instance(shape, p, seed)),
  });
}

/** An exponential race of uniform numbers, who arrives first first. */
function multinomialRow(): Row {
  const instance = (
    weights: readonly (readonly number[])[],
    count: number,
    replacement: boolean,
    seed: number,
  ): Instance => {
    const classes = weights[0]!.length;
    const shape = [weights.length, classes];
    return {
      label: `${shapesText(shape)} ${count}${replacement ? " with replacement" : ""} seed ${seed}`,
      operands: [{ shape, values: () => weights.flat(), dense: true }],
      run: ([p]) => nf.multinomial(p!, count, { replacement, generator: new nf.Generator(seed) }),
      reference: (_inputs, dtype) => {
        const runs = replacement ? weights.length * count : weights.length;
        const u = uniforms(seed, runs * classes, wide(dtype));
        const drawn = Array.from({ length: runs }, (_, run) => {
          const own = weights[replacement ? Math.floor(run / count) : run]!;
          const times = own.map((weight, i) =>
            weight > 0 ? -Math.log1p(-u[run * classes + i]!) / weight : Infinity,
          );
          const order = [...times.keys()].sort((a, b) =>
            times[a]! === times[b]! ? a - b : times[a]! - times[b]!,
          );
          return order.slice(0, replacement ? 1 : count);
        });
        return reference.nd([weights.length, count], drawn.flat());
      },
    };
  };
  const rows = [
    [1, 2, 3, 0],
    [0.5, 0.25, 4, 1],
  ];
  return row(FAMILY, {
    op: "multinomial",
    kernels: ["sort", "argReduce"],
    dtypes: ["f32", "f64"],
    result: always("i32"),
    order: 0,
    tolerance: "exact",
    instances: [instance(rows, 2, false, 1), instance(rows, 5, true, 2), instance([[1, 0, 0]], 1, false, 3)],
    arbitrary: fc
      .tuple(between(1, 3), fc.boolean(), fc.nat(9999))
      .map(([count, replacement, seed]) => instance(rows, count, replacement, seed)),
  });
}

/** Random numbers: the same bits everywhere, from Threefry2x32. */
export function randomRows(): readonly Row[] {
  return [
    drawRow(
      "rand",
      (shape, generator, dtype) => nf.rand(shape, { generator, dtype }),
      (seed, length, dtype) => uniforms(seed, length, wide(dtype)),
      { dtypes: FLOATS },
    ),
    drawRow(
      "randn",
      (shape, generator, dtype) => nf.randn(shape, { generator, dtype }),
      (seed, length, dtype) => normals(seed, length, wide(dtype)),
      { dtypes: FLOATS, tolerance: "rounded" },
    ),
    normalBits(),
    drawRow(
      "randint",
      (shape, generator, dtype) => nf.randint(-5, 100, shape, { generator, dtype }),
      (seed, length) => whole(seed, length, -5, 100),
      { dtypes: ["i32", "i8", "f32"] },
    ),
    drawRow(
      "randint",
      (shape, generator, dtype) => nf.randint(0, 1000003, shape, { generator, dtype }),
      (seed, length) => whole(seed, length, 0, 1000003),
      { dtypes: ["i32", "u32"], variant: "of a large range" },
    ),
    drawRow(
      "bernoulli",
      (shape, generator, dtype) => nf.bernoulli(shape, 0.25, { generator, dtype }),
      (seed, length) => uniforms(seed, length, "f32").map((u) => (u < 0.25 ? 1 : 0)),
      { dtypes: ALL },
    ),
    permRow(),
    multinomialRow(),
    dropoutRow("dropout"),
    dropoutRow("dropout1d"),
    dropoutRow("dropout2d"),
  ];
}

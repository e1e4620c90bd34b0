import { cpu } from "@nf/backend-cpu";
import { type Backend, type DType, makeView, sizeOf, type View } from "@nf/core";
import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { wasm } from "../src/index.ts";
import { decode, encode, positionsOf, RUNS, run } from "./helper.ts";

let one: Backend;
let two: Backend;
let four: Backend;
let reference: Backend;
beforeAll(async () => {
  [one, two, four, reference] = await Promise.all([
    wasm({ threads: 1 }),
    wasm({ threads: 2 }),
    wasm({ threads: 4 }),
    cpu(),
  ]);
});
afterAll(async () => {
  await Promise.all([one, two, four, reference].map((backend) => backend.dispose()));
});

/** How a matrix stack lies in memory. */
interface Layout {
  readonly transposed: boolean;
  /** The stack repeats its first matrix. */
  readonly shared: boolean;
  /** Elements between neighbours, and rows or columns walked backwards. */
  readonly gap: number;
  readonly flip: boolean;
}

interface Problem {
  readonly batch: number;
  readonly rows: number;
  readonly depth: number;
  readonly columns: number;
  readonly a: Layout;
  readonly b: Layout;
  readonly c: Layout;
  readonly dtype: DType;
}

const layout: fc.Arbitrary<Layout> = fc.record({
  transposed: fc.boolean(),
  shared: fc.boolean(),
  gap: fc.constantFrom(1, 1, 1, 2),
  flip: fc.constantFrom(false, false, false, true),
});
const size = fc.oneof(fc.integer({ min: 1, max: 9 }), fc.integer({ min: 1, max: 140 }));
const problems: fc.Arbitrary<Problem> = fc.record({
  batch: fc.integer({ min: 1, max: 3 }),
  rows: size,
  depth: fc.oneof(
    { weight: 5, arbitrary: size },
    { weight: 1, arbitrary: fc.integer({ min: 300, max: 1400 }) },
  ),
  columns: size,
  a: layout,
  b: layout,
  c: layout.map((choice) => ({ ...choice, shared: false })),
  dtype: fc.constantFrom<DType>("f32", "f32", "f64"),
});

function place(
  backend: Backend,
  dtype: DType,
  shape: readonly [number, number, number],
  { transposed, shared, gap, flip }: Layout,
  value: (position: number) => number,
): View {
  const [batch, rows, columns] = shape;
  const strides = transposed ? [rows * columns, 1, rows] : [rows * columns, columns, 1];
  const steps = strides.map((stride, axis) => (axis === 0 && shared ? 0 : stride * gap));
  let offset = 1;
  if (flip) {
    offset += (rows - 1) * (steps[1] as number);
    steps[1] = -(steps[1] as number);
  }
  const values = Array.from({ length: 1 + batch * rows * columns * gap }, (_, i) => value(i));
  const bytes = encode(dtype, values);
  const buffer = backend.allocate(bytes.byteLength);
  backend.write(buffer, 0, bytes);
  return makeView(buffer, dtype, shape, steps, offset);
}

/** The product's elements in order, and whether anything else of its buffer changed. */
function product(
  backend: Backend,
  { batch, rows, depth, columns, a, b, c, dtype }: Problem,
  value: (position: number) => number,
): { values: number[]; untouched: boolean } {
  const left = place(backend, dtype, [batch, rows, depth], a, value);
  const right = place(backend, dtype, [batch, depth, columns], b, (i) => value(i + 77));
  const out = place(backend, dtype, [batch, rows, columns], c, () => 99);
  run(backend, { kernel: "matmul", inputs: [left, right], outputs: [out] });
  const bytes = (backend.readSync as NonNullable<Backend["readSync"]>)(out.buffer, 0, out.buffer.byteLength);
  const all = decode(dtype, bytes);
  const positions = positionsOf(out);
  const values = positions.map((at) => all[at] as number);
  const own = new Set(positions);
  for (const view of [left, right, out]) backend.free(view.buffer);
  return { values, untouched: all.every((element, at) => own.has(at) || element === 99) };
}

/** Values of -1 to 1 without a pattern: waves resonate in some layouts, and such sums lose digits on the way. */
function noise(i: number): number {
  let bits = Math.imul(i + 1, 0x9e3779b1);
  bits = Math.imul(bits ^ (bits >>> 16), 0x85ebca6b);
  bits = Math.imul(bits ^ (bits >>> 13), 0xc2b2ae35);
  return Math.fround((bits ^ (bits >>> 16)) / 2 ** 31);
}

function check(problem: Problem): void {
  const expected = product(reference, problem, noise).values;
  const got = product(one, problem, noise);
  expect(got.untouched).toBe(true);
  const tolerance = problem.dtype === "f32" ? 2e-6 * Math.sqrt(problem.depth) + 1e-6 : 1e-12;
  // One assertion for all elements: there are many.
  const far = (x: number, i: number): boolean => {
    const y = expected[i] as number;
    return !(Math.abs(x - y) <= tolerance * (1 + Math.abs(y)));
  };
  expect(got.values.filter(far)).toEqual([]);
  for (const backend of [two, four]) {
    const same = product(backend, problem, noise).values;
    expect(same.filter((x, i) => !Object.is(x, got.values[i]))).toEqual([]);
  }
}

const plain: Layout = { transposed: false, shared: false, gap: 1, flip: false };
const turned: Layout = { ...plain, transposed: true };
const of = (rows: number, depth: number, columns: number, more: Partial<Problem> = {}): Problem => ({
  batch: 1,
  rows,
  depth,
  columns,
  a: plain,
  b: plain,
  c: plain,
  dtype: "f32",
  ...more,
});

describe("matmul", () => {
  it("equals the reference for any layout, with the same bits for 1, 2 and 4 threads", () => {
    fc.assert(fc.property(problems, check), { numRuns: RUNS });
  });

  it.each([
    ["many blocks of rows, B packed once", of(520, 70, 90)],
    ["the same, B transposed", of(520, 330, 41, { b: turned })],
    ["A transposed", of(520, 70, 90, { a: turned })],
    ["a deep product with few results", of(40, 4096, 24, { a: turned })],
    ["a deep product in doubles", of(33, 1500, 17, { dtype: "f64" })],
    ["a deep product of one element", of(1, 5000, 1)],
    ["a row times a matrix", of(1, 700, 900)],
    ["a row times a transposed matrix", of(1, 700, 900, { b: turned })],
    ["a matrix times a column", of(900, 700, 1)],
    ["a stack of rows times matrices", of(1, 64, 300, { batch: 5 })],
    ["a large stack", of(128, 32, 128, { batch: 6, b: turned })],
    ["a transposed result", of(150, 60, 70, { c: turned })],
    ["large doubles", of(300, 340, 130, { dtype: "f64", b: turned })],
  ])("is right for %s", (_, problem) => check(problem));

  it("keeps a NaN in its row and column, and infinities", () => {
    for (const [rows, depth, columns] of [
      [3, 5, 4],
      [1, 40, 40],
      [70, 64, 70],
      [9, 1200, 9],
    ] as const) {
      const nan = product(one, of(rows, depth, columns), (i) => (i === 1 ? NaN : 1)).values;
      nan.forEach((element, i) => {
        expect(element).toBe(i < columns ? NaN : depth);
      });
      const infinite = product(one, of(rows, depth, columns), (i) => (i === 1 ? -Infinity : 1)).values;
      infinite.forEach((element, i) => {
        expect(element).toBe(i < columns ? -Infinity : depth);
      });
    }
  });

  it("gives zeros for an empty depth", () => {
    const empty = product(one, of(3, 0, 4), () => 1).values;
    expect(empty).toEqual(new Array<number>(sizeOf([3, 4])).fill(0));
  });
});

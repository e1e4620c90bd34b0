import * as fc from "fast-check";
import { beforeAll, describe, expect, it } from "vitest";
import * as core from "../../src/index.ts";
import { setUp } from "./helper.ts";
import { make, type Operand, operandOf, operands, partnerOf, property, same, shapes } from "./operands.ts";
import { at, broadcast, build, count, type Host, matmul, reduce } from "./oracle.ts";

/*
 * Every family of operations over any shape (0-d, empty, size 1, up to rank 5) and any layout (permuted, cut, flipped,
 * repeated), against plain loops on the host. Values are multiples of 1/64, so that sums are exact.
 */

beforeAll(setUp);

describe("elementwise", () => {
  const half = Math.fround;
  const UNARY: readonly (readonly [string, (x: core.Tensor) => core.Tensor, (value: number) => number])[] = [
    ["neg", core.neg, (v) => -v],
    ["abs", core.abs, Math.abs],
    ["square", core.square, (v) => v * v],
    ["relu", core.relu, (v) => Math.max(v, 0)],
    ["sqrt of abs", (x) => core.sqrt(core.abs(x)), (v) => half(Math.sqrt(Math.abs(v)))],
    ["round", core.round, (v) => (Math.abs(v % 1) === 0.5 ? 2 * Math.round(v / 2) : Math.round(v))],
    ["clip", (x) => core.clip(x, { min: -1, max: 0.5 }), (v) => Math.min(Math.max(v, -1), 0.5)],
    ["logicalNot", core.logicalNot, (v) => Number(v === 0)],
    ["cast to i8", (x) => core.cast(x, "i8"), Math.trunc],
  ];
  it.each(UNARY)("%s", (_name, fn, expected) => {
    property(operands(), 30, (operand) => {
      const { x, host } = make(operand);
      same(fn(x), { shape: host.shape, values: host.values.map(expected) });
    });
  });

  const BINARY: readonly (readonly [string, core.BinaryFunction, (a: number, b: number) => number])[] = [
    ["add", core.add, (a, b) => a + b],
    ["sub", core.sub, (a, b) => a - b],
    ["mul", core.mul, (a, b) => a * b],
    ["div", core.div, (a, b) => half(a / b)],
    ["maximum", core.maximum, Math.max],
    ["less", core.less, (a, b) => Number(a < b)],
    ["remainder", core.remainder, (a, b) => half(a - b * Math.floor(a / b))],
  ];
  it.each(BINARY)("%s broadcasts", (_name, fn, expected) => {
    const pairs = shapes(5)
      .chain((shape) => fc.tuple(partnerOf(shape), partnerOf(shape)))
      .chain(([a, b]) => fc.tuple(operandOf(a), operandOf(b)));
    property(pairs, 40, ([left, right]) => {
      const a = make(left);
      const b = make(right);
      const shape = broadcast(left.shape, right.shape);
      same(
        fn(a.x, b.x),
        build(shape, (position) => expected(at(a.host, position), at(b.host, position))),
      );
    });
  });

  it("where broadcasts three operands", () => {
    const triples = shapes(4).chain((shape) =>
      fc.tuple(...[0, 1, 2].map(() => partnerOf(shape).chain(operandOf))),
    );
    property(triples, 60, ([c, left, right]) => {
      const condition = make(c!);
      const a = make(left!);
      const b = make(right!);
      const shape = [c!, left!, right!].map((one) => one.shape).reduce((all, one) => broadcast(all, one), []);
      same(
        core.where(core.greater(condition.x, 0), a.x, b.x),
        build(shape, (p) => (at(condition.host, p) > 0 ? at(a.host, p) : at(b.host, p))),
      );
    });
  });
});

describe("reductions", () => {
  const sum = (values: readonly number[]): number => values.reduce((a, b) => a + b, 0);
  const best = (values: readonly number[], value: number): number => values.indexOf(value);
  type Row = readonly [
    name: string,
    fn: (x: core.Tensor, options?: core.ReduceOptions) => core.Tensor,
    expected: (values: readonly number[]) => number,
    tolerance: number,
    refusesEmpty: boolean,
  ];
  const TABLE: readonly Row[] = [
    ["sum", core.sum, sum, 0, false],
    ["mean", core.mean, (values) => sum(values) / values.length, 1e-6, false],
    ["prod", core.prod, (values) => values.reduce((a, b) => a * b, 1), 1e-5, false],
    ["any", core.any, (values) => Number(values.some((v) => v !== 0)), 0, false],
    ["all", core.all, (values) => Number(values.every((v) => v !== 0)), 0, false],
    ["countNonzero", core.countNonzero, (values) => values.filter((v) => v !== 0).length, 0, false],
    ["logSumExp", core.logSumExp, (values) => Math.log(sum(values.map(Math.exp))), 1e-5, false],
    ["max", core.max, (values) => Math.max(...values), 0, true],
    ["min", core.min, (values) => Math.min(...values), 0, true],
    ["argmax", core.argmax, (values) => best(values, Math.max(...values)), 0, true],
    ["argmin", core.argmin, (values) => best(values, Math.min(...values)), 0, true],
  ];
  const cases = operands().chain((operand) =>
    fc.record({
      operand: fc.constant(operand),
      axes: fc.subarray(operand.shape.map((_, axis) => axis)),
      negative: fc.boolean(),
      keepDims: fc.boolean(),
    }),
  );
  it.each(TABLE)("%s", (_name, fn, expected, tolerance, refusesEmpty) => {
    property(cases, 60, ({ operand, axes, negative, keepDims }) => {
      const { x, host } = make(operand);
      const axis = negative ? axes.map((one) => one - x.rank) : axes;
      if (refusesEmpty && count(axes.map((one) => x.shape[one]!)) === 0) {
        expect(() => fn(x, { axis, keepDims })).toThrow(core.ShapeError);
      } else {
        same(fn(x, { axis, keepDims }), reduce(host, axes, keepDims, expected), tolerance);
      }
    });
  });

  it.each([
    ["var", core.var, (v: number) => v],
    ["std", core.std, Math.sqrt],
  ] as const)("%s", (_name, fn, finish) => {
    property(fc.tuple(cases, fc.constantFrom(0, 1)), 100, ([{ operand, axes, keepDims }, ddof]) => {
      const { x, host } = make(operand);
      const expected = reduce(host, axes, keepDims, (values) => {
        const mean = sum(values) / values.length;
        return finish(sum(values.map((v) => (v - mean) ** 2)) / Math.max(0, values.length - ddof));
      });
      same(fn(x, { axis: axes, keepDims, ddof }), expected, 2e-6);
    });
  });
});

describe("products", () => {
  const sizes = fc.constantFrom(0, 1, 2, 3, 5);
  const pairs = fc
    .record({ batch: shapes(3), rows: sizes, inner: sizes, columns: sizes })
    .chain(({ batch, rows, inner, columns }) =>
      fc.tuple(
        partnerOf(batch).chain((lead) => operandOf([...lead, rows, inner])),
        partnerOf(batch).chain((lead) => operandOf([...lead, inner, columns])),
      ),
    );

  it.each(["f32", "f64", "i32"] as const)("matmul of %s", (dtype) => {
    property(pairs, 100, ([left, right]) => {
      const a = make(left, dtype);
      const b = make(right, dtype);
      const expected = matmul(a.host, b.host);
      expect(core.matmul(a.x, b.x).dtype).toBe(dtype);
      same(core.matmul(a.x, b.x), expected, dtype === "i32" ? 0 : 1e-6);
    });
  });

  it("vectors are rows on the left and columns on the right", () => {
    property(fc.tuple(operands(1, 1), operands(3, 2), operands(1, 1)), 100, ([row, table, column]) => {
      const { x, host } = make(table);
      const fit = (operand: Operand, size: number): { x: core.Tensor; host: Host } =>
        make({ ...operand, shape: [size] });
      const left = fit(row, x.shape.at(-2)!);
      const right = fit(column, x.shape.at(-1)!);
      const lead = x.shape.slice(0, -2);
      const dropped = (h: Host, shape: readonly number[]): Host => ({ shape, values: h.values });
      const asRow = { shape: [1, left.x.size], values: left.host.values };
      const asColumn = { shape: [right.x.size, 1], values: right.host.values };
      same(core.matmul(left.x, x), dropped(matmul(asRow, host), [...lead, x.shape.at(-1)!]), 1e-6);
      same(core.matmul(x, right.x), dropped(matmul(host, asColumn), [...lead, x.shape.at(-2)!]), 1e-6);
    });
  });
});

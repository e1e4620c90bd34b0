import { describe, expect, it } from "vitest";
import type { Expr } from "../../src/scalar/expr.ts";
import * as s from "../../src/scalar/expr.ts";
import { evaluate } from "../../src/scalar/interpret.ts";
import { program } from "../../src/scalar/program.ts";

type Body = (x: Expr, y: Expr) => Expr;

const of = (body: Body, dtype: "f32" | "f64" | "i32" = "f64") =>
  program("test", [dtype, dtype], [], ([x, y]) => body(x as Expr, y as Expr));
/** Simplified result of an expression of two inputs. */
const result = (body: Body, dtype: "f32" | "f64" | "i32" = "f64"): Expr => of(body, dtype).results[0] as Expr;

describe("building", () => {
  it("refuses operands of different dtypes and dtypes that an operation does not take", () => {
    const f = s.input(0, "f32");
    const d = s.input(1, "f64");
    const i = s.input(2, "i32");
    expect(() => s.add(f, d)).toThrow(/add: operands are f32 and f64/);
    expect(() => s.exp(i)).toThrow(/exp: takes f32, f64, got i32/);
    expect(() => s.and(f, f)).toThrow(/and: takes i32, u32, bool, got f32/);
    expect(() => s.select(f, 1, f)).toThrow(/condition must be bool/);
    expect(() => s.bitcast(d, "i32")).toThrow(/bitcast: takes/);
    expect(() => s.add(1, 2)).toThrow(/at least one operand/);
    expect(() => s.gt(1, 2)).toThrow(/gt: at least one operand/);
  });

  it("refuses leaves that were not declared, or as another dtype", () => {
    expect(() => program("p", ["f32"], [], () => s.input(1, "f32"))).toThrow(
      /p: input 1 is used as f32 but declared not at all/,
    );
    expect(() => program("p", ["f32"], ["i32"], () => s.cast(s.param(0, "f32"), "f64"))).toThrow(
      /param 0 is used as f32 but declared i32/,
    );
  });

  it("lists coordinates, and numbers every program", () => {
    const grid = program("grid", [], [], () =>
      s.add(s.coordinate(-1), s.mul(s.coordinate(-3), s.coordinate(-1))),
    );
    expect(grid.coordinates).toEqual([-3, -1]);
    expect(program("grid", [], [], () => s.coordinate(-1)).id).not.toBe(grid.id);
  });

  it("takes deep expressions without recursion", () => {
    const deep = program("deep", ["f64"], [], ([x]) => {
      let sum = x as Expr;
      for (let i = 0; i < 3000; i++) sum = s.add(s.mul(sum, 0.5), x as Expr);
      return sum;
    });
    expect(evaluate(deep, [1])[0]).toBeCloseTo(2, 12);
  });
});

describe("simplification", () => {
  it("folds constants with the rounding and wrap-around of their dtype", () => {
    const folded: [Expr, number][] = [
      [
        result(() => s.add(s.constant(0.1, "f32"), s.constant(0.2, "f32")), "f32"),
        Math.fround(Math.fround(0.1) + Math.fround(0.2)),
      ],
      [result(() => s.add(s.constant(0.1, "f64"), s.constant(0.2, "f64"))), 0.1 + 0.2],
      [result(() => s.add(s.constant(2147483647, "i32"), s.constant(1, "i32"))), -2147483648],
      [result(() => s.mul(s.constant(65536, "u32"), s.constant(65537, "u32"))), 65536],
      [result(() => s.sub(s.constant(0, "u32"), s.constant(1, "u32"))), 4294967295],
      [result(() => s.cast(s.constant(-3.7, "f32"), "i32")), -3],
      [result(() => s.cast(s.constant(1e20, "f32"), "i32")), 2147483647],
      [result(() => s.cast(s.constant(-1, "f32"), "u32")), 0],
      [result(() => s.cast(s.constant(NaN, "f64"), "i32")), 0],
      [result(() => s.bitcast(s.constant(1, "f32"), "u32")), 0x3f800000],
      [
        result(() =>
          s.threefry(
            0,
            s.constant(0, "u32"),
            s.constant(0, "u32"),
            s.constant(0, "u32"),
            s.constant(0, "u32"),
          ),
        ),
        0x6b200159,
      ],
      [result(() => s.exp(s.neg(s.constant(Infinity, "f64")))), 0],
      [result(() => s.constant(0.1, "f32")), Math.fround(0.1)],
    ];
    for (const [expr, value] of folded) {
      expect(expr.op).toBe("const");
      expect(expr.value).toBe(value);
    }
  });

  it("shares what is equal, either way round where the operation commutes", () => {
    const x = s.input(0, "f32");
    const y = s.input(1, "f32");
    const shared = program("p", ["f32", "f32"], [], () => [
      s.mul(s.add(x, y), s.exp(s.add(y, x))),
      s.exp(s.add(x, y)),
      s.sub(x, y),
      s.sub(y, x),
    ]);
    expect(shared.instructions.map((expr) => expr.op).sort()).toEqual([
      "add",
      "exp",
      "input",
      "input",
      "mul",
      "sub",
      "sub",
    ]);
    expect(shared.results[1]).toBe((shared.results[0] as Expr).args.find((arg) => arg.op === "exp"));
  });

  it("applies algebra that holds for every value", () => {
    const x = s.input(0, "f64");
    const gone: Body[] = [
      (a) => s.mul(a, 1),
      (a) => s.mul(1, a),
      (a) => s.div(a, 1),
      (a) => s.sub(a, 0),
      (a) => s.neg(s.neg(a)),
      (a, b) => s.select(s.lt(a, b), a, a),
      (a) => s.select(s.constant(1, "bool"), a, s.exp(a)),
      (a) => s.check(a, s.constant(1, "bool"), "index out of range"),
    ];
    for (const body of gone) expect(result(body)).toMatchObject({ op: "input", value: x.value });
    expect(result((a) => s.mul(a, -1)).op).toBe("neg");
    expect(result((a, b) => s.add(a, s.neg(b))).op).toBe("sub");
    expect(result((a, b) => s.select(s.not(s.lt(a, b)), a, b)).args.map((arg) => arg.op)).toEqual([
      "lt",
      "input",
      "input",
    ]);
  });

  it("never changes a value: NaN, infinities and -0 included", () => {
    const bodies: Body[] = [
      (a) => s.mul(a, 0),
      (a) => s.add(a, 0),
      (a) => s.add(0, a),
      (a) => s.sub(0, a),
      (a) => s.sub(a, a),
      (a) => s.div(a, a),
      (a) => s.sub(a, -0),
      (a) => s.mul(a, -1),
      (a) => s.neg(s.neg(a)),
      (a, b) => s.add(s.neg(a), b),
      (a, b) => s.sub(a, s.neg(b)),
      (a, b) => s.add(a, s.neg(b)),
      (a) => s.add(a, -0),
      (a, b) => s.max(a, b),
      (a, b) => s.min(b, a),
      (a) => s.mul(1, a),
      (a) => s.select(s.eq(a, a), a, 7),
      (a) => s.pow(a, 0),
      (a) => s.pow(1, a),
      (a, b) => s.select(s.not(s.le(a, b)), a, b),
    ];
    const plain = [
      (a: number) => a * 0,
      (a: number) => a + 0,
      (a: number) => 0 + a,
      (a: number) => 0 - a,
      (a: number) => a - a,
      (a: number) => a / a,
      (a: number) => a - -0,
      (a: number) => a * -1,
      (a: number) => a,
      (a: number, b: number) => -a + b,
      (a: number, b: number) => a - -b,
      (a: number, b: number) => a + -b,
      (a: number) => a + -0,
      (a: number, b: number) => Math.max(a, b),
      (a: number, b: number) => Math.min(a, b),
      (a: number) => a,
      (a: number) => (Number.isNaN(a) ? 7 : a),
      () => 1,
      () => 1,
      (a: number, b: number) => (!(a <= b) ? a : b),
    ];
    const values = [0, -0, 1, -1, 2.5, Infinity, -Infinity, NaN];
    bodies.forEach((body, i) => {
      const prog = of(body);
      for (const a of values) {
        for (const b of values) {
          expect(evaluate(prog, [a, b])[0], `body ${i} at ${a}, ${b}`).toBe(
            (plain[i] as (a: number, b: number) => number)(a, b),
          );
        }
      }
    });
  });

  it("keeps stated derivatives in outputs and drops them from results", () => {
    const prog = program("p", ["f64"], [], ([x]) =>
      s.stated(s.exp(x as Expr), [x as Expr], [s.constant(7, "f64")]),
    );
    expect(prog.outputs[0]?.op).toBe("stated");
    expect(prog.instructions.map((expr) => expr.op)).toEqual(["input", "exp"]);
  });
});

describe("evaluate", () => {
  it("rounds every operation to its dtype", () => {
    const sum = program("sum", ["f32", "f32"], ["f32"], ([x, y], [p]) =>
      s.add(s.mul(x as Expr, y as Expr), p as Expr),
    );
    const [x, y, p] = [1.1, 2.3, 1e-3].map(Math.fround) as [number, number, number];
    expect(evaluate(sum, [1.1, 2.3], [1e-3])[0]).toBe(Math.fround(Math.fround(x * y) + p));
  });

  it("takes a select's branch without looking at the other, and does check both", () => {
    const safe = of((x) => s.select(s.lt(x, 0), 0, s.log(x)));
    expect(evaluate(safe, [-1, 0])[0]).toBe(0);
    const checked = program("pick", ["i32"], [], ([i]) =>
      s.select(s.lt(i as Expr, 0), 0, s.check(i as Expr, s.lt(i as Expr, 3), "index out of range")),
    );
    expect(evaluate(checked, [2])[0]).toBe(2);
    expect(() => evaluate(checked, [3])).toThrow(
      expect.objectContaining({
        code: "NF_ARITHMETIC",
        message: expect.stringContaining("pick: index out of range"),
      }),
    );
  });

  it("reads coordinates from the end, 0 where the axis is missing", () => {
    const grid = program("grid", [], [], () => s.add(s.mul(s.coordinate(-2), 10), s.coordinate(-1)));
    expect(evaluate(grid, [], [], [5, 3, 4])[0]).toBe(34);
    expect(evaluate(grid, [], [], [4])[0]).toBe(4);
  });

  it("follows the conventions: divisor's sign, half to even, NaN through max", () => {
    const at = (body: Body, x: number, y = 0): number => evaluate(of(body), [x, y])[0] as number;
    const atInt = (body: Body, x: number, y: number): number =>
      evaluate(of(body, "i32"), [x, y])[0] as number;
    expect(
      [
        [7, 3],
        [-7, 3],
        [7, -3],
        [-7, -3],
      ].map(([x, y]) => at(s.mod, x as number, y)),
    ).toEqual([1, 2, -2, -1]);
    expect(
      [
        [7, 3],
        [-7, 3],
        [7, -3],
        [-7, -3],
      ].map(([x, y]) => atInt(s.mod, x as number, y as number)),
    ).toEqual([1, 2, -2, -1]);
    expect(
      [
        [7, 3],
        [-7, 3],
        [7, -3],
        [-7, -3],
      ].map(([x, y]) => atInt(s.floorDiv, x as number, y as number)),
    ).toEqual([2, -3, -3, 2]);
    expect([0.5, 1.5, 2.5, -0.5, -1.5, 3.2, -3.7].map((x) => at(s.round, x))).toEqual([
      0, 2, 2, -0, -2, 3, -4,
    ]);
    expect([at(s.max, NaN, 1), at(s.max, 1, NaN), at(s.min, NaN, 1), at(s.min, 1, NaN)]).toEqual([
      NaN,
      NaN,
      NaN,
      NaN,
    ]);
    expect([at(s.pow, 1, NaN), at(s.pow, -1, Infinity), at(s.pow, 0, 0), at(s.pow, NaN, 0)]).toEqual([
      1, 1, 1, 1,
    ]);
    expect([at(s.sign, -3), at(s.sign, NaN), at(s.abs, -0)]).toEqual([-1, NaN, 0]);
  });
});

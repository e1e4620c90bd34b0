import { describe, expect, it } from "vitest";
import type { Expr } from "../../src/scalar/expr.ts";
import * as s from "../../src/scalar/expr.ts";
import { evaluate } from "../../src/scalar/interpret.ts";
import { type Language, printProgram } from "../../src/scalar/print.ts";
import { type Program, program } from "../../src/scalar/program.ts";

/** Just enough of a language to see, and to run, what the skeleton does. */
const plain: Language = {
  constant: (value) => (Object.is(value, -0) ? "-0" : String(value)),
  param: (index) => `p${index}`,
  coordinate: (axis) => `at[${axis}]`,
  load: (index) => `x${index}`,
  operation: (expr, operands) => `${expr.op}(${operands.join(", ")})`,
  declare: (name, dtype, value) => `const ${name}: ${dtype} = ${value};`,
  check: (condition, code) => `if (!${condition}) fail(${code});`,
  store: (index, value) => `y${index} = ${value};`,
};

const lines = (prog: Program): readonly string[] => printProgram(prog, plain);

describe("printProgram", () => {
  it("writes what is used once where it is used, and names the rest", () => {
    const prog = program("p", ["f32", "f32"], ["f32"], ([x, y], [p]) => {
      const sum = s.add(x as Expr, s.mul(y as Expr, p as Expr));
      return s.mul(sum, s.exp(sum));
    });
    expect(lines(prog)).toEqual(["const t0: f32 = add(x0, mul(x1, p0));", "y0 = mul(t0, exp(t0));"]);
  });

  it("names an input that is used more than once, but no constant, parameter or coordinate", () => {
    const prog = program("p", ["i32"], ["i32"], ([x], [p]) =>
      s.mul(
        s.add(s.mul(x as Expr, x as Expr), s.mul(p as Expr, p as Expr)),
        s.add(s.mul(s.coordinate(-1), s.coordinate(-1)), s.xor(s.constant(3, "i32"), s.mul(p as Expr, 3))),
      ),
    );
    expect(lines(prog).filter((line) => line.startsWith("const"))).toEqual(["const t0: i32 = x0;"]);
  });

  it("loads everything before the first store", () => {
    const swap = program("swap", ["f32", "f32"], [], ([x, y]) => [y as Expr, x as Expr]);
    expect(lines(swap)).toEqual(["const t0: f32 = x1;", "const t1: f32 = x0;", "y0 = t0;", "y1 = t1;"]);
    const twice = program("twice", ["f32"], [], ([x]) => [s.exp(x as Expr), s.exp(x as Expr)]);
    expect(lines(twice)).toEqual(["const t0: f32 = exp(x0);", "y0 = t0;", "y1 = t0;"]);
  });

  it("writes checks as statements of their own, before what needs them", () => {
    const prog = program("p", ["i32"], [], ([x]) => {
      const safe = s.check(x as Expr, s.ne(x as Expr, 0), "integer division by zero");
      return s.floorDiv(safe, safe);
    });
    expect(lines(prog)).toEqual([
      "const t0: i32 = x0;",
      "if (!ne(t0, 0)) fail(0);",
      "y0 = floorDiv(t0, t0);",
    ]);
  });

  it("hands non-finite constants, NaN tests and NaN-propagating maxima to the language", () => {
    const prog = program("p", ["f32"], [], ([x]) =>
      s.select(s.isNaN(x as Expr), -Infinity, s.max(s.exp(x as Expr), NaN)),
    );
    expect(lines(prog).at(-1)).toBe("y0 = select(isNaN(t0), -Infinity, max(exp(t0), NaN));");
  });

  it("cuts very long expressions into statements, so that compilers need not recurse", () => {
    const deep = program("deep", ["f64"], [], ([x]) => {
      let sum: Expr = x as Expr;
      for (let i = 1; i <= 2000; i++) sum = s.add(s.mul(sum, 0.5), i);
      return sum;
    });
    const printed = lines(deep);
    expect(printed.length).toBeGreaterThan(10);
    for (const line of printed) expect(line.length).toBeLessThan(1700);
    const body = printed.join("\n").replaceAll(": f64", "");
    const run = new Function("x0", "add", "mul", `let y0; ${body} return y0;`);
    expect(
      run(
        1,
        (a: number, b: number) => a + b,
        (a: number, b: number) => a * b,
      ),
    ).toBe(evaluate(deep, [1])[0]);
  });
});

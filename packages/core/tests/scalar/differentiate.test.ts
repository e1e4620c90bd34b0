import { describe, expect, it } from "vitest";
import { derivative } from "../../src/scalar/differentiate.ts";
import type { Expr } from "../../src/scalar/expr.ts";
import * as s from "../../src/scalar/expr.ts";
import { evaluate } from "../../src/scalar/interpret.ts";
import { SCALAR_OPS, type ScalarOp } from "../../src/scalar/ops.ts";
import { type Program, program } from "../../src/scalar/program.ts";

/** Gradients of the outputs' weighted sum by each wanted input, by the derivative program. */
function gradients(
  prog: Program,
  inputs: readonly number[],
  wanted: readonly number[],
  params: readonly number[] = [],
  outputsSaved = true,
): readonly number[] {
  const { program: back, uses } = derivative(prog, wanted, outputsSaved);
  const outputs = evaluate(prog, inputs, params);
  const values = uses.map(
    ({ from, index }) =>
      (from === "input" ? inputs[index] : from === "output" ? outputs[index] : 1) as number,
  );
  return evaluate(back, values, params);
}

/** The same by central differences. */
function differences(
  prog: Program,
  inputs: readonly number[],
  wanted: readonly number[],
  params: readonly number[] = [],
): readonly number[] {
  const sum = (at: readonly number[]): number => evaluate(prog, at, params).reduce((a, b) => a + b, 0);
  return wanted.map((index) => {
    const step = 1e-5 * Math.max(1, Math.abs(inputs[index] as number));
    const moved = (by: number): number[] => inputs.map((x, i) => (i === index ? x + by : x));
    return (
      (8 * (sum(moved(step)) - sum(moved(-step))) - (sum(moved(2 * step)) - sum(moved(-2 * step)))) /
      (12 * step)
    );
  });
}

function agree(got: readonly number[], expected: readonly number[], label: string): void {
  got.forEach((value, i) => {
    const reference = expected[i] as number;
    expect(Math.abs(value - reference), `${label}: ${value} against ${reference}`).toBeLessThanOrEqual(
      1e-7 * (1 + Math.abs(reference)),
    );
  });
}

const of = (name: string, body: (x: Expr, y: Expr) => Expr, params: readonly "f64"[] = []): Program =>
  program(name, ["f64", "f64"], params, ([x, y]) => body(x as Expr, y as Expr));

/** Points where each operation is smooth and its derivative not near zero, operand by operand. */
const POINTS: Partial<Record<ScalarOp, readonly (readonly [number, number])[]>> = {
  add: [[1.3, -0.4]],
  sub: [[1.3, -0.4]],
  mul: [
    [1.3, -0.4],
    [-2, 5],
  ],
  div: [
    [1.3, -0.4],
    [-2, 5],
  ],
  mod: [
    [7.3, 2.1],
    [-7.3, 2.1],
    [7.3, -2.1],
  ],
  pow: [
    [1.3, -0.4],
    [2.5, 3],
    [0.2, 2.2],
  ],
  max: [
    [1, 2],
    [3, -1],
  ],
  min: [
    [1, 2],
    [3, -1],
  ],
  atan2: [
    [1, 2],
    [-1.5, 0.7],
    [0.4, -3],
  ],
  neg: [[1.1, 0]],
  abs: [
    [1.1, 0],
    [-2, 0],
  ],
  sqrt: [
    [2.2, 0],
    [0.01, 0],
  ],
  exp: [
    [0.7, 0],
    [-3, 0],
  ],
  expm1: [
    [0.7, 0],
    [1e-6, 0],
    [-3, 0],
  ],
  log: [
    [0.3, 0],
    [5, 0],
  ],
  log1p: [
    [0.3, 0],
    [-0.6, 0],
  ],
  log2: [
    [0.3, 0],
    [5, 0],
  ],
  sin: [
    [0.5, 0],
    [3, 0],
  ],
  cos: [
    [0.5, 0],
    [2, 0],
  ],
  tan: [
    [0.5, 0],
    [-1, 0],
  ],
  asin: [
    [0.3, 0],
    [-0.8, 0],
  ],
  acos: [
    [0.3, 0],
    [-0.8, 0],
  ],
  atan: [
    [0.3, 0],
    [-4, 0],
  ],
  sinh: [
    [0.5, 0],
    [-2, 0],
  ],
  cosh: [
    [0.5, 0],
    [-2, 0],
  ],
  tanh: [
    [0.5, 0],
    [-2, 0],
  ],
  asinh: [
    [0.5, 0],
    [-2, 0],
  ],
  acosh: [
    [1.5, 0],
    [4, 0],
  ],
  atanh: [
    [0.5, 0],
    [-0.9, 0],
  ],
  erf: [
    [0.1, 0],
    [-0.9, 0],
    [1.4, 0],
    [3, 0],
  ],
  erfc: [
    [0.1, 0],
    [-0.9, 0],
    [1.4, 0],
    [3, 0],
  ],
};
/** Operations that have no float result, are constant between jumps, or are tested by themselves below. */
const ELSEWHERE: readonly ScalarOp[] = [
  "const",
  "input",
  "param",
  "coordinate",
  "select",
  "check",
  "stated",
  "cast",
  "bitcast",
  "threefry",
  "floorDiv",
  "and",
  "or",
  "xor",
  "shl",
  "shr",
  "eq",
  "ne",
  "lt",
  "le",
  "not",
  "isNaN",
  "isInf",
  "sign",
  "floor",
  "ceil",
  "round",
  "trunc",
];
const BINARY: readonly ScalarOp[] = ["add", "sub", "mul", "div", "mod", "pow", "max", "min", "atan2"];
const builders: Readonly<Record<string, unknown>> = s;
const build = (op: string, ...args: readonly Expr[]): Expr =>
  (builders[op] as (...args: readonly Expr[]) => Expr)(...args);

describe("derivative", () => {
  it("covers every operation of the table", () => {
    expect([...Object.keys(POINTS), ...ELSEWHERE].sort()).toEqual(Object.keys(SCALAR_OPS).sort());
  });

  it("agrees with central differences for every operation, first and second order", () => {
    for (const [op, points] of Object.entries(POINTS)) {
      const isBinary = BINARY.includes(op as ScalarOp);
      const wanted = isBinary ? [0, 1] : [0];
      const prog = of(op, (x, y) => build(op, ...(isBinary ? [x, y] : [x])));
      for (const point of points) {
        for (const saved of [true, false])
          agree(
            gradients(prog, point, wanted, [], saved),
            differences(prog, point, wanted),
            `${op} at ${point}`,
          );
        // Second order: the first derivative is a program of its own.
        for (const index of wanted) {
          const { program: first, uses } = derivative(prog, [index], false);
          const values = uses.map(({ from, index: i }) => (from === "input" ? (point[i] as number) : 1));
          const smooth = uses.flatMap(({ from }, i) => (from === "input" ? [i] : []));
          if (smooth.length > 0)
            agree(gradients(first, values, smooth), differences(first, values, smooth), `${op}' at ${point}`);
        }
      }
    }
  });

  it("goes through composite expressions, shared values, parameters and several outputs", () => {
    const prog = program("composite", ["f64", "f64"], ["f64"], ([x, y], [p]) => {
      const shared = s.mul(s.sin(x as Expr), s.add(y as Expr, p as Expr));
      return [
        s.exp(s.mul(shared, shared)),
        s.div(shared, s.add(s.mul(x as Expr, x as Expr), 1)),
        x as Expr,
        s.select(s.lt(x as Expr, y as Expr), s.mul(x as Expr, 3), shared),
      ];
    });
    for (const point of [
      [0.3, 0.9],
      [1.2, -0.4],
    ])
      agree(gradients(prog, point, [0, 1], [0.25]), differences(prog, point, [0, 1], [0.25]), "composite");
  });

  it("is 0 for steps and inputs that do not matter, and casts the gradient back", () => {
    const steps = of("steps", (x, y) =>
      s.add(
        s.add(s.floor(x), s.sign(x)),
        s.add(s.round(x), s.mul(s.add(s.ceil(x), s.trunc(x)), s.constant(2, y.dtype))),
      ),
    );
    expect(gradients(steps, [1.3, 5], [0, 1])).toEqual([0, 0]);
    const narrow = program("narrow", ["f32"], [], ([x]) => s.mul(s.cast(x as Expr, "f64"), 3));
    const { program: back } = derivative(narrow, [0], true);
    expect(back.results[0]?.dtype).toBe("f32");
    expect(gradients(narrow, [2], [0])).toEqual([3]);
    const checked = program("checked", ["f64"], [], ([x]) =>
      s.mul(s.check(x as Expr, s.lt(x as Expr, 9), "index out of range"), 2),
    );
    expect(gradients(checked, [2], [0])).toEqual([2]);
  });

  it("follows the conventions at kinks: abs and relu 0 at 0, ties of max halved, pow at 0", () => {
    expect(
      gradients(
        of("abs", (x) => s.abs(x)),
        [0, 0],
        [0],
      ),
    ).toEqual([0]);
    expect(gradients(of("max", s.max), [2, 2], [0, 1])).toEqual([0.5, 0.5]);
    expect(gradients(of("min", s.min), [2, 2], [0, 1])).toEqual([0.5, 0.5]);
    expect(gradients(of("pow", s.pow), [0, 0], [0, 1])).toEqual([0, 0]);
    expect(gradients(of("pow", s.pow), [0, 2], [0, 1])).toEqual([0, 0]);
    expect(gradients(of("pow", s.pow), [-2, 3], [0])).toEqual([12]);
  });

  it("uses a stated derivative instead of the plain one, to any order", () => {
    const relu = of("relu", (x) => {
      const y = s.max(x, 0);
      return s.stated(y, [x], [s.cast(s.gt(y, 0), "f64")]);
    });
    expect([-1, 0, 2].map((x) => gradients(relu, [x, 0], [0])[0])).toEqual([0, 0, 1]);
    const sigmoid = of("sigmoid", (x) => {
      const y = s.div(s.constant(1, "f64"), s.add(s.exp(s.neg(x)), 1));
      return s.stated(y, [x], [s.mul(y, s.sub(1, y))]);
    });
    const softplus = of("softplus", (x) => {
      const y = s.add(s.max(x, 0), s.log1p(s.exp(s.neg(s.abs(x)))));
      return s.stated(y, [x], [s.div(s.constant(1, "f64"), s.add(s.exp(s.neg(x)), 1))]);
    });
    for (const prog of [sigmoid, softplus]) {
      for (const x of [-2, 0.3, 1.7]) {
        agree(gradients(prog, [x, 0], [0]), differences(prog, [x, 0], [0]), prog.name);
        const { program: first, uses } = derivative(prog, [0], false);
        const values = uses.map(({ from }) => (from === "input" ? x : 1));
        const at = uses.flatMap(({ from }, i) => (from === "input" ? [i] : []));
        agree(gradients(first, values, at), differences(first, values, at), `${prog.name}'`);
      }
    }
    expect(gradients(softplus, [-800, 0], [0])).toEqual([0]);
    expect(gradients(softplus, [800, 0], [0])).toEqual([1]);
  });

  it("keeps the branch not taken out, even where it is infinite: where(x > 20, x, log1p(exp(x)))", () => {
    const prog = of("softplus", (x) => s.select(s.gt(x, 20), x, s.log1p(s.exp(x))));
    expect(gradients(prog, [1000, 0], [0])).toEqual([1]);
    agree(gradients(prog, [3, 0], [0]), differences(prog, [3, 0], [0]), "softplus");
    const { program: first, uses } = derivative(prog, [0], false);
    for (const [x, expected] of [
      [1000, 0],
      [0, 0.25],
    ] as const) {
      const values = uses.map(({ from }) => (from === "input" ? x : 1));
      const at = uses.findIndex(({ from }) => from === "input");
      expect(gradients(first, values, [at])[0]).toBeCloseTo(expected, 12);
    }
    const safeLog = of("safeLog", (x) => s.select(s.gt(x, 0), s.log(x), s.constant(0, "f64")));
    expect(gradients(safeLog, [0, 0], [0])).toEqual([0]);
    const safeRoot = of("safeRoot", (x) => s.select(s.le(x, 0), 0, s.mul(s.sqrt(x), s.sqrt(x))));
    expect(gradients(safeRoot, [0, 0], [0])).toEqual([0]);
  });

  it("reads only what it needs, outputs rather than inputs where either serves", () => {
    const reads = (prog: Program, wanted: readonly number[], saved = true): string[] =>
      derivative(prog, wanted, saved).uses.map(({ from, index }) => `${from} ${index}`);
    expect(
      reads(
        of("tanh", (x) => s.tanh(x)),
        [0],
      ),
    ).toEqual(["output 0", "gradient 0"]);
    expect(
      reads(
        of("exp", (x) => s.exp(x)),
        [0],
      ),
    ).toEqual(["output 0", "gradient 0"]);
    expect(
      reads(
        of("sqrt", (x) => s.sqrt(x)),
        [0],
      ),
    ).toEqual(["output 0", "gradient 0"]);
    expect(
      reads(
        of("relu", (x) => {
          const y = s.max(x, 0);
          return s.stated(y, [x], [s.cast(s.gt(y, 0), "f64")]);
        }),
        [0],
      ),
    ).toEqual(["output 0", "gradient 0"]);
    expect(
      reads(
        of("tanh", (x) => s.tanh(x)),
        [0],
        false,
      ),
    ).toEqual(["input 0", "gradient 0"]);
    expect(reads(of("add", s.add), [0, 1])).toEqual(["gradient 0"]);
    expect(
      reads(
        of("sin", (x) => s.sin(x)),
        [0],
      ),
    ).toEqual(["input 0", "gradient 0"]);
    expect(reads(of("mul", s.mul), [0])).toEqual(["input 1", "gradient 0"]);
    expect(reads(of("mul", s.mul), [0, 1])).toEqual(["input 0", "input 1", "gradient 0"]);
    expect(
      reads(
        of("steps", (x) => s.floor(x)),
        [0],
      ),
    ).toEqual([]);
  });

  it("makes each derivative once", () => {
    const prog = of("mul", s.mul);
    expect(derivative(prog, [0], true)).toBe(derivative(prog, [0], true));
    expect(derivative(prog, [0], true)).not.toBe(derivative(prog, [1], true));
  });
});

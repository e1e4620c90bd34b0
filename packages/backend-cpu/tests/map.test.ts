import {
  type Backend,
  type ComputeDType,
  DTYPES,
  type DType,
  evaluate,
  type Program,
  program,
  scalar as s,
  type View,
} from "@nf/core";
import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { cpu } from "../src/index.ts";
import { blank, download, lay, layoutOf, RUNS, runMap, upload } from "./helper.ts";

let compiled: Backend;
let interpreted: Backend;
beforeAll(async () => {
  compiled = await cpu({ codegen: true });
  interpreted = await cpu({ codegen: false });
});
afterAll(async () => {
  await compiled.dispose();
  await interpreted.dispose();
});

const shapes = fc.array(fc.integer({ min: 1, max: 4 }), { maxLength: 4 });

/** What the reference makes of a program at every point. */
function reference(
  prog: Program,
  shape: readonly number[],
  inputs: readonly number[][],
  params: readonly number[],
): number[][] {
  const size = shape.reduce((a, b) => a * b, 1);
  const columns: number[][] = prog.results.map(() => []);
  for (let point = 0; point < size; point++) {
    const coordinates: number[] = [];
    let rest = point;
    for (let axis = shape.length - 1; axis >= 0; axis--) {
      coordinates.unshift(rest % (shape[axis] as number));
      rest = Math.floor(rest / (shape[axis] as number));
    }
    evaluate(
      prog,
      inputs.map((list) => list[point] as number),
      params,
      coordinates,
    ).forEach((value, k) => {
      (columns[k] as number[]).push(value);
    });
  }
  return columns;
}

const mixed = program(
  "mixed",
  ["f32", "f32"],
  ["f32"],
  ([a, b], [p]) => [s.add(s.mul(a, b), p), s.select(s.lt(a, b), s.sub(a, b), s.max(a, s.mul(b, p)))],
  { strict: true },
);
const withCoordinates = program("grid", ["i32"], [], ([x]) =>
  s.add(s.mul(s.coordinate(-2), 10), s.add(s.coordinate(-1), x)),
);

/** Random programs of shared subexpressions over floats, integers and conditions. */
const randomPrograms: fc.Arbitrary<Program> = fc
  .tuple(
    fc.array(fc.tuple(fc.nat(9), fc.nat(), fc.nat(), fc.nat()), { minLength: 1, maxLength: 30 }),
    fc.constantFrom<"f32" | "f64">("f32", "f64"),
  )
  .map(([steps, dtype]) =>
    program(
      "random",
      [dtype, dtype],
      [dtype],
      ([x, y], [p]) => {
        const floats: s.Expr[] = [x as s.Expr, y as s.Expr, p as s.Expr, s.constant(-0.7, dtype)];
        const ints: s.Expr[] = [s.coordinate(-1), s.coordinate(-2), s.constant(-3, "i32")];
        for (const [op, a, b, c] of steps) {
          const [f, g, h] = [a, b, c].map((n) => floats[n % floats.length]) as [s.Expr, s.Expr, s.Expr];
          const [j, k] = [a, b].map((n) => ints[n % ints.length]) as [s.Expr, s.Expr];
          if (op === 0) floats.push(s.sub(f, s.neg(s.add(g, h))));
          else if (op === 1) floats.push(s.mul(f, s.div(g, h)));
          else if (op === 2) floats.push(s.select(s.and(s.lt(f, g), s.not(s.isNaN(h))), h, s.neg(f)));
          else if (op === 3) floats.push(s.max(f, s.tanh(g)));
          else if (op === 4) floats.push(s.mod(s.sqrt(s.abs(f)), s.exp(g)));
          else if (op === 5) floats.push(s.cast(s.eq(s.le(f, g), s.xor(s.ne(j, k), s.isInf(h))), dtype));
          else if (op === 6) floats.push(s.cast(s.shr(s.mul(j, s.sub(k, 5)), 1), dtype));
          else if (op === 7) ints.push(s.bitcast(s.cast(f, "u32"), "i32"));
          else if (op === 8) ints.push(s.add(s.shl(j, 2), s.neg(k)));
          else ints.push(s.select(s.le(f, g), s.not(j), s.min(j, k)));
        }
        return [floats.at(-1) as s.Expr, ints.at(-1) as s.Expr, floats[floats.length >> 1] as s.Expr];
      },
      { strict: dtype === "f32" },
    ),
  );

describe("map", () => {
  it("equals the reference over any shape and layout, compiled and interpreted", () => {
    fc.assert(
      fc.property(
        shapes.chain((shape) =>
          fc.tuple(
            fc.constant(shape),
            layoutOf(shape.length),
            layoutOf(shape.length),
            layoutOf(shape.length),
          ),
        ),
        ([shape, la, lb, lo]) => {
          for (const backend of [compiled, interpreted]) {
            const a = lay(backend, "f32", shape, la, (i) => Math.fround(Math.sin(i) * 3));
            const b = lay(backend, "f32", shape, lb, (i) => Math.fround(Math.cos(i * 2)));
            const out = { ...lo, still: lo.still.map(() => false) };
            const first = lay(backend, "f32", shape, out, () => 77);
            const second = blank(backend, "f32", shape);
            runMap(backend, mixed, [a, b], [first, second], [0.1]);
            const expected = reference(mixed, shape, [download(backend, a), download(backend, b)], [0.1]);
            expect(download(backend, first)).toEqual(expected[0]);
            expect(download(backend, second)).toEqual(expected[1]);
          }
        },
      ),
      { numRuns: RUNS },
    );
  });

  it("computes coordinates however dimensions merge", () => {
    fc.assert(
      fc.property(
        shapes.chain((shape) => fc.tuple(fc.constant(shape), layoutOf(shape.length))),
        ([shape, la]) => {
          for (const backend of [compiled, interpreted]) {
            const x = lay(backend, "i32", shape, la, (i) => i);
            const out = blank(backend, "i32", shape);
            runMap(backend, withCoordinates, [x], [out]);
            expect(download(backend, out)).toEqual(
              reference(withCoordinates, shape, [download(backend, x)], [])[0],
            );
          }
        },
      ),
      { numRuns: RUNS },
    );
  });

  it("leaves what lies between the elements of a strided output alone", () => {
    for (const backend of [compiled, interpreted]) {
      const x = upload(backend, "f32", [3], [1, 2, 3]);
      const whole = blank(backend, "f32", [8]);
      const copy = program("copy", ["f32"], [], ([v]) => v as s.Expr);
      const out: View = { ...whole, shape: [3], strides: [2], offset: 1, size: 3, contiguous: false };
      runMap(backend, copy, [x], [out]);
      expect(download(backend, whole)).toEqual([99, 1, 99, 2, 99, 3, 99, 99]);
    }
  });

  it("writes outputs over its own inputs, even crossed", () => {
    const swap = program("swap", ["f32", "f32"], [], ([a, b]) => [s.add(b as s.Expr, 0.5), a as s.Expr]);
    for (const backend of [compiled, interpreted]) {
      const a = upload(backend, "f32", [2], [1, 2]);
      const b = upload(backend, "f32", [2], [10, 20]);
      runMap(backend, swap, [a, b], [a, b]);
      expect(download(backend, a)).toEqual([10.5, 20.5]);
      expect(download(backend, b)).toEqual([1, 2]);
    }
  });

  it("converts between all dtypes as the reference does", () => {
    const values: Record<string, number[]> = {
      float: [0, -0, 1, -1, 0.5, -2.5, 3.75, 255.9, 300, -300, 65504, 3e9, -3e9, Infinity, -Infinity, NaN],
      int: [0, 1, -1, 100, -128, 127, 7, -7],
      uint: [0, 1, 255, 100, 128, 127, 7, 3],
      bool: [0, 1, 1, 0],
    };
    for (const backend of [compiled, interpreted]) {
      for (const from of Object.keys(DTYPES) as DType[]) {
        for (const to of Object.keys(DTYPES) as DType[]) {
          const source = upload(
            backend,
            from,
            [values[DTYPES[from].kind]!.length],
            values[DTYPES[from].kind]!,
          );
          const inputs = download(backend, source);
          const cast = program("cast", [DTYPES[from].compute], [], ([x]) =>
            s.cast(x as s.Expr, DTYPES[to].compute),
          );
          const out = blank(backend, to, source.shape);
          runMap(backend, cast, [source], [out]);
          const results = inputs.map((x) => evaluate(cast, [x])[0] as number);
          const stored = download(backend, upload(backend, to, source.shape, results));
          expect(download(backend, out), `${from} to ${to}`).toEqual(stored);
        }
      }
    }
  });

  it("gives the interpreter's bits for strict programs of every operation", () => {
    const unary = [
      "neg",
      "abs",
      "sign",
      "floor",
      "ceil",
      "round",
      "trunc",
      "sqrt",
      "exp",
      "expm1",
      "log",
      "log1p",
      "log2",
      "sin",
      "cos",
      "tan",
      "asin",
      "acos",
      "atan",
      "sinh",
      "cosh",
      "tanh",
      "asinh",
      "acosh",
      "atanh",
      "erf",
      "erfc",
    ] as const;
    const binary = ["add", "sub", "mul", "div", "mod", "pow", "max", "min", "atan2"] as const;
    const compare = ["eq", "ne", "lt", "le", "gt", "ge"] as const;
    for (const dtype of ["f32", "f64"] as const) {
      const values = [
        0,
        -0,
        0.5,
        -0.5,
        1,
        -1,
        1.5,
        2.5,
        -3.7,
        20,
        1e4,
        -1e4,
        1e-30,
        Infinity,
        -Infinity,
        NaN,
      ];
      const a = values.flatMap((x) => values.map(() => x));
      const b = values.flatMap(() => values);
      const programs = [
        ...unary.map((op) =>
          program(op, [dtype, dtype], [], ([x]) => s[op](s.mul(x as s.Expr, 1.25)), { strict: true }),
        ),
        ...binary.map((op) =>
          program(op, [dtype, dtype], [], ([x, y]) => s[op](x as s.Expr, y as s.Expr), { strict: true }),
        ),
        ...compare.map((op) =>
          program(op, [dtype, dtype], [], ([x, y]) => s.cast(s[op](x as s.Expr, y as s.Expr), dtype), {
            strict: true,
          }),
        ),
        program("isNaN", [dtype, dtype], [], ([x, y]) =>
          s.cast(s.or(s.isNaN(x as s.Expr), s.not(s.isInf(y as s.Expr))), dtype),
        ),
      ];
      for (const prog of programs) {
        const [first, second] = [compiled, interpreted].map((backend) => {
          const out = blank(backend, dtype, [a.length]);
          runMap(
            backend,
            prog,
            [upload(backend, dtype, [a.length], a), upload(backend, dtype, [a.length], b)],
            [out],
          );
          return download(backend, out);
        });
        expect(first, `${prog.name} ${dtype}`).toEqual(second);
        expect(first).toEqual(
          reference(
            prog,
            [a.length],
            [a, b].map((list) => (dtype === "f32" ? list.map(Math.fround) : list)),
            [],
          )[0],
        );
      }
    }
  });

  it("prints what the interpreter computes: random strict programs, and f64 ones, agree to the last bit", () => {
    fc.assert(
      fc.property(randomPrograms, fc.integer({ min: 0, max: 1000 }), (prog, seed) => {
        const dtype = prog.inputs[0] as "f32" | "f64";
        const shape = [3, 5];
        const [first, second] = [compiled, interpreted].map((backend) => {
          const inputs = [0, 1].map((shift) =>
            upload(
              backend,
              dtype,
              shape,
              Array.from({ length: 15 }, (_, i) => Math.tan(i * 3.7 + shift + seed)),
            ),
          );
          const outputs = prog.results.map((result) => blank(backend, result.dtype, shape));
          runMap(backend, prog, inputs, outputs, [0.3]);
          return outputs.map((out) => download(backend, out));
        });
        expect(first).toEqual(second);
      }),
      { numRuns: RUNS },
    );
  });

  it("does integer and bit arithmetic with 32-bit wrap-around", () => {
    const ops = [
      "add",
      "sub",
      "mul",
      "floorDiv",
      "mod",
      "max",
      "min",
      "and",
      "or",
      "xor",
      "shl",
      "shr",
    ] as const;
    for (const dtype of ["i32", "u32"] as const) {
      const base =
        dtype === "i32"
          ? [1, -1, 7, -7, 3, 100000, 2147483647, -2147483648]
          : [1, 7, 3, 31, 100000, 2147483648, 4294967295];
      const a = base.flatMap((x) => base.map(() => x));
      const b = base.flatMap(() => base);
      const programs = [
        ...ops.map((op) => program(op, [dtype, dtype], [], ([x, y]) => s[op](x as s.Expr, y as s.Expr))),
        program("not", [dtype, dtype], [], ([x]) => s.not(s.neg(x as s.Expr))),
        program(
          "bits",
          [dtype, dtype],
          [],
          ([x]) => s.bitcast(s.bitcast(s.cast(x as s.Expr, "u32"), "i32"), "u32") as s.Expr,
        ),
      ];
      for (const prog of programs) {
        const type = prog.results[0]?.dtype as ComputeDType;
        for (const backend of [compiled, interpreted]) {
          const out = blank(backend, type, [a.length]);
          runMap(
            backend,
            prog,
            [upload(backend, dtype, [a.length], a), upload(backend, dtype, [a.length], b)],
            [out],
          );
          expect(download(backend, out), `${prog.name} ${dtype}`).toEqual(
            reference(prog, [a.length], [a, b], [])[0],
          );
        }
      }
    }
  });

  it("draws the same random words compiled and interpreted", () => {
    const random = program("random", [], ["u32", "u32"], (_inputs, [k0, k1]) => {
      const counter = s.cast(s.coordinate(-1), "u32");
      return [0, 1].map((word) =>
        s.threefry(word as 0 | 1, k0 as s.Expr, k1 as s.Expr, counter, s.constant(5, "u32")),
      );
    });
    for (const backend of [compiled, interpreted]) {
      const outs = [blank(backend, "u32", [3, 700]), blank(backend, "u32", [3, 700])];
      runMap(backend, random, [], outs, [123, 4294967295]);
      const expected = reference(random, [3, 700], [], [123, 4294967295]);
      expect(outs.map((out) => download(backend, out))).toEqual(expected);
    }
  });

  it("throws by name where a check fails", () => {
    const divide = program("floorDivide", ["i32", "i32"], [], ([a, b]) =>
      s.floorDiv(a as s.Expr, s.check(b as s.Expr, s.ne(b as s.Expr, 0), "integer division by zero")),
    );
    for (const backend of [compiled, interpreted]) {
      const a = upload(backend, "i32", [3], [7, 8, 9]);
      const out = blank(backend, "i32", [3]);
      runMap(backend, divide, [a, upload(backend, "i32", [3], [2, -3, 4])], [out]);
      expect(download(backend, out)).toEqual([3, -3, 2]);
      expect(() => runMap(backend, divide, [a, upload(backend, "i32", [3], [2, 0, 4])], [out])).toThrow(
        expect.objectContaining({
          code: "NF_ARITHMETIC",
          message: expect.stringContaining("floorDivide: integer division by zero"),
        }),
      );
    }
  });

  it("runs more than a block of points and long thin shapes", () => {
    const twice = program("twice", ["f32"], ["f32"], ([x], [p]) => s.mul(x as s.Expr, p as s.Expr));
    for (const backend of [compiled, interpreted]) {
      for (const shape of [[3000], [1500, 2], [2, 1500], [1, 1, 2049, 1]]) {
        const size = shape.reduce((a, b) => a * b, 1);
        const x = upload(backend, "f32", shape, [...Array(size).keys()]);
        const transposed: View = {
          ...x,
          shape: [...shape].reverse(),
          strides: [...x.strides].reverse(),
          contiguous: false,
        };
        const out = blank(backend, "f32", transposed.shape);
        runMap(backend, twice, [transposed], [out], [2]);
        expect(download(backend, out)).toEqual(download(backend, transposed).map((v) => v * 2));
      }
    }
  });
});

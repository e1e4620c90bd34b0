import {
  type Backend,
  type ComputeDType,
  DTYPES,
  type DType,
  evaluate,
  program,
  type ReduceKind,
  scalar as s,
  type View,
} from "@nf/core";
import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { cpu } from "../src/index.ts";
import { blank, download, lay, layoutOf, RUNS, run, upload } from "./helper.ts";

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

const KINDS: readonly ReduceKind[] = ["sum", "prod", "max", "min", "any", "all"];

/** Row-major groups of values: one list for each kept position. */
function groupsOf(values: readonly number[], shape: readonly number[], axes: readonly number[]): number[][] {
  const groups = new Map<string, number[]>();
  values.forEach((value, point) => {
    const key: number[] = [];
    let rest = point;
    for (let axis = shape.length - 1; axis >= 0; axis--) {
      if (!axes.includes(axis)) key.unshift(rest % (shape[axis] as number));
      rest = Math.floor(rest / (shape[axis] as number));
    }
    const name = key.join(",");
    if (!groups.has(name)) groups.set(name, []);
    groups.get(name)?.push(value);
  });
  return [...groups.values()];
}

function combine(kind: ReduceKind, dtype: ComputeDType, values: readonly number[]): number {
  const wrap =
    dtype === "i32" ? (x: number) => x | 0 : dtype === "u32" ? (x: number) => x >>> 0 : (x: number) => x;
  const int = dtype === "i32" || dtype === "u32";
  switch (kind) {
    case "sum":
      return values.reduce((a, b) => wrap(a + b), 0);
    case "prod":
      return values.reduce((a, b) => (int ? wrap(Math.imul(a, b)) : a * b), 1);
    case "max":
      return values.reduce((a, b) => Math.max(a, b));
    case "min":
      return values.reduce((a, b) => Math.min(a, b));
    case "any":
      return values.some((x) => x !== 0) ? 1 : 0;
    default:
      return values.every((x) => x !== 0) ? 1 : 0;
  }
}

const problem = fc.array(fc.integer({ min: 1, max: 6 }), { maxLength: 4 }).chain((shape) =>
  fc.record({
    shape: fc.constant(shape),
    axes: fc.subarray([...shape.keys()]),
    kind: fc.constantFrom(...KINDS),
    dtype: fc.constantFrom<DType>("f32", "f64", "f16", "bf16", "i32", "u32", "u8", "i8", "bool"),
    layout: layoutOf(shape.length),
  }),
);

describe("reduce", () => {
  it("equals a naive fold for every kind, dtype, shape, layout and set of axes", () => {
    fc.assert(
      fc.property(problem, ({ shape, axes, kind, dtype, layout }) => {
        const { compute, kind: family } = DTYPES[dtype];
        const copy = program("copy", [compute], [], ([x]) => x as s.Expr);
        for (const backend of [compiled, interpreted]) {
          const fill = (i: number): number =>
            family === "float"
              ? ((i * 7) % 11) / 4 - 1
              : family === "int"
                ? ((i * 7) % 11) - 5
                : family === "uint"
                  ? (i * 7) % 11
                  : i % 2;
          const x = lay(backend, dtype, shape, layout, fill);
          const out = blank(
            backend,
            dtype,
            shape.map((size, axis) => (axes.includes(axis) ? 1 : size)),
          );
          run(backend, {
            kernel: "reduce",
            program: copy,
            inputs: [x],
            outputs: [out],
            attributes: { kinds: [kind], axes },
          });
          const logical =
            compute === "bool"
              ? ({ sum: "any", max: "any", prod: "all", min: "all", any: "any", all: "all" } as const)[kind]
              : kind;
          const exact = groupsOf(download(backend, x), shape, axes).map((group) =>
            combine(logical, compute, group),
          );
          const expected = download(backend, upload(backend, dtype, out.shape, exact));
          const got = download(backend, out);
          if (family !== "float") expect(got).toEqual(expected);
          else
            got.forEach((value, i) => {
              expect(value).toBeCloseTo(expected[i] as number, dtype === "bf16" ? 0 : 2);
            });
        }
      }),
      { numRuns: RUNS },
    );
  });

  it("fuses a program with parameters, broadcast inputs, coordinates and several outputs", () => {
    const moments = program("moments", ["f32", "f32"], ["f32"], ([x, m], [p]) => {
      const centered = s.sub(x as s.Expr, s.mul(m as s.Expr, p as s.Expr));
      return [centered, s.mul(centered, centered), s.cast(s.coordinate(-2), "f32")];
    });
    for (const backend of [compiled, interpreted]) {
      for (const axes of [[0], [1], [2], [0, 2], [0, 1, 2], [1, 2]]) {
        const shape = [3, 5, 7];
        const x = upload(
          backend,
          "f32",
          shape,
          Array.from({ length: 105 }, (_, i) => Math.fround(Math.sin(i))),
        );
        const row = upload(backend, "f32", [5], [1, 2, 3, 4, 5]);
        const m: View = { ...row, shape, strides: [0, 1, 0], size: 105, contiguous: false };
        const outShape = shape.map((size, axis) => (axes.includes(axis) ? 1 : size));
        const outputs = [0, 1, 2].map(() => blank(backend, "f32", outShape));
        run(backend, {
          kernel: "reduce",
          program: moments,
          inputs: [x, m],
          outputs,
          params: [0.5],
          attributes: { kinds: ["sum", "max", "min"], axes },
        });
        const xs = download(backend, x);
        const ms = download(backend, m);
        const values = xs.map((value, i) =>
          evaluate(
            moments,
            [value, ms[i] as number],
            [0.5],
            [Math.floor(i / 35), Math.floor(i / 7) % 5, i % 7],
          ),
        );
        (["sum", "max", "min"] as const).forEach((kind, k) => {
          const expected = groupsOf(
            values.map((list) => list[k] as number),
            shape,
            axes,
          ).map((group) => combine(kind, "f32", group));
          const got = download(backend, outputs[k] as View);
          got.forEach((value, i) => {
            expect(value).toBeCloseTo(expected[i] as number, 4);
          });
        });
      }
    }
  });

  it("lets NaN through max and min wherever it stands", () => {
    const copy = program("copy", ["f32"], [], ([x]) => x as s.Expr);
    for (const backend of [compiled, interpreted]) {
      for (let at = 0; at < 5; at++) {
        const values = [3, -Infinity, Infinity, 1, 2];
        values[at] = NaN;
        for (const kind of ["max", "min"] as const) {
          for (const [shape, axes] of [
            [[5], [0]],
            [[5, 1], [0]],
            [[1, 5], [1]],
          ] as const) {
            const out = blank(
              backend,
              "f32",
              shape.map(() => 1),
            );
            run(backend, {
              kernel: "reduce",
              program: copy,
              inputs: [upload(backend, "f32", shape, values)],
              outputs: [out],
              attributes: { kinds: [kind], axes },
            });
            expect(download(backend, out)).toEqual([NaN]);
          }
        }
      }
    }
  });

  it("gives infinities and the largest values as they are", () => {
    const copy = (dtype: ComputeDType) => program("copy", [dtype], [], ([x]) => x as s.Expr);
    for (const backend of [compiled, interpreted]) {
      for (const [kind, values, expected] of [
        ["max", [-Infinity, -Infinity], -Infinity],
        ["min", [Infinity, Infinity], Infinity],
        ["sum", [1e308, 1e308, -1], Infinity],
        ["sum", [Infinity, 1, -1e10], Infinity],
        ["sum", [-Infinity, 1], -Infinity],
        ["sum", [Infinity, -Infinity], NaN],
        ["sum", [1, NaN], NaN],
      ] as const) {
        const out = blank(backend, "f64", [1]);
        run(backend, {
          kernel: "reduce",
          program: copy("f64"),
          inputs: [upload(backend, "f64", [values.length], values)],
          outputs: [out],
          attributes: { kinds: [kind], axes: [0] },
        });
        expect(download(backend, out)).toEqual([expected]);
      }
    }
  });

  it("sums 65,536 terms as exactly as pairwise summation, by rows and by columns", () => {
    const count = 65536;
    const copy = (dtype: ComputeDType) => program("copy", [dtype], [], ([x]) => x as s.Expr);
    for (const backend of [compiled, interpreted]) {
      const small = upload(backend, "f32", [count], new Array<number>(count).fill(0.1));
      const out = blank(backend, "f32", [1]);
      run(backend, {
        kernel: "reduce",
        program: copy("f32"),
        inputs: [small],
        outputs: [out],
        attributes: { kinds: ["sum"], axes: [0] },
      });
      expect(download(backend, out)).toEqual([Math.fround(Math.fround(0.1) * count)]);
      const tenths = new Array<number>(count).fill(0.1);
      for (const [shape, axis] of [
        [[count], 0],
        [[count / 8, 8], 0],
        [[8, count / 8], 1],
      ] as const) {
        const wide = blank(
          backend,
          "f64",
          shape.map((size, a) => (a === axis ? 1 : size)),
        );
        run(backend, {
          kernel: "reduce",
          program: copy("f64"),
          inputs: [upload(backend, "f64", shape, tenths)],
          outputs: [wide],
          attributes: { kinds: ["sum"], axes: [axis] },
        });
        for (const value of download(backend, wide)) expect(value).toBe((0.1 * count) / wide.size);
      }
    }
  });

  it("reduces long kept rows in chunks", () => {
    const copy = program("copy", ["f32"], [], ([x]) => x as s.Expr);
    for (const backend of [compiled, interpreted]) {
      const x = upload(
        backend,
        "f32",
        [3, 1300],
        Array.from({ length: 3900 }, (_, i) => i % 17),
      );
      const out = blank(backend, "f32", [1, 1300]);
      run(backend, {
        kernel: "reduce",
        program: copy,
        inputs: [x],
        outputs: [out],
        attributes: { kinds: ["sum"], axes: [0] },
      });
      const values = download(backend, x);
      expect(download(backend, out)).toEqual(
        Array.from(
          { length: 1300 },
          (_, i) => (values[i] as number) + (values[i + 1300] as number) + (values[i + 2600] as number),
        ),
      );
    }
  });
});

import { type Backend, DTYPES, type DType, type View } from "@nf/core";
import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { cpu } from "../src/index.ts";
import { blank, download, type LayoutChoice, lay, layoutOf, RUNS, run, upload } from "./helper.ts";

let backend: Backend;
beforeAll(async () => {
  backend = await cpu();
});
afterAll(async () => {
  await backend.dispose();
});

const moving = (layout: LayoutChoice): LayoutChoice => ({ ...layout, still: layout.still.map(() => false) });
const shapeAndAxis = fc.array(fc.integer({ min: 1, max: 5 }), { minLength: 1, maxLength: 4 }).chain((shape) =>
  fc.record({
    shape: fc.constant(shape),
    axis: fc.nat(shape.length - 1),
    a: layoutOf(shape.length),
    b: layoutOf(shape.length),
    c: layoutOf(shape.length),
    other: fc.integer({ min: 1, max: 6 }),
  }),
);
const numbers = fc.constantFrom<DType>("f32", "f64", "f16", "bf16", "i32", "u32", "u8", "i8");
const any = fc.constantFrom<DType>(...(Object.keys(DTYPES) as DType[]));
const fillOf =
  (dtype: DType) =>
  (i: number): number =>
    ({ float: ((i * 7) % 23) / 4 - 2, int: ((i * 7) % 23) - 11, uint: (i * 7) % 23, bool: i % 2 })[
      DTYPES[dtype].kind
    ];

/** Multi-index of a row-major position, and back. */
const unravel = (at: number, shape: readonly number[]): number[] => {
  const index = shape.map(() => 0);
  for (let axis = shape.length - 1, rest = at; axis >= 0; axis--) {
    index[axis] = rest % (shape[axis] as number);
    rest = Math.floor(rest / (shape[axis] as number));
  }
  return index;
};
const ravel = (index: readonly number[], shape: readonly number[]): number =>
  index.reduce((sum, i, axis) => sum * (shape[axis] as number) + i, 0);
const replace = (index: readonly number[], axis: number, value: number): number[] =>
  index.map((i, a) => (a === axis ? value : i));

/** Row-major positions of each line along an axis. */
function lines(shape: readonly number[], axis: number): number[][] {
  const size = shape.reduce((a, b) => a * b, 1);
  const starts = [...Array(size).keys()].filter((at) => unravel(at, shape)[axis] === 0);
  return starts.map((at) =>
    Array.from({ length: shape[axis] as number }, (_, k) =>
      ravel(replace(unravel(at, shape), axis, k), shape),
    ),
  );
}

describe("gather", () => {
  it("equals a naive look-up for any layout, axis and dtype", () => {
    fc.assert(
      fc.property(shapeAndAxis, any, ({ shape, axis, a, b, c, other }, dtype) => {
        const sourceShape = replace(shape, axis, other);
        const source = lay(backend, dtype, sourceShape, a, fillOf(dtype));
        const index = lay(backend, "i32", shape, b, (i) => (i * 3) % other);
        const out = lay(backend, dtype, shape, moving(c), fillOf(dtype));
        run(backend, { kernel: "gather", inputs: [source, index], outputs: [out], attributes: { axis } });
        const [values, indices] = [download(backend, source), download(backend, index)];
        expect(download(backend, out)).toEqual(
          indices.map((k, at) => values[ravel(replace(unravel(at, shape), axis, k), sourceShape)]),
        );
      }),
      { numRuns: RUNS },
    );
  });

  it("copies whole rows, as an embedding does", () => {
    const table = upload(
      backend,
      "f32",
      [5, 3],
      Array.from({ length: 15 }, (_, i) => i),
    );
    const rows = upload(backend, "i32", [4], [4, 0, 4, 2]);
    const index: View = { ...rows, shape: [4, 3], strides: [1, 0], size: 12, contiguous: false };
    const out = blank(backend, "f32", [4, 3]);
    run(backend, { kernel: "gather", inputs: [table, index], outputs: [out], attributes: { axis: 0 } });
    expect(download(backend, out)).toEqual([12, 13, 14, 0, 1, 2, 12, 13, 14, 6, 7, 8]);
  });
});

describe("scatter", () => {
  it("adds and takes maxima on top of the output, duplicates included", () => {
    fc.assert(
      fc.property(
        shapeAndAxis,
        any,
        fc.constantFrom<"add" | "max">("add", "max"),
        ({ shape, axis, a, b, c, other }, dtype, mode) => {
          const outShape = replace(shape, axis, other);
          const updates = lay(backend, dtype, shape, a, fillOf(dtype));
          const index = lay(backend, "i32", shape, b, (i) => (i * 3) % other);
          const out = lay(backend, dtype, outShape, moving(c), (i) => fillOf(dtype)(i + 1));
          const expected = download(backend, out);
          const [values, indices] = [download(backend, updates), download(backend, index)];
          run(backend, {
            kernel: "scatter",
            inputs: [updates, index],
            outputs: [out],
            attributes: { axis, mode },
          });
          values.forEach((value, at) => {
            const to = ravel(replace(unravel(at, shape), axis, indices[at] as number), outShape);
            const old = expected[to] as number;
            const next = mode === "max" || dtype === "bool" ? Math.max(old, value) : old + value;
            // Through the storage's own rounding and wrap-around.
            expected[to] = download(backend, upload(backend, dtype, [1], [next]))[0] as number;
          });
          expect(download(backend, out)).toEqual(expected);
        },
      ),
      { numRuns: RUNS },
    );
  });

  it("sets, where no index comes twice", () => {
    const out = blank(backend, "f16", [4]);
    run(backend, {
      kernel: "scatter",
      inputs: [upload(backend, "f16", [3], [1, 2, 3]), upload(backend, "i32", [3], [3, 0, 1])],
      outputs: [out],
      attributes: { axis: 0, mode: "set" },
    });
    expect(download(backend, out)).toEqual([2, 3, 99, 1]);
  });

  it("keeps NaN in maxima", () => {
    const out = upload(backend, "f32", [2], [1, NaN]);
    run(backend, {
      kernel: "scatter",
      inputs: [upload(backend, "f32", [2], [NaN, 5]), upload(backend, "i32", [2], [0, 1])],
      outputs: [out],
      attributes: { axis: 0, mode: "max" },
    });
    expect(download(backend, out)).toEqual([NaN, NaN]);
  });
});

describe("argReduce", () => {
  it("finds the first greatest or least over any axes", () => {
    fc.assert(
      fc.property(
        shapeAndAxis,
        any,
        fc.constantFrom<"max" | "min">("max", "min"),
        fc.nat(15),
        ({ shape, a }, dtype, kind, mask) => {
          const axes = [...shape.keys()].filter((axis) => (mask >> axis) & 1);
          const x = lay(backend, dtype, shape, a, (i) => (dtype === "bool" ? i % 2 : (i * 7) % 4));
          const outShape = shape.map((size, axis) => (axes.includes(axis) ? 1 : size));
          const out = blank(backend, "i32", outShape);
          run(backend, { kernel: "argReduce", inputs: [x], outputs: [out], attributes: { kind, axes } });
          const values = download(backend, x);
          const groups: number[][] = Array.from({ length: out.size }, () => []);
          values.forEach((value, at) => {
            const kept = unravel(at, shape).map((i, axis) => (axes.includes(axis) ? 0 : i));
            groups[ravel(kept, outShape)]?.push(value);
          });
          expect(download(backend, out)).toEqual(
            groups.map((group) => group.indexOf(kind === "max" ? Math.max(...group) : Math.min(...group))),
          );
        },
      ),
      { numRuns: RUNS },
    );
  });

  it("lets the first NaN win", () => {
    for (const kind of ["max", "min"] as const) {
      for (const [values, expected] of [
        [[1, NaN, 9, NaN], 1],
        [[NaN, 1], 0],
        [[-Infinity, -Infinity], 0],
        [[0, -0], 0],
      ] as const) {
        const out = blank(backend, "i32", [1]);
        run(backend, {
          kernel: "argReduce",
          inputs: [upload(backend, "f32", [values.length], values)],
          outputs: [out],
          attributes: { kind, axes: [0] },
        });
        expect(download(backend, out)).toEqual([expected]);
      }
    }
  });
});

describe("scan", () => {
  it("equals a naive running fold in both directions", () => {
    fc.assert(
      fc.property(
        shapeAndAxis,
        numbers,
        fc.constantFrom<"sum" | "prod" | "max">("sum", "prod", "max"),
        fc.boolean(),
        ({ shape, axis, a, b }, dtype, kind, reverse) => {
          const x = lay(backend, dtype, shape, a, fillOf(dtype));
          const out = lay(backend, dtype, shape, moving(b), () => 1);
          run(backend, { kernel: "scan", inputs: [x], outputs: [out], attributes: { kind, axis, reverse } });
          const values = download(backend, x);
          const expected = [...values];
          const isFloat = DTYPES[dtype].kind === "float";
          for (const line of lines(shape, axis)) {
            const order = reverse ? [...line].reverse() : line;
            order.reduce((total, at, k) => {
              const value = values[at] as number;
              let next =
                k === 0
                  ? value
                  : kind === "sum"
                    ? total + value
                    : kind === "prod"
                      ? isFloat
                        ? total * value
                        : Math.imul(total, value)
                      : Math.max(total, value);
              if (!isFloat) next |= 0;
              expected[at] = next;
              return next;
            }, 0);
          }
          expect(download(backend, out)).toEqual(download(backend, upload(backend, dtype, shape, expected)));
        },
      ),
      { numRuns: RUNS },
    );
  });

  it("wraps integers and keeps NaN", () => {
    const ints = blank(backend, "i32", [2]);
    run(backend, {
      kernel: "scan",
      inputs: [upload(backend, "i32", [2], [2147483647, 2])],
      outputs: [ints],
      attributes: { kind: "sum", axis: 0, reverse: false },
    });
    expect(download(backend, ints)).toEqual([2147483647, -2147483647]);
    for (const kind of ["sum", "prod", "max"] as const) {
      const out = blank(backend, "f32", [3]);
      run(backend, {
        kernel: "scan",
        inputs: [upload(backend, "f32", [3], [1, NaN, 2])],
        outputs: [out],
        attributes: { kind, axis: 0, reverse: false },
      });
      expect(download(backend, out)).toEqual([1, NaN, NaN]);
    }
  });
});

describe("sort", () => {
  it("is stable both ways, over any layout and dtype", () => {
    fc.assert(
      fc.property(shapeAndAxis, any, fc.boolean(), ({ shape, axis, a, b }, dtype, descending) => {
        const x = lay(backend, dtype, shape, a, (i) => (dtype === "bool" ? i % 2 : (i * 7) % 5));
        const [values, positions] = [
          lay(backend, dtype, shape, moving(b), () => 0),
          blank(backend, "i32", shape),
        ];
        run(backend, {
          kernel: "sort",
          inputs: [x],
          outputs: [values, positions],
          attributes: { axis, descending },
        });
        const xs = download(backend, x);
        const [expectedValues, expectedPositions] = [[...xs], xs.map(() => 0)];
        for (const line of lines(shape, axis)) {
          const pairs = line
            .map((at, k) => [xs[at] as number, k] as const)
            .sort(([v, i], [w, j]) => (v === w ? i - j : descending ? w - v : v - w));
          pairs.forEach(([value, position], k) => {
            expectedValues[line[k] as number] = value;
            expectedPositions[line[k] as number] = position;
          });
        }
        expect(download(backend, values)).toEqual(expectedValues);
        expect(download(backend, positions)).toEqual(expectedPositions);
      }),
      { numRuns: RUNS },
    );
  });

  it("keeps NaN last in lines of any length", () => {
    const lines = fc.array(fc.oneof(fc.integer({ min: -3, max: 3 }), fc.constant(NaN)), {
      minLength: 1,
      maxLength: 80,
    });
    fc.assert(
      fc.property(lines, fc.boolean(), (line, descending) => {
        const shape = [line.length];
        const [out, positions] = [blank(backend, "f64", shape), blank(backend, "i32", shape)];
        const inputs = [upload(backend, "f64", shape, line)];
        run(backend, {
          kernel: "sort",
          inputs,
          outputs: [out, positions],
          attributes: { axis: 0, descending },
        });
        const indices = [...line.keys()];
        const numbers = indices.filter((i) => !Number.isNaN(line[i]));
        const order = [
          ...numbers.sort(
            (i, j) => ((line[i] as number) - (line[j] as number)) * (descending ? -1 : 1) || i - j,
          ),
          ...indices.filter((i) => Number.isNaN(line[i])),
        ];
        expect(download(backend, positions)).toEqual(order);
        expect(download(backend, out)).toEqual(order.map((i) => line[i]));
      }),
      { numRuns: RUNS },
    );
  });

  it("puts NaN last in both directions, in order of appearance", () => {
    const input = [NaN, 2, Infinity, NaN, -Infinity, 1];
    for (const [descending, values, order] of [
      [false, [-Infinity, 1, 2, Infinity, NaN, NaN], [4, 5, 1, 2, 0, 3]],
      [true, [Infinity, 2, 1, -Infinity, NaN, NaN], [2, 1, 5, 4, 0, 3]],
    ] as const) {
      const [out, positions] = [blank(backend, "f32", [6]), blank(backend, "i32", [6])];
      run(backend, {
        kernel: "sort",
        inputs: [upload(backend, "f32", [6], input)],
        outputs: [out, positions],
        attributes: { axis: 0, descending },
      });
      expect(download(backend, out)).toEqual(values);
      expect(download(backend, positions)).toEqual(order);
    }
  });
});

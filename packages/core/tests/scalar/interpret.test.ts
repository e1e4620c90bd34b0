import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { type BackendBuffer, contiguousView, makeView } from "../../src/backend/view.ts";
import type { DType } from "../../src/dtype.ts";
import type { Expr } from "../../src/scalar/expr.ts";
import * as s from "../../src/scalar/expr.ts";
import {
  BLOCK,
  BlockInterpreter,
  type Elements,
  evaluate,
  forEachBlock,
  interpretMap,
} from "../../src/scalar/interpret.ts";
import { type Program, program } from "../../src/scalar/program.ts";

const RUNS = process.env["NF_NIGHTLY"] === "1" ? 10_000 : 300;

/** A random program of two float inputs, one integer input, one parameter and a coordinate. */
const randomProgram: fc.Arbitrary<Program> = fc
  .tuple(
    fc.array(fc.tuple(fc.nat(11), fc.nat(), fc.nat(), fc.nat()), { minLength: 1, maxLength: 25 }),
    fc.constantFrom<"f32" | "f64">("f32", "f64"),
    fc.boolean(),
  )
  .map(([steps, dtype, strict]) =>
    program(
      "random",
      [dtype, dtype, "i32"],
      [dtype],
      ([x, y, i], [p]) => {
        const floats: Expr[] = [
          x as Expr,
          y as Expr,
          p as Expr,
          s.constant(0.7, dtype),
          s.cast(s.coordinate(-1), dtype),
        ];
        const ints: Expr[] = [i as Expr, s.coordinate(-2), s.constant(3, "i32")];
        for (const [op, a, b, c] of steps) {
          const [f, g, h] = [a, b, c].map((n) => floats[n % floats.length] as Expr) as [Expr, Expr, Expr];
          const [j, k] = [a, b].map((n) => ints[n % ints.length] as Expr) as [Expr, Expr];
          if (op === 0) floats.push(s.add(f, g));
          else if (op === 1) floats.push(s.sub(f, g));
          else if (op === 2) floats.push(s.mul(f, g));
          else if (op === 3) floats.push(s.div(f, g));
          else if (op === 4) floats.push(s.select(s.lt(f, g), h, f));
          else if (op === 5) floats.push(s.max(f, s.tanh(g)));
          else if (op === 6) floats.push(s.select(s.or(s.isNaN(f), s.eq(j, k)), g, s.sqrt(s.abs(h))));
          else if (op === 7) floats.push(s.cast(s.xor(s.mul(j, k), 5), dtype));
          else if (op === 8) ints.push(s.cast(f, "i32"));
          else if (op === 9) ints.push(s.add(s.shl(j, 2), s.neg(k)));
          else if (op === 10) ints.push(s.select(s.le(f, g), j, k));
          else
            ints.push(
              s.bitcast(
                s.threefry(
                  1,
                  s.bitcast(j, "u32"),
                  s.bitcast(k, "u32"),
                  s.constant(1, "u32"),
                  s.constant(2, "u32"),
                ),
                "i32",
              ),
            );
        }
        return [floats.at(-1) as Expr, ints.at(-1) as Expr, floats[floats.length >> 1] as Expr];
      },
      { strict },
    ),
  );

describe("block interpreter", () => {
  it("equals evaluate to the last bit, over random programs", () => {
    fc.assert(
      fc.property(
        randomProgram,
        fc.array(fc.tuple(fc.double(), fc.double({ min: -3, max: 3 }), fc.integer()), {
          minLength: 1,
          maxLength: 12,
        }),
        fc.double({ min: -2, max: 2 }),
        (prog, points, p) => {
          const interpreter = new BlockInterpreter(prog);
          // What lies in an input register is already of its dtype.
          const rounded = points.map(([x, y, i]) =>
            prog.inputs[0] === "f32" ? [Math.fround(x), Math.fround(y), i] : [x, y, i],
          );
          rounded.forEach((point, at) => {
            point.forEach((value, index) => {
              (interpreter.inputs[index] as Float64Array)[at] = value;
            });
            prog.coordinates.forEach((axis, c) => {
              (interpreter.coordinates[c] as Float64Array)[at] = axis === -1 ? at : 2;
            });
          });
          interpreter.run(points.length, [p]);
          rounded.forEach((point, at) => {
            const expected = evaluate(prog, point, [p], [2, at]);
            expect(interpreter.outputs.map((register) => register[at])).toEqual(expected);
          });
        },
      ),
      { numRuns: RUNS },
    );
  });

  it("fails where any point fails a check", () => {
    const divide = program("divide", ["i32", "i32"], [], ([a, b]) =>
      s.floorDiv(a as Expr, s.check(b as Expr, s.ne(b as Expr, 0), "integer division by zero")),
    );
    const interpreter = new BlockInterpreter(divide);
    interpreter.inputs[0]?.set([6, 7]);
    interpreter.inputs[1]?.set([2, 0]);
    interpreter.run(1, []);
    expect(interpreter.outputs[0]?.[0]).toBe(3);
    expect(() => interpreter.run(2, [])).toThrow(/divide: integer division by zero/);
  });
});

describe("forEachBlock", () => {
  it("visits every point once, in row-major order, however blocks fall", () => {
    for (const [shape, strides] of [
      [
        [3, 700],
        [700, 1],
      ],
      [
        [2, 3, 5],
        [-15, 5, 1],
      ],
      [[1], [1]],
      [[BLOCK], [2]],
      [
        [BLOCK + 1, 2],
        [0, 3],
      ],
      [[], []],
    ] as [number[], number[]][]) {
      const seen: number[] = [];
      forEachBlock(shape, [strides], [7], (count, [positions]) =>
        seen.push(...(positions as Float64Array).subarray(0, count)),
      );
      let expected = [7];
      shape.forEach((size, d) => {
        expected = expected.flatMap((at) =>
          Array.from({ length: size }, (_, i) => at + i * (strides[d] as number)),
        );
      });
      expect(seen).toEqual(expected);
    }
  });
});

describe("interpretMap", () => {
  it("runs strided views of every storage", () => {
    const memories = new Map<BackendBuffer, ArrayBuffer>();
    const allocate = (bytes: Uint8Array): BackendBuffer => {
      const buffer: BackendBuffer = { byteLength: bytes.byteLength };
      memories.set(buffer, bytes.slice().buffer as ArrayBuffer);
      return buffer;
    };
    const access = (buffer: BackendBuffer, dtype: DType): Elements => {
      const memory = memories.get(buffer) as ArrayBuffer;
      if (dtype === "f16" || dtype === "bf16") return new Uint16Array(memory);
      return dtype === "bool" ? new Uint8Array(memory) : new Float32Array(memory);
    };
    const half = allocate(new Uint8Array(Uint16Array.from([0x3c00, 0x4000, 0x4200, 0xbc00]).buffer));
    const flags = allocate(Uint8Array.from([1, 0]));
    const out = allocate(new Uint8Array(16));
    const prog = program("p", ["f32", "bool"], ["f32"], ([x, flag], [p]) =>
      s.add(s.select(flag as Expr, x as Expr, p as Expr), s.cast(s.coordinate(-2), "f32")),
    );
    interpretMap(
      {
        kernel: "map",
        program: prog,
        buffers: [half, flags, out],
        inputs: [makeView(half, "f16", [2, 2], [1, 2], 0), makeView(flags, "bool", [2, 2], [0, 1], 0)],
        outputs: [contiguousView(out, "f32", [2, 2])],
        params: [0.5],
      },
      access,
    );
    expect([...new Float32Array(memories.get(out) as ArrayBuffer)]).toEqual([1, 0.5, 3, 1.5]);
  });
});

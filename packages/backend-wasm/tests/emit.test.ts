import { type ComputeDType, type Expr, makeProgram, type Program, scalar as s, type View } from "@nf/core";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { WasmBackend } from "../src/backend.ts";
import { Engine } from "../src/engine.ts";
import { emit } from "../src/programs/emit.ts";
import { encode } from "../src/programs/encode.ts";
import { Programs } from "../src/programs/programs.ts";
import { blank, callOf, download, upload } from "./helper.ts";

const MUCH = 2 ** 30;
const POINTS = 5003;
const INPUTS: readonly ComputeDType[] = ["f32", "f32", "i32", "u32", "bool"];
const PARAMS: readonly ComputeDType[] = ["f32", "i32", "u32"];

let engine: Engine;
let backend: WasmBackend;
let inputs: readonly View[];
beforeAll(async () => {
  engine = await Engine.create({ threads: 2, relaxed: "auto" });
  backend = new WasmBackend(engine, Infinity);
  const numbers = (scale: number, seed: number): number[] =>
    Array.from({ length: POINTS }, (_, i) => Math.sin(i * 12.9898 + seed) * scale);
  const special = [NaN, Infinity, -Infinity, 0, -0, 1e-40, 3e38, -3e38];
  inputs = [
    upload(backend, "f32", [POINTS], [...special, ...numbers(3, 1)].slice(0, POINTS)),
    upload(backend, "f32", [POINTS], numbers(100, 2)),
    upload(backend, "i32", [POINTS], numbers(2 ** 31, 3).map(Math.trunc)),
    upload(
      backend,
      "u32",
      [POINTS],
      numbers(2 ** 32, 4)
        .map(Math.abs)
        .map(Math.trunc),
    ),
    upload(
      backend,
      "bool",
      [POINTS],
      numbers(1, 5).map((x) => (x > 0 ? 1 : 0)),
    ),
  ];
});
afterAll(() => backend.dispose());

/** A program's results, interpreted and as a function. */
function both(program: Program): [number[][], number[][]] {
  const programs = new Programs(engine);
  const map = engine.kernel("map");
  const results = (points: number): number[][] => {
    const outputs = program.results.map(({ dtype }) => blank(backend, dtype, [POINTS]));
    const call = callOf({ kernel: "map", program, inputs, outputs, params: [0.5, -3, 2 ** 31 + 5] });
    engine.run(map, call, programs.address(program, points));
    // The last word of an encoded program is the address of its function.
    const address = engine.i32[(programs.address(program) >>> 2) + 15];
    if (points === 0) expect(address).toBe(0);
    else if (isEmitted(program)) expect(address).not.toBe(0);
    return outputs.map((view) => {
      const values = download(backend, view);
      backend.free(view.buffer);
      return values;
    });
  };
  return [results(0), results(MUCH)];
}

/** Whether a program becomes a function. */
function isEmitted(program: Program): boolean {
  return emit(encode(program), program.inputs.length, program.coordinates.length) !== undefined;
}

function leaf(dtype: ComputeDType, pick: number): Expr {
  if (dtype === "f32")
    return [s.input(0, "f32"), s.input(1, "f32"), s.param(0, "f32"), s.constant(1.25, "f32")][
      pick % 4
    ] as Expr;
  if (dtype === "i32")
    return [s.input(2, "i32"), s.coordinate(-1), s.param(1, "i32"), s.constant(-7, "i32")][pick % 4] as Expr;
  if (dtype === "u32")
    return [s.input(3, "u32"), s.param(2, "u32"), s.constant(4_000_000_000, "u32")][pick % 3] as Expr;
  return s.input(4, "bool");
}

/** Which bits a NaN has is the engine's affair. */
function number(x: Expr): Expr {
  return s.select(s.isNaN(x), 0, x);
}

/** A random expression of everything that can be emitted. */
function build(dtype: ComputeDType, depth: number, next: () => number): Expr {
  if (depth === 0) return leaf(dtype, next());
  const sub = (of: ComputeDType): Expr => build(of, depth - 1, next);
  const choice = next();
  if (dtype === "f32") {
    const binary = [s.add, s.sub, s.mul, s.div, s.max, s.min];
    const unary = [s.neg, s.abs, s.sqrt, s.floor, s.ceil, s.round, s.trunc, s.sign];
    const kinds = [
      () => (binary[next() % binary.length] as typeof s.add)(sub("f32"), sub("f32")),
      () => (unary[next() % unary.length] as typeof s.neg)(sub("f32")),
      () => s.select(sub("bool"), sub("f32"), sub("f32")),
      () => s.cast(sub((["i32", "u32", "bool"] as const)[next() % 3] as ComputeDType), "f32"),
      () => s.bitcast(sub("u32"), "f32"),
    ];
    return (kinds[choice % kinds.length] as () => Expr)();
  }
  if (dtype === "bool") {
    const of = (["f32", "i32", "u32", "bool"] as const)[next() % 4] as ComputeDType;
    const kinds = [
      () => (([s.eq, s.ne, s.lt, s.le] as const)[next() % 4] as typeof s.eq)(sub(of), sub(of)),
      () => (([s.and, s.or, s.xor] as const)[next() % 3] as typeof s.and)(sub("bool"), sub("bool")),
      () => s.not(sub("bool")),
      () => (next() % 2 === 0 ? s.isNaN : s.isInf)(sub("f32")),
      () => s.cast(sub("f32"), "bool"),
    ];
    return (kinds[choice % kinds.length] as () => Expr)();
  }
  const other: ComputeDType = dtype === "i32" ? "u32" : "i32";
  const binary = [s.add, s.sub, s.mul, s.max, s.min, s.and, s.or, s.xor];
  const kinds = [
    () => (binary[next() % binary.length] as typeof s.add)(sub(dtype), sub(dtype)),
    () => (([s.neg, s.abs, s.not] as const)[next() % 3] as typeof s.neg)(sub(dtype)),
    () => (next() % 2 === 0 ? s.shl : s.shr)(sub(dtype), s.constant(next() % 32, dtype)),
    () => s.cast(sub((["f32", "bool", other] as const)[next() % 3] as ComputeDType), dtype),
    () => s.bitcast(number(sub("f32")), dtype as "i32" | "u32"),
    () => s.select(sub("bool"), sub(dtype), sub(dtype)),
    () => {
      const words = ([0, 1] as const).map((word) =>
        s.threefry(
          word,
          s.param(2, "u32"),
          s.constant(7, "u32"),
          s.cast(s.coordinate(-1), "u32"),
          sub("u32"),
        ),
      ) as [Expr, Expr];
      return s.cast(next() % 2 === 0 ? s.xor(words[0], words[1]) : (words[next() % 2] as Expr), dtype);
    },
  ];
  return (kinds[choice % kinds.length] as () => Expr)();
}

describe("programs as functions", () => {
  it("give the bits of the interpreter, for random programs of everything that is emitted", () => {
    let emitted = 0;
    for (let seed = 1; seed <= 300; seed++) {
      let state = seed * 2_654_435_761;
      const next = (): number => {
        state = (Math.imul(state ^ (state >>> 15), 0x2c1b3c6d) + 0x9e3779b9) >>> 0;
        return state >>> 8;
      };
      const results = (["f32", "i32", "bool", "u32"] as const).slice(0, 1 + (seed % 4));
      const program = makeProgram(
        `random ${seed}`,
        INPUTS,
        PARAMS,
        results.map((dtype) => build(dtype, 2 + (seed % 4), next)),
      );
      if (isEmitted(program)) emitted++;
      const [interpreted, compiled] = both(program);
      for (const [i, values] of interpreted.entries())
        expect(compiled[i], `seed ${seed}, output ${i}`).toEqual(values);
    }
    expect(emitted).toBeGreaterThan(250);
  });

  it("leave to the interpreter what they cannot do", () => {
    const x = s.input(0, "f32");
    const checked = s.check(x, s.gt(x, -1e9), "index out of range");
    for (const expr of [s.pow(x, 2), s.exp(x), s.cast(s.cast(x, "f64"), "f32"), checked]) {
      const program = makeProgram("kept", ["f32"], [], [s.add(s.add(s.mul(expr, 3), x), 1)]);
      expect(isEmitted(program)).toBe(false);
    }
  });

  it("write in place what they read", () => {
    const [p, g] = [s.input(0, "f32"), s.input(1, "f32")];
    const step = makeProgram(
      "step",
      ["f32", "f32"],
      ["f32"],
      [s.sub(p, s.mul(g, s.param(0, "f32"))), s.add(s.mul(g, 0.5), s.mul(p, 0.25))],
    );
    const programs = new Programs(engine);
    const outcome = [0, MUCH].map((points) => {
      const values = Array.from({ length: POINTS }, (_, i) => Math.cos(i));
      const views = [upload(backend, "f32", [POINTS], values), upload(backend, "f32", [POINTS], values)];
      const call = callOf({ kernel: "map", program: step, inputs: views, outputs: views, params: [0.1] });
      engine.run(engine.kernel("map"), call, programs.address(step, points));
      return views.map((view) => backend.readSync(view.buffer, 0, view.buffer.byteLength));
    });
    expect(outcome[1]).toEqual(outcome[0]);
  });
});

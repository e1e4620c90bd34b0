import { makeProgram, type Program, scalar as s } from "@nf/core";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { WasmBackend } from "../src/backend.ts";
import { Engine } from "../src/engine.ts";
import { encode } from "../src/programs/encode.ts";
import { OPCODES } from "../src/programs/opcodes.ts";
import { Programs } from "../src/programs/programs.ts";
import { blank, callOf, download, upload } from "./helper.ts";

let engine: Engine;
let backend: WasmBackend;
beforeAll(async () => {
  engine = await Engine.create({ threads: 2, relaxed: "auto" });
  backend = new WasmBackend(engine, Infinity);
});
afterAll(() => backend.dispose());

const x = s.input(0, "f32");
const tail = s.erfc(s.mul(x, -Math.SQRT1_2));
const half = s.mul(s.mul(x, x), -0.5);
const program = (results: Program["results"], strict = false): Program =>
  makeProgram("twins", ["f32"], [], results, { strict });
const operations = (of: Program): readonly string[] =>
  encode(of).instructions.map(({ op }) => OPCODES[op] as string);

describe("erfc and the exponential of its square", () => {
  it("are one instruction, without what the exponential alone was made of", () => {
    expect(operations(program([tail, s.exp(half)]))).toEqual(["mul", "erfc"]);
    // A power that something else needs stays.
    expect(operations(program([tail, s.exp(half), half]))).toEqual(["mul", "erfc", "mul", "mul"]);
  });

  it("stay apart in strict programs, with another factor, of another number, and the other way round", () => {
    const apart = [
      program([tail, s.exp(half)], true),
      program([tail, s.exp(s.mul(s.mul(x, x), -0.500001))]),
      program([tail, s.exp(s.mul(s.mul(x, tail), -0.5))]),
      program([s.exp(half), tail]),
    ];
    for (const one of apart) expect(operations(one)).toContain("exp");
  });

  it("do not write over an input that is still to be read", () => {
    const y = s.input(1, "f32");
    const both = makeProgram("twins", ["f32", "f32"], [], [s.add(tail, y), s.exp(half)]);
    expect(encode(both).lastRead).toEqual([true, false]);
    const inputs = [0, 10].map((value) => upload(backend, "f32", [8], new Array(8).fill(value)));
    // The exponential comes with erfc, before the sum has read what it is put in the place of.
    const outputs = [inputs[0], inputs[1]] as typeof inputs;
    const call = callOf({ kernel: "map", program: both, inputs, outputs, params: [] });
    engine.run(engine.kernel("map"), call, new Programs(engine).address(both, 8));
    expect(outputs.map((view) => download(backend, view)[7])).toEqual([11, 1]);
  });

  it("are right at every length, for numbers of all sizes", () => {
    const of = program([tail, s.exp(half)]);
    const programs = new Programs(engine);
    for (const points of [1, 4, 7, 8, 12, 2051]) {
      const special = [0, -0, NaN, 1e-30, 12, -13.5, Infinity, -Infinity];
      const values = Array.from({ length: points }, (_, i) =>
        Math.fround(special[i] ?? Math.sin(i * 12.9898) * 6),
      );
      const outputs = of.results.map(() => blank(backend, "f32", [points]));
      const inputs = [upload(backend, "f32", [points], values)];
      const call = callOf({ kernel: "map", program: of, inputs, outputs, params: [] });
      engine.run(engine.kernel("map"), call, programs.address(of, points));
      const [tails = [], bells = []] = outputs.map((view) => [...download(backend, view)]);
      values.forEach((value, i) => {
        const bell = Math.exp((value * value) / -2);
        // The argument is rounded, which the power shows.
        expect(Math.abs((bells[i] as number) - bell)).not.toBeGreaterThan(
          bell * (value * value + 4) * 1e-7 + 1e-44,
        );
        expect(Number.isNaN(bells[i])).toBe(Number.isNaN(value));
        expect(Number.isNaN(tails[i])).toBe(Number.isNaN(value));
        if (value === 0) expect(tails[i]).toBe(1);
        if (value === Infinity) expect([tails[i], bells[i]]).toEqual([2, 0]);
        if (value === -Infinity) expect([tails[i], bells[i]]).toEqual([0, 0]);
      });
    }
  });
});

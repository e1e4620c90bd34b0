import { cpu } from "@nf/backend-cpu";
import {
  type Backend,
  type DType,
  type MapCall,
  manualSeed,
  type Program,
  program,
  rand,
  randn,
  scalar as s,
  tensor,
  use,
  type View,
} from "@nf/core";
import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { decode, type LayoutChoice, lay, layoutOf, positionsOf } from "../../backend-cpu/tests/helper.ts";
import { webgpu } from "../src/index.ts";
import { provideAdapter, testOptions } from "./adapter.ts";

const missing = await provideAdapter("map on webgpu");
const RUNS = process.env["NF_NIGHTLY"] === "1" ? 1_000 : 25;

const DTYPES: readonly DType[] = ["f32", "i32", "u32", "bool", "f16", "bf16", "i8", "u8"];

/** One program for all: mixed in every compute dtype, cast to what the output has. */
const PROGRAMS = new Map<string, Program>();
function mixed(inputs: readonly DType[], output: DType): Program {
  const compute = (dtype: DType): "f32" | "i32" | "u32" | "bool" =>
    dtype === "f16" || dtype === "bf16"
      ? "f32"
      : dtype === "i8"
        ? "i32"
        : dtype === "u8"
          ? "u32"
          : (dtype as "f32");
  const key = `${inputs.map(compute)} ${compute(output)}`;
  let found = PROGRAMS.get(key);
  if (found === undefined) {
    found = program(`mixed ${key}`, inputs.map(compute), ["f32"], (given, [p]) => {
      const terms = given.map((x) => s.cast(x, "f32"));
      const sum = terms.slice(1).reduce((a, x) => s.add(s.mul(a, 0.5), x), terms[0] as s.Expr);
      return s.cast(s.add(s.add(sum, p as s.Expr), s.cast(s.coordinate(0), "f32")), compute(output));
    });
    PROGRAMS.set(key, found);
  }
  return found;
}

describe.skipIf(missing !== undefined)("map", () => {
  let gpu: Backend;
  let reference: Backend;
  beforeAll(async () => {
    [gpu, reference] = [await webgpu(testOptions), await cpu()];
  });
  afterAll(async () => {
    await gpu.dispose();
    await reference.dispose();
  });

  interface Sample {
    readonly shape: readonly number[];
    readonly inputs: readonly { readonly dtype: DType; readonly layout: LayoutChoice }[];
    readonly output: { readonly dtype: DType; readonly layout: LayoutChoice };
  }

  /** The whole of the output's buffer, so that what lies between its elements is looked at too. */
  async function run(
    backend: Backend,
    { shape, inputs, output }: Sample,
  ): Promise<{ all: number[]; at: number[] }> {
    const value = (dtype: DType, position: number, of: number): number =>
      dtype === "bool"
        ? (position + of) % 2
        : ((position * 7 + of * 3) % 11) + (dtype === "u32" || dtype === "u8" ? 0 : -5);
    const views = inputs.map(({ dtype, layout }, of) =>
      lay(backend, dtype, shape, layout, (at) => value(dtype, at, of)),
    );
    const out = lay(backend, output.dtype, shape, output.layout, (at) => value(output.dtype, at, 5));
    const call: MapCall = {
      kernel: "map",
      program: mixed(
        inputs.map(({ dtype }) => dtype),
        output.dtype,
      ),
      buffers: [...views, out].map(({ buffer }) => buffer),
      inputs: views,
      outputs: [out],
      params: [20],
    };
    backend.execute(call);
    const all = decode(output.dtype, await backend.read(out.buffer, 0, out.buffer.byteLength));
    for (const { buffer } of [...views, out] as View[]) backend.free(buffer);
    return { all, at: positionsOf(out) };
  }

  const dtype = fc.constantFrom(...DTYPES);
  const solid = (layout: LayoutChoice): LayoutChoice => ({ ...layout, still: layout.still.map(() => false) });
  const sample = fc
    .array(fc.constantFrom(1, 2, 3, 4, 5, 8, 12), { minLength: 0, maxLength: 4 })
    .chain((shape) => {
      const operand = fc.record({ dtype, layout: layoutOf(shape.length) });
      return fc.record({
        shape: fc.constant(shape),
        inputs: fc.array(operand, { minLength: 1, maxLength: 3 }),
        output: operand.map((one) => ({ ...one, layout: solid(one.layout) })),
      });
    });

  it("any views and dtypes give what the cpu backend gives, and nothing else is written", async () => {
    await fc.assert(
      fc.asyncProperty(sample, async (one) => {
        const [got, wanted] = [await run(gpu, one), await run(reference, one)];
        expect(got.at).toEqual(wanted.at);
        expect(got.all).toEqual(wanted.all);
      }),
      { numRuns: RUNS },
    );
  });

  it("vectors of four with an end of every length, words and bytes", async () => {
    const layout = { order: [0], flip: [false], still: [false], lead: 0, gap: 1 };
    for (const length of [4, 5, 6, 7, 8, 1021, 1024]) {
      for (const type of ["f32", "u8", "bool"] as const) {
        const one = { shape: [length], inputs: [{ dtype: type, layout }], output: { dtype: type, layout } };
        expect((await run(gpu, one)).all).toEqual((await run(reference, one)).all);
      }
    }
  });

  it("many points, in rows that end within vectors and in columns", async () => {
    const plain = { order: [0, 1], flip: [false, false], still: [false, false], lead: 0, gap: 1 };
    for (const [columns, layout] of [
      [260, plain],
      [257, plain],
      [260, { ...plain, order: [1, 0] }],
    ] as const) {
      const one: Sample = {
        shape: [260, columns],
        inputs: [{ dtype: "f32", layout }],
        output: { dtype: "f32", layout: plain },
      };
      const [got, wanted] = [await run(gpu, one), await run(reference, one)];
      expect(got.all.findIndex((value, i) => value !== wanted.all[i])).toBe(-1);
    }
  });

  it("random numbers are the cpu backend's: uniform ones to the bit, normal ones to some roundings", async () => {
    const draw = async (backend: Backend): Promise<[number[], number[]]> => {
      await use(backend);
      manualSeed(3);
      const flat = await rand([1001]).data();
      const normal = await randn([1001]).data();
      return [Array.from(flat), Array.from(normal)];
    };
    const [flat, normal] = await draw(gpu);
    const [wantedFlat, wantedNormal] = await draw(reference);
    expect(flat).toEqual(wantedFlat);
    normal.forEach((value, i) => {
      const wanted = wantedNormal[i] as number;
      expect(Math.abs(value - wanted)).toBeLessThanOrEqual(2e-6 * (1 + Math.abs(wanted)));
    });
  });

  it("whole numbers of every size become the nearest f32", async () => {
    const xs = [
      0,
      1,
      16_777_217,
      16_777_219,
      2 ** 31 - 1,
      2 ** 31 + 127,
      2 ** 31 + 129,
      2 ** 31 + 384,
      3e9 + 1,
      2 ** 32 - 1,
    ];
    await use(gpu);
    for (const dtype of ["u32", "i32"] as const) {
      const fitting = xs.filter((x) => dtype === "u32" || x < 2 ** 31);
      const numbers = tensor(fitting, { dtype });
      expect([...(await numbers.cast("f32").data())]).toEqual(fitting.map(Math.fround));
    }
  });

  it("NaN goes through maxima, minima, comparisons and choices", async () => {
    await use(gpu);
    const x = tensor([NaN, 1, -Infinity, Infinity, -0]);
    expect([...(await x.maximum(0).data())]).toEqual([NaN, 1, 0, Infinity, 0]);
    expect([...(await x.minimum(0).data())]).toEqual([NaN, 0, -Infinity, 0, -0]);
    expect([...(await x.notEqual(x).data())].map(Number)).toEqual([1, 0, 0, 0, 0]);
    expect([...(await x.less(2).data())].map(Number)).toEqual([0, 1, 1, 0, 1]);
    expect([...(await x.sub(x).data())]).toEqual([NaN, 0, NaN, NaN, 0]);
  });
});

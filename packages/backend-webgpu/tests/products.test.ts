import { cpu } from "@nf/backend-cpu";
import { type Backend, type Call, type DType, type Expr, program, scalar as s } from "@nf/core";
import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { layoutOf } from "../../backend-cpu/tests/helper.ts";
import { openDevice } from "../src/adapter.ts";
import { WebgpuBackend } from "../src/backend.ts";
import { Gpu } from "../src/device/gpu.ts";
import { webgpu } from "../src/index.ts";
import { planOf } from "../src/kernels/matmulPlan.ts";
import { runTall } from "../src/kernels/matmulTall.ts";
import { provideAdapter, testOptions } from "./adapter.ts";
import { expectSame, type Operand, plain, resultsOn, wave } from "./operands.ts";

const RUNS = process.env["NF_NIGHTLY"] === "1" ? 1_000 : 30;
const missing = await provideAdapter("products on webgpu");

/** Does products by subgroups that share lines of one operand, whatever they cost. */
class Sided extends WebgpuBackend {
  private readonly side: "left" | "right";

  constructor(gpu: Gpu, side: "left" | "right") {
    super(gpu, Infinity);
    this.side = side;
  }

  override execute(call: Call): void {
    if (call.kernel === "matmul") runTall(this.gpu, planOf(call), this.side);
    else super.execute(call);
  }
}

let pair: [Backend, Backend];
let sided: Record<"left" | "right", Sided>;
/** As on a software adapter without subgroups. */
let without: Backend;
beforeAll(async () => {
  if (missing !== undefined) return;
  pair = [await webgpu(testOptions), await cpu()];
  const open = await openDevice(undefined);
  const gpu = new Gpu(open);
  sided = { left: new Sided(gpu, "left"), right: new Sided(gpu, "right") };
  without = new WebgpuBackend(new Gpu({ ...open, adapterClass: "software", subgroupSize: 0 }), Infinity);
});
afterAll(async () => {
  if (missing !== undefined) return;
  for (const backend of [...pair, sided.left, without]) await backend.dispose();
});

const whole = (seed: number) => (position: number) => ((position * 7 + seed * 3) % 11) - 5;
/** Columns in memory one after the other, as a transposed matrix has them. */
const transposed = { ...plain(2), order: [1, 0] };

/** `[m, k] x [k, n]` in all four ways that operands usually lie. */
async function multiply(m: number, k: number, n: number, factor = 1, backend = pair[0]): Promise<void> {
  for (const a of [plain(2), transposed])
    for (const b of [plain(2), transposed])
      await expectSame(
        [backend, pair[1]],
        { kernel: "matmul" },
        [
          { dtype: "f32", shape: [m, k], layout: a, fill: wave(1, 1) },
          { dtype: "f32", shape: [k, n], layout: b, fill: wave(1, 2) },
        ],
        [{ dtype: "f32", shape: [m, n] }],
        factor,
      );
}

/** Products of every dtype and any views. */
async function products(backend: Backend, most: number, numRuns: number): Promise<void> {
  const size = fc.integer({ min: 1, max: most });
  const cases = fc
    .tuple(fc.array(fc.integer({ min: 1, max: 3 }), { maxLength: 2 }), size, size, size)
    .chain(([batch, m, k, n]) =>
      fc.record({
        shapes: fc.constant([
          [...batch, m, k],
          [...batch, k, n],
          [...batch, m, n],
        ]),
        layouts: fc.tuple(...[0, 1, 2].map(() => layoutOf(batch.length + 2))),
        dtype: fc.constantFrom<DType>("f32", "i32", "u32", "f16", "bf16", "i8"),
      }),
    );
  await fc.assert(
    fc.asyncProperty(cases, async ({ shapes, layouts, dtype }) => {
      const [a, b, out] = shapes.map(
        (shape, i): Operand => ({ dtype, shape, layout: layouts[i] as never, fill: whole(i) }),
      ) as [Operand, Operand, Operand];
      const still = shapes[2]?.map(() => false) as boolean[];
      await expectSame(
        [backend, pair[1]],
        { kernel: "matmul" },
        [a, b],
        [{ ...out, layout: { ...layouts[2], still } as never }],
      );
    }),
    { numRuns },
  );
}

describe.skipIf(missing !== undefined)("matmul", () => {
  it("equals the cpu backend's for every dtype and any views", () => products(pair[0], 9, RUNS));

  it.for(["left", "right"] as const)(
    "by subgroups that share lines of the %s operand: the same, and infinities touch only what they meet",
    async (side, { skip }) => {
      const backend = sided[side];
      skip(backend.gpu.subgroupSize < 4, "the adapter has no subgroups of a fixed size");
      await products(backend, 37, Math.ceil(RUNS / 2));
      await multiply(67, 65, 130, 10, backend);
      await multiply(3, 300, 70, 10, backend);
      await multiply(70, 300, 3, 10, backend);
      // The last of an odd depth, whose neighbour beyond the end is none.
      const [m, k, n] = [21, 33, 19];
      await expectSame(
        [backend, pair[1]],
        { kernel: "matmul" },
        [
          { dtype: "f32", shape: [m, k], fill: (i) => (i === 7 * k - 1 ? Infinity : 1) },
          { dtype: "f32", shape: [k, n], fill: (i) => (i === k * n - 3 ? -Infinity : 1) },
        ],
        [{ dtype: "f32", shape: [m, n] }],
      );
    },
  );

  it("is right at sizes around and beyond its tiles, in all four ways that operands lie", async () => {
    await multiply(64, 100, 72, 10);
    await multiply(67, 65, 130, 10);
    await multiply(64, 128, 10, 10);
    await multiply(1, 300, 260, 10);
    await multiply(300, 257, 1, 10);
  });

  it("is right on a software adapter without subgroups", async () => {
    await multiply(64, 100, 72, 10, without);
    await multiply(67, 65, 130, 10, without);
    await multiply(300, 257, 1, 10, without);
  });

  it("adds long sums accurately", async () => {
    const long = 65_536;
    const [result] = await resultsOn(
      pair[0],
      { kernel: "matmul" },
      [
        { dtype: "f32", shape: [1, long], fill: () => 1 / 3 },
        { dtype: "f32", shape: [long, 1], fill: () => 1 },
      ],
      [{ dtype: "f32", shape: [1, 1] }],
    );
    const right = Math.fround(1 / 3) * long;
    expect(Math.abs((result?.[0] as number) - right) / right).toBeLessThan(1.3e-6);
  });

  it("applies a program to the product", async () => {
    const relu = program("bias, relu", ["f32", "f32"], [], ([x, bias]) =>
      s.max(s.add(x as Expr, bias as Expr), 0),
    );
    for (const [m, k, n] of [
      [5, 7, 3],
      [72, 96, 88],
    ] as const)
      await expectSame(
        pair,
        { kernel: "matmul", program: relu },
        [
          { dtype: "f32", shape: [m, k], fill: wave(1, 1) },
          { dtype: "f32", shape: [k, n], fill: wave(1, 2) },
          { dtype: "f32", shape: [m, n], layout: { ...plain(2), still: [true, false] }, fill: wave(1, 3) },
        ],
        [{ dtype: "f32", shape: [m, n] }],
        10,
      );
  });

  it("lets NaN and infinities through", async () => {
    const a = [NaN, 1, Infinity, 0];
    const results = await resultsOn(
      pair[0],
      { kernel: "matmul" },
      [
        { dtype: "f32", shape: [2, 2], fill: (i) => a[i] as number },
        { dtype: "f32", shape: [2, 2], fill: (i) => i + 1 },
      ],
      [{ dtype: "f32", shape: [2, 2] }],
    );
    expect(results[0]).toEqual([NaN, NaN, Infinity, Infinity]);
  });
});

describe.skipIf(missing !== undefined)("quantizedMatmul", () => {
  it("equals the cpu backend's, for one row and several, at any byte", async () => {
    for (const [format, size] of [
      ["q8_0", 34],
      ["q4_0", 18],
    ] as const)
      for (const rows of [1, 3, 11])
        for (const lead of [0, 1, 2]) {
          const [inner, columns] = [96, 70];
          const bytes = (inner / 32) * size * columns;
          // Scales stay small and finite: their upper byte is that of halves about 1.
          const block = (i: number): number =>
            (i - lead) % size === 1 ? 0x38 + (i % 5) : (i * 37 + (i >> 4)) % 256;
          await expectSame(
            pair,
            { kernel: "quantizedMatmul", attributes: { format, inner, columns } },
            [
              {
                dtype: "f32",
                shape: [rows, inner],
                layout: { ...plain(2), lead: 4 * lead },
                fill: wave(0.01, rows),
              },
              { dtype: "u8", shape: [bytes], layout: { ...plain(1), lead }, fill: block },
            ],
            [{ dtype: "f32", shape: [rows, columns] }],
            4,
          );
        }
  });
});

import { cpu } from "@nf/backend-cpu";
import type { Backend, DType } from "@nf/core";
import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import {
  type Problem as Convolution,
  problems as convolutions,
  shapesOf,
} from "../../backend-cpu/tests/conv-problems.ts";
import { type LayoutChoice, layoutOf } from "../../backend-cpu/tests/helper.ts";
import {
  outSizes,
  type Problem as Pooling,
  problems as poolings,
} from "../../backend-cpu/tests/pool-problems.ts";
import { openDevice } from "../src/adapter.ts";
import { WebgpuBackend } from "../src/backend.ts";
import { Gpu } from "../src/device/gpu.ts";
import { webgpu } from "../src/index.ts";
import { provideAdapter, testOptions } from "./adapter.ts";
import { expectSame, type Operand, plain, resultsOn, wave } from "./operands.ts";

const RUNS = process.env["NF_NIGHTLY"] === "1" ? 1_000 : 25;
const missing = await provideAdapter("windows on webgpu");

let pair: [Backend, Backend];
/** As on a software adapter without subgroups. */
let without: Backend;
beforeAll(async () => {
  if (missing !== undefined) return;
  pair = [await webgpu(testOptions), await cpu()];
  const gpu = new Gpu({ ...(await openDevice(undefined)), adapterClass: "software", subgroupSize: 0 });
  without = new WebgpuBackend(gpu, Infinity);
});
afterAll(async () => {
  if (missing === undefined) for (const backend of [...pair, without]) await backend.dispose();
});
/** Tests of convolutions above the size where subgroups are used. */
const ways = [
  ["as on this adapter", () => pair[0]],
  ["without subgroups", () => without],
] as const;

const floats = fc.constantFrom<DType>("f32", "f32", "f16", "bf16");
const resultLayout = (layout: LayoutChoice): LayoutChoice => ({
  ...layout,
  still: layout.still.map(() => false),
});
const layouts = (rank: number, count: number): fc.Arbitrary<LayoutChoice[]> =>
  fc.array(layoutOf(rank), { minLength: count, maxLength: count });

/** All passes of a convolution. */
async function convolve(
  problem: Convolution,
  dtype: DType,
  lay: readonly LayoutChoice[],
  factor = 1,
  backend = pair[0],
): Promise<void> {
  const { stride, dilation, padding, groups } = problem;
  const [x, w, y] = shapesOf(problem).map(
    (shape, i): Operand => ({ dtype, shape, layout: lay[i] as LayoutChoice, fill: wave(1, i) }),
  ) as [Operand, Operand, Operand];
  const bias: Operand = { dtype, shape: [w.shape[0] as number], fill: wave(1, 3) };
  const into = (operand: Operand): Operand => ({
    ...operand,
    layout: resultLayout(operand.layout as LayoutChoice),
  });
  const common = { stride, dilation, padding, groups };
  for (const [pass, inputs, output] of [
    ["forward", [x, w], y],
    ["forward", [x, w, bias], y],
    ["inputGrad", [y, w], x],
    ["weightGrad", [y, x], w],
  ] as const) {
    await expectSame(
      [backend, pair[1]],
      { kernel: "conv", attributes: { ...common, pass } },
      inputs,
      [into(output)],
      factor,
    );
  }
}

describe.skipIf(missing !== undefined)("conv", () => {
  it("equals the cpu backend's, all passes, in 1 to 3 dimensions and any views", async () => {
    const cases = convolutions.chain((problem) =>
      fc.tuple(fc.constant(problem), floats, layouts(problem.inSize.length + 2, 3)),
    );
    await fc.assert(
      fc.asyncProperty(cases, ([problem, dtype, lay]) => convolve(problem, dtype, lay)),
      { numRuns: RUNS },
    );
  });

  it.each(ways)(
    "is right at sizes beyond a tile, and those of a layer of LeNet: %s",
    async (_way, tested) => {
      const plainAll = (rank: number): LayoutChoice[] => Array.from({ length: 3 }, () => plain(rank + 2));
      const one = { batch: 3, groups: 1, stride: [1, 1], dilation: [1, 1] };
      const pad = (size: number): [number, number][] => [
        [size, size],
        [size, size],
      ];
      // Sums of thousands of terms that cancel.
      for (const problem of [
        { ...one, inPerGroup: 6, outPerGroup: 16, inSize: [14, 14], kernel: [5, 5], padding: pad(0) },
        { ...one, inPerGroup: 6, outPerGroup: 16, inSize: [15, 14], kernel: [5, 5], padding: pad(2) },
        // Windows in two parts, the second of which reaches beyond their end, and a prime number of outputs.
        { ...one, inPerGroup: 5, outPerGroup: 9, inSize: [12, 19], kernel: [2, 9], padding: pad(3) },
        {
          ...one,
          inPerGroup: 70,
          outPerGroup: 19,
          inSize: [9, 11],
          kernel: [3, 3],
          padding: pad(1),
          stride: [2, 2],
        },
        {
          ...one,
          groups: 2,
          inPerGroup: 3,
          outPerGroup: 9,
          inSize: [13, 30],
          kernel: [3, 9],
          padding: pad(4),
          dilation: [1, 2],
        },
      ])
        await convolve(problem, "f32", plainAll(2), 30, tested());
    },
  );

  it.each(ways)("lets an infinite weight touch only what it meets: %s", async (_way, tested) => {
    const attributes = { dilation: [1, 1], groups: 1 };
    for (const [channels, size] of [
      [1, 4],
      [16, 20],
    ] as const) {
      const weight: Operand = {
        dtype: "f32",
        shape: [channels, channels, 3, 3],
        fill: (i) => (i % 9 === 0 ? Infinity : 1),
      };
      const ones = (side: number): Operand => ({
        dtype: "f32",
        shape: [1, channels, side, side],
        fill: () => 1,
      });
      for (const [pass, stride, pad, from, met] of [
        // The weight at a window's start meets padding in the first row and column.
        ["forward", 1, 1, size, (row: number, column: number) => row > 0 && column > 0],
        // Between strided windows there are elements that it does not meet.
        ["inputGrad", 2, 0, (size - 2) / 2, (row: number, column: number) => (row | column) % 2 === 0],
      ] as const) {
        const [result] = await resultsOn(
          tested(),
          {
            kernel: "conv",
            attributes: {
              ...attributes,
              pass,
              stride: [stride, stride],
              padding: [
                [pad, pad],
                [pad, pad],
              ],
            },
          },
          [ones(from), weight],
          [ones(pass === "forward" ? size : size - 1)],
        );
        const side = pass === "forward" ? size : size - 1;
        result?.forEach((value, i) => {
          const [row, column] = [Math.floor(i / side) % side, i % side];
          const reached = pass === "forward" || (row < side - 1 && column < side - 1);
          if (met(row, column) && reached) expect(value, `${pass} ${i}`).toBe(Infinity);
          else expect(Number.isFinite(value), `${pass} ${i}: ${value}`).toBe(true);
        });
      }
    }
  });

  it.each(ways)(
    "lets an infinite gradient touch only what it meets, padding not: %s",
    async (_way, tested) => {
      const padding = [
        [1, 1],
        [1, 1],
      ];
      const attributes = { pass: "weightGrad", stride: [1, 1], dilation: [1, 1], padding, groups: 1 };
      for (const [channels, size] of [
        [1, 4],
        [16, 20],
      ] as const) {
        const shape = [1, channels, size, size];
        const [result] = await resultsOn(
          tested(),
          { kernel: "conv", attributes },
          [
            // The first output's window has padding above and to the left.
            { dtype: "f32", shape, fill: (i) => (i % size ** 2 === 0 ? Infinity : 1) },
            { dtype: "f32", shape, fill: () => 1 },
          ],
          [{ dtype: "f32", shape: [channels, channels, 3, 3] }],
        );
        result?.forEach((value, i) => {
          const [row, column] = [Math.floor(i / 3) % 3, i % 3];
          if (row > 0 && column > 0) expect(value, `${i}`).toBe(Infinity);
          else expect(Number.isFinite(value), `${i}: ${value}`).toBe(true);
        });
      }
    },
  );

  it("adds the terms of large windows accurately", async () => {
    const side = 200;
    const [result] = await resultsOn(
      pair[0],
      {
        kernel: "conv",
        attributes: {
          pass: "forward",
          stride: [1, 1],
          dilation: [1, 1],
          padding: [
            [0, 0],
            [0, 0],
          ],
          groups: 1,
        },
      },
      [
        { dtype: "f32", shape: [1, 1, side, side], fill: () => 1 / 3 },
        { dtype: "f32", shape: [1, 1, side, side], fill: () => 1 },
      ],
      [{ dtype: "f32", shape: [1, 1, 1, 1] }],
    );
    const right = Math.fround(1 / 3) * side * side;
    expect(Math.abs((result?.[0] as number) - right) / right).toBeLessThan(4e-6);
  });
});

/** Forward and backward of a pooling. */
async function pool(
  problem: Pooling,
  dtype: DType,
  lay: readonly LayoutChoice[],
  fill: (i: number) => number,
): Promise<void> {
  const { batch, channels, inSize, ...attributes } = problem;
  const x: Operand = { dtype, shape: [batch, channels, ...inSize], layout: lay[0] as LayoutChoice, fill };
  const y: Operand = {
    dtype,
    shape: [batch, channels, ...outSizes(problem)],
    layout: lay[1] as LayoutChoice,
    fill: wave(1, 2),
  };
  const into = (operand: Operand): Operand => ({
    ...operand,
    layout: resultLayout(operand.layout as LayoutChoice),
  });
  const parts = (pass: string) => ({ kernel: "pool", attributes: { ...attributes, pass } }) as const;
  await expectSame(pair, parts("forward"), [x], [into(y)]);
  await expectSame(pair, parts("backward"), problem.kind === "max" ? [y, x] : [y], [into(x)]);
}

describe.skipIf(missing !== undefined)("pool", () => {
  const values = fc.constantFrom(0, 1, 2, -3, NaN, Infinity, -Infinity, 1e4, -1e4);

  it("equals the cpu backend's, forward and backward, with ties, NaN and infinities", async () => {
    const cases = poolings.chain((problem) =>
      fc.tuple(
        fc.constant(problem),
        floats,
        layouts(problem.inSize.length + 2, 2),
        fc.array(values, { minLength: 7, maxLength: 7 }),
      ),
    );
    await fc.assert(
      fc.asyncProperty(cases, ([problem, dtype, lay, list]) =>
        pool(
          problem,
          dtype,
          lay,
          problem.kind === "max" ? (i) => list[(i * 5 + (i >> 3)) % 7] as number : wave(1, 5),
        ),
      ),
      { numRuns: 2 * RUNS },
    );
  });

  it("walks windows that tile the input", async () => {
    const problem = {
      batch: 2,
      channels: 3,
      inSize: [8, 12],
      kernelSize: [2, 2],
      stride: [2, 2],
      dilation: [1, 1],
      padding: [
        [0, 0],
        [0, 0],
      ] as [number, number][],
      countIncludePad: true,
    };
    for (const kind of ["max", "mean"] as const)
      await pool({ ...problem, countedPadding: problem.padding, kind }, "f32", [plain(4), plain(4)], (i) =>
        Math.sin(i * i),
      );
  });

  it("takes the mean of large windows accurately", async () => {
    const side = 224;
    const still = [
      [0, 0],
      [0, 0],
    ];
    const [result] = await resultsOn(
      pair[0],
      {
        kernel: "pool",
        attributes: {
          kind: "mean",
          kernelSize: [side, side],
          stride: [1, 1],
          dilation: [1, 1],
          padding: still,
          countedPadding: still,
          countIncludePad: true,
          pass: "forward",
        },
      },
      [{ dtype: "f32", shape: [1, 1, side, side], fill: () => 1 / 3 }],
      [{ dtype: "f32", shape: [1, 1, 1, 1] }],
    );
    expect(Math.abs((result?.[0] as number) * 3 - 1)).toBeLessThan(1.3e-6);
  });

  it("sends the gradient to the first of equals and to NaN", async () => {
    const attributes = {
      kind: "max",
      kernelSize: [2],
      stride: [2],
      dilation: [1],
      padding: [[0, 0]],
      countedPadding: [[0, 0]],
      countIncludePad: true,
      pass: "backward",
    };
    const x = [5, NaN, -Infinity, -Infinity, 2, 2];
    const [dx] = await resultsOn(
      pair[0],
      { kernel: "pool", attributes },
      [
        { dtype: "f32", shape: [1, 1, 3], fill: (i) => i + 3 },
        { dtype: "f32", shape: [1, 1, 6], fill: (i) => x[i] ?? 0 },
      ],
      [{ dtype: "f32", shape: [1, 1, 6] }],
    );
    expect(dx).toEqual([0, 3, 4, 0, 5, 0]);
  });
});

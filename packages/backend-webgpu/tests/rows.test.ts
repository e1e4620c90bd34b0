import { cpu } from "@nf/backend-cpu";
import type { Backend, DType } from "@nf/core";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { LAYOUTS } from "../../conformance/src/layout.ts";
import { webgpu } from "../src/index.ts";
import { provideAdapter, testOptions } from "./adapter.ts";
import { compareDirect, type Direct, type Given, numbers, runDirect } from "./calls.ts";

const missing = await provideAdapter("rows on webgpu");
const { NaN: nan, POSITIVE_INFINITY: inf } = Number;

describe.skipIf(missing !== undefined)("kernels over rows", () => {
  let own: Backend;
  let reference: Backend;
  beforeAll(async () => {
    own = await webgpu(testOptions);
    reference = await cpu();
  });
  afterAll(async () => {
    await own.dispose();
    await reference.dispose();
  });

  const given = (
    shape: readonly number[],
    seed: number,
    dtype: DType = "f32",
    layout = "contiguous",
  ): Given => ({
    shape,
    dtype,
    layout: LAYOUTS[layout]!,
    values: numbers(
      shape.reduce((a, b) => a * b, 1),
      seed,
    ),
  });
  const result = (shape: readonly number[], dtype: DType = "f32", layout = "contiguous"): Given => ({
    shape,
    dtype,
    layout: LAYOUTS[layout]!,
  });
  const compare = (call: Direct, slack?: number): Promise<void> => compareDirect(own, reference, call, slack);

  const SHAPES = [
    [1, 1],
    [3, 5],
    [64, 10],
    [40, 32],
    [2, 3, 4, 8],
    [1, 4100],
    [3, 1024],
    [200, 3],
  ] as const;
  const LAYOUT_NAMES = ["contiguous", "offset", "permuted", "sliced", "everything at once"];

  describe("softmax", () => {
    const call = (
      pass: "forward" | "backward",
      log: boolean,
      inputs: readonly Given[],
      out: Given,
    ): Direct => ({
      parts: { kernel: "softmax", attributes: { pass, log } },
      inputs,
      outputs: [out],
    });
    for (const log of [false, true]) {
      it(`${log ? "log, " : ""}of every shape`, async () => {
        for (const shape of SHAPES) {
          await compare(call("forward", log, [given(shape, 1)], result(shape)));
          await compare(call("backward", log, [given(shape, 2), given(shape, 3)], result(shape)), 2);
        }
      });
      it(`${log ? "log, " : ""}of every layout and dtype`, async () => {
        for (const layout of LAYOUT_NAMES) {
          for (const dtype of ["f32", "f16", "bf16"] as const) {
            const x = given([3, 2, 8], 4, dtype, layout);
            await compare(call("forward", log, [x], result([3, 2, 8], dtype, "offset")));
            const g = given([3, 2, 8], 5, dtype, "permuted");
            await compare(call("backward", log, [g, x], result([3, 2, 8], dtype, layout)));
          }
        }
      });
      it(`${log ? "log, " : ""}of large, infinite and no numbers`, async () => {
        for (const width of [7, 8]) {
          const rows = [
            [1e4, -1e4],
            [-1e4, -1e4 - 1],
            [inf, 0],
            [-inf, -inf],
            [-inf, 2],
            [nan, 1],
            [1, nan],
            [nan, inf],
          ];
          const values = rows.flatMap(([a, b]) =>
            Array.from({ length: width }, (_, i) => (i % 3 === 0 ? a! : b!)),
          );
          await compare(
            call("forward", log, [{ shape: [rows.length, width], values }], result([rows.length, width])),
          );
        }
      });
    }
    it("adds up many elements without losing digits", async () => {
      const shape = [1, 65536];
      const [y] = await runDirect(
        own,
        call("forward", true, [{ shape, values: new Array(65536).fill(0.25) }], result(shape)),
      );
      expect(Math.abs(y![0]! + Math.log(65536))).toBeLessThan(2e-6);
    });
  });

  describe("crossEntropy", () => {
    const rows = (
      shape: readonly [number, number],
      x: Given,
      smoothing: number,
      dtype: DType,
      ignored = -100,
    ): [Direct, Direct] => {
      const targets = Array.from({ length: shape[0] }, (_, i) =>
        i % 5 === 4 ? ignored : (i * 7) % shape[1],
      );
      const target: Given = { shape: [shape[0]], dtype: "i32", values: targets };
      const one = result([shape[0]], dtype);
      return [
        {
          parts: { kernel: "crossEntropy", attributes: { pass: "forward" } },
          params: [ignored, smoothing],
          inputs: [x, target],
          outputs: [one, one],
        },
        {
          parts: { kernel: "crossEntropy", attributes: { pass: "backward" } },
          params: [ignored, smoothing],
          inputs: [given([shape[0]], 8, dtype), x, target, given([shape[0]], 9, dtype)],
          outputs: [result(shape, dtype)],
        },
      ];
    };
    it("of every shape", async () => {
      for (const shape of [
        [1, 1],
        [7, 5],
        [64, 10],
        [40, 32],
        [3, 4100],
      ] as const)
        for (const smoothing of [0, 0.1])
          for (const call of rows(shape, given(shape, 6), smoothing, "f32")) await compare(call, 2);
    });
    it("of every layout and dtype", async () => {
      for (const layout of LAYOUT_NAMES)
        for (const dtype of ["f32", "f16", "bf16"] as const)
          for (const call of rows([9, 8], given([9, 8], 7, dtype, layout), 0.2, dtype, 3))
            await compare(call);
    });
    it("of large, infinite and no numbers", async () => {
      const lines = [
        [1e4, -1e4],
        [-1e4, 1e4],
        [-inf, 1],
        [1, -inf],
        [nan, 1],
        [2, nan],
        [inf, 1],
        [-inf, -inf],
      ];
      for (const width of [5, 8])
        for (const smoothing of [0, 0.1]) {
          const values = lines.flatMap(([a, b]) =>
            Array.from({ length: width }, (_, i) => (i % 2 === 0 ? a! : b!)),
          );
          const shape = [lines.length, width] as const;
          for (const call of rows(shape, { shape, values }, smoothing, "f32")) await compare(call);
        }
    });
  });

  describe("norm", () => {
    const forward = (x: Given, centered: boolean, weight: boolean, bias: boolean, eps = 1e-5): Direct => {
      const { shape, dtype = "f32" } = x;
      const width = shape.at(-1)!;
      const one = result([...shape.slice(0, -1), 1], "f32");
      return {
        parts: { kernel: "norm", attributes: { pass: "forward", centered, weight, bias } },
        params: [eps],
        inputs: [
          x,
          ...(weight ? [given([width], 10, dtype)] : []),
          ...(bias ? [given([width], 11, dtype)] : []),
        ],
        outputs: [result(shape, dtype), one, ...(centered ? [one] : [])],
      };
    };
    const backward = (
      x: Given,
      centered: boolean,
      weight: boolean,
      bias: boolean,
      layout = "contiguous",
    ): Direct => {
      const { shape, dtype = "f32" } = x;
      const one = given([...shape.slice(0, -1), 1], 12);
      const line = [shape.at(-1)!];
      return {
        parts: { kernel: "norm", attributes: { pass: "backward", centered, weight, bias } },
        params: [1e-5],
        inputs: [
          given(shape, 13, dtype, layout),
          x,
          one,
          ...(centered ? [one] : []),
          ...(weight ? [given(line, 14, dtype)] : []),
        ],
        outputs: [
          result(shape, dtype),
          ...(weight ? [result(line, dtype)] : []),
          ...(bias ? [result(line, dtype)] : []),
        ],
      };
    };
    const KINDS = [
      [true, true, true],
      [true, false, true],
      [true, false, false],
      [false, true, false],
      [false, false, false],
    ] as const;
    it("of every shape", async () => {
      for (const shape of [
        [1, 1],
        [3, 5],
        [300, 12],
        [2, 3, 7],
        [3, 1024],
        [1, 4100],
      ])
        for (const [centered, weight, bias] of KINDS) {
          await compare(forward(given(shape, 15), centered, weight, bias), shape.at(-1) === 1 ? 100 : 2);
          await compare(backward(given(shape, 16), centered, weight, bias), 4);
        }
    });
    it("of every layout and dtype", async () => {
      for (const layout of LAYOUT_NAMES)
        for (const dtype of ["f32", "f16", "bf16"] as const) {
          await compare(forward(given([3, 5, 8], 17, dtype, layout), true, true, true), 2);
          await compare(backward(given([3, 5, 8], 18, dtype, layout), true, true, true, "permuted"), 2);
        }
    });
    it("of rows without spread, large, infinite and no numbers", async () => {
      const lines = [
        [3, 3],
        [0, 0],
        [1e4, -1e4],
        [1e4, 1e4],
        [inf, 1],
        [nan, 1],
      ];
      for (const width of [5, 8])
        for (const centered of [false, true]) {
          const values = lines.flatMap(([a, b]) =>
            Array.from({ length: width }, (_, i) => (i % 2 === 0 ? a! : b!)),
          );
          for (const [row] of lines.entries())
            await compare(
              forward(
                { shape: [1, width], values: values.slice(row * width, (row + 1) * width) },
                centered,
                true,
                false,
                row < 2 ? 0 : 1e-5,
              ),
              50,
            );
        }
    });
  });

  it("rope", async () => {
    for (const interleaved of [false, true])
      for (const inverse of [false, true])
        for (const dtype of ["f32", "f16", "bf16"] as const)
          for (const [shape, layout] of [
            [[2, 3, 5, 8], "contiguous"],
            [[5, 6], "sliced"],
            [[2, 4, 2], "everything at once"],
            [[1, 2, 3, 16], "permuted"],
          ] as const) {
            const table = [shape.at(-2)!, shape.at(-1)! / 2];
            await compare({
              parts: { kernel: "rope", attributes: { interleaved, inverse } },
              inputs: [given(shape, 20, dtype, layout), given(table, 21), given(table, 22)],
              outputs: [result(shape, dtype, layout)],
            });
          }
  });
});

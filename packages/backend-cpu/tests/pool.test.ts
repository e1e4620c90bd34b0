import type { Backend, View } from "@nf/core";
import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { cpu } from "../src/index.ts";
import { blank, download, RUNS, upload } from "./helper.ts";
import { checkPool, type Problem, problems, runPool } from "./pool-problems.ts";

let backend: Backend;
beforeAll(async () => {
  backend = await cpu();
});
afterAll(async () => {
  await backend.dispose();
});

const call = (problem: Problem, pass: "forward" | "backward", inputs: View[], output: View): void =>
  runPool(backend, problem, pass, inputs, output);

describe("pool", () => {
  it("equals a naive window walk, forward and backward, for max and mean in 1 to 3 dimensions", () => {
    fc.assert(
      fc.property(problems, fc.boolean(), (problem, permuted) => {
        checkPool(backend, problem, permuted);
      }),
      { numRuns: RUNS },
    );
  });

  it("lets NaN through max pooling, and sends it the gradient", () => {
    const problem: Problem = {
      batch: 1,
      channels: 1,
      inSize: [4],
      kernelSize: [2],
      stride: [2],
      dilation: [1],
      padding: [[0, 0]],
      countedPadding: [[0, 0]],
      kind: "max",
      countIncludePad: true,
    };
    const x = upload(backend, "f32", [1, 1, 4], [5, NaN, -Infinity, -Infinity]);
    const y = blank(backend, "f32", [1, 1, 2]);
    call(problem, "forward", [x], y);
    expect(download(backend, y)).toEqual([NaN, -Infinity]);
    const dx = blank(backend, "f32", [1, 1, 4]);
    call(problem, "backward", [upload(backend, "f32", [1, 1, 2], [3, 4]), x], dx);
    expect(download(backend, dx)).toEqual([0, 3, 4, 0]);
  });

  it("stores 16-bit floats", () => {
    const problem: Problem = {
      batch: 1,
      channels: 1,
      inSize: [4],
      kernelSize: [2],
      stride: [2],
      dilation: [1],
      padding: [[0, 0]],
      countedPadding: [[0, 0]],
      kind: "mean",
      countIncludePad: true,
    };
    for (const dtype of ["f16", "bf16"] as const) {
      const y = blank(backend, dtype, [1, 1, 2]);
      call(problem, "forward", [upload(backend, dtype, [1, 1, 4], [1, 2, 3, 5])], y);
      expect(download(backend, y)).toEqual([1.5, 4]);
    }
  });
});

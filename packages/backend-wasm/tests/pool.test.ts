import type { Backend, View } from "@nf/core";
import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { checkPool, type Problem, problems, runPool } from "../../backend-cpu/tests/pool-problems.ts";
import { wasm } from "../src/index.ts";
import { blank, download, RUNS, upload } from "./helper.ts";

let backend: Backend;
beforeAll(async () => {
  backend = await wasm({ threads: 2 });
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

  it("gives the same bits for windows of 2 x 2, where four go at once, as for 2 x 2 x 1, where none do", () => {
    const values = fc.constantFrom(0, -0, 1, 2, -3, NaN, Infinity, -Infinity);
    const shapes = fc.record({
      planes: fc.integer({ min: 1, max: 4 }),
      h: fc.integer({ min: 2, max: 9 }),
      w: fc.integer({ min: 2, max: 21 }),
    });
    fc.assert(
      fc.property(
        shapes,
        fc.constantFrom<"max" | "mean">("max", "mean"),
        fc.infiniteStream(values),
        ({ planes, h, w }, kind, stream) => {
          const data = [...stream.take(planes * h * w)];
          const [oh, ow] = [Math.floor(h / 2), Math.floor(w / 2)];
          const results = [0, 1].map((extra) => {
            const more = extra === 1 ? [1] : [];
            const problem: Problem = {
              batch: planes,
              channels: 1,
              kind,
              countIncludePad: true,
              inSize: [h, w, ...more],
              kernelSize: [2, 2, ...more],
              stride: [2, 2, ...more],
              dilation: [1, 1, ...more],
              padding: [
                [0, 0],
                [0, 0],
                [0, 0],
              ].slice(0, 2 + extra) as [number, number][],
              countedPadding: [
                [0, 0],
                [0, 0],
                [0, 0],
              ].slice(0, 2 + extra) as [number, number][],
            };
            const x = upload(backend, "f32", [planes, 1, h, w, ...more], data);
            const g = upload(backend, "f32", [planes, 1, oh, ow, ...more], data.slice(0, planes * oh * ow));
            const y = blank(backend, "f32", [planes, 1, oh, ow, ...more]);
            const dx = blank(backend, "f32", [planes, 1, h, w, ...more]);
            call(problem, "forward", [x], y);
            call(problem, "backward", kind === "max" ? [g, x] : [g], dx);
            // A sum that begins with 0 loses the sign of a zero; a maximum is one of its elements to the last bit.
            const unsigned = (list: number[]): number[] => list.map((value) => (value === 0 ? 0 : value));
            const result = download(backend, y);
            return [kind === "max" ? result : unsigned(result), unsigned(download(backend, dx))];
          });
          expect(results[0]).toEqual(results[1]);
        },
      ),
      { numRuns: RUNS },
    );
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

import { type Backend, contiguousView, type DType } from "@nf/core";
import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { cpu } from "../src/index.ts";
import { checkConvolution, type Problem, problems } from "./conv-problems.ts";
import { blank, download, RUNS, run, upload } from "./helper.ts";

let backend: Backend;
beforeAll(async () => {
  backend = await cpu();
});
afterAll(async () => {
  await backend.dispose();
});

const checkAll = (problem: Problem, dtype: DType, backwards: boolean): void =>
  checkConvolution(backend, problem, dtype, backwards);

describe("conv", () => {
  it("equals the sum over all products, forward and both backwards, in 1 to 3 dimensions", () => {
    fc.assert(
      fc.property(problems, fc.constantFrom<DType>("f32", "f64"), fc.boolean(), (problem, dtype, backwards) =>
        checkAll(problem, dtype, backwards),
      ),
      { numRuns: RUNS },
    );
  });

  it("stores 16-bit floats", () => {
    const problem: Problem = {
      batch: 2,
      groups: 1,
      inPerGroup: 2,
      outPerGroup: 3,
      inSize: [5, 4],
      kernel: [3, 2],
      stride: [1, 1],
      dilation: [1, 1],
      padding: [
        [1, 1],
        [0, 1],
      ],
    };
    for (const dtype of ["f16", "bf16"] as const) checkAll(problem, dtype, false);
  });

  it("is right at the sizes of LeNet and across block borders", () => {
    checkAll(
      {
        batch: 3,
        groups: 1,
        inPerGroup: 6,
        outPerGroup: 16,
        inSize: [12, 12],
        kernel: [5, 5],
        stride: [1, 1],
        dilation: [1, 1],
        padding: [
          [0, 0],
          [0, 0],
        ],
      },
      "f32",
      false,
    );
    checkAll(
      {
        batch: 1,
        groups: 1,
        inPerGroup: 40,
        outPerGroup: 200,
        inSize: [6, 7],
        kernel: [3, 3],
        stride: [2, 1],
        dilation: [1, 1],
        padding: [
          [1, 1],
          [1, 1],
        ],
      },
      "f64",
      false,
    );
  });

  it("takes large images a few at a time", () => {
    const [images, size, step] = [3, 2_200_000, 100_000];
    const pixels = size / step;
    const values = Float32Array.from({ length: images * size }, (_, i) =>
      i % step === 0 ? i / step + 1 : 7,
    );
    const x = contiguousView(backend.allocate(values.byteLength), "f32", [images, 1, size]);
    backend.write(x.buffer, 0, new Uint8Array(values.buffer));
    const w = upload(backend, "f32", [1, 1, 1], [2]);
    const y = blank(backend, "f32", [images, 1, pixels]);
    const geometry = { groups: 1, stride: [step], dilation: [1], padding: [[0, 0]] } as const;
    run(backend, {
      kernel: "conv",
      inputs: [x, w],
      outputs: [y],
      attributes: { ...geometry, pass: "forward" },
    });
    const counted = Array.from({ length: images * pixels }, (_, i) => i + 1);
    expect(download(backend, y)).toEqual(counted.map((value) => 2 * value));
    const dw = blank(backend, "f32", [1, 1, 1]);
    run(backend, {
      kernel: "conv",
      inputs: [y, x],
      outputs: [dw],
      attributes: { ...geometry, pass: "weightGrad" },
    });
    expect(download(backend, dw)).toEqual([counted.reduce((sum, value) => sum + 2 * value * value, 0)]);
    run(backend, {
      kernel: "conv",
      inputs: [y, w],
      outputs: [x],
      attributes: { ...geometry, pass: "inputGrad" },
    });
    const bytes = (backend.readSync as NonNullable<Backend["readSync"]>).call(
      backend,
      x.buffer,
      0,
      values.byteLength,
    );
    const dx = new Float32Array(bytes.buffer);
    expect(counted.map((_, i) => dx[i * step])).toEqual(counted.map((value) => 4 * value));
    expect(dx.reduce((sum, value) => sum + Math.abs(value), 0)).toBe(
      counted.reduce((sum, value) => sum + 4 * value, 0),
    );
  });

  it("keeps NaN in what it touches and nothing else", () => {
    const x = upload(backend, "f32", [1, 1, 4, 4], [NaN, ...new Array<number>(15).fill(0)]);
    const w = upload(backend, "f32", [1, 1, 2, 2], [0, 0, 0, 0]);
    const out = blank(backend, "f32", [1, 1, 3, 3]);
    run(backend, {
      kernel: "conv",
      inputs: [x, w],
      outputs: [out],
      attributes: {
        pass: "forward",
        groups: 1,
        stride: [1, 1],
        dilation: [1, 1],
        padding: [
          [0, 0],
          [0, 0],
        ],
      },
    });
    expect(download(backend, out)).toEqual([NaN, ...new Array<number>(8).fill(0)]);
  });
});

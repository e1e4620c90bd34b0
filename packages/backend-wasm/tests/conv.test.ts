import { type Backend, contiguousView, type DType, sizeOf } from "@nf/core";
import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import {
  attributes,
  checkConvolution,
  type Problem,
  problems,
  shapesOf,
  wave,
} from "../../backend-cpu/tests/conv-problems.ts";
import { wasm } from "../src/index.ts";
import { blank, download, RUNS, run, upload } from "./helper.ts";

let backend: Backend;
beforeAll(async () => {
  backend = await wasm({ threads: 2 });
});
afterAll(async () => {
  await backend.dispose();
});

const pads = (rank: number, size: number): [number, number][] =>
  Array.from({ length: rank }, () => [size, size]);

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

  it.each<[string, Partial<Problem>]>([
    [
      "sums over more taps than one block",
      { inPerGroup: 70, outPerGroup: 5, inSize: [9, 10], kernel: [3, 3] },
    ],
    ["windows of one element", { inPerGroup: 24, outPerGroup: 7, inSize: [5, 9], kernel: [1, 1] }],
    ["one channel a group", { groups: 9, inSize: [11, 13], kernel: [3, 3], padding: pads(2, 1) }],
    [
      "strides and dilations with a common factor",
      {
        inPerGroup: 3,
        outPerGroup: 4,
        inSize: [9, 23],
        kernel: [2, 5],
        stride: [2, 4],
        dilation: [1, 2],
        padding: pads(2, 2),
      },
    ],
    [
      "one image",
      { batch: 1, inPerGroup: 9, outPerGroup: 10, inSize: [20, 21], kernel: [5, 3], padding: pads(2, 2) },
    ],
  ])("is right for %s, with the same bits for 1, 2 and 4 threads", async (_, partial) => {
    const base: Problem = {
      batch: 2,
      groups: 1,
      inPerGroup: 1,
      outPerGroup: 1,
      inSize: [],
      kernel: [],
      stride: [1, 1],
      dilation: [1, 1],
      padding: pads(2, 0),
    };
    const problem = { ...base, ...partial };
    checkAll(problem, "f32", false);
    const others = await Promise.all([wasm({ threads: 1 }), wasm({ threads: 4 })]);
    const [xShape, wShape, yShape] = shapesOf(problem);
    const passes = {
      forward: [xShape, wShape, yShape],
      inputGrad: [yShape, wShape, xShape],
      weightGrad: [yShape, xShape, wShape],
    } as const;
    for (const pass of ["forward", "inputGrad", "weightGrad"] as const) {
      const [first, second, result] = passes[pass];
      const results = [backend, ...others].map((target) => {
        const inputs = [first, second].map((shape, i) =>
          upload(
            target,
            "f32",
            shape,
            Array.from({ length: sizeOf(shape) }, (_, at) => wave(at + 50 * i)),
          ),
        );
        const out = blank(target, "f32", result);
        run(target, { kernel: "conv", inputs, outputs: [out], attributes: attributes(problem, pass) });
        return download(target, out);
      });
      expect(results[1]).toEqual(results[0]);
      expect(results[2]).toEqual(results[0]);
    }
    await Promise.all(others.map((other) => other.dispose()));
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

import { type Backend, type ConvCall, contiguousView, type DType, sizeOf, type View } from "@nf/core";
import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { wasm } from "../src/index.ts";
import { blank, download, lay, RUNS, run, upload } from "./helper.ts";

let backend: Backend;
beforeAll(async () => {
  backend = await wasm({ threads: 2 });
});
afterAll(async () => {
  await backend.dispose();
});

const wave = (i: number): number => Math.fround(Math.sin(i * 1.3));

interface Problem {
  readonly batch: number;
  readonly groups: number;
  readonly inPerGroup: number;
  readonly outPerGroup: number;
  readonly inSize: readonly number[];
  readonly kernel: readonly number[];
  readonly stride: readonly number[];
  readonly dilation: readonly number[];
  readonly padding: readonly (readonly [number, number])[];
}

const outSizes = ({ inSize, kernel, stride, dilation, padding }: Problem): number[] =>
  inSize.map((size, d) => {
    const [before, after] = padding[d] as readonly [number, number];
    return (
      Math.floor(
        (size + before + after - ((kernel[d] as number) - 1) * (dilation[d] as number) - 1) /
          (stride[d] as number),
      ) + 1
    );
  });

const problems: fc.Arbitrary<Problem> = fc.integer({ min: 1, max: 3 }).chain((rank) => {
  const each = <T>(item: fc.Arbitrary<T>): fc.Arbitrary<T[]> =>
    fc.array(item, { minLength: rank, maxLength: rank });
  return fc
    .record({
      batch: fc.integer({ min: 1, max: 3 }),
      groups: fc.integer({ min: 1, max: 3 }),
      inPerGroup: fc.integer({ min: 1, max: 3 }),
      outPerGroup: fc.integer({ min: 1, max: 4 }),
      inSize: each(fc.integer({ min: 1, max: rank === 3 ? 4 : 7 })),
      kernel: each(fc.integer({ min: 1, max: 3 })),
      stride: each(fc.integer({ min: 1, max: 3 })),
      dilation: each(fc.integer({ min: 1, max: 2 })),
      padding: each(fc.tuple(fc.nat(2), fc.nat(2))),
    })
    .filter((problem) => outSizes(problem).every((size) => size >= 1));
});

/** Calls `visit` for every product of the convolution: positions in x, weight and out. */
function eachProduct(problem: Problem, visit: (x: number, w: number, y: number) => void): void {
  const { batch, groups, inPerGroup, outPerGroup, inSize, kernel, stride, dilation, padding } = problem;
  const out = outSizes(problem);
  const grid = (sizes: readonly number[]): number[][] =>
    sizes.reduce<number[][]>(
      (list, size) => list.flatMap((at) => [...Array(size).keys()].map((i) => [...at, i])),
      [[]],
    );
  const flat = (at: readonly number[], sizes: readonly number[]): number =>
    at.reduce((sum, i, d) => sum * (sizes[d] as number) + i, 0);
  const [inVolume, outVolume, kernelVolume] = [inSize, out, kernel].map((sizes) =>
    sizes.reduce((a, b) => a * b, 1),
  ) as [number, number, number];
  const pairs = grid(out).flatMap((o) =>
    grid(kernel).flatMap((k) => {
      const at = o.map(
        (position, d) =>
          position * (stride[d] as number) -
          (padding[d] as readonly [number, number])[0] +
          (k[d] as number) * (dilation[d] as number),
      );
      return at.every((i, d) => i >= 0 && i < (inSize[d] as number))
        ? [[flat(at, inSize), flat(k, kernel), flat(o, out)] as const]
        : [];
    }),
  );
  for (let n = 0; n < batch; n++) {
    for (let g = 0; g < groups; g++) {
      for (let oc = 0; oc < outPerGroup; oc++) {
        for (let ic = 0; ic < inPerGroup; ic++) {
          for (const [x, w, y] of pairs) {
            const channel = g * outPerGroup + oc;
            visit(
              ((n * groups + g) * inPerGroup + ic) * inVolume + x,
              (channel * inPerGroup + ic) * kernelVolume + w,
              (n * groups * outPerGroup + channel) * outVolume + y,
            );
          }
        }
      }
    }
  }
}

const pads = (rank: number, size: number): [number, number][] =>
  Array.from({ length: rank }, () => [size, size]);

/** Shapes of x, weight and out. */
function shapesOf(problem: Problem): [number[], number[], number[]] {
  const { batch, groups, inPerGroup, outPerGroup, inSize, kernel } = problem;
  return [
    [batch, groups * inPerGroup, ...inSize],
    [groups * outPerGroup, inPerGroup, ...kernel],
    [batch, groups * outPerGroup, ...outSizes(problem)],
  ];
}

const attributes = (
  { groups, stride, dilation, padding }: Problem,
  pass: ConvCall["attributes"]["pass"],
): ConvCall["attributes"] => ({ pass, groups, stride, dilation, padding });

function close(got: readonly number[], expected: readonly number[], dtype: DType): void {
  const tolerance = { f32: 1e-5, f64: 1e-12, f16: 5e-3, bf16: 4e-2 }[dtype as "f32"];
  expect(got.length).toBe(expected.length);
  got.forEach((value, i) => {
    expect(Math.abs(value - (expected[i] as number))).toBeLessThanOrEqual(
      tolerance * (1 + Math.abs(expected[i] as number)),
    );
  });
}

function checkAll(problem: Problem, dtype: DType, backwards: boolean): void {
  const { batch } = problem;
  const [xShape, wShape, yShape] = shapesOf(problem);
  // Optionally in reversed memory order, as a permuted view would lie.
  const make = (shape: readonly number[], shift: number): View =>
    lay(
      backend,
      dtype,
      shape,
      {
        order: backwards ? [...shape.keys()].reverse() : [...shape.keys()],
        flip: shape.map(() => backwards),
        still: shape.map(() => false),
        lead: 1,
        gap: 1,
      },
      (i) => wave(i + shift),
    );
  const [x, w, g] = [make(xShape, 0), make(wShape, 31), make(yShape, 77)];
  const bias = upload(
    backend,
    dtype,
    [wShape[0] as number],
    Array.from({ length: wShape[0] as number }, (_, i) => i - 1),
  );
  const [xs, ws, gs] = [x, w, g].map((view) => download(backend, view)) as [number[], number[], number[]];
  const y = gs.map(
    (_, i) => (Math.floor(i / (gs.length / batch / (yShape[1] as number))) % (yShape[1] as number)) - 1,
  );
  const plain = gs.map(() => 0);
  const dx = xs.map(() => 0);
  const dw = ws.map(() => 0);
  eachProduct(problem, (xi, wi, yi) => {
    const product = (xs[xi] as number) * (ws[wi] as number);
    (y[yi] as number) += product;
    (plain[yi] as number) += product;
    (dx[xi] as number) += (gs[yi] as number) * (ws[wi] as number);
    (dw[wi] as number) += (gs[yi] as number) * (xs[xi] as number);
  });
  const forward = (inputs: View[]): number[] => {
    const out = make(yShape, 5);
    run(backend, { kernel: "conv", inputs, outputs: [out], attributes: attributes(problem, "forward") });
    return download(backend, out);
  };
  close(forward([x, w, bias]), y, dtype);
  close(forward([x, w]), plain, dtype);
  const gradX = make(xShape, 5);
  run(backend, {
    kernel: "conv",
    inputs: [g, w],
    outputs: [gradX],
    attributes: attributes(problem, "inputGrad"),
  });
  close(download(backend, gradX), dx, dtype);
  const gradW = make(wShape, 5);
  run(backend, {
    kernel: "conv",
    inputs: [g, x],
    outputs: [gradW],
    attributes: attributes(problem, "weightGrad"),
  });
  close(download(backend, gradW), dw, dtype);
}

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

import type { Backend, ConvCall, DType, View } from "@nf/core";
import fc from "fast-check";
import { expect } from "vitest";
import { download, lay, run, upload } from "./helper.ts";

/*
 * Convolutions with every option, and the sum over all products that each must equal: for the tests of all backends.
 */

/** Values that differ. */
export const wave = (i: number): number => Math.fround(Math.sin(i * 1.3));

/** A convolution. */
export interface Problem {
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

/** Spatial sizes of the result. */
export const outSizes = ({ inSize, kernel, stride, dilation, padding }: Problem): number[] =>
  inSize.map((size, d) => {
    const [before, after] = padding[d] as readonly [number, number];
    return (
      Math.floor(
        (size + before + after - ((kernel[d] as number) - 1) * (dilation[d] as number) - 1) /
          (stride[d] as number),
      ) + 1
    );
  });

/** Small convolutions in 1 to 3 dimensions. */
export const problems: fc.Arbitrary<Problem> = fc.integer({ min: 1, max: 3 }).chain((rank) => {
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

/** Shapes of x, weight and out. */
export function shapesOf(problem: Problem): [number[], number[], number[]] {
  const { batch, groups, inPerGroup, outPerGroup, inSize, kernel } = problem;
  return [
    [batch, groups * inPerGroup, ...inSize],
    [groups * outPerGroup, inPerGroup, ...kernel],
    [batch, groups * outPerGroup, ...outSizes(problem)],
  ];
}

/** What a call carries. */
export const attributes = (
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

/** Holds the three passes of a convolution against the sum over all products. @param backwards laid out in reverse */
export function checkConvolution(backend: Backend, problem: Problem, dtype: DType, backwards: boolean): void {
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

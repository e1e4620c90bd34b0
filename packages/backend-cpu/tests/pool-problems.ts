import type { Backend, PoolCall, View } from "@nf/core";
import fc from "fast-check";
import { expect } from "vitest";
import { blank, download, lay, run, upload } from "./helper.ts";

/*
 * Pooling with every option, and the walk over windows that each must equal: for the tests of all backends.
 */

type Attributes = Omit<PoolCall["attributes"], "pass">;

/** A pooling. */
export interface Problem extends Attributes {
  readonly batch: number;
  readonly channels: number;
  readonly inSize: readonly number[];
}

/** Spatial sizes of the result. */
export const outSizes = ({ inSize, kernelSize, stride, dilation, padding }: Problem): number[] =>
  inSize.map((size, d) => {
    const [before, after] = padding[d] as readonly [number, number];
    return (
      Math.floor(
        (size + before + after - ((kernelSize[d] as number) - 1) * (dilation[d] as number) - 1) /
          (stride[d] as number),
      ) + 1
    );
  });

/** Small poolings in 1 to 3 dimensions. */
export const problems: fc.Arbitrary<Problem> = fc.integer({ min: 1, max: 3 }).chain((rank) => {
  const each = <T>(item: fc.Arbitrary<T>): fc.Arbitrary<T[]> =>
    fc.array(item, { minLength: rank, maxLength: rank });
  return fc
    .record({
      batch: fc.integer({ min: 1, max: 2 }),
      channels: fc.integer({ min: 1, max: 2 }),
      inSize: each(fc.integer({ min: 2, max: rank === 3 ? 4 : 7 })),
      kernelSize: each(fc.integer({ min: 1, max: 3 })),
      stride: each(fc.integer({ min: 1, max: 3 })),
      dilation: each(fc.integer({ min: 1, max: 2 })),
      kind: fc.constantFrom<"max" | "mean">("max", "mean"),
      countIncludePad: fc.boolean(),
      pads: each(fc.tuple(fc.nat(1), fc.nat(1), fc.nat(1))),
    })
    .map(({ pads, ...rest }) => ({
      ...rest,
      // At most half a window; a third number stands for what ceil mode added.
      padding: pads.map(([before, after, extra], d): [number, number] =>
        (rest.kernelSize[d] as number) === 1 ? [0, 0] : [before, after + extra],
      ),
      countedPadding: pads.map(([before, after], d): [number, number] =>
        (rest.kernelSize[d] as number) === 1 ? [0, 0] : [before, after],
      ),
    }))
    .filter(
      (problem) =>
        outSizes(problem).every((size) => size >= 1) &&
        windows(problem).every(({ inside }) => inside.length > 0),
    );
});

/** For each output pixel: positions inside the plane in row-major order, and how many elements count. */
export function windows(problem: Problem): { inside: number[]; counted: number }[] {
  const { inSize, kernelSize, stride, dilation, padding, countedPadding } = problem;
  const grid = (sizes: readonly number[]): number[][] =>
    sizes.reduce<number[][]>(
      (list, size) => list.flatMap((at) => [...Array(size).keys()].map((i) => [...at, i])),
      [[]],
    );
  return grid(outSizes(problem)).map((o) => {
    const inside: number[] = [];
    let counted = 0;
    for (const k of grid(kernelSize)) {
      const at = o.map(
        (position, d) =>
          position * (stride[d] as number) -
          (padding[d] as [number, number])[0] +
          (k[d] as number) * (dilation[d] as number),
      );
      if (at.every((i, d) => i >= 0 && i < (inSize[d] as number)))
        inside.push(at.reduce((sum, i, d) => sum * (inSize[d] as number) + i, 0));
      if (
        at.every(
          (i, d) =>
            i >= -(countedPadding[d] as [number, number])[0] &&
            i < (inSize[d] as number) + (countedPadding[d] as [number, number])[1],
        )
      )
        counted++;
    }
    return { inside, counted: problem.countIncludePad ? counted : inside.length };
  });
}

/** Runs a pass of a pooling. */
export function runPool(
  backend: Backend,
  problem: Problem,
  pass: "forward" | "backward",
  inputs: View[],
  output: View,
): void {
  const { batch: _batch, channels: _channels, inSize: _inSize, ...attributes } = problem;
  run(backend, { kernel: "pool", inputs, outputs: [output], attributes: { ...attributes, pass } });
}

/** Holds both passes against the walk over windows. @param permuted laid out with the axes in reverse */
export function checkPool(backend: Backend, problem: Problem, permuted: boolean): void {
  const xShape = [problem.batch, problem.channels, ...problem.inSize];
  const outShape = [problem.batch, problem.channels, ...outSizes(problem)];
  const axes = [...xShape.keys()];
  // Few distinct values, so that there are ties.
  const x = lay(
    backend,
    "f32",
    xShape,
    {
      order: permuted ? [...axes].reverse() : axes,
      flip: axes.map(() => false),
      still: axes.map(() => false),
      lead: 2,
      gap: 1,
    },
    (i) => (i * 7) % 5,
  );
  const y = blank(backend, "f32", outShape);
  const g = upload(
    backend,
    "f32",
    outShape,
    Array.from({ length: y.size }, (_, i) => i + 1),
  );
  const dx = blank(backend, "f32", xShape);
  runPool(backend, problem, "forward", [x], y);
  runPool(backend, problem, "backward", [g, x], dx);
  const xs = download(backend, x);
  const list = windows(problem);
  const planeSize = problem.inSize.reduce((a, b) => a * b, 1);
  const expectedY: number[] = [];
  const expectedDx = xs.map(() => 0);
  for (let plane = 0; plane < problem.batch * problem.channels; plane++) {
    list.forEach(({ inside, counted }, pixel) => {
      const values = inside.map((at) => xs[plane * planeSize + at] as number);
      const gradient = plane * list.length + pixel + 1;
      if (problem.kind === "max") {
        const greatest = Math.max(...values);
        expectedY.push(greatest);
        (expectedDx[plane * planeSize + (inside[values.indexOf(greatest)] as number)] as number) += gradient;
      } else {
        expectedY.push(Math.fround(values.reduce((a, b) => a + b, 0) / counted));
        for (const at of inside) (expectedDx[plane * planeSize + at] as number) += gradient / counted;
      }
    });
  }
  expect(download(backend, y)).toEqual(expectedY);
  download(backend, dx).forEach((value, i) => {
    expect(value).toBeCloseTo(expectedDx[i] as number, 3);
  });
}

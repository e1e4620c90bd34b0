import type { Backend, PoolCall, View } from "@nf/core";
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

type Attributes = Omit<PoolCall["attributes"], "pass">;

interface Problem extends Attributes {
  readonly batch: number;
  readonly channels: number;
  readonly inSize: readonly number[];
}

const outSizes = ({ inSize, kernelSize, stride, dilation, padding }: Problem): number[] =>
  inSize.map((size, d) => {
    const [before, after] = padding[d] as readonly [number, number];
    return (
      Math.floor(
        (size + before + after - ((kernelSize[d] as number) - 1) * (dilation[d] as number) - 1) /
          (stride[d] as number),
      ) + 1
    );
  });

const problems: fc.Arbitrary<Problem> = fc.integer({ min: 1, max: 3 }).chain((rank) => {
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
function windows(problem: Problem): { inside: number[]; counted: number }[] {
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

function call(problem: Problem, pass: "forward" | "backward", inputs: View[], output: View): void {
  const { batch: _batch, channels: _channels, inSize: _inSize, ...attributes } = problem;
  run(backend, { kernel: "pool", inputs, outputs: [output], attributes: { ...attributes, pass } });
}

describe("pool", () => {
  it("equals a naive window walk, forward and backward, for max and mean in 1 to 3 dimensions", () => {
    fc.assert(
      fc.property(problems, fc.boolean(), (problem, permuted) => {
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
        call(problem, "forward", [x], y);
        call(problem, "backward", [g, x], dx);
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
              (expectedDx[plane * planeSize + (inside[values.indexOf(greatest)] as number)] as number) +=
                gradient;
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

  it("agrees with itself on windows of 2 x 2, where four go at once, and of 2 x 2 x 1, where none do", () => {
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
            return [download(backend, y), download(backend, dx)].map((list) =>
              list.map((value) => (value === 0 ? 0 : value)),
            );
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

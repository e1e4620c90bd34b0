import type { PadMode } from "@nf/core";
import * as nf from "@nf/core";
import fc from "fast-check";
import type { Instance, Row } from "../model.ts";
import type { Nd } from "../reference/nd.ts";
import * as reference from "../reference/nd.ts";
import { axisFor, between, NUMBERS, optionsText, shapes, shapesText } from "./define.ts";

import { moveRow, one } from "./moves.ts";

function splitRows(): readonly Row[] {
  const pieces = (x: Nd, sizes: readonly number[], axis: number): readonly Nd[] => {
    let start = 0;
    return sizes.map((size) => {
      start += size;
      return reference.cut(x, axis, start - size, start);
    });
  };
  const even = (total: number, size: number): number[] =>
    Array.from({ length: Math.ceil(total / size) }, (_, i) => Math.min(size, total - i * size));
  const split = (x: readonly number[], sizes: number | readonly number[], axis: number): Instance =>
    one(
      x,
      `${[sizes].flat().join()} axis ${axis}`,
      (input) => nf.split(input, sizes, axis),
      (input) => pieces(input, typeof sizes === "number" ? even(x.at(axis)!, sizes) : sizes, axis),
    );
  const chunk = (x: readonly number[], count: number, axis: number): Instance =>
    one(
      x,
      `${count} axis ${axis}`,
      (input) => nf.chunk(input, count, axis),
      (input) => pieces(input, even(x.at(axis)!, Math.max(1, Math.ceil(x.at(axis)! / count))), axis),
    );
  const any = (make: (x: readonly number[], n: number, axis: number) => Instance): fc.Arbitrary<Instance> =>
    shapes(1, 3, 5, 1).chain((x) =>
      fc.tuple(between(1, 4), axisFor(x.length)).map(([n, axis]) => make(x, n, axis)),
    );
  return [
    moveRow(
      "split",
      [split([5], 2, 0), split([2, 6], [1, 2, 3], 1), split([3, 4], 3, -2), split([4], [4], 0)],
      any(split),
    ),
    moveRow("chunk", [chunk([7], 3, 0), chunk([2, 6], 2, -1), chunk([5], 7, 0)], any(chunk)),
  ];
}

const EXTEND: Readonly<Record<Exclude<PadMode, "constant">, (i: number, size: number) => number>> = {
  reflect: (i, size) => (i < 0 ? -i : i >= size ? 2 * (size - 1) - i : i),
  replicate: (i, size) => Math.min(Math.max(i, 0), size - 1),
  circular: (i, size) => ((i % size) + size) % size,
};

function padRow(): Row {
  type Padding = readonly (readonly [number, number])[];
  const pad = (x: readonly number[], padding: Padding, mode: PadMode, value?: number): Instance =>
    one(
      x,
      JSON.stringify(padding) + optionsText({ mode, ...(value !== undefined && { value }) }),
      (input) =>
        nf.pad(input, padding, {
          ...(mode !== "constant" && { mode }),
          ...(value !== undefined && { value }),
        }),
      (input) =>
        reference.build(
          x.map((size, i) => size + padding[i]![0] + padding[i]![1]),
          (index) => {
            const places = index.map((p, i) => p - padding[i]![0]);
            if (mode !== "constant")
              return reference.at(
                input,
                places.map((p, i) => EXTEND[mode](p, x[i]!)),
              );
            return places.every((p, i) => p >= 0 && p < x[i]!) ? reference.at(input, places) : (value ?? 0);
          },
        ),
    );
  const modes = fc.constantFrom<PadMode>("constant", "reflect", "replicate", "circular");
  const any = fc
    .tuple(
      shapes(1, 3, 4, 1),
      modes,
      fc.array(fc.tuple(between(0, 3), between(0, 3)), { minLength: 3, maxLength: 3 }),
    )
    .map(([x, mode, amounts]) => {
      const fit = (amount: number, size: number): number =>
        mode === "reflect"
          ? Math.min(amount, size - 1)
          : mode === "circular"
            ? Math.min(amount, size)
            : amount;
      return pad(
        x,
        x.map((size, i) => [fit(amounts[i]![0], size), fit(amounts[i]![1], size)] as const),
        mode,
        mode === "constant" ? amounts[0]![0] : undefined,
      );
    });
  return moveRow(
    "pad",
    [
      pad([3], [[1, 2]], "constant"),
      pad(
        [2, 3],
        [
          [0, 1],
          [2, 0],
        ],
        "constant",
        5,
      ),
      pad([4], [[-1, 1]], "constant"),
      pad(
        [4, 3],
        [
          [2, 1],
          [0, 2],
        ],
        "reflect",
      ),
      pad(
        [3, 2],
        [
          [2, 2],
          [1, 0],
        ],
        "replicate",
      ),
      pad([3], [[2, 3]], "circular"),
      pad(
        [0, 2],
        [
          [1, 1],
          [0, 0],
        ],
        "constant",
      ),
    ],
    any,
    { dtypes: NUMBERS },
  );
}

function repeatRows(): readonly Row[] {
  const tile = (x: readonly number[], repeats: readonly number[]): Instance =>
    one(
      x,
      `by ${repeats.join()}`,
      (input) => nf.tile(input, repeats),
      (input) => {
        const rank = Math.max(x.length, repeats.length);
        const shape = [...new Array<number>(rank - x.length).fill(1), ...x];
        const counts = [...new Array<number>(rank - repeats.length).fill(1), ...repeats];
        const source = reference.nd(shape, input.data);
        return reference.build(
          shape.map((size, i) => size * counts[i]!),
          (index) =>
            reference.at(
              source,
              index.map((p, i) => p % shape[i]!),
            ),
        );
      },
    );
  const interleave = (x: readonly number[], repeats: number | readonly number[], axis?: number): Instance =>
    one(
      x,
      `${[repeats].flat().join()}${axis === undefined ? "" : ` axis ${axis}`}`,
      (input) => nf.repeatInterleave(input, repeats, axis === undefined ? {} : { axis }),
      (input) => {
        const source = axis === undefined ? reference.nd([input.data.length], input.data) : input;
        return reference.lines(source, axis ?? 0, (line) =>
          line.flatMap((value, i) =>
            new Array<number>(typeof repeats === "number" ? repeats : repeats[i]!).fill(value),
          ),
        );
      },
    );
  const roll = (
    x: readonly number[],
    shifts: number | readonly number[],
    axis?: number | readonly number[],
  ): Instance =>
    one(
      x,
      `by ${[shifts].flat().join()}${axis === undefined ? "" : ` axis ${[axis].flat().join()}`}`,
      (input) => nf.roll(input, { shifts, ...(axis !== undefined && { axis }) }),
      (input) => {
        const turn = (line: readonly number[], shift: number): number[] =>
          line.map((_, i) => line[(((i - shift) % line.length) + line.length) % line.length]!);
        if (axis === undefined) return reference.nd(x, turn(input.data, [shifts].flat()[0]!));
        return [axis]
          .flat()
          .reduce(
            (moved, own, i) => reference.lines(moved, own, (line) => turn(line, [shifts].flat()[i]!)),
            input,
          );
      },
    );
  const flip = (x: readonly number[], axis?: number | readonly number[]): Instance =>
    one(
      x,
      axis === undefined ? "" : `axis ${[axis].flat().join()}`,
      (input) => nf.flip(input, axis),
      (input) => {
        const axes = reference.axesOf(axis, x.length);
        return reference.build(x, (index) =>
          reference.at(
            input,
            index.map((p, i) => (axes.includes(i) ? x[i]! - 1 - p : p)),
          ),
        );
      },
    );
  return [
    moveRow(
      "tile",
      [tile([2, 3], [2, 2]), tile([3], [2, 1]), tile([2, 3], [2]), tile([], [3]), tile([2], [0])],
      fc
        .tuple(shapes(0, 3, 3), fc.array(between(0, 3), { maxLength: 3 }))
        .map(([x, repeats]) => tile(x, repeats)),
    ),
    moveRow(
      "repeatInterleave",
      [
        interleave([2, 3], 2),
        interleave([2, 3], 2, 1),
        interleave([3], [1, 0, 2], 0),
        interleave([2, 3], [2, 1], 0),
      ],
      shapes(1, 3, 4, 1).chain((x) =>
        fc.tuple(between(0, 3), axisFor(x.length)).map(([n, axis]) => interleave(x, n, axis)),
      ),
      { kernels: ["gather", "scatter"] },
    ),
    moveRow(
      "roll",
      [roll([5], 2, 0), roll([2, 3], -1), roll([3, 4], [1, -2], [0, 1]), roll([3], 7, 0)],
      shapes(1, 3, 4, 1).chain((x) =>
        fc.tuple(between(-5, 5), axisFor(x.length)).map(([shift, axis]) => roll(x, shift, axis)),
      ),
    ),
    moveRow(
      "flip",
      [flip([3]), flip([2, 3], 1), flip([2, 3, 4], [0, -1]), flip([0, 2], 0)],
      shapes(1, 4).chain((x) => axisFor(x.length).map((axis) => flip(x, axis))),
    ),
  ];
}

function diagonalRows(): readonly Row[] {
  const diagonal = (
    x: readonly number[],
    options: { offset?: number; axis1?: number; axis2?: number },
  ): Instance =>
    one(
      x,
      optionsText(options),
      (input) => nf.diagonal(input, options),
      (input) => {
        const { offset = 0 } = options;
        const [a, b] = [
          reference.axisOf(options.axis1 ?? 0, x.length),
          reference.axisOf(options.axis2 ?? 1, x.length),
        ];
        const [down, right] = [Math.max(0, -offset), Math.max(0, offset)];
        const length = Math.max(0, Math.min(x[a]! - down, x[b]! - right));
        const rest = x.flatMap((size, axis) => (axis === a || axis === b ? [] : [{ size, axis }]));
        return reference.build([...rest.map(({ size }) => size), length], (index) => {
          const source = new Array<number>(x.length);
          rest.forEach(({ axis }, i) => {
            source[axis] = index[i]!;
          });
          source[a] = index.at(-1)! + down;
          source[b] = index.at(-1)! + right;
          return reference.at(input, source);
        });
      },
    );
  const diag = (x: readonly number[], offset: number): Instance =>
    one(
      x,
      `offset ${offset}`,
      (input) => nf.diag(input, { offset }),
      (input) => {
        const [down, right] = [Math.max(0, -offset), Math.max(0, offset)];
        if (x.length === 2)
          return reference.build([Math.max(0, Math.min(x[0]! - down, x[1]! - right))], ([i]) =>
            reference.at(input, [i! + down, i! + right]),
          );
        const size = x[0]! + Math.abs(offset);
        return reference.build([size, size], ([i, j]) => (j! - i! === offset ? input.data[i! - down]! : 0));
      },
    );
  return [
    moveRow(
      "diagonal",
      [
        diagonal([3, 3], {}),
        diagonal([2, 4], { offset: 1 }),
        diagonal([2, 3, 4], { axis1: 1, axis2: -1 }),
        diagonal([3, 2], { offset: -1 }),
        diagonal([2, 2], { offset: 5 }),
      ],
      shapes(2, 4, 4).chain((x) => between(-2, 2).map((offset) => diagonal(x, { offset }))),
    ),
    moveRow(
      "diag",
      [diag([3], 0), diag([2], 1), diag([2], -2), diag([3, 4], 0), diag([4, 2], -1)],
      fc.tuple(shapes(1, 2, 4), between(-2, 2)).map(([x, offset]) => diag(x, offset)),
      { dtypes: NUMBERS },
    ),
  ];
}

/** Windows, diagonals, a step backwards, one element many times, nothing at all: elements numbered row by row. */
function stridedRow(): Row {
  const strided = (
    x: readonly number[],
    shape: readonly number[],
    strides: readonly number[],
    offset: number,
  ): Instance =>
    one(
      x,
      `as ${shapesText(shape)} strides ${shapesText(strides)} from ${offset}`,
      (input) => nf.asStrided(input, shape, strides, offset),
      (input) =>
        reference.build(shape, (index) => {
          const place = index.reduce((sum, at, axis) => sum + at * strides[axis]!, offset);
          return input.data[place]!;
        }),
    );
  const arbitrary = fc
    .record({
      shape: shapes(0, 3, 3, 1),
      steps: fc.array(between(-2, 4), { minLength: 3, maxLength: 3 }),
      rest: between(0, 3),
    })
    .map(({ shape, steps, rest }) => {
      const strides = steps.slice(0, shape.length);
      const reach = shape.map((size, axis) => (size - 1) * strides[axis]!);
      const below = -reach.reduce((sum, far) => sum + Math.min(0, far), 0);
      const above = reach.reduce((sum, far) => sum + Math.max(0, far), 0);
      return strided([below + above + 1 + rest], shape, strides, below);
    });
  const fixed = [
    strided([5], [3, 3], [1, 1], 0),
    strided([3, 4], [3], [5], 0),
    strided([2, 3], [3, 2], [1, 3], 0),
    strided([4], [4], [-1], 3),
    strided([2, 2], [3, 2], [0, 1], 2),
    strided([3], [], [], 1),
    strided([3], [0, 2], [1, 1], 0),
    strided([2, 1, 3, 1, 2], [2, 1, 2, 1, 2], [6, 1, 2, 1, 1], 1),
  ];
  return moveRow("asStrided", fixed, arbitrary, { kernels: ["scatter"] });
}

/** Operations that cut, pad, repeat and rearrange. */
export function rearrangeRows(): readonly Row[] {
  return [...splitRows(), padRow(), ...repeatRows(), ...diagonalRows(), stridedRow()];
}

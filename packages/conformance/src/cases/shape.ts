import * as nf from "@nf/core";
import fc from "fast-check";
import type { Instance, Row } from "../model.ts";
import * as reference from "../reference/nd.ts";
import { axisFor, between, data, shapes, shapesText } from "./define.ts";

import { moveRow, one } from "./moves.ts";
import { rearrangeRows } from "./rearrange.ts";

const factorings = shapes(1, 3, 4, 1).chain((x) =>
  fc
    .constantFrom([-1], [1, -1], [reference.count(x)], [...x].reverse(), [...x, 1], [1, ...x, 1])
    .map((shape) => [x, shape] as const),
);

function reshapeRows(): readonly Row[] {
  const reshape = (x: readonly number[], shape: readonly number[]): Instance =>
    one(
      x,
      `to ${shapesText(shape)}`,
      (input) => nf.reshape(input, shape),
      (input) => reference.reshape(input, shape),
    );
  const flatten = (x: readonly number[], start: number, end: number): Instance =>
    one(
      x,
      `${start} to ${end}`,
      (input) => nf.flatten(input, start, end),
      (input) => {
        const [from, to] = [reference.axisOf(start, x.length), reference.axisOf(end, x.length)];
        return reference.nd(
          [...x.slice(0, from), reference.count(x.slice(from, to + 1)), ...x.slice(to + 1)],
          input.data,
        );
      },
    );
  return [
    moveRow(
      "reshape",
      [
        reshape([2, 3], [3, 2]),
        reshape([2, 3], [-1]),
        reshape([4], [2, -1]),
        reshape([], [1, 1]),
        reshape([0, 3], [3, 0]),
        reshape([2, 1, 3, 1, 2], [6, 2]),
      ],
      factorings.map(([x, shape]) => reshape(x, shape)),
    ),
    moveRow(
      "flatten",
      [flatten([2, 3, 4], 0, -1), flatten([2, 3, 4], 1, 2), flatten([2, 3, 4], 0, 1), flatten([0, 3], 0, -1)],
      shapes(1, 4).chain((x) => between(0, x.length - 1).map((start) => flatten(x, start, -1))),
    ),
  ];
}

function orderRows(): readonly Row[] {
  const permute = (x: readonly number[], order: readonly number[]): Instance =>
    one(
      x,
      `order ${order.join()}`,
      (input) => nf.permute(input, order),
      (input) =>
        reference.permute(
          input,
          order.map((axis) => reference.axisOf(axis, x.length)),
        ),
    );
  const swapped = (x: readonly number[], a: number, b: number): number[] => {
    const [from, to] = [reference.axisOf(a, x.length), reference.axisOf(b, x.length)];
    return x.map((_, axis) => (axis === from ? to : axis === to ? from : axis));
  };
  const swap = (x: readonly number[], a: number, b: number): Instance =>
    one(
      x,
      `${a} and ${b}`,
      (input) => nf.swapAxes(input, a, b),
      (input) => reference.permute(input, swapped(x, a, b)),
    );
  const transpose = (x: readonly number[]): Instance =>
    one(x, "", nf.transpose, (input) => reference.permute(input, swapped(x, -2, -1)));
  return [
    moveRow(
      "permute",
      [
        permute([2, 3, 4], [2, 0, 1]),
        permute([2, 3], [-1, 0]),
        permute([], []),
        permute([2, 1, 3, 1, 2], [4, 2, 0, 1, 3]),
        permute([0, 2], [1, 0]),
      ],
      shapes(1, 4).chain((x) =>
        fc
          .shuffledSubarray([...x.keys()], { minLength: x.length, maxLength: x.length })
          .map((order) => permute(x, order)),
      ),
    ),
    moveRow(
      "swapAxes",
      [swap([2, 3, 4], 0, -1), swap([2, 3], 1, 1)],
      shapes(1, 4).chain((x) =>
        fc.tuple(axisFor(x.length), axisFor(x.length)).map(([a, b]) => swap(x, a, b)),
      ),
    ),
    moveRow(
      "transpose",
      [transpose([2, 3]), transpose([2, 3, 4]), transpose([0, 3]), transpose([2, 1, 3, 1, 2])],
      shapes(2, 4).map(transpose),
    ),
  ];
}

function unitRows(): readonly Row[] {
  const squeeze = (x: readonly number[], axis?: number | readonly number[]): Instance => {
    const axes =
      axis === undefined
        ? x.flatMap((size, i) => (size === 1 ? [i] : []))
        : [axis].flat().map((a) => reference.axisOf(a, x.length));
    return one(
      x,
      `axis ${axis === undefined ? "none" : [axis].flat().join()}`,
      (input) => nf.squeeze(input, axis),
      (input) =>
        reference.nd(
          x.filter((_, i) => !axes.includes(i)),
          input.data,
        ),
    );
  };
  const unsqueeze = (x: readonly number[], axis: number | readonly number[]): Instance =>
    one(
      x,
      `axis ${[axis].flat().join()}`,
      (input) => nf.unsqueeze(input, axis),
      (input) => {
        const axes = [axis].flat();
        const rank = x.length + axes.length;
        const ones = axes.map((a) => reference.axisOf(a, rank));
        let next = 0;
        return reference.nd(
          Array.from({ length: rank }, (_, i) => (ones.includes(i) ? 1 : x[next++]!)),
          input.data,
        );
      },
    );
  const expand = (x: readonly number[], shape: readonly number[]): Instance => {
    const lead = shape.length - x.length;
    const target = shape.map((size, axis) => (size === -1 ? x[axis - lead]! : size));
    return one(
      x,
      `to ${shapesText(shape)}`,
      (input) => nf.expand(input, shape),
      (input) => reference.broadcastTo(input, target),
    );
  };
  return [
    moveRow(
      "squeeze",
      [squeeze([1, 3, 1]), squeeze([1, 3, 1], 0), squeeze([1, 3, 1], [0, -1]), squeeze([2, 3])],
      shapes(0, 3).map((x) => squeeze([1, ...x, 1], [0, -1])),
    ),
    moveRow(
      "unsqueeze",
      [unsqueeze([2, 3], 0), unsqueeze([2, 3], -1), unsqueeze([3], [0, 2]), unsqueeze([], 0)],
      shapes(0, 3).chain((x) => axisFor(x.length + 1).map((axis) => unsqueeze(x, axis))),
    ),
    moveRow(
      "expand",
      [
        expand([1, 3], [2, 3]),
        expand([3, 1], [-1, 4]),
        expand([], [2, 2]),
        expand([1], [0]),
        expand([2, 1, 3], [4, 2, 5, 3]),
      ],
      shapes(0, 3, 3).chain((x) =>
        fc
          .tuple(fc.array(between(1, 3), { maxLength: 2 }), between(1, 4))
          .map(([lead, size]) => expand([1, ...x], [...lead, size, ...x])),
      ),
    ),
  ];
}

const JOINS = { concat: nf.concat, stack: nf.stack } as const;

function joinRows(): readonly Row[] {
  const joined = (
    op: "concat" | "stack",
    shapesOf: readonly (readonly number[])[],
    axis: number,
  ): Instance => ({
    label: `${shapesText(...shapesOf)} axis ${axis}`,
    operands: shapesOf.map((shape) => data(shape)),
    run: (inputs) => JOINS[op](inputs, axis),
    reference: (inputs) => {
      if (op === "concat") return reference.concat(inputs, axis);
      const along = reference.axisOf(axis, shapesOf[0]!.length + 1);
      return reference.concat(
        inputs.map((input) =>
          reference.nd([...input.shape.slice(0, along), 1, ...input.shape.slice(along)], input.data),
        ),
        along,
      );
    },
  });
  const concatAny = shapes(1, 3).chain((x) =>
    fc
      .tuple(axisFor(x.length), fc.array(between(0, 3), { minLength: 1, maxLength: 4 }))
      .map(([axis, sizes]) =>
        joined(
          "concat",
          sizes.map((size) => x.map((own, i) => (i === reference.axisOf(axis, x.length) ? size : own))),
          axis,
        ),
      ),
  );
  const stackAny = shapes(0, 3).chain((x) =>
    fc
      .tuple(axisFor(x.length + 1), between(1, 4))
      .map(([axis, count]) => joined("stack", new Array<number[]>(count).fill(x), axis)),
  );
  return [
    moveRow(
      "concat",
      [
        joined(
          "concat",
          [
            [2, 3],
            [1, 3],
          ],
          0,
        ),
        joined(
          "concat",
          [
            [2, 3],
            [2, 1],
            [2, 2],
          ],
          -1,
        ),
        joined("concat", [[0], [3], [0]], 0),
        joined(
          "concat",
          [
            [2, 1, 3, 1, 2],
            [2, 1, 1, 1, 2],
          ],
          2,
        ),
      ],
      concatAny,
    ),
    moveRow(
      "stack",
      [
        joined(
          "stack",
          [
            [2, 3],
            [2, 3],
          ],
          0,
        ),
        joined("stack", [[3], [3], [3]], -1),
        joined("stack", [[], []], 0),
        joined(
          "stack",
          [
            [0, 2],
            [0, 2],
          ],
          1,
        ),
      ],
      stackAny,
    ),
  ];
}

/** Operations that move elements and change none. */
export function shapeRows(): readonly Row[] {
  return [...reshapeRows(), ...orderRows(), ...unitRows(), ...joinRows(), ...rearrangeRows()];
}

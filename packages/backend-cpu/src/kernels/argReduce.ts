import { type ArgReduceCall, makeView, type View } from "@nf/core";
import type { Context } from "../context.ts";
import { readDoubles, writeDoubles } from "../dense.ts";

/** Makes the `argReduce` kernel: the first greatest or least element; the first NaN beats everything. */
export function makeArgReduce({ workspace }: Context): (call: ArgReduceCall) => void {
  return ({ inputs, outputs, attributes }) => {
    const input = inputs[0] as View;
    const output = outputs[0] as View;
    const kept = input.shape.map((_, axis) => axis).filter((axis) => !attributes.axes.includes(axis));
    const order = [...kept, ...attributes.axes];
    const pick = (list: readonly number[]): readonly number[] => order.map((axis) => list[axis] as number);
    // Reduced axes last, so that each group is one run of numbers.
    const grouped = makeView(input.buffer, input.dtype, pick(input.shape), pick(input.strides), input.offset);
    const values = readDoubles(grouped, workspace, "argReduce values");
    const groups = output.size;
    const positions = workspace.float64("argReduce positions", groups);
    const length = input.size / groups;
    const sign = attributes.kind === "max" ? 1 : -1;
    for (let group = 0; group < groups; group++) {
      positions[group] = firstGreatest(values, group * length, length, sign);
    }
    writeDoubles(positions, output);
  };
}

function firstGreatest(values: Float64Array, start: number, length: number, sign: number): number {
  let best = values[start] * sign;
  let at = 0;
  for (let i = 1; i < length && !Number.isNaN(best); i++) {
    const value = values[start + i] * sign;
    if (value > best || Number.isNaN(value)) {
      best = value;
      at = i;
    }
  }
  return at;
}

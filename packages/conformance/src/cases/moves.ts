import type { Tensor } from "@nf/core";
import type fc from "fast-check";
import type { Instance, Row } from "../model.ts";
import type { Nd } from "../reference/nd.ts";
import { ALL, data, row, shapesText } from "./define.ts";

/** Family of the operations that move elements. */
export const FAMILY = "shape";

/** One tensor in, elements moved: exact for every dtype, gradients to any order. */
export function moveRow(
  op: string,
  instances: readonly Instance[],
  arbitrary: fc.Arbitrary<Instance>,
  more: Partial<Row> = {},
): Row {
  return row(FAMILY, { op, dtypes: ALL, tolerance: "exact", instances, arbitrary, ...more });
}

/** An instance of one tensor. */
export function one(
  x: readonly number[],
  what: string,
  run: (x: Tensor) => Tensor | readonly Tensor[],
  expected: (x: Nd) => Nd | readonly Nd[],
): Instance {
  return {
    label: `${shapesText(x)} ${what}`,
    operands: [data(x)],
    run: ([input]) => run(input!),
    reference: ([input]) => expected(input!),
  };
}

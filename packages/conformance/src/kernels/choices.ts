import { type DType, isFloat } from "@nf/core";
import { count, nd } from "../reference/nd.ts";
import { roundTo } from "../values.ts";
import type { Operand } from "./run.ts";

/* What the cases of all kernels are made with. */

/** Which of the many calls of a shape a case makes: every number below {@link CHOICES} is one. */
export type Choice = number;

/** Number of choices: five bits for axes, the rest for kinds and forms. */
export const CHOICES: number = 32 * 12;

/** The bits of a choice that say which kind and form. */
export const kindBits = (choice: Choice): number => choice >> 5;

/** An output, with something in it. */
export const blank = (dtype: DType, shape: readonly number[]): Operand => ({
  dtype,
  values: nd(shape, new Array<number>(count(shape)).fill(dtype === "bool" ? 1 : 9)),
});
/** Integers wrap around. */
export const wrapped = (dtype: DType, value: number): number =>
  isFloat(dtype) || dtype === "bool" ? value : roundTo(dtype, value);

/** Some axes of a rank, at least one. */
export function axesFor(rank: number, choice: Choice): number[] {
  const axes = Array.from({ length: rank }, (_, axis) => axis).filter((axis) => ((choice >> axis) & 1) === 1);
  return axes.length === 0 ? [rank - 1] : axes;
}

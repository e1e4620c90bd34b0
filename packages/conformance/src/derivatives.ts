import { type DType, grad, type Tensor } from "@nf/core";
import { differentiated, expectedOf, listOf, type Point, tensorsOf, weigh } from "./evaluate.ts";
import { type Nd, nd } from "./reference/nd.ts";

/** What the derivatives of a point are taken of: results weighed, gradients weighed. */
export interface Weights {
  readonly results: readonly (Nd | undefined)[];
  /** By operand; absent where only the first order is wanted. */
  readonly gradients?: readonly Nd[];
}

/** Results, and the derivatives that were asked for, by operand; undefined for operands that are not looked at. */
export interface Derivatives {
  readonly results: readonly Tensor[];
  readonly gradients: readonly (Tensor | undefined)[];
}

/** Runs a point forward, and differentiates it once or twice. Call it in a scope. */
export function derive(point: Point, weights: Weights): Derivatives {
  const inputs = tensorsOf(point);
  const { instance, dtype } = point;
  const run = (...operands: Tensor[]): readonly Tensor[] => listOf(instance.run(operands, dtype));
  const wanted = instance.operands.map((operand) => differentiated(operand, dtype));
  return { results: run(...inputs), gradients: gradientsOf(run, inputs, wanted, weights) };
}

/** First derivatives of weighed results, or second ones where weights for the gradients are given too. */
export function gradientsOf(
  run: (...operands: Tensor[]) => readonly Tensor[],
  inputs: readonly Tensor[],
  wanted: readonly boolean[],
  { results, gradients }: Weights,
): readonly (Tensor | undefined)[] {
  const argnums = [...wanted.keys()].filter((i) => wanted[i]);
  if (argnums.length === 0) return wanted.map(() => undefined);
  const value = (...operands: Tensor[]): Tensor => weigh(run(...operands), results);
  const first = (...operands: Tensor[]): readonly Tensor[] =>
    grad(value, { argnums, ...(gradients !== undefined && { createGraph: true }) })(
      ...operands,
    ) as readonly Tensor[];
  const found =
    gradients === undefined
      ? first(...inputs)
      : (grad(
          (...operands: Tensor[]) =>
            weigh(
              first(...operands),
              argnums.map((i) => gradients[i]),
            ),
          { argnums },
        )(...inputs) as readonly Tensor[]);
  return wanted.map((_, i) => found[argnums.indexOf(i)]);
}

/** The weighed results of the float64 reference, as a function of the operands. */
function weighedValue(point: Point, weights: readonly (Nd | undefined)[]): (inputs: readonly Nd[]) => number {
  return (inputs) => {
    let total = 0;
    expectedOf({ ...point, inputs, dtype: "f64" }).forEach((result, i) => {
      const weight = weights[i];
      if (weight === undefined) return;
      for (let k = 0; k < weight.data.length; k++) total += weight.data[k]! * result.data[k]!;
    });
    return total;
  };
}

function moved(inputs: readonly Nd[], along: readonly (Nd | undefined)[], step: number): readonly Nd[] {
  return inputs.map((input, i) => {
    const direction = along[i];
    if (direction === undefined) return input;
    return nd(
      input.shape,
      input.data.map((value, k) => value + step * direction.data[k]!),
    );
  });
}

const STEP = 1e-5;
const STEP2 = 2e-4;

/** Whether the reference is finite at a point, without which there are no derivatives to look at. */
export function isFinitePoint(point: Point, weights: Weights): boolean {
  return Number.isFinite(weighedValue(point, weights.results)(point.inputs));
}

/** The derivative of the reference along a direction, by central differences. */
export function slope(point: Point, weights: Weights, direction: readonly (Nd | undefined)[]): number {
  const value = weighedValue(point, weights.results);
  const { inputs } = point;
  return (value(moved(inputs, direction, STEP)) - value(moved(inputs, direction, -STEP))) / (2 * STEP);
}

/** The derivative along a direction of the derivative along the gradients' weights. */
export function curvature(point: Point, weights: Weights, direction: readonly (Nd | undefined)[]): number {
  const value = weighedValue(point, weights.results);
  const { inputs, instance, dtype } = point;
  const other = instance.operands.map((operand, i) =>
    differentiated(operand, dtype) ? weights.gradients?.[i] : undefined,
  );
  const quotient = (step: number): number => {
    const up = moved(inputs, other, step);
    const down = moved(inputs, other, -step);
    return (
      (value(moved(up, direction, step)) -
        value(moved(up, direction, -step)) -
        value(moved(down, direction, step)) +
        value(moved(down, direction, -step))) /
      (4 * step * step)
    );
  };
  // Richardson's extrapolation: the error is one of the fourth power of the step.
  return (4 * quotient(STEP2 / 2) - quotient(STEP2)) / 3;
}

/** The direction that moves one element of one operand. */
export function unit(point: Point, operand: number, element: number): readonly (Nd | undefined)[] {
  return point.inputs.map((input, i) =>
    i === operand
      ? nd(
          input.shape,
          input.data.map((_, k) => (k === element ? 1 : 0)),
        )
      : undefined,
  );
}

/** Gradients are looked at in f64 where a backend computes it, else in f32. */
export const GRADIENT_LIMITS: Readonly<
  Record<"f64" | "f32", Readonly<Record<1 | 2, { readonly relative: number; readonly absolute: number }>>>
> = {
  f64: { 1: { relative: 1e-5, absolute: 1e-6 }, 2: { relative: 1e-3, absolute: 1e-5 } },
  f32: { 1: { relative: 1e-3, absolute: 1e-4 }, 2: { relative: 1e-3, absolute: 1e-3 } },
};

/** Whether a dtype is one of those that gradients are looked at in. */
export function isGradientType(dtype: DType): dtype is "f64" | "f32" {
  return dtype === "f64" || dtype === "f32";
}

import { expect } from "vitest";
import * as core from "../../src/index.ts";
import { difference, numbers, type Tolerance, tensorOf, valuesOf } from "./helper.ts";

/*
 * A fused operation can be computed in several ways, forward and backward. They must agree.
 */

interface Path {
  readonly forward: core.FusionMode;
  readonly backward: core.FusionMode;
  /** Whether the gradients themselves could be differentiated. */
  readonly createGraph: boolean;
}

const KERNELS: Path = { forward: "force", backward: "force", createGraph: false };
const DECOMPOSED: Path = { forward: "off", backward: "off", createGraph: false };
const OTHERS: readonly Path[] = [
  { forward: "auto", backward: "off", createGraph: false },
  { forward: "auto", backward: "auto", createGraph: true },
  { forward: "off", backward: "off", createGraph: true },
];

type Fn = (...inputs: core.Tensor[]) => core.Tensor;

/** Output and gradients of all inputs along one path, for a cotangent of repeatable numbers. */
function along(path: Path, fn: Fn, inputs: readonly core.Tensor[]): readonly (readonly number[])[] {
  const scope = new core.Scope();
  try {
    return scope.run(() => {
      const [value, pullback] = core.withFusion(path.forward, () => core.vjp(fn, ...inputs));
      const cotangent = tensorOf(numbers(value.size, 99), value.shape, value.dtype);
      const output = valuesOf(value);
      const gradients = core.withFusion(path.backward, () =>
        pullback(cotangent, { createGraph: path.createGraph }),
      );
      return [output, ...gradients.map(valuesOf)];
    });
  } finally {
    scope.dispose();
  }
}

const CLOSE: Tolerance = { relative: 1e-10, absolute: 1e-11 };

/**
 * Expects that a function gives the same value and gradients by its decomposition, by kernels (which must exist), by
 * kernels forward and decomposition backward, and where gradients are recorded.
 */
export function expectSamePaths(fn: Fn, inputs: readonly core.Tensor[], tolerance: Tolerance = CLOSE): void {
  const expected = along(DECOMPOSED, fn, inputs);
  for (const path of [KERNELS, ...OTHERS]) {
    const problems = along(path, fn, inputs).flatMap((values, i) => {
      const what = i === 0 ? "output" : `gradient ${i - 1}`;
      const problem = difference(values, expected[i] ?? [], tolerance);
      return problem === undefined ? [] : [`${what} ${problem}`];
    });
    expect({ path, problems }).toEqual({ path, problems: [] });
  }
}

/** Repeatable f64 inputs of shapes. */
export function inputsOf(seed: number, ...shapes: readonly (readonly number[])[]): core.Tensor[] {
  return shapes.map((shape, i) => {
    const size = shape.reduce((product, one) => product * one, 1);
    return tensorOf(numbers(size, seed + i), shape, "f64");
  });
}

/** Checks gradients and second gradients against differences. */
export async function checkOrders(fn: Fn, inputs: readonly core.Tensor[]): Promise<void> {
  await core.gradcheck(fn, inputs);
  await core.gradcheck(fn, inputs, { order: 2 });
}

/** For results rounded to 16 bits on the way. */
export const HALF: Tolerance = { relative: 4e-3, absolute: 4e-3 };

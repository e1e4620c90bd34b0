import { showShape } from "../backend/geometry.ts";
import { GradientError } from "../errors.ts";
import { Scope } from "../memory/scope.ts";
import { add, mul } from "../ops/binary.ts";
import { fromData } from "../ops/create.ts";
import { checkInteger, checkOptions } from "../ops/options.ts";
import { Generator, randn } from "../ops/random.ts";
import { sum } from "../ops/reduce.ts";
import type { HostArray } from "../tensor/host.ts";
import type { Tensor } from "../tensor/tensor.ts";
import { grad, noGrad } from "./transforms.ts";

/** Options of {@link gradcheck}. */
export interface GradcheckOptions {
  /** Step of the central difference; default 1e-6. */
  readonly step?: number;
  /** Allowed absolute difference; default 1e-5. */
  readonly atol?: number;
  /** Allowed difference relative to the numeric value; default 1e-3. */
  readonly rtol?: number;
  /** 1 (default) checks gradients, 2 the gradients of gradients. */
  readonly order?: number;
  /** Seed of the directions the results are weighed with; default 0. */
  readonly seed?: number;
}

/**
 * Compares the gradients of a function with central differences, in float64. Results of any shape are weighed with
 * random numbers. Choose points away from joints.
 *
 * @param inputs f64 tensors.
 * @throws GradientError that names the input, the element and both values.
 */
export async function gradcheck(
  fn: (...inputs: Tensor[]) => Tensor,
  inputs: readonly Tensor[],
  options: GradcheckOptions = {},
): Promise<void> {
  checkOptions("gradcheck", options, ["step", "atol", "rtol", "order", "seed"]);
  const { step = 1e-6, atol = 1e-5, rtol = 1e-3, seed = 0 } = options;
  const order = checkInteger("gradcheck", "order", options.order ?? 1, 1, 2);
  inputs.forEach((input, i) => {
    if (input.dtype !== "f64")
      throw new GradientError(`gradcheck: input ${i} is ${input.dtype}; differences need f64.`);
  });
  const positions = inputs.map((_, i) => i);
  const weighed = weigh(fn, seed);
  const scalar =
    order === 1
      ? weighed
      : (...points: Tensor[]): Tensor => {
          const gradients = grad(weighed, { argnums: positions, createGraph: true })(
            ...points,
          ) as readonly Tensor[];
          const source = new Generator(seed + 1);
          return gradients
            .map((gradient) =>
              sum(
                mul(
                  gradient,
                  randn(gradient.shape, { dtype: "f64", generator: source, backend: gradient.backend }),
                ),
              ),
            )
            .reduce((total, term) => add(total, term));
        };
  const values = await Promise.all(inputs.map((input) => input.data()));
  const work = new Scope();
  try {
    const analytic = work.run(
      () => grad(scalar, { argnums: positions, createGraph: false })(...inputs) as readonly Tensor[],
    );
    for (const [i, input] of inputs.entries()) {
      const gradient = await (analytic[i] as Tensor).data();
      for (let element = 0; element < input.size; element++) {
        const numeric =
          (await probe(scalar, inputs, values, i, element, step)) -
          (await probe(scalar, inputs, values, i, element, -step));
        compare(i, element, input, gradient[element] as number, numeric / (2 * step), atol, rtol);
      }
    }
  } finally {
    work.dispose();
  }
}

/** The function followed by a weighing with fixed random numbers, so that every element of the result counts. */
function weigh(fn: (...inputs: Tensor[]) => Tensor, seed: number): (...inputs: Tensor[]) => Tensor {
  return (...points) => {
    const result = fn(...points);
    if (result.rank === 0) return result;
    return sum(
      mul(
        result,
        randn(result.shape, { dtype: "f64", generator: new Generator(seed), backend: result.backend }),
      ),
    );
  };
}

async function probe(
  scalar: (...inputs: Tensor[]) => Tensor,
  inputs: readonly Tensor[],
  values: readonly HostArray[],
  position: number,
  element: number,
  shift: number,
): Promise<number> {
  const work = new Scope();
  try {
    const result = work.run(() => {
      const points = inputs.map((input, i) => {
        const moved = Float64Array.from(values[i] as HostArray);
        if (i === position) moved[element] = (moved[element] as number) + shift;
        return fromData(moved, input.shape, { backend: input.backend });
      });
      return noGrad(() => scalar(...points));
    });
    return await result.item();
  } finally {
    work.dispose();
  }
}

function compare(
  input: number,
  element: number,
  x: Tensor,
  analytic: number,
  numeric: number,
  atol: number,
  rtol: number,
): void {
  if (Math.abs(analytic - numeric) <= atol + rtol * Math.abs(numeric)) return;
  throw new GradientError(
    `gradcheck: input ${input} of shape ${showShape(x.shape)}, element ${element}: gradient ${analytic}, central difference ${numeric}.`,
  );
}

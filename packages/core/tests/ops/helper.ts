import { readFileSync } from "node:fs";
import { cpu } from "@nf/backend-cpu";
import * as fc from "fast-check";
import { expect } from "vitest";
import * as core from "../../src/index.ts";

/** Whether this is the long run. */
const nightly = process.env["NF_NIGHTLY"] === "1";

/** Examples for a property: a share of the 200 a family gets at least, a share of 10,000 in the nightly run. */
export function examples(count: number): { readonly numRuns: number } {
  return { numRuns: nightly ? count * 50 : count };
}

/** Puts a cpu backend to use. */
export async function setUp(): Promise<void> {
  await core.use(cpu());
}

/** Runs a test's body in a scope of its own: nothing that it makes outlives it. */
export function scoped(body: () => void): () => void {
  return () => {
    const scope = new core.Scope();
    try {
      scope.run(body);
    } finally {
      scope.dispose();
    }
  };
}

/** Values of a tensor as plain numbers, row-major. */
export function valuesOf(x: core.Tensor): number[] {
  return Array.from(x.dataSync());
}

/** A tensor of plain numbers. */
export function tensorOf(
  values: readonly number[],
  shape: readonly number[],
  dtype: core.DType = "f32",
  requiresGrad = false,
): core.Tensor {
  const wide = dtype === "u32" ? Uint32Array.from(values) : Float64Array.from(values);
  return core.fromData(wide, shape, { dtype, requiresGrad });
}

/** Allowed difference: `relative` to the expected value, plus `absolute`. */
export interface Tolerance {
  readonly relative: number;
  readonly absolute: number;
}

/** What is wrong with values, or undefined if they are as expected. NaN and infinities must agree; zeros are equal. */
export function difference(
  got: ArrayLike<number>,
  expected: ArrayLike<number>,
  { relative, absolute }: Tolerance,
): string | undefined {
  if (got.length !== expected.length) return `${got.length} values instead of ${expected.length}`;
  for (let i = 0; i < got.length; i++) {
    const [value, wanted] = [got[i] as number, expected[i] as number];
    if (value === wanted || (Number.isNaN(value) && Number.isNaN(wanted))) continue;
    const miss = Math.abs(value - wanted);
    if (!(miss <= relative * Math.abs(wanted) + absolute))
      return `at ${i}: ${value} instead of ${wanted} (off by ${miss})`;
  }
  return undefined;
}

/** Expects values within a tolerance; default exactly. */
export function expectClose(
  got: ArrayLike<number>,
  expected: ArrayLike<number>,
  tolerance: Tolerance = { relative: 0, absolute: 0 },
  label = "values",
): void {
  const problem = difference(got, expected, tolerance);
  expect(problem === undefined ? undefined : `${label} ${problem}`).toBeUndefined();
}

/** Repeatable numbers between -2 and 2 that a 16-bit float holds: multiples of 1/64. */
export function numbers(count: number, seed: number): number[] {
  const [low] = core.threefry2x32(seed, 1, 2, 3);
  return Array.from({ length: count }, (_, i) => {
    const [word] = core.threefry2x32(low, seed, i, 0);
    return ((word % 257) - 128) / 64;
  });
}

/** How a strided view is made from a dense leaf. */
export interface LayoutChoice {
  /** Order of the axes in memory. */
  readonly order: readonly number[];
  /** Axes walked backwards. */
  readonly flip: readonly boolean[];
  /** Axes that repeat one slice (expanded). */
  readonly still: readonly boolean[];
  /** Axes that skip every second element. */
  readonly gap: readonly boolean[];
  /** Unused slices before the first, on every axis that is not still. */
  readonly lead: number;
}

/** Any layout of tensors of a rank; `still` axes only where `repeats`. */
export function layouts(rank: number, repeats = true): fc.Arbitrary<LayoutChoice> {
  const flags = fc.array(fc.boolean(), { minLength: rank, maxLength: rank });
  const axes = Array.from({ length: rank }, (_, axis) => axis);
  return fc.record({
    order: fc.shuffledSubarray(axes, { minLength: rank, maxLength: rank }),
    flip: flags,
    still: repeats
      ? fc.array(
          fc.nat(5).map((n) => n === 0),
          { minLength: rank, maxLength: rank },
        )
      : fc.constant(axes.map(() => false)),
    gap: flags,
    lead: fc.nat(1),
  });
}

/** A dense leaf, and the view of it in a shape that a layout describes. */
export interface Laid {
  readonly leaf: core.Tensor;
  readonly view: core.Tensor;
}

/** Lays a shape out as chosen, over repeatable numbers. */
export function lay(
  shape: readonly number[],
  choice: LayoutChoice,
  seed: number,
  dtype: core.DType = "f64",
): Laid {
  const { order, flip, still, gap, lead } = choice;
  const extent = (axis: number): number =>
    still[axis] ? 1 : lead + (shape[axis] as number) * (gap[axis] ? 2 : 1);
  const stored = order.map(extent);
  const count = stored.reduce((product, size) => product * size, 1);
  const scale = core.isFloat(dtype) ? 1 : 64;
  const values = numbers(count, seed).map((value) => value * scale);
  const leaf = tensorOf(values, stored, dtype, core.isFloat(dtype));
  const ordered = core.permute(
    leaf,
    order.map((_, axis) => order.indexOf(axis)),
  );
  const cut = core.slice(
    ordered,
    ...shape.map((_, axis) => (still[axis] ? null : { start: lead, step: gap[axis] ? 2 : 1 })),
  );
  const turned = core.flip(
    cut,
    shape.flatMap((_, axis) => (flip[axis] ? [axis] : [])),
  );
  return { leaf, view: core.expand(turned, shape) };
}

/** Forward, gradients and second gradients of a function of leaves, all as plain numbers. */
export interface Derivatives {
  readonly output: number[];
  readonly grads: (number[] | undefined)[];
  readonly grads2: (number[] | undefined)[];
}

/**
 * Runs a function of leaves and, twice, `backward`: with a cotangent, and with one for each gradient. Leaves without
 * `requiresGrad` are left out.
 */
export function derivativesOf(
  fn: () => core.Tensor,
  leaves: readonly core.Tensor[],
  cotangent: (output: core.Tensor) => core.Tensor,
  cotangent2: ((leaf: core.Tensor, index: number) => core.Tensor | undefined) | undefined,
): Derivatives {
  const output = fn();
  const wanted = leaves.map((leaf) => leaf.requiresGrad);
  if (!output.requiresGrad) return { output: valuesOf(output), grads: [], grads2: [] };
  core.zeroGrad(leaves);
  output.backward(cotangent(output), { createGraph: cotangent2 !== undefined });
  const first = leaves.map((leaf) => leaf.grad);
  const read = (gradients: readonly (core.Tensor | null)[]): (number[] | undefined)[] =>
    leaves.map((leaf, i) => {
      if (!wanted[i]) return undefined;
      const gradient = gradients[i];
      return gradient ? valuesOf(gradient) : new Array<number>(leaf.size).fill(0);
    });
  const grads = read(first);
  if (cotangent2 === undefined) return { output: valuesOf(output), grads, grads2: [] };
  const terms = first.flatMap((gradient, i) => {
    const weight = gradient && cotangent2(leaves[i] as core.Tensor, i);
    return gradient && weight ? [core.sum(core.mul(gradient, weight))] : [];
  });
  const total = terms.reduce<core.Tensor | undefined>(
    (sum, term) => (sum ? core.add(sum, term) : term),
    undefined,
  );
  for (const leaf of leaves) leaf.grad = null;
  // Where the gradient does not depend on the leaves there is nothing to run back through.
  if (total?.requiresGrad) total.backward();
  return { output: valuesOf(output), grads, grads2: read(leaves.map((leaf) => leaf.grad)) };
}

/** Names that core's index exports from files of `ops/`, except some files. */
export function exportedOps(exceptFiles: readonly string[]): readonly string[] {
  const index = readFileSync(new URL("../../src/index.ts", import.meta.url), "utf8");
  const names: string[] = [];
  for (const [, list, file] of index.matchAll(/export \{([^}]*)\} from "\.\/ops\/([\w-]+)\.ts"/g)) {
    if (exceptFiles.includes(file as string)) continue;
    for (const entry of (list as string).split(",").map((one) => one.trim())) {
      if (entry !== "" && !entry.startsWith("type ")) names.push(entry.split(" as ").at(-1) as string);
    }
  }
  if (names.length === 0) throw new Error("found no exports: has the form of src/index.ts changed?");
  return names;
}
